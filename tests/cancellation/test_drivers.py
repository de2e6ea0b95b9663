"""The drivers cancelled at every step: no task, no stream, no half-known commit is left.

`steps` counts the scheduler's task steps; a scenario is run again and again, cancelled one step
later each time, until it reaches its end uncancelled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio
from trio.abc import Instrument
from trio.testing import MockClock

from presenced.device.edits import Follow
from presenced.testing.enrolments import A, B, enrol, linked, linked_houses
from presenced.testing.memory_house import MemoryNet, MemoryStore, open_house, until

FEED = "https://one.example/feed.xml"

STRIDE = 11
"every step would take minutes; a stride that is prime to the rounds of a scenario meets them all"


class _CancelAt(Instrument):
    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self._scope = scope
        self._left = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()


async def cancelled_at(step: int, scenario: Callable[[], Awaitable[None]]) -> bool:
    """Run a scenario, cancelled at a step. True if it reached its end before."""
    with trio.CancelScope() as scope:
        instrument = _CancelAt(scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            await scenario()
        finally:
            with suppress(KeyError):
                trio.lowlevel.remove_instrument(instrument)
    return not scope.cancelled_caught


def assert_nothing_is_left(net: MemoryNet) -> None:
    open_streams = [one.open_streams for one in net.endpoints.values()]
    assert open_streams == [0] * len(open_streams)
    assert not net.codes, "no number is announced"


async def test_an_enrolment_and_its_link_cancelled_anywhere_leave_nothing(
    autojump_clock: MockClock,
) -> None:
    """And either side's disk is one that a daemon starts from, with what it answered."""
    for step in range(1, 100_000, STRIDE):
        net, stores = MemoryNet(), (MemoryStore(), MemoryStore())

        async def scenario(
            net: MemoryNet = net, stores: tuple[MemoryStore, MemoryStore] = stores
        ) -> None:
            async with (
                open_house(net, A, stores[0]) as first,
                open_house(net, B, stores[1]) as second,
            ):
                await first.home.init("Laptop")
                await enrol(first, second)
                await linked(first, second)
                await first.home.edit([Follow(uri=FEED, title="One")])
                await until(lambda: stores[1].reader.follow_rows, "the edit")

        is_done = await cancelled_at(step, scenario)
        assert_nothing_is_left(net)
        async with open_house(MemoryNet(), A, stores[0]) as again:
            assert again.home.settled.is_set() == bool(stores[0].reader.statements())
        if is_done:
            assert step > 100, "it was cancelled somewhere"
            return
    raise AssertionError("the scenario has no end")


async def test_an_edit_cancelled_anywhere_is_on_disk_if_it_was_answered(
    autojump_clock: MockClock,
) -> None:
    for step in range(1, 10_000):
        store = MemoryStore()
        answered: list[bool] = []

        async def scenario(store: MemoryStore = store, answered: list[bool] = answered) -> None:
            async with open_house(MemoryNet(), A, store) as house:
                await house.home.init("Laptop")
                await house.home.edit([Follow(uri=FEED, title="One")])
                answered.append(True)

        is_done = await cancelled_at(step, scenario)
        assert len(store.reader.follow_rows) >= len(answered)
        if is_done:
            return
    raise AssertionError("the scenario has no end")


async def test_holding_links_down_cancelled_anywhere_lets_them_come_back(
    autojump_clock: MockClock,
) -> None:
    async with linked_houses() as (_, first, second):
        for step in range(1, 400, STRIDE):
            await linked(first, second)
            is_done = await cancelled_at(step, lambda: first.linking.hold(down=True))
            await first.linking.hold(down=False)
            if is_done:
                break
        await linked(first, second)
