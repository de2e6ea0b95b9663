"""What a peer may do to a device machine over an authenticated link, each a test.

In every case: no exception leaves the machine, the cost is bounded, the attacker's link ends or is
ignored, and the device goes on with its other links and its own edits.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presenced.clock import Instant
from presenced.device.edits import Follow, Unfollow
from presenced.device.effects import CloseLink, LinkNumber
from presenced.device.limits import EARLY_MESSAGES_MAX, RECOVER_MS
from presenced.errors import PeerError
from presenced.ids import COLLECTIONS, Collection, EntryHash, LogId
from presenced.replica.frontier import Frontier
from presenced.replica.limits import WAITING_ENTRIES_MAX
from presenced.replica.messages import (
    FIRST_TYPE,
    LAST_TYPE,
    EntriesArrived,
    FrontierReceived,
    SnapshotRequested,
    encode_message,
)
from presenced.replica.replica import Replica
from presenced.testing.desk import Desk, Line, founder, joiner, linked_pair, rest
from presenced.trust.limits import SYNC_FAULTS_MAX
from presenced.trust.statement_messages import Statements

FEED = "https://one.example/feed.xml"
NOBODY = LogId(b"a log of nobody.")


def frontier(
    collection: Collection, held: dict[LogId, tuple[int, EntryHash]] | None = None
) -> bytes:
    message = FrontierReceived(frontier=Frontier(held or {}), slots=0, adopts=False)
    return encode_message(collection, message)


def entries(log: LogId, first_seq: int, raws: tuple[bytes, ...]) -> bytes:
    message = EntriesArrived(round=1, log=log, first_seq=first_seq, raws=raws)
    return encode_message("follows", message)


def goes_on(desk: Desk, friend: Desk, line: Line) -> None:
    """The device edits, and its other link carries it."""
    desk.edit(Follow(uri=FEED, title="One"))
    rest(line)
    assert friend.follows() == {FEED: "One"}
    assert desk.digests() == friend.digests()


def attacked() -> tuple[Desk, Desk, Line, Desk, Line]:
    """A device, a friend and their line; an attacker who is a member, and its line."""
    first, second, line = linked_pair()
    attacker = joiner(first, "Phone")
    link = Line(first, attacker)
    rest(line, link)
    return first, second, line, attacker, link


@pytest.mark.parametrize(
    "message",
    [b"", b"\x00", b"\x0f" + b"\xc0", bytes([LAST_TYPE + 1]) + b"\x90", b"\xff" * 40]
    + [bytes([kind]) for kind in range(FIRST_TYPE, LAST_TYPE + 1)]
    + [bytes([kind]) + b"\x93\x01\x02\x03" for kind in range(LAST_TYPE + 1)],
)
def test_a_message_of_no_known_kind_or_shape_ends_the_link(message: bytes) -> None:
    first, second, line, _, link = attacked()
    first.hear(link.number(first), message)
    assert first.closed == {link.number(first): "malformed"}
    goes_on(first, second, line)


def test_content_before_statements_waits_and_a_flood_of_it_ends_the_link() -> None:
    first, second, line = linked_pair()
    attacker = joiner(first, "Phone")
    link = Line(first, attacker)
    number = link.number(first)
    said = len(link.said[first])
    for _ in range(EARLY_MESSAGES_MAX):
        first.hear(number, frontier("follows"))
    assert not first.closed
    assert len(link.said[first]) == said, "nothing is answered to it"
    first.hear(number, frontier("follows"))
    assert first.closed == {number: "limit-exceeded"}
    goes_on(first, second, line)


def test_a_device_that_nobody_named_gets_statements_and_nothing_else() -> None:
    first, second, line = linked_pair()
    first.edit(Follow(uri="https://secret.example/", title="Secret"))
    rest(line)
    stranger = founder(seed="stranger")
    number = first.new_link()
    static = stranger.machine.membership.secrets.static.public
    first.perform(first.machine.link_up(number, None, static, first.now, inbound=True))
    first.performed.clear()
    for collection in COLLECTIONS:
        first.hear(number, frontier(collection))
    first.edit(Follow(uri="https://more.example/", title="More"))
    sent = [
        message
        for effect in first.performed
        for message in getattr(effect, "messages", ())
        if effect.link == number  # type: ignore[union-attr]
    ]
    assert all(message[0] < FIRST_TYPE for message in sent)
    assert first.machine.linked == {second.device}
    assert not first.machine.in_sync(stranger.device)


def test_content_of_a_collection_that_is_not_shared_ends_the_link() -> None:
    first, second, line = linked_pair()
    attacker = joiner(first, "Phone", collections=["directory", "follows"])
    link = Line(first, attacker)
    rest(line, link)
    first.hear(link.number(first), frontier("sessions"))
    assert first.closed == {link.number(first): "unauthorized"}
    goes_on(first, second, line)


def test_entries_of_a_log_that_nobody_owns_are_bounded_and_never_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("presenced.replica.arrivals.WAITING_ENTRIES_MAX", 20)
    assert WAITING_ENTRIES_MAX > 20
    first, second, line, _, link = attacked()
    for start in range(1, 200, 10):
        first.hear(link.number(first), entries(NOBODY, start, (b"e" * 200,) * 10))
    replica = first.machine.shelf.replicas["follows"]
    assert replica._copy.arrivals.parked <= 20
    assert first.disk.entry_at("follows", NOBODY, 1) is None
    goes_on(first, second, line)


def test_an_entry_far_beyond_what_is_held_is_not_taken() -> None:
    first, second, line, attacker, link = attacked()
    log = attacker.machine.membership.secrets.log("follows")
    first.hear(link.number(first), entries(log, 1_000_000, (b"e" * 200,)))
    assert first.disk.entry_at("follows", log, 1_000_000) is None
    goes_on(first, second, line)


def test_a_forged_entry_ends_the_link_and_is_not_kept() -> None:
    first, second, line, attacker, link = attacked()
    log = attacker.machine.membership.secrets.log("follows")
    first.hear(link.number(first), entries(log, 1, (b"not an entry",)))
    assert first.closed.keys() == {link.number(first)}
    assert first.disk.entry_at("follows", log, 1) is None
    goes_on(first, second, line)


def test_an_entry_with_one_bit_changed_on_its_way_is_not_kept_and_comes_again() -> None:
    first, second, line, attacker, link = attacked()
    attacker.edit(Follow(uri="https://two.example/", title="Two"))
    message = bytearray(link.sent[attacker].pop())
    message[-1] ^= 1
    first.hear(link.number(first), bytes(message))
    assert first.closed.keys() == {link.number(first)}
    again = Line(attacker, first)
    rest(again, line)
    assert second.follows() == {"https://two.example/": "Two"}


def test_a_replayed_message_changes_nothing() -> None:
    first, second, line, attacker, link = attacked()
    attacker.edit(Follow(uri="https://two.example/", title="Two"))
    message = link.sent[attacker][-1]
    rest(link, line)
    before = first.digests()
    for _ in range(3):
        first.hear(link.number(first), message)
    assert first.digests() == before
    first.edit(Follow(uri=FEED, title="One"))
    rest(line)
    assert second.follows() == first.follows()


def test_a_frontier_that_claims_everything_gets_nothing_and_holds_edits_up_once() -> None:
    first, second, line, attacker, link = attacked()
    logs = first.machine.membership.members.logs
    claimed = {log: (2**39, EntryHash(b"h" * 32)) for log in logs}
    first.hear(link.number(first), frontier("follows", claimed))
    assert first.machine.alerts == ()
    first.edit(Follow(uri="https://two.example/"))
    first.pass_ms(RECOVER_MS)
    assert len(first.machine.alerts) == 1, "it may have been restored: it has new logs"
    line, link = Line(first, second), Line(first, attacker)
    rest(line)
    assert second.follows().keys() == {"https://two.example/"}
    logs = first.machine.membership.members.logs
    claimed = {log: (2**39, EntryHash(b"h" * 32)) for log in logs}
    first.hear(link.number(first), frontier("follows", claimed))
    first.edit(Unfollow(uri="https://two.example/"))
    rest(line)
    goes_on(first, second, line)


def test_other_content_under_the_same_entries_is_an_alert(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second, line = linked_pair()
    first.edit(Follow(uri=FEED, title="One"))
    rest(line)
    digest = Replica.digest

    def lies(replica: Replica) -> bytes:
        own = replica is second.machine.shelf.replicas["follows"]
        return bytes(32) if own else digest(replica)

    monkeypatch.setattr(Replica, "digest", lies)
    first.pass_ms(2_000)
    second.pass_ms(2_000)
    rest(line)
    assert any("follows of this device" in alert for alert in first.machine.alerts)
    assert "alert" in first.kinds()
    monkeypatch.setattr(Replica, "digest", digest)
    first.edit(Follow(uri="https://two.example/"))
    rest(line)
    first.pass_ms(2_000)
    second.pass_ms(2_000)
    rest(line)
    assert not first.machine.alerts, "it is gone once they agree again"


def test_a_clock_that_is_a_month_ahead_is_an_alert_and_does_not_drag_ours_along() -> None:
    first, second, line, attacker, link = attacked()
    month_ms = 30 * 24 * 3_600_000
    attacker.now = Instant(attacker.now.mono_ms, attacker.now.wall_ms + month_ms)
    attacker.edit(Follow(uri="https://two.example/", title="Two"))
    rest(link, line)
    assert any("an hour ahead" in alert for alert in first.machine.alerts)
    first.edit(Follow(uri=FEED, title="One"))
    rest(link, line)
    row = first.disk.follow_rows
    ours = max(one.updated_ms for one in row.values() if one.uri == FEED)
    assert ours < first.now.wall_ms + month_ms / 2
    assert first.follows() == second.follows()


def test_a_flood_of_statements_that_are_none_ends_the_link() -> None:
    first, second, line, _, link = attacked()
    for count in range(SYNC_FAULTS_MAX + 2):
        first.hear(link.number(first), Statements(raws=(b"statement %d" % count,)).encode())
    assert first.closed.keys() == {link.number(first)}
    goes_on(first, second, line)


def test_asking_for_snapshots_without_end_gives_none_to_who_has_entries() -> None:
    first, second, line, _, link = attacked()
    for _ in range(20):
        first.hear(link.number(first), encode_message("follows", SnapshotRequested()))
    assert sum(map(len, link.said[first])) < 200_000
    goes_on(first, second, line)


def test_a_second_and_a_hundredth_link_of_one_device_leave_one() -> None:
    first, second, line, attacker, _ = attacked()
    for _ in range(100):
        Line(attacker, first)
    assert len(first.machine.links) == 2
    assert first.kinds().count("link.up") == 2, "one per device"
    goes_on(first, second, line)


def test_a_message_on_a_link_that_was_closed_is_nothing() -> None:
    first, second, line, _, link = attacked()
    number = link.number(first)
    first.hear(number, b"\xff")
    first.performed.clear()
    first.hear(number, frontier("follows"))
    first.hear(LinkNumber(12_345), frontier("follows"))
    assert first.performed == []
    goes_on(first, second, line)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=60)), max_size=8))
def test_whatever_a_member_says_only_its_own_link_can_end(said: list[tuple[int, bytes]]) -> None:
    first, _, line = linked_pair()
    number = line.number(first)
    for kind, body in said:
        first.hear(number, bytes([kind]) + body)
    closes = [one for one in first.performed if isinstance(one, CloseLink)]
    assert {one.link for one in closes} <= {number}
    codes = {error.code for error in _peer_errors(PeerError)}
    assert {one.code for one in closes} <= codes
    first.edit(Follow(uri=FEED, title="One"))
    assert first.follows() == {FEED: "One"}


def _peer_errors(kind: type[PeerError]) -> set[type[PeerError]]:
    return {kind}.union(*(_peer_errors(one) for one in kind.__subclasses__()))
