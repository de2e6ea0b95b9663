"""Snapshots: what a new device starts from, and everything that must not get in through one."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from presenced.crypto.keys import SigningKey
from presenced.errors import LimitExceeded, Malformed, NotAllowed, PeerError, Unauthorized
from presenced.ids import EpochId, RecordId, StatementId
from presenced.replica.limits import (
    BASE_CHUNK_EXPANDED_BYTES_MAX,
    BASE_CHUNKS_MAX,
    BASE_SLOTS_PER_CHUNK,
    MESSAGE_BYTES_MAX,
)
from presenced.replica.rows import AlertKind
from presenced.replica.snapshot import MANIFEST_DOMAIN, parse_manifest
from presenced.testing.replica_world import (
    ReplicaDevice,
    TestRemoval,
    newcomer,
    written_by_two,
)
from presenced.wire import decode, encode

RECORD = RecordId(bytes(16))


@pytest.fixture
def sponsor() -> ReplicaDevice:
    return written_by_two(120)


@pytest.fixture
def joiner(sponsor: ReplicaDevice) -> ReplicaDevice:
    return newcomer(sponsor)


def test_a_joiner_ends_with_the_same_content_clocks_and_frontier(
    sponsor: ReplicaDevice, joiner: ReplicaDevice
) -> None:
    outcome = joiner.commit(joiner.replica.adopt(sponsor.replica.snapshot()))
    assert joiner.replica.digest() == sponsor.replica.digest()
    assert joiner.replica.frontier == sponsor.replica.frontier
    theirs = {head.log: head for head in sponsor.reader.log_heads("follows")}
    for head in outcome.heads:
        assert head.clock_end == theirs[head.log].clock_end
        assert head.base_seq == head.applied_seq == theirs[head.log].applied_seq
    assert outcome.adopted_from == sponsor.device
    assert not outcome.entries
    for number in range(10):
        record = RecordId(bytes([number]) * 16)
        assert joiner.replica.record("follow", record) == sponsor.replica.record("follow", record)


def test_what_was_adopted_is_told_like_entries(
    sponsor: ReplicaDevice, joiner: ReplicaDevice
) -> None:
    outcome = joiner.replica.adopt(sponsor.replica.snapshot())
    slots = [
        (applied.log, applied.seq, operation.record, operation.field)
        for applied in outcome.applied
        for operation in applied.operations
    ]
    assert len(slots) == len(set(slots)) == sponsor.replica.slot_count
    assert {record for _, record in outcome.touched} == set(sponsor.replica.records("follow"))


def test_entries_after_the_snapshot_apply_in_any_order_and_survive_a_start(
    sponsor: ReplicaDevice, joiner: ReplicaDevice
) -> None:
    joiner.commit(joiner.replica.adopt(sponsor.replica.snapshot()))
    for number in range(10):
        sponsor.put(RECORD, f"later {number}", field="a")
    joiner.put(RECORD, "mine", field="b")
    joiner.pull(sponsor)
    sponsor.pull(joiner)
    assert joiner.replica.digest() == sponsor.replica.digest()
    joiner.restart()
    assert joiner.replica.digest() == sponsor.replica.digest()
    assert not joiner.commit(joiner.replica.write_base()).base  # it is still the adopted one


def test_chunks_fit_a_message_and_their_bounds(
    sponsor: ReplicaDevice, joiner: ReplicaDevice
) -> None:
    chance = random.Random(2)
    sponsor.write(
        *(
            sponsor.operation(chance.randbytes(16), chance.randbytes(chance.choice([9, 60_000])))
            for _ in range(60)
        )
    )
    sponsor.write(
        *(sponsor.operation(chance.randbytes(16), None) for _ in range(BASE_SLOTS_PER_CHUNK + 5))
    )
    chunks = sponsor.replica.snapshot()
    assert len(chunks) > 4
    assert all(len(chunk) < MESSAGE_BYTES_MAX - 1_000 for chunk in chunks)
    assert len(chunks) < BASE_CHUNKS_MAX
    assert BASE_CHUNK_EXPANDED_BYTES_MAX < MESSAGE_BYTES_MAX
    joiner.commit(joiner.replica.adopt(chunks))
    assert joiner.replica.digest() == sponsor.replica.digest()


def test_a_device_that_holds_entries_does_not_adopt(
    sponsor: ReplicaDevice, joiner: ReplicaDevice
) -> None:
    joiner.put(RECORD, "mine")
    with pytest.raises(NotAllowed):
        joiner.replica.adopt(sponsor.replica.snapshot())


def test_unsent_edits_stay_unsent(sponsor: ReplicaDevice, joiner: ReplicaDevice) -> None:
    joiner.put(RECORD, "mine", live=False)
    joiner.commit(joiner.replica.adopt(sponsor.replica.snapshot()))
    assert joiner.replica.pending.unsent == 1
    joiner.seal()
    sponsor.pull(joiner)
    assert joiner.replica.digest() == sponsor.replica.digest()


@pytest.mark.parametrize("at", [0, 1, -1])
def test_every_flipped_bit_is_noticed_and_changes_nothing(
    sponsor: ReplicaDevice, joiner: ReplicaDevice, at: int
) -> None:
    chunks = sponsor.replica.snapshot()
    empty = joiner.replica.digest()
    for byte in range(0, len(chunks[at]), 7):
        flipped = bytearray(chunks[at])
        flipped[byte] ^= 1 << (byte % 8)
        changed = list(chunks)
        changed[at] = bytes(flipped)
        with pytest.raises(PeerError):
            joiner.replica.adopt(changed)
    assert joiner.replica.digest() == empty
    joiner.commit(joiner.replica.adopt(chunks))


def test_missing_and_swapped_chunks_are_refused(
    sponsor: ReplicaDevice, joiner: ReplicaDevice
) -> None:
    chunks = sponsor.replica.snapshot()
    assert len(chunks) == 3  # one per log
    for changed in (chunks[:-1], [*chunks, chunks[-1]], [chunks[0], chunks[2], chunks[1]], []):
        with pytest.raises(PeerError):
            joiner.replica.adopt(changed)


def _resigned(sponsor: ReplicaDevice, chunks: list[bytes], at: int, value: Any) -> list[bytes]:
    """A snapshot whose sponsor signed another manifest."""
    body = decode(decode(chunks[0])[0])
    body[at] = value
    raw = encode(body)
    return [encode([raw, sponsor.signing.sign(MANIFEST_DOMAIN, raw)]), *chunks[1:]]


def test_a_sponsor_that_lies_about_the_digest_is_refused(
    sponsor: ReplicaDevice, joiner: ReplicaDevice
) -> None:
    with pytest.raises(Malformed, match="digest"):
        joiner.replica.adopt(_resigned(sponsor, sponsor.replica.snapshot(), 7, bytes(32)))


@pytest.mark.parametrize(
    ("at", "value", "error"),
    [
        (0, 2, Malformed),
        (1, bytes(16), Unauthorized),
        (2, "sessions", Unauthorized),
        (3, bytes(16), Unauthorized),
        (4, bytes(16), Unauthorized),
        (5, [], Malformed),
        (5, [[bytes(16), 1, bytes(32), 1, [], []]], Unauthorized),
        (6, [bytes(32)], Unauthorized),
        (8, [], Malformed),
        (8, [bytes(32)] * (BASE_CHUNKS_MAX + 1), LimitExceeded),
    ],
)
def test_a_manifest_that_is_not_what_it_must_be_is_refused(
    sponsor: ReplicaDevice, joiner: ReplicaDevice, at: int, value: Any, error: type[PeerError]
) -> None:
    with pytest.raises(error):
        joiner.replica.adopt(_resigned(sponsor, sponsor.replica.snapshot(), at, value))


def test_clocks_beyond_the_end_that_is_stated_are_refused(
    sponsor: ReplicaDevice, joiner: ReplicaDevice
) -> None:
    chunks = sponsor.replica.snapshot()
    logs = decode(decode(chunks[0])[0])[5]
    logs[0][3] = 1
    with pytest.raises(Malformed, match="clocks"):
        joiner.replica.adopt(_resigned(sponsor, chunks, 5, logs))


def test_a_snapshot_of_a_stranger_or_a_removed_device_is_refused(
    sponsor: ReplicaDevice, joiner: ReplicaDevice
) -> None:
    chunks = sponsor.replica.snapshot()
    body = decode(chunks[0])[0]
    forged = encode([body, SigningKey(bytes(32)).sign(MANIFEST_DOMAIN, body)])
    with pytest.raises(Unauthorized):
        joiner.replica.adopt([forged, *chunks[1:]])
    removal = TestRemoval(StatementId(b"r" * 32), None)
    joiner.trusts(joiner.trust.learn(removal.id, {sponsor.device: removal}))
    with pytest.raises(Unauthorized, match="removed"):
        joiner.replica.adopt(chunks)


def test_a_snapshot_under_statements_or_a_key_that_are_not_here_is_refused(
    sponsor: ReplicaDevice, joiner: ReplicaDevice
) -> None:
    epoch = EpochId(b"a-newer-epoch!!!")
    sponsor.trusts(
        replace(
            sponsor.trust.learn(StatementId(b"s" * 32)),
            keys={**sponsor.trust.keys, epoch: bytes(32)},
            epoch=epoch,
        )
    )
    chunks = sponsor.replica.snapshot()
    with pytest.raises(Unauthorized, match="statements"):
        joiner.replica.adopt(chunks)
    joiner.trusts(joiner.trust.learn(StatementId(b"s" * 32)))
    with pytest.raises(Unauthorized, match="key"):
        joiner.replica.adopt(chunks)
    joiner.trusts(sponsor.trust)
    joiner.commit(joiner.replica.adopt(chunks))


def test_no_title_stands_in_clear(sponsor: ReplicaDevice) -> None:
    sponsor.put(RECORD, "a title that is a secret")
    assert b"secret" not in b"".join(sponsor.replica.snapshot())
    assert b"secret" not in b"".join(sponsor.raws(sponsor.log))


def test_without_a_key_to_write_under_there_is_no_snapshot(sponsor: ReplicaDevice) -> None:
    sponsor.trusts(replace(sponsor.trust, epoch=None))
    assert sponsor.replica.snapshot() == []


def test_a_removal_that_reaches_below_the_snapshot_asks_for_a_new_one(
    sponsor: ReplicaDevice, joiner: ReplicaDevice
) -> None:
    joiner.commit(joiner.replica.adopt(sponsor.replica.snapshot()))
    other = next(log for log in joiner.replica.frontier.applied if log != sponsor.log)
    device = joiner.trust.owners[other].device
    removal = TestRemoval(StatementId(b"r" * 32), {})
    outcome = joiner.trusts(joiner.trust.learn(removal.id, {device: removal}))
    assert [alert.kind for alert in outcome.alerts] == [AlertKind.BASE_STALE]


def test_the_manifest_says_what_it_covers(sponsor: ReplicaDevice) -> None:
    manifest = parse_manifest(sponsor.replica.snapshot()[0])
    assert {point.log: (point.seq, point.hash) for point in manifest.logs} == dict(
        sponsor.replica.frontier.applied
    )
    assert manifest.digest == sponsor.replica.digest()
    assert manifest.sponsor == sponsor.log
