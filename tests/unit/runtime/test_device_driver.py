"""The device driver: effects in order, one commit at a time, every caller answered."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from presenced.clock import Instant
from presenced.device.commit import Commit
from presenced.device.effects import (
    Answer,
    CloseLink,
    CommitBatch,
    Effect,
    Emit,
    Event,
    LinkNumber,
    RequestNumber,
    SendMessages,
)
from presenced.errors import HostError, InvalidValue, StoreError, StoreFull
from presenced.runtime.device_driver import DeviceDriver
from presenced.testing.memory_house import MemoryStore, TrioClock


class Scripted:
    """A machine that does what a test says, and notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.wakeup: Instant | None = None
        self.after: Callable[[], list[Effect]] = list

    @property
    def next_wakeup(self) -> Instant | None:
        return self.wakeup

    def committed(self, token: int, now: Instant) -> list[Effect]:
        self.told.append(("committed", token))
        return self.after()

    def commit_failed(self, token: int, error: StoreError, now: Instant) -> list[Effect]:
        self.told.append(("failed", token, error.code))
        return self.after()

    def tick(self, now: Instant) -> list[Effect]:
        self.told.append(("tick", now.mono_ms))
        self.wakeup = None
        return []

    def link_down(self, number: LinkNumber, now: Instant) -> list[Effect]:
        self.told.append(("down", number))
        return []


class Output:
    def __init__(self) -> None:
        self.did: list[object] = []

    def send_messages(self, messages: object) -> None:
        self.did.append(messages)

    def close(self, code: str, detail: str) -> None:
        self.did.append(code)


class Bench:
    def __init__(self) -> None:
        self.machine = Scripted()
        self.store = MemoryStore()
        self.events: list[Event] = []
        self.driver = DeviceDriver(
            self.machine,  # type: ignore[arg-type]
            self.store,
            TrioClock(),
            self.events.extend,
        )


async def test_effects_are_performed_in_order_and_unknown_links_are_nothing(
    nursery: trio.Nursery,
) -> None:
    bench, output = Bench(), Output()
    number = bench.driver.add_link(output)
    bench.driver.perform(
        [
            SendMessages(number, (b"1",)),
            SendMessages(LinkNumber(99), (b"2",)),
            CloseLink(LinkNumber(99), "gone"),
            Emit((Event("one"),)),
            CloseLink(number, "duplicate"),
        ]
    )
    assert output.did == [(b"1",), "duplicate"]
    assert [event.kind for event in bench.events] == ["one"]
    assert bench.driver.add_link(Output()) != number
    bench.driver.remove_link(number)
    bench.driver.remove_link(number)
    assert bench.machine.told == [("down", number)]


async def test_a_request_is_answered_when_the_machine_says_so(nursery: trio.Nursery) -> None:
    bench = Bench()
    nursery.start_soon(bench.driver.run)
    asked: list[RequestNumber] = []

    def call(number: RequestNumber, now: Instant) -> list[Effect]:
        asked.append(number)
        bench.machine.after = lambda: [Answer(number, value="done")]
        return [CommitBatch(1, Commit(meta={"k": b"v"}))]

    assert await bench.driver.request(call) == "done"
    assert bench.store.reader.meta("k") == b"v", "on disk first"
    assert bench.machine.told == [("committed", 1)]


async def test_a_request_raises_the_error_it_is_answered_with() -> None:
    bench = Bench()
    with pytest.raises(InvalidValue):
        await bench.driver.request(lambda number, _: [Answer(number, error=InvalidValue("no"))])


@pytest.mark.parametrize("error", [StoreFull("no room"), HostError("something else")])
async def test_a_commit_that_fails_is_reported_as_a_store_error_and_the_next_one_goes_on(
    nursery: trio.Nursery, error: HostError
) -> None:
    bench = Bench()
    nursery.start_soon(bench.driver.run)
    bench.store.full = error  # type: ignore[assignment]

    def call(number: RequestNumber, now: Instant) -> list[Effect]:
        bench.machine.after = lambda: [Answer(number, error=StoreFull("no room"))]
        return [CommitBatch(1, Commit(meta={"k": b"v"}))]

    with pytest.raises(StoreFull):
        await bench.driver.request(call)
    (told,) = bench.machine.told
    assert told[:2] == ("failed", 1)
    bench.store.full = None
    bench.machine.after = list
    bench.driver.perform([CommitBatch(2, Commit())])
    await trio.testing.wait_all_tasks_blocked()
    assert bench.machine.told[-1] == ("committed", 2)


async def test_a_caller_that_gave_up_is_still_obeyed(nursery: trio.Nursery) -> None:
    bench = Bench()
    bench.store.gate = trio.Event()
    nursery.start_soon(bench.driver.run)
    with trio.CancelScope() as scope:

        def call(number: RequestNumber, now: Instant) -> list[Effect]:
            bench.machine.after = lambda: [Answer(number, value="nobody waits")]
            scope.cancel()
            return [CommitBatch(1, Commit(meta={"k": b"v"}))]

        await bench.driver.request(call)
    assert scope.cancelled_caught
    bench.store.gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert bench.machine.told == [("committed", 1)]
    assert not bench.driver._waiting


async def test_the_result_of_a_commit_is_reported_though_the_driver_is_stopped() -> None:
    bench = Bench()
    bench.store.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.driver.run)
        bench.driver.perform([CommitBatch(1, Commit(meta={"k": b"v"}))])
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        bench.store.gate.set()
    assert bench.machine.told == [("committed", 1)]


async def test_the_machine_is_woken_when_it_asked_for_it_and_not_before(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench()
    bench.machine.wakeup = Instant(5_000, 0)
    nursery.start_soon(bench.driver.run)
    await trio.sleep(4.9)
    assert bench.machine.told == []
    await trio.sleep(0.2)
    assert bench.machine.told == [("tick", 5_000)]
    await trio.sleep(100)
    assert len(bench.machine.told) == 1


async def test_an_earlier_wakeup_is_heeded(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench()
    bench.machine.wakeup = Instant(50_000, 0)
    nursery.start_soon(bench.driver.run)
    await trio.sleep(1)
    bench.machine.wakeup = Instant(2_000, 0)
    bench.driver.perform([])
    await trio.sleep(1.5)
    assert bench.machine.told == [("tick", 2_000)]


async def test_a_bug_in_the_machine_ends_the_driver() -> None:
    bench = Bench()

    def bug() -> list[Effect]:
        raise AssertionError("a bug")

    bench.machine.after = bug
    bench.driver.perform([CommitBatch(1, Commit())])
    with pytest.raises(BaseExceptionGroup) as caught:
        await bench.driver.run()
    assert caught.value.split(AssertionError)[1] is None
