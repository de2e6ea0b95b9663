"""What a device that signs two histories can do to others: end its own log, and nothing else."""

from __future__ import annotations

import random

import pytest

from presenced.crypto.keys import SigningKey
from presenced.errors import Malformed, Unauthorized
from presenced.ids import EntryHash, StatementId
from presenced.replica.entry import Reference
from presenced.replica.limits import WAITING_ENTRIES_MAX
from presenced.replica.rows import AlertKind, ForkProof
from presenced.testing.replica_world import HostileDevice, ReplicaDevice, TestRemoval, acquaint
from presenced.wire import encode

RECORD = bytes(16)
REMOVAL = StatementId(b"r" * 32)


class Forker(HostileDevice):
    """A member that can go back in its own log and sign on from there."""

    def __init__(self) -> None:
        super().__init__(66)
        self.ends = {0: self.previous}

    def sign(self, count: int, word: str) -> list[bytes]:
        raws = []
        for number in range(count):
            raws.append(self.forge(encode([self.row(f"{word} {number}")])))
            self.ends[self.seq] = self.previous
        return raws

    def back(self, seq: int, ends: dict[int, EntryHash]) -> None:
        self.seq, self.previous = seq, ends[seq]

    def proof(self, seq: int, ends: dict[int, EntryHash]) -> ForkProof:
        """Of a fork at a place after `ends`."""
        pair = []
        for word in ("one", "two"):
            self.back(seq - 1, ends)
            pair += self.sign(1, word)
        return ForkProof("follows", self.log, seq, ends[seq - 1], *pair)


@pytest.fixture
def forker() -> Forker:
    return Forker()


@pytest.fixture
def victim(forker: Forker) -> ReplicaDevice:
    device = ReplicaDevice(1)
    acquaint([forker, device])
    return device


def shown(device: ReplicaDevice, proof: ForkProof) -> list[AlertKind]:
    outcome = device.commit(device.replica.receive_proof(proof, device.now))
    assert not outcome.faults
    return [alert.kind for alert in outcome.alerts]


def test_a_proof_needs_two_entries_that_the_author_signed_for_one_place(
    forker: Forker, victim: ReplicaDevice
) -> None:
    raws = forker.sign(2, "said")
    victim.receive(forker.log, 1, raws)
    ends = dict(forker.ends)
    good = forker.proof(2, ends)
    forger = Forker()
    forger.log, forger.signing = forker.log, SigningKey(bytes(32))
    forged = forger.proof(2, ends)
    for proof, fault in (
        (good._replace(second=good.first), Malformed),
        (good._replace(seq=1), Unauthorized),
        (good._replace(previous=EntryHash(bytes(32))), Unauthorized),
        (forged, Unauthorized),
        (good._replace(second=forged.second), Unauthorized),
        (good._replace(first=b"\x90"), Malformed),
    ):
        outcome = victim.commit(victim.replica.receive_proof(proof, victim.now))
        assert [type(one) for one in outcome.faults] == [fault]
        assert not outcome.forks
    assert victim.replica.frontier.applied[forker.log][0] == 2


def test_of_many_forks_only_the_lowest_is_kept_and_said_once(
    forker: Forker, victim: ReplicaDevice
) -> None:
    raws = forker.sign(9, "said")
    victim.receive(forker.log, 1, raws)
    ends = dict(forker.ends)
    assert shown(victim, forker.proof(7, ends)) == [AlertKind.FORK]
    assert shown(victim, forker.proof(7, ends)) == []
    assert shown(victim, forker.proof(8, ends)) == []
    assert shown(victim, forker.proof(4, ends)) == [AlertKind.FORK]
    assert [proof.seq for proof in victim.reader.forks()] == [4]
    assert victim.replica.frontier.applied[forker.log][0] == 3
    victim.restart()
    victim.replica.load()
    assert victim.replica.frontier.applied[forker.log][0] == 3
    assert victim.replica.pending.quarantined == 6


def test_after_a_fork_nothing_more_of_the_log_is_stored(
    forker: Forker, victim: ReplicaDevice
) -> None:
    raws = forker.sign(3, "said")
    victim.receive(forker.log, 1, raws)
    ends = dict(forker.ends)
    shown(victim, forker.proof(2, ends))
    forker.back(3, ends)
    outcome = victim.receive(forker.log, 4, forker.sign(50, "more"))
    assert not outcome.entries
    assert not outcome.paused
    assert not outcome.faults
    assert victim.replica.frontier.held[forker.log][0] == 3


def test_what_lies_beyond_a_fork_takes_nobody_s_place_in_the_queue(
    forker: Forker, victim: ReplicaDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert WAITING_ENTRIES_MAX == 10_000
    monkeypatch.setattr("presenced.replica.arrivals.WAITING_ENTRIES_MAX", 5)
    victim.receive(forker.log, 1, forker.sign(9, "said"))
    shown(victim, forker.proof(1, dict(forker.ends)))
    assert victim.replica.pending.quarantined == 9
    early, late = ReplicaDevice(2), ReplicaDevice(3)
    acquaint([victim, early, late])
    early.put(RECORD, "first")
    late.pull(early)
    late.put(RECORD, "second")
    late.put(RECORD, "third")
    victim.receive(late.log, 1, late.raws(late.log))
    assert victim.replica.pending.waiting == 2
    victim.receive(early.log, 1, early.raws(early.log))
    assert victim.replica.frontier.applied[late.log][0] == 2


def test_a_fork_takes_nothing_back_that_a_removal_has_named(
    forker: Forker, victim: ReplicaDevice
) -> None:
    raws = forker.sign(8, "said")
    victim.receive(forker.log, 1, raws)
    ends = dict(forker.ends)
    removal = TestRemoval(REMOVAL, {forker.log: (5, ends[5])})
    victim.trusts(victim.trust.learn(REMOVAL, {forker.device: removal}))
    assert victim.replica.frontier.applied[forker.log] == (5, ends[5])
    before = victim.replica.digest()
    shown(victim, forker.proof(1, ends))
    assert victim.replica.frontier.applied[forker.log] == (5, ends[5])
    assert victim.replica.digest() == before
    victim.restart()
    assert victim.replica.digest() == before


def test_two_removals_that_name_two_branches_leave_what_both_have(
    forker: Forker, victim: ReplicaDevice
) -> None:
    common = forker.sign(2, "common")
    ends = dict(forker.ends)
    left = forker.sign(3, "left")
    left_end = (5, forker.previous)
    forker.back(2, ends)
    forker.sign(4, "right")
    right_end = (6, forker.previous)
    victim.receive(forker.log, 1, [*common, *left])
    trust = victim.trust
    for word, point in ((b"1", left_end), (b"2", right_end)):
        removal = TestRemoval(StatementId(word * 32), {forker.log: point})
        trust = trust.learn(removal.id, {forker.device: removal})
    shown(victim, forker.proof(3, ends))
    victim.trusts(trust)
    assert victim.replica.frontier.applied[forker.log] == (2, ends[2])
    victim.restart()
    assert victim.replica.frontier.applied[forker.log] == (2, ends[2])


def test_an_accomplice_that_names_branches_that_never_were_gains_nothing(
    forker: Forker, victim: ReplicaDevice
) -> None:
    victim.receive(forker.log, 1, forker.sign(4, "said"))
    accomplice = HostileDevice(67)
    acquaint([forker, victim, accomplice])
    past = [Reference(forker.log, 999, EntryHash(b"n" * 32))]
    raw = accomplice.forge(encode([accomplice.row("mine")]), past=past)
    victim.receive(accomplice.log, 1, [raw])
    assert victim.replica.pending.waiting == 1
    shown(victim, forker.proof(3, dict(forker.ends)))
    assert victim.replica.frontier.applied[accomplice.log][0] == 1
    assert victim.replica.frontier.applied[forker.log][0] == 2
    assert not victim.receive(forker.log, 5, forker.sign(1, "on")).entries


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_shown_in_whatever_order_all_end_equal(seed: int) -> None:
    chance = random.Random(seed)
    forker = Forker()
    devices = [ReplicaDevice(number) for number in range(4)]
    acquaint([forker, *devices])
    common = forker.sign(chance.randint(1, 4), "common")
    ends = dict(forker.ends)
    branches = []
    for number in range(3):
        at = chance.randint(0, len(common))
        forker.back(at, ends)
        branches.append((at, forker.sign(chance.randint(1, 4), f"branch {number}")))
    for device in devices:
        at, raws = chance.choice(branches)
        device.receive(forker.log, 1, [*common[:at], *raws])
        device.put(RECORD, f"by {device.log.hex()}")
    for _ in range(3):
        for one in devices:
            for other in devices:
                if one is other:
                    continue
                for proof in other.reader.forks():
                    shown(one, proof)
                held = one.replica.frontier.held
                for log, (seq, _) in other.replica.frontier.held.items():
                    first = 1 if log == forker.log else held.get(log, (0, b""))[0] + 1
                    if first <= seq:
                        assert not one.receive(log, first, other.raws(log, first)).faults
    assert len({device.replica.digest() for device in devices}) == 1
    applied = [device.replica.frontier.applied for device in devices]
    assert all(one == applied[0] for one in applied)
    assert all(applied[0][device.log][0] == 1 for device in devices)
