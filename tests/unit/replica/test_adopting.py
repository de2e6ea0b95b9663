"""A snapshot in the place of an earlier one: what follows it, and when it may not be taken."""

from __future__ import annotations

import random

import pytest

from presenced.errors import NotAllowed
from presenced.ids import StatementId
from presenced.replica.rows import AlertKind
from presenced.testing.replica_world import ReplicaDevice, TestRemoval, acquaint

HEARD = StatementId(b"h" * 32)
REMOVAL = StatementId(b"r" * 32)


def known(*numbers: int) -> list[ReplicaDevice]:
    devices = [ReplicaDevice(number) for number in numbers]
    acquaint(devices)
    for device in devices:
        device.trusts(device.trust.learn(HEARD))
    return devices


def put(device: ReplicaDevice, number: int) -> None:
    device.put(bytes([number]) * 16, f"{number} of {device.signing.public[:2].hex()}")


def test_what_came_after_the_earlier_snapshot_follows_the_new_one() -> None:
    sponsor, other, joiner = known(1, 2, 3)
    put(sponsor, 1)
    joiner.commit(joiner.replica.adopt(sponsor.replica.snapshot()))
    put(sponsor, 2)
    put(joiner, 3)
    joiner.pull(sponsor)
    other.pull(sponsor)
    put(other, 4)
    outcome = joiner.commit(joiner.replica.adopt_anew(other.replica.snapshot()))
    assert outcome.rebuilt
    assert not outcome.cuts
    assert outcome.adopted_from == other.device
    other.pull(joiner)
    assert joiner.replica.digest() == other.replica.digest()
    before = joiner.replica.frontier
    joiner.restart()
    assert joiner.replica.digest() == other.replica.digest()
    assert joiner.replica.frontier == before
    put(joiner, 5)
    other.pull(joiner)
    assert joiner.replica.digest() == other.replica.digest()


def test_own_entries_are_never_given_up_for_a_snapshot() -> None:
    sponsor, other, joiner = known(1, 2, 3)
    put(sponsor, 1)
    joiner.commit(joiner.replica.adopt(sponsor.replica.snapshot()))
    put(joiner, 2)
    sponsor.pull(joiner)
    joiner.commit(joiner.replica.adopt_anew(sponsor.replica.snapshot()))
    put(joiner, 3)
    other.pull(sponsor)
    assert joiner.replica.frontier.held[joiner.log][0] == 2
    # The other one has less of our log than our base has, but all of it is on our disk.
    before = sponsor.replica.snapshot()
    joiner.commit(joiner.replica.adopt_anew(before))
    assert joiner.replica.frontier.held[joiner.log][0] == 2
    for place in list(joiner.reader._entries):
        if place[1] == joiner.log:
            del joiner.reader._entries[place]
    with pytest.raises(NotAllowed):
        joiner.replica.adopt_anew(before)
    assert joiner.replica.frontier.held[joiner.log][0] == 2


def test_own_entries_never_wait_for_what_a_snapshot_lacks() -> None:
    sponsor, other, joiner = known(1, 2, 3)
    early = sponsor.replica.snapshot()
    put(sponsor, 1)
    joiner.commit(joiner.replica.adopt(sponsor.replica.snapshot()))
    put(joiner, 2)  # builds on what only the snapshot has
    put(other, 3)
    before = joiner.replica.frontier
    for snapshot in (early, other.replica.snapshot()):
        with pytest.raises(NotAllowed):
            joiner.replica.adopt_anew(snapshot)
    assert joiner.replica.frontier == before
    assert joiner.replica.can_seal


def test_a_snapshot_under_other_statements_is_not_taken() -> None:
    sponsor, joiner = known(1, 3)
    put(sponsor, 1)
    joiner.commit(joiner.replica.adopt(sponsor.replica.snapshot()))
    later = joiner.trust.learn(StatementId(b"l" * 32))
    joiner.trusts(later)
    with pytest.raises(NotAllowed):
        joiner.replica.adopt_anew(sponsor.replica.snapshot())
    sponsor.trusts(later)
    joiner.commit(joiner.replica.adopt_anew(sponsor.replica.snapshot()))


def test_a_snapshot_of_another_branch_is_not_taken() -> None:
    sponsor, twin, joiner = known(1, 1, 3)
    put(sponsor, 1)
    twin.pull(sponsor)
    joiner.commit(joiner.replica.adopt(sponsor.replica.snapshot()))
    put(sponsor, 2)
    put(sponsor, 3)
    joiner.pull(sponsor)
    put(twin, 4)
    with pytest.raises(NotAllowed):
        joiner.replica.adopt_anew(twin.replica.snapshot())


def is_stale(device: ReplicaDevice) -> bool:
    return device.replica.base_stale


def stale_world() -> tuple[ReplicaDevice, ReplicaDevice, ReplicaDevice]:
    """A remover, a removed thief, and one who began with more of the thief than counts."""
    remover, thief, joiner = known(1, 2, 3)
    for number in range(1, 6):
        put(thief, number)
    remover.pull(thief)
    joiner.commit(joiner.replica.adopt(remover.replica.snapshot()))
    put(thief, 6)
    put(thief, 7)
    joiner.pull(thief)
    head = remover.replica._copy.ledger.chains[thief.log]
    digest = head.hash_at(3)
    assert digest is not None
    removal = TestRemoval(REMOVAL, {thief.log: (3, digest)})
    trust = remover.trust.learn(REMOVAL, {thief.device: removal})
    remover.trusts(trust)
    outcome = joiner.trusts(trust)
    assert [alert.kind for alert in outcome.alerts] == [AlertKind.BASE_STALE]
    return remover, thief, joiner


def test_after_a_removal_the_new_snapshot_has_less_and_the_rest_comes_again() -> None:
    remover, thief, joiner = stale_world()
    assert is_stale(joiner)
    assert joiner.replica.frontier.held[thief.log][0] == 7
    outcome = joiner.commit(joiner.replica.adopt_anew(remover.replica.snapshot()))
    assert [cut.first_seq for cut in outcome.cuts] == [4]
    assert not is_stale(joiner)
    assert joiner.replica.digest() == remover.replica.digest()
    assert joiner.replica.frontier.held[thief.log][0] == 3
    for device in (joiner, remover):
        device.pull(thief)
        assert device.replica.frontier.held[thief.log][0] == 7
        assert device.replica.frontier.applied[thief.log][0] == 3
        assert device.replica.pending.quarantined == 4
    joiner.restart()
    assert joiner.replica.digest() == remover.replica.digest()
    assert not is_stale(joiner)


@pytest.mark.parametrize("seed", range(14))
def test_taken_anew_amid_traffic_all_end_equal(seed: int) -> None:
    chance = random.Random(seed)
    devices = known(1, 2, 3, 4)
    joiner = devices[3]
    for _ in range(14):
        put(chance.choice(devices[:3]), chance.randint(1, 9))
        one, other = chance.sample(devices[:3], 2)
        one.pull(other)
    joiner.commit(joiner.replica.adopt(devices[0].replica.snapshot()))
    taken = 0
    for _ in range(40):
        put(chance.choice(devices), chance.randint(1, 9))
        one, other = chance.sample(devices, 2)
        if joiner not in (one, other):
            one.pull(other)
        elif other is joiner:
            first = one.replica.frontier.held.get(joiner.log, (0, b""))[0] + 1
            raws = joiner.raws(joiner.log, first)
            if raws:
                one.receive(joiner.log, first, raws)
        elif chance.random() < 0.5:
            try:
                joiner.commit(joiner.replica.adopt_anew(other.replica.snapshot()))
                taken += 1
            except NotAllowed:
                pass
        else:
            joiner.pull(other)
        if chance.random() < 0.1:
            joiner.restart()
    assert taken
    for _ in range(5):
        for device in devices:
            for other in devices[:3]:
                if device is not other:
                    device.pull(other)
            if device is not joiner:
                first = device.replica.frontier.held.get(joiner.log, (0, b""))[0] + 1
                raws = joiner.raws(joiner.log, first)
                if raws:
                    device.receive(joiner.log, first, raws)
    digests = {device.replica.digest() for device in devices}
    assert len(digests) == 1
    joiner.restart()
    assert {joiner.replica.digest()} == digests
