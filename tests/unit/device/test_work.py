"""Catching up in numbers: only from a link's first frontiers until it is in sync."""

from __future__ import annotations

import pytest

from presenced.clock import Instant
from presenced.device.edits import Follow
from presenced.device.effects import Event
from presenced.device.work import WORK_EVENTS_MS, CatchUp
from presenced.testing.desk import Desk, Line, founder, joiner, linked_pair


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a hundred entries take many messages and commits."""
    monkeypatch.setattr("presenced.replica.outgoing.UNACKNOWLEDGED_BYTES_MAX", 2_000)
    monkeypatch.setattr("presenced.replica.stream.BATCH_BYTES_MAX", 1_000)


def entries(desk: Desk, count: int) -> None:
    """Make entries, as a device that is linked to another does."""
    for number in range(count):
        desk.edit(Follow(uri=f"https://{number}.example/feed"))


def told(desk: Desk, kind: str) -> list[Event]:
    return [event for event in desk.events if event.kind == kind]


def slowly(line: Line, step_ms: int) -> None:
    """Deliver message by message while time passes."""
    while sum(line.deliver_from(desk, 1) for desk in line.ends):
        for desk in line.ends:
            desk.pass_ms(step_ms)


@pytest.mark.usefixtures("small_windows")
def test_a_new_device_tells_of_its_first_sync_until_it_is_done() -> None:
    first, _, line = linked_pair()
    entries(first, 60)
    line.deliver()
    third = joiner(first, "Phone")
    link = Line(third, first)
    slowly(link, WORK_EVENTS_MS)
    progress = told(third, "work.progress")
    assert len(progress) > 3
    assert {event.data["kind"] for event in progress} == {"first-sync"}
    done = [event.data["done"] for event in progress]
    assert done == sorted(done)
    assert all(event.data["done"] <= event.data["total"] for event in progress)
    assert progress[-1].data["total"] >= 60
    assert [event.data for event in told(third, "work.done")] == [{"kind": "first-sync"}]
    assert third.machine.work is None
    assert told(first, "work.done")[-1].data == {"kind": "catch-up"}, "the sender tells too"


@pytest.mark.usefixtures("small_windows")
def test_a_device_that_comes_back_catches_up() -> None:
    first, _, line = linked_pair()
    third = joiner(first, "Phone")
    link = Line(third, first)
    link.deliver()
    link.cut()
    entries(first, 60)
    line.deliver()
    third.events.clear()
    again = Line(third, first)
    while third.machine.work is None:
        assert sum(again.deliver_from(desk, 1) for desk in again.ends)
    work = third.machine.work
    assert (work.kind, work.unit) == ("catch-up", "entries")
    assert 0 <= work.done < work.total
    slowly(again, WORK_EVENTS_MS)
    assert told(third, "work.done")


def test_what_is_done_at_once_is_not_told() -> None:
    first, second, line = linked_pair()
    line.cut()
    first.edit(Follow(uri="https://one.example/feed"))
    Line(first, second).deliver()
    for desk in (first, second):
        assert told(desk, "work.progress") == told(desk, "work.done") == []
        assert desk.machine.work is None


@pytest.mark.usefixtures("small_windows")
def test_what_is_pushed_live_is_no_work() -> None:
    first, second, line = linked_pair()
    second.pass_ms(5_000)
    first.pass_ms(5_000)
    entries(first, 60)
    slowly(line, WORK_EVENTS_MS)
    assert told(first, "work.progress") == told(second, "work.progress") == []


@pytest.mark.usefixtures("small_windows")
def test_work_ends_with_the_link_that_it_was_for() -> None:
    first, _, line = linked_pair()
    entries(first, 60)
    line.deliver()
    third = joiner(first, "Phone")
    link = Line(third, first)
    for _ in range(40):
        for desk in link.ends:
            link.deliver_from(desk, 1)
            desk.pass_ms(WORK_EVENTS_MS)
        if told(third, "work.progress"):
            break
    link.cut()
    assert told(third, "work.done")
    assert third.machine.work is None


def test_nothing_is_asked_of_a_device_without_links() -> None:
    assert founder().machine.work is None


def test_a_measure_without_links_is_nothing() -> None:
    assert CatchUp().measure([], Instant(0, 0), is_new=lambda: True) is None
