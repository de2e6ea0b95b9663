"""What the simulator found, each as the smallest world or exchange that shows it."""

from __future__ import annotations

import pytest

from presenced.clock import Instant
from presenced.device.edits import ChangeFollow
from presenced.device.effects import CloseLink, LinkNumber
from presenced.presence.naming import follow_id, session_id
from presenced.replica import sync
from presenced.replica.document import DocumentLost
from presenced.replica.frontier import Frontier
from presenced.replica.messages import EntriesArrived, FrontierReceived, parse_message
from presenced.replica.sync import SendMessage, SyncMachine
from presenced.testing.replica_world import ReplicaDevice, acquaint
from presenced.testing.scenarios import FEED, follow_shown, play
from presenced.testing.sim_world import SimWorld

SEEDS = pytest.mark.parametrize("seed", range(8))


def test_a_founder_can_seal_as_soon_as_it_has_paid_for_its_first_epoch() -> None:
    world = SimWorld("founder")
    founder = world.found()
    machine = founder.machine
    assert machine is not None
    assert all(replica.can_seal for replica in machine.shelf.replicas.values())


@SEEDS
def test_a_newer_versions_maps_do_not_stop_an_older_one(seed: int) -> None:
    world = play(
        """
        A            | B
        found        |
        admit B      |
        follow       |
        part B       |
        newer        | newer
        title one    |
        rejoin B     |
        """,
        seed,
    )
    assert follow_shown(world, "B").uri


def test_a_session_in_the_collection_of_follows_is_nobodys_session() -> None:
    for seed in range(20):
        world = play(
            """
            A            | B
            found        |
            admit B      |
            newer        |
            """,
            seed,
        )
        replica = world.devices[1].machine.shelf.replicas["follows"]  # type: ignore[union-attr]
        film = session_id("media", "https://example.org/film")
        if replica.record("session", film):
            assert film not in world.devices[1].disk.session_rows
            return
    raise AssertionError("no such write was drawn")


@SEEDS
def test_yrs_may_panic_while_a_commit_is_in_flight(seed: int) -> None:
    world = play(
        """
        A                        | B
        found                    |
        admit B                  |
        follow                   |
        title one; panic; title two | title three
        title four               | panic
        """,
        seed,
    )
    assert follow_shown(world, "B").title == "four"


@SEEDS
def test_statements_are_told_in_order_and_not_before_they_are_saved(seed: int) -> None:
    play(
        """
        A            | B            | C            | D            | E
        found        |              |              |              |
        admit B      |              |              |              |
        admit C; follow | admit D; title x | |              |
        rename A     |              | admit E; rename C |         |
        """,
        seed,
    )


def test_a_new_link_wins_over_an_old_one_that_only_seems_to_be_up() -> None:
    world = play(
        """
        A            | B
        found        |
        admit B      |
        """,
        1,
    )
    for device, other in (world.devices, world.devices[::-1]):
        machine = device.machine
        assert machine is not None
        [old] = machine.links
        now = Instant(device.now.mono_ms + 60_000, device.now.wall_ms)
        new = LinkNumber(old + 1)
        assert other.secrets is not None
        static = other.secrets.static.public
        effects = machine.link_up(new, other.device, static, now, inbound=True)
        assert CloseLink(old, "duplicate") in effects
        assert list(machine.links) == [new]


def _two_replicas() -> tuple[ReplicaDevice, ReplicaDevice]:
    first, second = ReplicaDevice(1), ReplicaDevice(2)
    acquaint([first, second])
    for number in range(3):
        first.put(b"a" * 15 + bytes((number,)), "one")
        second.pull(first)
        second.put(b"b" * 15 + bytes((number,)), "two")
        first.pull(second)
    return first, second


def _sent(effects: list[object]) -> list[object]:
    return [parse_message(one.message) for one in effects if isinstance(one, SendMessage)]


def test_who_has_entries_by_now_tells_the_sponsor_that_it_wants_no_snapshot() -> None:
    now = Instant(0, 0)
    device, _ = _two_replicas()
    joiner = SyncMachine("follows", ReplicaDevice(3).reader)
    joiner.start(Frontier(), now, adopts=True)
    joiner.committed([], device.replica.frontier, now)
    sponsor = FrontierReceived(
        frontier=device.replica.frontier, slots=sync.SNAPSHOT_SLOTS_MIN, adopts=False
    )
    effects = joiner.receive(sync.encode_message("follows", sponsor), now)
    again = [one for one in _sent(list(effects)) if isinstance(one, FrontierReceived)]
    assert [one.adopts for one in again] == [False]


def test_each_round_begins_with_another_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("presenced.replica.outgoing.UNACKNOWLEDGED_BYTES_MAX", 1)
    now = Instant(0, 0)
    device, _ = _two_replicas()
    machine = SyncMachine("follows", device.reader)
    machine.start(device.replica.frontier, now)
    nothing = FrontierReceived(frontier=Frontier(), slots=0, adopts=False)
    first_logs = []
    for _ in range(2):
        effects = machine.receive(sync.encode_message("follows", nothing), now)
        [entries] = [one for one in _sent(list(effects)) if isinstance(one, EntriesArrived)]
        first_logs.append(entries.log)
    assert len(set(first_logs)) == 2


def test_what_is_on_disk_can_be_read_while_a_lost_document_waits_for_its_commit() -> None:
    world = play(
        """
        A            | B
        found        |
        admit B      |
        follow       |
        """,
        1,
    )
    device, other = world.devices
    machine = device.machine
    assert machine is not None
    for wire in world.network.wires:
        wire._latency_us = 1
    other.edit([ChangeFollow(uri=FEED, title="arrives meanwhile")])
    while not world.network.busy:
        world.agenda.happen()
    device.edit([ChangeFollow(uri=FEED, title="in flight")])
    document = machine.shelf.replicas["follows"]._copy.ledger.document
    document.put = _panic  # type: ignore[method-assign]
    document.live_rows = _panic  # type: ignore[method-assign]
    while machine.links:
        world.agenda.happen()
    assert device.batch is not None
    assert machine.shelf.record("follow", follow_id(FEED))
    assert machine.shelf.replicas["follows"].digest()
    world.settle()
    world.check_rest()


def _panic(*_: object) -> None:
    raise DocumentLost("a simulated panic")
