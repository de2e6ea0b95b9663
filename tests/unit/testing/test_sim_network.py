"""The simulated network and clocks do to devices what real ones do."""

from __future__ import annotations

import random
from typing import Any

import pytest

from presenced.testing.sim_agenda import SimAgenda
from presenced.testing.sim_clock import DAY, EPOCH_MS, MS, SECOND, SimClock
from presenced.testing.sim_network import LEARNS_LATE_US_MAX, SimNetwork, Wire, WireEnd


class Ear:
    """Hears what a wire tells one side."""

    def __init__(self, wire: Wire, side: int) -> None:
        self.heard: list[Any] = []
        self.ended = False
        wire.ends[side] = WireEnd(self.heard.append, self._end)

    def _end(self) -> None:
        self.ended = True


@pytest.fixture(params=range(20), name="network")
def _network(request: pytest.FixtureRequest) -> SimNetwork:
    agenda = SimAgenda(random.Random(request.param))
    return SimNetwork(agenda, random.Random(request.param))


def agenda_of(network: SimNetwork) -> SimAgenda:
    return network._agenda


def wired(network: SimNetwork) -> tuple[Wire, Ear, Ear]:
    wire = network.connect(0, 1)
    assert wire is not None
    return wire, Ear(wire, 0), Ear(wire, 1)


def test_what_is_sent_on_one_wire_arrives_in_order(network: SimNetwork) -> None:
    wire, _, ear = wired(network)
    for number in range(20):
        wire.send(0, number)
    assert network.busy
    agenda_of(network).run_until(SECOND)
    assert ear.heard == list(range(20))
    assert not network.busy


def test_a_cut_loses_only_an_end_of_what_is_under_way_and_both_sides_learn_it(
    network: SimNetwork,
) -> None:
    wire, one, other = wired(network)
    for number in range(20):
        wire.send(0, number)
    wire.cut()
    wire.send(0, "too late")
    agenda_of(network).run_until(LEARNS_LATE_US_MAX + SECOND)
    assert other.heard == list(range(len(other.heard)))
    assert one.ended
    assert other.ended


def test_a_close_is_heard_after_all_that_was_sent(network: SimNetwork) -> None:
    wire, one, other = wired(network)
    wire.send(0, "last words")
    wire.send(1, "never heard")
    wire.close(0)
    agenda_of(network).run_until(SECOND)
    assert other.heard == ["last words"]
    assert other.ended
    assert (one.heard, one.ended) == ([], False)


def test_a_dead_process_hears_nothing_and_the_other_side_learns_it(network: SimNetwork) -> None:
    wire, one, other = wired(network)
    wire.send(1, "to the dead")
    wire.abandon(0)
    agenda_of(network).run_until(LEARNS_LATE_US_MAX + SECOND)
    assert (one.heard, one.ended) == ([], False)
    assert other.ended


def test_parted_devices_do_not_connect_and_their_wires_are_cut(network: SimNetwork) -> None:
    wire, _, _ = wired(network)
    network.part(1, 0)
    assert not wire.alive
    assert network.parted_pairs == [(0, 1)]
    assert network.connect(0, 1) is None
    assert network.connect(0, 2) is not None
    network.join(0, 1)
    assert network.connect(0, 1) is not None


def test_damage_changes_bytes_or_their_order(network: SimNetwork) -> None:
    wire, _, ear = wired(network)
    assert not wire.damage()
    sent = [bytes([number]) * 4 for number in range(5)]
    for data in sent:
        wire.send(0, data)
    assert wire.damage()
    agenda_of(network).run_until(SECOND)
    assert ear.heard != sent


def test_equal_times_happen_in_an_order_that_the_seed_draws() -> None:
    orders = set()
    for seed in range(10):
        agenda, happened = SimAgenda(random.Random(seed)), []
        for name in "abc":
            agenda.at(5, lambda name=name, happened=happened: happened.append(name))  # type: ignore[misc]
        agenda.run_until(5)
        assert agenda.now == 5
        orders.add("".join(happened))
    assert len(orders) > 1


def test_a_wall_clock_may_be_off_stand_still_or_run_back_and_sleep_stops_the_monotonic_one() -> (
    None
):
    clock = SimClock(skew_ms=1_000)
    assert clock.read(5 * MS).wall_ms == EPOCH_MS + 1_005
    assert SimClock(wall_rate=0).read(DAY).wall_ms == EPOCH_MS
    assert SimClock(wall_rate=-1).read(7 * MS).wall_ms == EPOCH_MS - 7
    clock.slept(3 * MS)
    assert clock.read(5 * MS).mono_ms == 2
    assert clock.true_time_of(2) == 5 * MS
