"""By whose word a collection began, who confirms it, and what happens when it does not hold."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from presenced.crypto import aead
from presenced.device import limits
from presenced.device.beginnings import Beginning, Beginnings, Standing
from presenced.device.edits import Follow
from presenced.ids import COLLECTIONS, Collection, EntryHash, LogId, hash_bytes
from presenced.replica import replica as replica_module
from presenced.replica import sync
from presenced.replica.digest import ContentDigest
from presenced.replica.limits import QUIET_MS as REPLICA_QUIET_MS
from presenced.replica.messages import (
    FIRST_TYPE,
    SnapshotRequested,
    collection_of,
    encode_message,
    parse_message,
)
from presenced.replica.replica import Replica
from presenced.replica.rows import Outcome
from presenced.replica.snapshot import (
    CHUNK_DOMAIN,
    MANIFEST_DOMAIN,
    SNAPSHOT_VERSION,
    parse_manifest,
    place_snapshot,
)
from presenced.testing.desk import Desk, Line, founder, joiner, rest
from presenced.testing.link_doubles import SeededEntropy
from presenced.trust.admission import remove_body
from presenced.trust.identity import new_device_secrets
from presenced.wire import decode, encode

FOLLOWS: Collection = "follows"
QUIET_MS = REPLICA_QUIET_MS + 1


@pytest.fixture(autouse=True)
def _snapshots_of_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "SNAPSHOT_SLOTS_MIN", 1)
    monkeypatch.setattr(replica_module, "OVERLAY_FIELDS_MAX", 0)  # whatever is edited is sealed


def feed(number: int) -> Follow:
    return Follow(uri=f"https://{number}.example/feed", title=f"Feed {number}")


def meet(one: Desk, other: Desk, *, quiet: bool = True) -> Line:
    """A link, until both have all and, if it is `quiet`, have compared digests."""
    line = Line(one, other)
    line.deliver()
    if quiet:
        pause(line)
    return line


def pause(*lines: Line) -> None:
    for desk in {desk for line in lines for desk in line.ends}:
        desk.pass_ms(QUIET_MS)
    rest(*lines)


def standing(desk: Desk, collection: Collection = FOLLOWS) -> Standing | None:
    found = desk.machine.beginnings.get(collection)
    return None if found is None else found[1]


def sponsor_of(desk: Desk) -> object:
    return desk.machine.beginnings[FOLLOWS][0].sponsor


def household(count: int) -> list[Desk]:
    """Devices that have read everything from the logs; the first is the most senior."""
    first = founder()
    desks, lines = [first], []
    for number in range(1, count):
        desks.append(joiner(first, f"Device {number}"))
        lines.append(Line(first, desks[-1]))
    rest(*lines)
    first.edit(feed(1), feed(2))  # they come as entries: nobody needs a snapshot
    rest(*lines)
    for line in lines:
        line.cut()
    assert all(standing(desk) is None for desk in desks)
    return desks


def lie(desk: Desk, monkeypatch: pytest.MonkeyPatch, title: str = "Forged") -> None:
    """Let a device give snapshots in which every title is another one, and digests of those."""
    replica = desk.machine.shelf.replicas[FOLLOWS]
    honest_digest = desk.machine.shelf.digest

    def forged(via: object = ()) -> list[bytes]:
        chunks = Replica.snapshot(replica)
        manifest = parse_manifest(chunks[0])
        ledger = replica._copy.new_ledger()
        keys = ledger.keys(manifest.epoch)
        assert keys is not None
        sealed = []
        for index, chunk in enumerate(chunks[1:], start=1):
            header = encode(
                ["snapshot", SNAPSHOT_VERSION, manifest.space, manifest.collection, index]
            )
            plain = ledger.compression.expand(aead.open_(keys.content, header, chunk), 1 << 20)
            log, rows = decode(plain)
            for row in rows:
                if row[2] == "core":
                    row[4][2]["title"] = title
            again = ledger.compression.compress(encode([log, rows]))
            sealed.append(aead.seal(keys.content, header, again, nonce_key=keys.nonce))
        body = decode(manifest.body)
        body[8] = [hash_bytes(CHUNK_DOMAIN, chunk) for chunk in sealed]
        draft = parse_manifest(encode([encode(body), bytes(64)]))
        place_snapshot(ledger, draft, sealed, adopted=True, outcome=Outcome())
        body[7] = ContentDigest(ledger.document).digest(FOLLOWS, manifest.heads)
        signing = desk.machine.membership.secrets.signing
        return [encode([encode(body), signing.sign(MANIFEST_DOMAIN, encode(body))]), *sealed]

    def digest(collection: Collection) -> bytes:
        if collection != FOLLOWS:
            return honest_digest(collection)
        return parse_manifest(forged()[0]).digest

    monkeypatch.setattr(replica, "snapshot", forged)
    monkeypatch.setattr(desk.machine.shelf, "digest", digest)


def test_with_one_other_device_there_is_nobody_to_confirm_it() -> None:
    (first,) = household(1)
    fresh = joiner(first, "New")
    meet(first, fresh)
    assert fresh.follows() == first.follows()
    assert standing(fresh) is Standing.ONLY
    assert standing(first) is None


def test_a_snapshot_is_provisional_until_a_second_device_tells_the_same_digest() -> None:
    first, second = household(2)
    fresh = joiner(first, "New")
    meet(first, fresh)
    assert standing(fresh) is Standing.PROVISIONAL
    meet(first, second).cut()
    fresh.restart()
    assert standing(fresh) is Standing.PROVISIONAL
    line = meet(second, fresh, quiet=False)
    assert standing(fresh) is Standing.PROVISIONAL
    pause(line)
    assert standing(fresh) is Standing.CONFIRMED
    fresh.restart()
    assert standing(fresh) is Standing.CONFIRMED
    assert fresh.machine.beginnings[FOLLOWS][0].confirmer == second.device


def test_who_has_it_from_the_same_sponsor_confirms_nothing() -> None:
    (first,) = household(1)
    one, two = joiner(first, "One"), joiner(first, "Two")
    for fresh in (one, two, one):
        meet(first, fresh).cut()
    meet(one, two)
    assert one.digests() == two.digests()
    assert standing(one) is standing(two) is Standing.PROVISIONAL


def test_a_snapshot_handed_on_stands_on_the_word_of_both() -> None:
    first, second = household(2)
    one, two = joiner(first, "One"), joiner(first, "Two")
    meet(first, one).cut()
    meet(one, two)
    beginning = two.machine.beginnings[FOLLOWS][0]
    assert beginning.word == {first.device, one.device}
    meet(first, two).cut()
    assert standing(two) is Standing.PROVISIONAL, "the first device only says it again"
    meet(first, second).cut()
    meet(second, two)
    assert standing(two) is Standing.CONFIRMED


def test_a_sponsor_that_lied_is_named_and_the_senior_s_snapshot_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = household(2)
    fresh = joiner(first, "New")
    meet(first, second).cut()
    lie(second, monkeypatch)
    meet(second, fresh).cut()
    assert set(fresh.follows().values()) == {"Forged"}
    fresh.edit(feed(9))
    line = meet(first, fresh)
    pause(line)
    words = [one for one in fresh.machine.alerts if "differ" in one]
    assert len(words) == 1
    assert "Device 1" in words[0]
    assert "Laptop" in words[0]
    assert sponsor_of(fresh) == first.device
    assert fresh.follows() == first.follows()
    assert len(first.follows()) == 3
    assert fresh.digests() == first.digests()
    assert standing(fresh) is Standing.DISPUTED
    before = fresh.digests()
    fresh.restart()
    assert fresh.digests() == before
    line = meet(first, fresh)
    assert fresh.follows() == first.follows()


def test_a_junior_that_disagrees_displaces_nothing_and_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = household(2)
    fresh = joiner(first, "New")
    meet(first, fresh).cut()
    meet(first, second).cut()
    lie(second, monkeypatch)
    line = meet(second, fresh)
    pause(line)
    line.cut()
    assert fresh.follows() == first.follows()
    assert standing(fresh) is Standing.DISPUTED
    assert any("Device 1" in one and "Laptop" in one for one in fresh.machine.alerts)
    first.sign(remove_body(second.device, [], "it lied"))
    meet(first, fresh)
    assert standing(fresh) is Standing.ONLY


def test_two_devices_outweigh_a_sponsor_that_lied(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = household(3)
    fresh = joiner(first, "New")
    for desk in (second, third):
        meet(first, desk).cut()
    lie(first, monkeypatch)
    meet(first, fresh).cut()
    meet(second, fresh).cut()
    assert set(fresh.follows().values()) == {"Forged"}
    assert standing(fresh) is Standing.DISPUTED, "one says this, one says that"
    pause(meet(third, fresh))
    assert fresh.follows() == second.follows()
    assert sponsor_of(fresh) == third.device


def test_what_stands_only_on_a_removed_device_s_word_is_taken_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = household(2)
    fresh = joiner(first, "New")
    meet(first, second).cut()
    lie(second, monkeypatch)
    meet(second, fresh).cut()
    first.sign(remove_body(second.device, [], "stolen"))
    pause(meet(first, fresh))
    assert sponsor_of(fresh) == first.device
    assert fresh.follows() == first.follows()


def test_a_removal_that_reaches_below_a_snapshot_has_a_new_one_taken() -> None:
    first, thief = household(2)
    line = meet(first, thief)
    for number in range(3, 9):
        thief.edit(feed(number))
    line.deliver()
    log: LogId = thief.machine.membership.secrets.log(FOLLOWS)
    entry = first.disk.entry_at(FOLLOWS, log, 3)
    assert entry is not None
    cut = {log: (3, EntryHash(entry.hash))}
    fresh = joiner(first, "New")
    rest(line)
    second = meet(first, fresh)
    thief.edit(feed(10))
    rest(line, second)
    assert len(fresh.follows()) == 9
    line.cut()
    second.cut()
    # Nobody built on what the thief wrote last, but who began with a snapshot cannot know that.
    first.sign(remove_body(thief.device, [(FOLLOWS, cut)], "stolen"))
    alone = Line(first, fresh)
    alone.deliver()
    pause(alone)
    assert fresh.digests() == first.digests()
    assert fresh.follows() == first.follows()
    assert len(first.follows()) == 2 + 3
    beginning = fresh.machine.beginnings[FOLLOWS][0]
    assert not beginning.stale
    for desk in (first, fresh):
        held = desk.machine.shelf.replicas[FOLLOWS].frontier.held[log]
        assert held[0] == first.machine.shelf.replicas[FOLLOWS].frontier.held[log][0]
    before = fresh.digests(), fresh.follows()
    fresh.restart()
    assert (fresh.digests(), fresh.follows()) == before
    meet(first, fresh)
    assert fresh.digests() == first.digests()


def test_snapshots_for_one_device_are_bounded_and_not_made_twice_at_one_point(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = household(2)
    line = meet(first, second)
    made = 0
    replica = first.machine.shelf.replicas[FOLLOWS]
    honest = replica.snapshot

    def counted(via: object = ()) -> list[bytes]:
        nonlocal made
        made += 1
        return honest()

    monkeypatch.setattr(replica, "snapshot", counted)
    asked = encode_message(FOLLOWS, SnapshotRequested())
    peer = first.machine.links[line.number(first)]
    given = []
    for number in range(2 * limits.SNAPSHOTS_GIVEN_MAX):
        first.edit(feed(100 + number))  # each at another point
        before = len(line.said[first])
        peer.syncs[FOLLOWS].state = sync.State.LIVE
        first.hear(line.number(first), asked)
        given.append(any(message[0] == 21 for message in line.said[first][before:]))
    assert given.count(True) == made == limits.SNAPSHOTS_GIVEN_MAX
    first.pass_ms(limits.SNAPSHOTS_GIVEN_MS)
    peer = first.machine.links[line.number(first)]
    peer.syncs[FOLLOWS].state = sync.State.LIVE
    first.hear(line.number(first), asked)
    assert made == limits.SNAPSHOTS_GIVEN_MAX + 1
    peer.syncs[FOLLOWS].state = sync.State.LIVE
    first.hear(line.number(first), asked)
    assert made == limits.SNAPSHOTS_GIVEN_MAX + 1, "nothing was written since"


def test_an_older_snapshot_with_the_entries_after_it_is_as_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (first,) = household(1)
    one, two = joiner(first, "One"), joiner(first, "Two")
    meet(first, one).cut()
    first.edit(feed(7))

    def none(via: object = ()) -> list[bytes]:
        raise AssertionError("the one that was made is as good")

    monkeypatch.setattr(first.machine.shelf.replicas[FOLLOWS], "snapshot", none)
    meet(first, two).cut()
    assert two.follows() == first.follows()
    assert two.digests() == first.digests()


@pytest.mark.parametrize("seed", range(200))
def test_in_one_dispute_no_device_s_snapshot_is_taken_twice(seed: int) -> None:
    chance = random.Random(seed)
    devices = [bytes([number]) * 16 for number in range(chance.randint(2, 6))]
    one = Beginning(sponsor=devices[0], tried=frozenset(devices[:1]))  # type: ignore[arg-type]
    all_of = Beginnings(None)
    all_of._of[FOLLOWS] = one
    taken = [devices[0]]
    for _ in range(60):
        device = chance.choice(devices)
        if chance.random() < 0.5:
            all_of.agreed(FOLLOWS, device, vouched=chance.random() < 0.7)  # type: ignore[arg-type]
            continue
        all_of.disagreed(FOLLOWS, device)  # type: ignore[arg-type]
        now = all_of[FOLLOWS]
        assert now is not None
        if now.yields_to(device, devices):  # type: ignore[arg-type]
            all_of.adopted(FOLLOWS, device, (), disputed=True)  # type: ignore[arg-type]
            taken.append(device)
        row = all_of.take_row()
        if row is not None:
            assert Beginnings(row).all == all_of.all
    assert len(taken) == len(set(taken))


def test_a_snapshot_names_no_statement_that_its_taker_was_not_told_of() -> None:
    first, _ = household(2)
    fresh = joiner(first, "Fresh")
    line = Line(first, fresh)
    first.holds = True
    while not asks(line.sent[fresh]):
        assert line.deliver_from(first, 1) + line.deliver_from(fresh, 1)
        while first.flying is not None:
            first.land()
    first.ask(feed(3))
    first.ask(feed(4))
    line.deliver_from(fresh)  # to be given once the commit after the one in flight is on disk
    first.land()
    membership = first.machine.membership
    secrets = new_device_secrets(SeededEntropy("later"))
    certificate = secrets.certificate(membership.space, membership.device)
    request = first.new_request()
    first.perform(first.machine.admit(request, certificate, COLLECTIONS, first.now))
    first.land()
    line.deliver()
    assert not fresh.closed
    while first.flying is not None:
        first.land()
    first.holds = False
    line.deliver()
    assert standing(fresh) is not None
    assert fresh.machine.in_sync(first.device)
    assert fresh.follows() == first.follows()


def asks(messages: Iterable[bytes]) -> bool:
    return any(
        isinstance(parse_message(message), SnapshotRequested)
        for message in messages
        if message[0] >= FIRST_TYPE and collection_of(message) == FOLLOWS
    )
