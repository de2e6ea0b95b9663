"""Worlds with a device that signs two histories: all honest devices end equal and lose nothing.

The forked device is honest in each of its two lives (a copied home), which is the worst case:
both branches are well formed, and honest devices build on either before they know of the fork.
"""

from __future__ import annotations

import random

import pytest

from presenced.ids import StatementId
from presenced.replica.rows import AlertKind, Outcome
from presenced.testing.replica_world import ReplicaDevice, TestRemoval, acquaint

RECORDS = [bytes([number]) * 16 for number in range(1, 6)]
REMOVAL = StatementId(b"r" * 32)


class World:
    """Three honest devices and two lives of a fourth, each of which meets some of them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.honest = [ReplicaDevice(number) for number in range(3)]
        self.twins = [ReplicaDevice(9), ReplicaDevice(9)]
        acquaint([*self.honest, *self.twins])
        self.outcomes: list[Outcome] = []
        self.wrote = 0

    def edit(self, device: ReplicaDevice) -> None:
        self.wrote += 1
        device.put(self.random.choice(RECORDS), self.wrote, field=self.random.choice("abc"))

    def begin(self) -> None:
        """What both lives have in common."""
        first, second = self.twins
        for _ in range(self.random.randint(0, 6)):
            self.edit(self.random.choice([first, *self.honest]))
            self.random.choice(self.honest).pull(first)
        for device in self.honest:
            first.pull(device)
        second.pull(first)
        for place, entry in first.reader._entries.items():
            second.reader._entries[place] = entry
        second.reader._heads = dict(first.reader._heads)
        second.restart()

    def part(self, steps: int) -> None:
        """Each life writes on, and meets one honest device each, which meet others or not."""
        for _ in range(steps):
            roll = self.random.random()
            if roll < 0.35:
                self.edit(self.random.choice(self.twins))
            elif roll < 0.6:
                self.edit(self.random.choice(self.honest))
            elif roll < 0.85:
                life = self.random.randrange(2)
                self.meet(self.honest[life], self.twins[life])
            else:
                self.meet(*self.random.sample(self.honest, 2))

    def meet(self, one: ReplicaDevice, other: ReplicaDevice) -> None:
        """As the sync machine does: what is not held; all of a log whose branches differ."""
        for to, of in ((one, other), (other, one)):
            if to in self.twins:
                continue
            for fork in of.reader.forks():
                self.outcomes.append(to.commit(to.replica.receive_proof(fork, to.now)))
            held = to.replica.frontier.held
            for log, (seq, digest) in of.replica.frontier.held.items():
                mine, my_hash = held.get(log, (0, b""))
                theirs = of.replica.hash_at(log, mine) if mine <= seq else None
                ours = to.replica.hash_at(log, seq) if mine >= seq else my_hash
                parted = (theirs not in (None, my_hash)) if mine <= seq else ours != digest
                first_seq = 1 if parted and mine else mine + 1
                if first_seq <= seq:
                    self.outcomes.append(to.receive(log, first_seq, of.raws(log, first_seq)))

    def settle(self) -> None:
        for _ in range(4):
            for one in self.honest:
                for other in self.honest:
                    if one is not other:
                        self.meet(one, other)
        for outcome in self.outcomes:
            assert not outcome.faults

    def check(self) -> None:
        frontiers = [device.replica.frontier for device in self.honest]
        for author in self.honest:
            for frontier in frontiers:
                assert frontier.applied.get(author.log) == author.replica.frontier.held.get(
                    author.log
                ), "an honest edit waits"
        assert all(one.applied == frontiers[0].applied for one in frontiers)
        digests = {device.replica.digest() for device in self.honest}
        assert len(digests) == 1
        for device in self.honest:
            device.restart()
            assert {device.replica.digest()} == digests
            assert device.replica.pending.waiting == 0


@pytest.mark.parametrize("seed", range(60))
def test_devices_that_built_on_different_branches_end_equal_and_no_honest_edit_waits(
    seed: int,
) -> None:
    world = World(seed)
    world.begin()
    world.part(50)
    world.settle()
    world.check()


@pytest.mark.parametrize("seed", range(60))
def test_a_removal_that_names_a_branch_brings_it_back_for_all(seed: int) -> None:
    world = World(1000 + seed)
    world.begin()
    world.part(40)
    twin = world.random.choice(world.twins)
    log = twin.log
    named = twin.replica.frontier.held.get(log)
    if named is None:
        return
    world.meet(world.honest[0], twin)
    if world.random.random() < 0.5:
        world.settle()
    removal = TestRemoval(REMOVAL, {log: named})
    trust = world.honest[0].trust.learn(REMOVAL, {twin.device: removal})
    for device in world.honest:
        world.outcomes.append(device.trusts(trust))
    world.settle()
    world.honest[0].commit(world.honest[0].replica.settle(world.honest[0].now))
    world.settle()
    world.check()
    forked = any(list(device.reader.forks()) for device in world.honest)
    holds = {device.replica.hash_at(log, named[0]) == named[1] for device in world.honest}
    if not forked or True in holds:
        assert holds == {True}
        for device in world.honest:
            assert device.replica.frontier.applied[log] == named


def test_a_fork_is_said_to_all_and_kept() -> None:
    world = World(7)
    world.begin()
    world.part(60)
    world.settle()
    kinds = {alert.kind for outcome in world.outcomes for alert in outcome.alerts}
    assert AlertKind.FORK in kinds
    proofs = [list(device.reader.forks()) for device in world.honest]
    assert all(len(found) == 1 for found in proofs)
    assert len({found[0].seq for found in proofs}) == 1
