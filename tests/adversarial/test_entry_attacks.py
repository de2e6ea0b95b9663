"""Attacks on entries, by strangers, by whoever carries them, and by members."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import msgpack
import pytest
import zstandard

from presenced.crypto.keys import SigningKey
from presenced.errors import LimitExceeded, Malformed, Unauthorized
from presenced.ids import StatementId
from presenced.limits import (
    CLOCK_AHEAD_ALERT_MS,
    CLOCK_AHEAD_CLAMP_MS,
    ENTRY_EXPANDED_BYTES_MAX,
    ENTRY_OPERATIONS_MAX,
    ENTRY_SEALED_BYTES_MAX,
    NAME_BYTES_MAX,
    RECORD_FIELDS_MAX,
    VALUE_BYTES_MAX,
)
from presenced.replica.entry import Reference
from presenced.replica.hlc import hlc_ms, make_hlc
from presenced.replica.limits import (
    DEVICE_DAY_BYTES_MAX,
    PAST_ITEMS_MAX,
    WAITING_BYTES_MAX,
    WAITING_ENTRIES_MAX,
)
from presenced.replica.rows import AlertKind, Outcome
from presenced.testing.replica_world import (
    HostileDevice,
    ReplicaDevice,
    UriIds,
    acquaint,
)
from presenced.wire import encode, pack_big_integer

RECORD = bytes(16)
ROW = ("map", "record", "field", "hlc", "value", "seen")


@pytest.fixture
def hostile() -> HostileDevice:
    return HostileDevice(66)


@pytest.fixture
def victim(hostile: HostileDevice) -> ReplicaDevice:
    device = ReplicaDevice(1)
    acquaint([hostile, device])
    return device


def _broken(outcome: Outcome) -> bool:
    return (
        [alert.kind for alert in outcome.alerts] == [AlertKind.BROKEN_CONTENT]
        and not outcome.applied
        and not outcome.faults
        and len(outcome.entries) == 1
    )


def _nothing_taken(outcome: Outcome) -> bool:
    return not (outcome.entries or outcome.applied or outcome.heads or outcome.touched)


# --- bytes that are not the signed entry ---


def test_every_flipped_bit_is_noticed(hostile: HostileDevice, victim: ReplicaDevice) -> None:
    raw = hostile.forge(encode([hostile.row("x")]))
    for at in range(len(raw)):
        flipped = bytearray(raw)
        flipped[at] ^= 1 << (at % 8)
        outcome = victim.receive(hostile.log, 1, [bytes(flipped)])
        assert len(outcome.faults) == 1
        assert _nothing_taken(outcome)
    assert victim.receive(hostile.log, 1, [raw]).applied


def test_every_truncation_and_extension_is_noticed(
    hostile: HostileDevice, victim: ReplicaDevice
) -> None:
    raw = hostile.forge(encode([hostile.row("x")]))
    for cut in range(len(raw)):
        assert victim.receive(hostile.log, 1, [raw[:cut]]).faults
    assert victim.receive(hostile.log, 1, [raw + b"\x00"]).faults


def test_a_forged_signature_is_refused(hostile: HostileDevice, victim: ReplicaDevice) -> None:
    hostile.signing = SigningKey(bytes(32))
    outcome = victim.receive(hostile.log, 1, [hostile.forge(encode([hostile.row("x")]))])
    assert [type(fault) for fault in outcome.faults] == [Unauthorized]
    assert _nothing_taken(outcome)


def test_bytes_in_another_form_than_the_canonical_one_are_refused(
    hostile: HostileDevice, victim: ReplicaDevice
) -> None:
    raw = hostile.forge(encode([hostile.row("x")]))
    version, *rest = msgpack.unpackb(raw)
    assert raw[1] == version == 1
    longer = raw[:1] + b"\xcc\x01" + raw[2:]  # the version as a two-byte integer
    assert msgpack.unpackb(longer) == [version, *rest]
    assert [type(fault) for fault in victim.receive(hostile.log, 1, [longer]).faults] == [Malformed]


def test_an_entry_elsewhere_than_where_it_was_signed_is_refused(
    hostile: HostileDevice, victim: ReplicaDevice
) -> None:
    first = hostile.forge(encode([hostile.row("1")]))
    second = hostile.forge(encode([hostile.row("2")]))
    other = HostileDevice(67)
    sessions = HostileDevice(66, collection="sessions")
    acquaint([hostile, other, victim])
    assert victim.receive(hostile.log, 1, [second]).faults  # reordered
    assert victim.receive(other.log, 1, [first]).faults  # another log
    foreign = sessions.forge(encode([sessions.row("1")]))
    assert victim.receive(hostile.log, 1, [foreign]).faults  # another collection
    assert len(victim.receive(hostile.log, 1, [first, second]).applied) == 2


def test_a_replay_changes_nothing(hostile: HostileDevice, victim: ReplicaDevice) -> None:
    raws = [hostile.forge(encode([hostile.row(str(number))])) for number in range(5)]
    victim.receive(hostile.log, 1, raws)
    digest = victim.replica.digest()
    for first in range(1, 6):
        outcome = victim.receive(hostile.log, first, raws[first - 1 :])
        assert _nothing_taken(outcome)
        assert not outcome.faults
    assert victim.replica.digest() == digest


def test_a_gap_is_not_jumped(hostile: HostileDevice, victim: ReplicaDevice) -> None:
    raws = [hostile.forge(encode([hostile.row(str(number))])) for number in range(3)]
    outcome = victim.receive(hostile.log, 2, raws[1:])
    assert _nothing_taken(outcome)
    assert outcome.paused
    assert len(victim.receive(hostile.log, 1, raws).applied) == 3


def test_one_bad_entry_takes_nothing_from_the_good_ones(
    hostile: HostileDevice, victim: ReplicaDevice
) -> None:
    raws = [hostile.forge(encode([hostile.row(str(number))])) for number in range(3)]
    outcome = victim.receive(hostile.log, 1, [raws[0], raws[1], b"bad", raws[2]])
    assert len(outcome.applied) == 2
    assert len(outcome.faults) == 1
    other = HostileDevice(67)
    acquaint([hostile, other, victim])
    assert victim.receive(other.log, 1, [other.forge(encode([other.row("y")]))]).applied
    assert victim.receive(hostile.log, 3, [raws[2]]).applied


# --- what is too large ---


def test_an_oversized_entry_is_refused_before_it_is_parsed(
    hostile: HostileDevice, victim: ReplicaDevice
) -> None:
    raw = hostile.forge(b"", sealed=bytes(ENTRY_SEALED_BYTES_MAX))
    outcome = victim.receive(hostile.log, 1, [raw])
    assert [type(fault) for fault in outcome.faults] == [LimitExceeded]
    assert _nothing_taken(outcome)


@pytest.mark.parametrize("stated", [None, 10, ENTRY_EXPANDED_BYTES_MAX, 2**40])
def test_an_expansion_bomb_is_not_expanded(
    hostile: HostileDevice, victim: ReplicaDevice, stated: int | None
) -> None:
    bomb = zstandard.ZstdCompressor(write_content_size=stated is None).compress(bytes(2**28))
    if stated is not None:
        # A frame that states another size than it has, or (10) one far too small.
        header = b"\x28\xb5\x2f\xfd\xc0" + b"\x50" + stated.to_bytes(8, "little")
        bomb = header + bomb[6:]
    assert len(bomb) < ENTRY_SEALED_BYTES_MAX - 1_000
    raw = hostile.forge(b"", sealed_form=b"\x01" + bomb)
    assert _broken(victim.receive(hostile.log, 1, [raw]))


def test_a_frame_that_does_not_state_its_size_is_refused(
    hostile: HostileDevice, victim: ReplicaDevice
) -> None:
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(
        encode([hostile.row("x" * 500)])
    )
    assert _broken(
        victim.receive(hostile.log, 1, [hostile.forge(b"", sealed_form=b"\x01" + frame)])
    )


def test_bytes_after_the_frame_are_refused(hostile: HostileDevice, victim: ReplicaDevice) -> None:
    frame = zstandard.ZstdCompressor().compress(encode([hostile.row("x" * 500)]))
    for form in (b"\x01" + frame + b"\x00", b"\x01" + frame + frame, b"\x02" + frame, b""):
        device = ReplicaDevice(2)
        other = HostileDevice(68)
        acquaint([other, device])
        assert _broken(device.receive(other.log, 1, [other.forge(b"", sealed_form=form)]))
    assert victim.replica.pending.waiting == 0


def _operations(hostile: HostileDevice, count: int, **changed: Any) -> bytes:
    return encode(
        [hostile.row("x", record=number.to_bytes(16, "big"), **changed) for number in range(count)]
    )


def test_the_bounds_of_one_entry_hold_to_the_last_one(hostile: HostileDevice) -> None:
    value = "v" * (VALUE_BYTES_MAX - 3)  # three bytes of head
    name = "n" * NAME_BYTES_MAX
    fits = [
        _operations(hostile, ENTRY_OPERATIONS_MAX),
        encode([hostile.row(value)]),
        encode([hostile.row("x", field=name, map=name)]),
        encode([hostile.row("x", field=str(n)) for n in range(RECORD_FIELDS_MAX)]),
    ]
    breaks = [
        _operations(hostile, ENTRY_OPERATIONS_MAX + 1),
        encode([hostile.row(value + "v")]),
        encode([hostile.row("x", field=name + "n")]),
        encode([hostile.row("x", map=name + "n")]),
        encode([hostile.row("x", field="")]),
        encode([hostile.row("x", map="")]),
        encode([hostile.row("x", field=str(n)) for n in range(RECORD_FIELDS_MAX + 1)]),
        encode([]),
        encode({}),
    ]
    for plaintexts, allowed in ((fits, True), (breaks, False)):
        for plaintext in plaintexts:
            author, device = HostileDevice(70), ReplicaDevice(2)
            acquaint([author, device])
            outcome = device.receive(author.log, 1, [author.forge(plaintext)])
            assert _broken(outcome) is not allowed
            assert bool(outcome.applied) is allowed


def test_fields_of_a_record_are_counted_over_entries_and_judged_alike(
    hostile: HostileDevice,
) -> None:
    raws = [
        hostile.forge(encode([hostile.row("x", field=f"{part}/{n}") for n in range(100)]))
        for part in range(3)
    ]
    digests = set()
    for batches in ([raws], [[raw] for raw in raws]):
        device = ReplicaDevice(2)
        acquaint([hostile, device])
        first = 1
        for batch in batches:
            device.receive(hostile.log, first, batch)
            first += len(batch)
        assert device.replica.frontier.applied[hostile.log][0] == 2
        assert device.replica.frontier.held[hostile.log][0] == 3
        digests.add(device.replica.digest())
        device.restart()
        digests.add(device.replica.digest())
    assert len(digests) == 1


@pytest.mark.parametrize("what", ["logs", "heads"])
def test_a_past_that_names_too_much_is_refused(
    hostile: HostileDevice, victim: ReplicaDevice, what: str
) -> None:
    count = PAST_ITEMS_MAX + 1
    past = [Reference(n.to_bytes(16, "big"), 1, bytes(32)) for n in range(1, count + 1)]  # type: ignore[arg-type]
    heads = [StatementId(n.to_bytes(32, "big")) for n in range(1, count + 1)]
    plaintext = encode([hostile.row("x")])
    raw = (
        hostile.forge(plaintext, past=past)
        if what == "logs"
        else hostile.forge(plaintext, heads=heads)
    )
    outcome = victim.receive(hostile.log, 1, [raw])
    assert [type(fault) for fault in outcome.faults] == [LimitExceeded]


# --- what a member may not say ---


@pytest.mark.parametrize(
    "changed",
    [
        {"hlc": -1},
        {"hlc": 2**64},
        {"hlc": "now"},
        {"record": bytes(15)},
        {"record": "text"},
        {"record": None},
        {"map": 1},
        {"field": b"state"},
        {"seen": None},
        {"seen": {}},
        {"seen": [[bytes(16), 0]]},
        {"seen": [[bytes(15), 1]]},
        {"seen": [[bytes(16)]]},
        {"value": 1.5e999},
        {"field": "core", "record": None, "value": {"no": "uri"}},
    ],
    ids=repr,
)
def test_an_operation_of_a_wrong_shape_ends_its_authors_log(
    hostile: HostileDevice, victim: ReplicaDevice, changed: dict[str, Any]
) -> None:
    row = list(
        (
            dict(
                zip(
                    ("map", "record", "field", "hlc", "value", "seen"),
                    hostile.row("x"),
                    strict=True,
                )
            )
            | changed
        ).values()
    )
    good = hostile.row("good", record=b"g" * 16)
    plaintext = msgpack.packb([good, row], default=pack_big_integer)
    outcome = victim.receive(hostile.log, 1, [hostile.forge(plaintext)])
    assert _broken(outcome)  # and the good one beside it is not applied either
    later = victim.receive(hostile.log, 2, [hostile.forge(encode([hostile.row("later")]))])
    assert not later.applied
    assert later.entries  # kept and passed on, so that all devices hold the same
    assert victim.replica.pending.quarantined == 2


def test_a_field_written_twice_in_one_entry_is_refused(
    hostile: HostileDevice, victim: ReplicaDevice
) -> None:
    rows = [hostile.row("one"), hostile.row("two")]
    assert _broken(victim.receive(hostile.log, 1, [hostile.forge(encode(rows))]))


def test_seen_that_exceeds_the_entrys_past_is_refused(
    hostile: HostileDevice, victim: ReplicaDevice
) -> None:
    """Otherwise a member could cover, unseen, what another is about to write."""
    victim.put(RECORD, "one")
    victim.put(RECORD, "two")
    heads = victim.replica.frontier.applied[victim.log]
    reference = Reference(victim.log, 1, victim.reader.hash_at("follows", victim.log, 1))  # type: ignore[arg-type]
    unnamed = encode([hostile.row("x", seen=[[victim.log, 1]])])
    assert _broken(victim.receive(hostile.log, 1, [hostile.forge(unnamed)]))
    for seq, allowed in ((1, True), (2, False), (2**40, False)):
        author, device = HostileDevice(70), ReplicaDevice(3)
        acquaint([author, victim, device])
        device.pull(victim)
        plaintext = encode([author.row("x", seen=[[victim.log, seq]])])
        raw = author.forge(plaintext, past=[reference])
        outcome = device.receive(author.log, 1, [raw])
        assert bool(outcome.applied) is allowed
    assert heads[0] == 2


def test_seen_of_the_own_log_is_refused(hostile: HostileDevice, victim: ReplicaDevice) -> None:
    hostile.forge(encode([hostile.row("x")]))
    plaintext = encode([hostile.row("x", seen=[[hostile.log, 1]])])
    assert hostile.seq == 1
    author = HostileDevice(71)
    acquaint([author, victim])
    own = encode([author.row("x", seen=[[author.log, 1]])])
    raws = [author.forge(encode([author.row("x")])), author.forge(own)]
    assert len(victim.receive(author.log, 1, raws).applied) == 1
    assert plaintext


def test_a_core_cannot_lie_about_its_id(hostile: HostileDevice, victim: ReplicaDevice) -> None:
    core = {"uri": "https://example.org/feed"}
    derived = UriIds().derive("follow", core)
    assert derived is not None
    for record in (bytes(16), derived):  # even the right one is not to be stated
        author, device = HostileDevice(72), ReplicaDevice(4)
        acquaint([author, device])
        row = author.row(core, field="core", record=record)
        assert _broken(device.receive(author.log, 1, [author.forge(encode([row]))]))
    row = hostile.row(core, field="core", record=None)
    outcome = victim.receive(hostile.log, 1, [hostile.forge(encode([row]))])
    assert list(outcome.touched) == [("follow", derived)]
    assert outcome.touched["follow", derived] == outcome.applied[0].operations[0]


def test_a_past_that_goes_back_is_refused(hostile: HostileDevice, victim: ReplicaDevice) -> None:
    victim.put(RECORD, "one")
    victim.put(RECORD, "two")
    points = [
        Reference(victim.log, seq, victim.reader.hash_at("follows", victim.log, seq))  # type: ignore[arg-type]
        for seq in (1, 2)
    ]
    raws = [
        hostile.forge(encode([hostile.row("a")]), past=[points[1]]),
        hostile.forge(encode([hostile.row("b")]), past=[points[0]]),
    ]
    outcome = victim.receive(hostile.log, 1, raws)
    assert len(outcome.applied) == 1
    assert [alert.kind for alert in outcome.alerts] == [AlertKind.BROKEN_CONTENT]


def test_a_past_that_never_was_waits_for_ever_and_applies_nothing(
    hostile: HostileDevice, victim: ReplicaDevice
) -> None:
    victim.put(RECORD, "one")
    wrong = Reference(victim.log, 1, os.urandom(32))  # type: ignore[arg-type]
    outcome = victim.receive(
        hostile.log, 1, [hostile.forge(encode([hostile.row("x")]), past=[wrong])]
    )
    assert not outcome.applied
    assert victim.replica.pending.waiting == 1


def test_content_that_does_not_open_ends_its_authors_log(
    hostile: HostileDevice, victim: ReplicaDevice
) -> None:
    outcome = victim.receive(hostile.log, 1, [hostile.forge(b"", sealed=os.urandom(200))])
    assert _broken(outcome)


# --- clocks ---


def test_a_peer_a_month_ahead_is_kept_as_written_and_does_not_drag_our_clock(
    hostile: HostileDevice, victim: ReplicaDevice
) -> None:
    month_ms = 30 * 24 * 3_600_000
    ahead = make_hlc(victim.wall_ms + month_ms)
    row = hostile.row("x", hlc=int(ahead))
    outcome = victim.receive(hostile.log, 1, [hostile.forge(encode([row]), hlc=ahead)])
    assert len(outcome.applied) == 1
    assert [alert.kind for alert in outcome.alerts] == [AlertKind.CLOCK_AHEAD]
    slots = victim.replica.record("follow", RECORD)["state"]  # type: ignore[arg-type]
    assert slots[hostile.log].hlc == ahead
    assert hlc_ms(victim.clock.tick(victim.wall_ms)) <= victim.wall_ms + CLOCK_AHEAD_CLAMP_MS


@pytest.mark.parametrize(
    ("ahead_ms", "moves", "alerts"),
    [
        (CLOCK_AHEAD_CLAMP_MS, True, False),
        (CLOCK_AHEAD_CLAMP_MS + 1, False, False),
        (CLOCK_AHEAD_ALERT_MS - 1, False, False),
        (CLOCK_AHEAD_ALERT_MS, False, True),
    ],
)
def test_clamp_and_alert_begin_where_they_say(
    hostile: HostileDevice, victim: ReplicaDevice, ahead_ms: int, moves: bool, alerts: bool
) -> None:
    ahead = make_hlc(victim.wall_ms + ahead_ms)
    raw = hostile.forge(encode([hostile.row("x", hlc=int(ahead))]), hlc=ahead)
    outcome = victim.receive(hostile.log, 1, [raw])
    assert bool(outcome.alerts) is alerts
    assert (victim.clock.last >= ahead) is moves


# --- equivocation ---


def _fork(hostile: HostileDevice) -> tuple[bytes, bytes, bytes]:
    """First entry, and two different second ones."""
    first = hostile.forge(encode([hostile.row("first")]))
    seq, previous = hostile.seq, hostile.previous
    left = hostile.forge(encode([hostile.row("left")]))
    hostile.seq, hostile.previous = seq, previous
    right = hostile.forge(encode([hostile.row("right")]))
    return first, left, right


def test_two_entries_for_one_place_are_proof_and_both_are_kept(
    hostile: HostileDevice, victim: ReplicaDevice
) -> None:
    first, left, right = _fork(hostile)
    victim.receive(hostile.log, 1, [first, left])
    outcome = victim.receive(hostile.log, 2, [right])
    assert [alert.kind for alert in outcome.alerts] == [AlertKind.FORK]
    assert not outcome.faults
    (proof,) = outcome.forks
    assert (proof.seq, proof.first, proof.second) == (2, left, right)
    assert outcome.heads[0].fork_seq == 2
    assert outcome.heads[0].forked
    assert not victim.receive(hostile.log, 2, [right]).alerts  # said once


def test_the_log_of_a_device_that_forks_ends_there_alike_for_all(
    hostile: HostileDevice,
) -> None:
    first, left, right = _fork(hostile)
    digests = set()
    for mine, theirs in ((left, right), (right, left)):
        device = ReplicaDevice(5)
        acquaint([hostile, device])
        device.receive(hostile.log, 1, [first, mine])
        outcome = device.receive(hostile.log, 2, [theirs])
        assert outcome.rebuilt
        slots = device.replica.record("follow", RECORD)["state"]  # type: ignore[arg-type]
        assert slots[hostile.log].value == "first"
        digests.add(device.replica.digest())
        device.restart()
        digests.add(device.replica.digest())
    assert len(digests) == 1


def test_a_forged_second_entry_is_no_proof(hostile: HostileDevice, victim: ReplicaDevice) -> None:
    first, left, _ = _fork(hostile)
    victim.receive(hostile.log, 1, [first, left])
    forger = HostileDevice(66)
    forger.signing = SigningKey(bytes(32))
    forger.forge(encode([forger.row("first")]))
    forged = forger.forge(encode([forger.row("forged")]))
    outcome = victim.receive(hostile.log, 2, [forged])
    assert [type(fault) for fault in outcome.faults] == [Unauthorized]
    assert not outcome.forks
    assert not outcome.alerts


def test_what_an_honest_device_wrote_before_the_fork_was_known_is_not_lost(
    hostile: HostileDevice, victim: ReplicaDevice
) -> None:
    first, left, right = _fork(hostile)
    victim.receive(hostile.log, 1, [first, left])
    victim.put(RECORD, "answer")
    outcome = victim.receive(hostile.log, 2, [right])
    assert outcome.forks
    assert outcome.rebuilt
    slots = victim.replica.record("follow", RECORD)["state"]  # type: ignore[arg-type]
    assert slots[victim.log].value == "answer"
    assert slots[hostile.log].value == "first"
    assert victim.replica.pending.quarantined == 1


# --- what has to wait is bounded ---


def test_what_waits_is_bounded_in_number_and_said(
    hostile: HostileDevice, victim: ReplicaDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert WAITING_ENTRIES_MAX == 10_000
    monkeypatch.setattr("presenced.replica.arrivals.WAITING_ENTRIES_MAX", 20)
    missing = Reference(victim.log, 9, os.urandom(32))  # type: ignore[arg-type]
    raws = [hostile.forge(encode([hostile.row(0)]), past=[missing])]
    raws += [hostile.forge(encode([hostile.row(number)])) for number in range(30)]
    outcome = victim.receive(hostile.log, 1, raws)
    assert outcome.paused
    assert len(outcome.entries) == 20
    assert victim.replica.pending.waiting == 20


def test_what_waits_is_bounded_in_bytes(
    hostile: HostileDevice, victim: ReplicaDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert WAITING_BYTES_MAX == 16 * 1024 * 1024
    monkeypatch.setattr("presenced.replica.arrivals.WAITING_BYTES_MAX", 100_000)
    missing = Reference(victim.log, 9, os.urandom(32))  # type: ignore[arg-type]
    raws = [hostile.forge(encode([hostile.row(0)]), past=[missing])]
    raws += [hostile.forge(encode([hostile.row(os.urandom(30_000))])) for _ in range(9)]
    outcome = victim.receive(hostile.log, 1, raws)
    assert outcome.paused
    assert sum(len(entry.raw) for entry in outcome.entries) <= 100_000


def test_entries_of_a_stranger_are_parked_within_the_same_bounds(
    victim: ReplicaDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = HostileDevice(99)
    raws = [stranger.forge(encode([stranger.row(number)])) for number in range(30)]
    monkeypatch.setattr("presenced.replica.arrivals.WAITING_ENTRIES_MAX", 20)
    assert not victim.receive(stranger.log, 1, raws[:20]).paused
    assert victim.receive(stranger.log, 21, raws[20:]).paused
    outcome = victim.trusts(
        replace(victim.trust, owners={**victim.trust.owners, stranger.log: stranger.owner})
    )
    assert len(outcome.applied) == 20


def test_one_device_cannot_fill_the_disk_in_a_day(
    hostile: HostileDevice, victim: ReplicaDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert DEVICE_DAY_BYTES_MAX == 256 * 1024 * 1024
    monkeypatch.setattr("presenced.replica.allowance.DEVICE_DAY_BYTES_MAX", 100_000)
    raws = [hostile.forge(encode([hostile.row(os.urandom(30_000))])) for _ in range(5)]
    outcome = victim.receive(hostile.log, 1, raws)
    assert len(outcome.entries) == 3
    assert outcome.paused
    assert [alert.kind for alert in outcome.alerts] == [AlertKind.DAY_LIMIT]
    victim.restart()
    assert not victim.receive(hostile.log, 4, raws[3:]).entries, "a restart begins no new day"
    victim.replica.drop()
    assert not victim.receive(hostile.log, 4, raws[3:]).entries
    victim.wall_ms += 24 * 3_600_000
    assert len(victim.receive(hostile.log, 4, raws[3:]).entries) == 2
