"""Random worlds of devices without a network: whatever the order of delivery, all agree."""

from __future__ import annotations

import random

import pytest

from presenced.ids import LogId, StatementId
from presenced.replica.rows import Outcome
from presenced.testing.replica_world import (
    OpenTrust,
    ReplicaDevice,
    TestRemoval,
    acquaint,
)

RECORDS = [bytes([number]) * 16 for number in range(1, 6)]
FIELDS = ["state", "title", "tag/a"]


class World:
    """Devices that edit, pull from each other in pieces, restart, and drop what failed."""

    def __init__(self, seed: int, devices: int) -> None:
        self.random = random.Random(seed)
        self.devices = [ReplicaDevice(number) for number in range(devices)]
        acquaint(self.devices)
        self.causes: dict[tuple[LogId, bytes, str, int], set[tuple[LogId, int]]] = {}

    def edit(self, device: ReplicaDevice) -> None:
        record, field = self.random.choice(RECORDS), self.random.choice(FIELDS)
        device.put(
            record,
            self.random.choice(["a", 1, None, {"k": [1, 2]}, 2**70]),
            field=field,
            live=self.random.random() < 0.6,
        )

    def deliver(self, to: ReplicaDevice, of: ReplicaDevice) -> None:
        """Part of one log, perhaps from too early on or again."""
        heads = of.reader.log_heads("follows")
        if not heads:
            return
        head = self.random.choice(list(heads))
        held = to.replica.frontier.held.get(head.log, (0, b""))[0]
        first = self.random.randint(1, min(held + 1, head.held_seq))
        raws = of.raws(head.log, first)[: self.random.randint(1, 5)]
        outcome = to.receive(head.log, first, raws)
        assert not outcome.faults
        assert not outcome.alerts

    def fail(self, device: ReplicaDevice) -> None:
        """An edit whose commit fails: nothing of it may stay."""
        device.replica.write([device.operation(RECORDS[0], "lost")], live=True)
        device.replica.drop()

    def run(self, steps: int) -> None:
        for _ in range(steps):
            device = self.random.choice(self.devices)
            roll = self.random.random()
            if roll < 0.4:
                self.edit(device)
            elif roll < 0.9:
                self.deliver(device, self.random.choice(self.devices))
            elif roll < 0.95:
                device.restart()
            else:
                self.fail(device)

    def settle(self) -> None:
        for device in self.devices:
            device.seal()
        for _ in range(len(self.devices) + 1):
            for device in self.devices:
                for other in self.devices:
                    if other is not device:
                        for outcome in device.pull(other):
                            assert not outcome.faults

    def check_equal(self) -> None:
        digests = {device.replica.digest() for device in self.devices}
        assert len(digests) == 1
        frontiers = [device.replica.frontier for device in self.devices]
        assert all(one.applied == frontiers[0].applied for one in frontiers)
        for device in self.devices:
            before = device.replica.digest()
            device.restart()
            assert device.replica.digest() == before
            assert device.replica.frontier.applied == frontiers[0].applied
            for record in RECORDS:
                assert device.replica.record("follow", record) == self.devices[0].replica.record(
                    "follow", record
                )


@pytest.mark.parametrize("seed", range(60))
def test_devices_agree_whatever_the_order_of_delivery(seed: int) -> None:
    world = World(seed, devices=2 + seed % 4)
    world.run(120)
    world.settle()
    world.check_equal()
    assert all(device.replica.pending.waiting == 0 for device in world.devices)


@pytest.mark.parametrize("seed", range(30))
def test_start_from_a_base_equals_start_from_the_log(seed: int) -> None:
    world = World(1000 + seed, devices=3)
    world.run(60)
    device = world.devices[0]
    device.seal()
    device.commit(device.replica.write_base())
    world.run(40)
    world.settle()
    world.check_equal()


@pytest.mark.parametrize("seed", range(40))
def test_a_device_that_adopts_a_snapshot_amid_traffic_ends_equal(seed: int) -> None:
    world = World(2000 + seed, devices=3)
    world.run(60)
    joiner = ReplicaDevice(99)
    acquaint([*world.devices, joiner])
    sponsor = world.devices[0]
    sponsor.seal()
    joiner.commit(joiner.replica.adopt(sponsor.replica.snapshot()))
    assert joiner.replica.digest() == sponsor.replica.digest()
    world.run(60)
    world.devices.append(joiner)
    for _ in range(20):
        if world.random.random() < 0.5:
            world.edit(joiner)
        joiner.seal()
        joiner.pull(world.random.choice(world.devices[:-1]))
    for _ in range(4):
        for device in world.devices:
            for other in world.devices:
                if other is joiner:
                    first = device.replica.frontier.held.get(joiner.log, (0, b""))[0] + 1
                    device.receive(joiner.log, first, joiner.raws(joiner.log, first))
                elif other is not device:
                    device.pull(other)
    world.check_equal()


def _removal(world: World, number: int, removed: ReplicaDevice, by: ReplicaDevice) -> TestRemoval:
    applied = by.replica.frontier.applied.get(removed.log)
    return TestRemoval(
        StatementId(bytes([number]) * 32), {} if applied is None else {removed.log: applied}
    )


@pytest.mark.parametrize("seed", range(60))
def test_a_removal_is_judged_alike_by_all_and_no_honest_edit_is_lost(seed: int) -> None:
    world = World(3000 + seed, devices=4)
    world.run(80)
    thief, remover = world.devices[3], world.devices[0]
    removal = _removal(world, 1, thief, remover)
    honest = world.devices[:3]
    outcomes: list[Outcome] = []
    trust: OpenTrust = remover.trust.learn(removal.id, {thief.device: removal})
    outcomes.append(remover.trusts(trust))
    for _ in range(60):
        device = world.random.choice(world.devices)
        roll = world.random.random()
        if roll < 0.4:
            world.edit(device)
        elif roll < 0.85:
            source = world.random.choice(world.devices)
            # Entries that name the removal wait where it is not known: statements go first.
            world.deliver(device, source)
        elif device in honest and device.trust is not trust:
            outcomes.append(device.trusts(trust))
    outcomes += [device.trusts(trust) for device in honest if device.trust is not trust]
    # The thief shows everything it has, too; it has not heard of the removal.
    thief.seal()
    world.settle()
    digests = {device.replica.digest() for device in honest}
    assert len(digests) == 1
    for device in honest:
        frontier = device.replica.frontier
        for author in honest:
            assert frontier.applied.get(author.log) == frontier.held.get(author.log)
        before = device.replica.digest()
        device.restart()
        assert device.replica.digest() == before
        assert device.replica.frontier == frontier
