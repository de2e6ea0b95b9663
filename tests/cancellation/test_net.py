"""Cancelled at any checkpoint, the network edge leaves no socket, no task, no connection."""

from __future__ import annotations

import gc
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from presenced.net.endpoint import DialFailed, Endpoint, open_endpoint
from presenced.net.limits import STREAM_WINDOW_BYTES

LOOPBACK = "127.0.0.1"
STEPS_MAX = 400


def open_descriptors() -> set[str]:
    return {
        f"{entry.name}:{os.readlink(entry)}"
        for entry in Path("/proc/self/fd").iterdir()
        if entry.is_symlink() and "socket" in os.readlink(entry)
    }


class CancelAt(trio.abc.Instrument):
    """Cancels a scope at the given step of the scheduler."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self._scope = scope
        self._left = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()


async def cancel_everywhere(act: Callable[[], Awaitable[None]]) -> int:
    """Run `act` cancelled at step 1, 2, 3, ... until it finishes by itself. Returns the steps."""
    for step in range(1, STEPS_MAX):
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        with trio.fail_after(20), trio.CancelScope() as scope:
            instrument = CancelAt(scope, step)
            trio.lowlevel.add_instrument(instrument)
            try:
                await act()
            finally:
                trio.lowlevel.remove_instrument(instrument)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before, step
        if not scope.cancelled_caught:
            return step
    raise AssertionError("does not finish")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are listed by /proc")
async def test_an_endpoint_leaves_no_socket() -> None:
    async def act() -> None:
        async with open_endpoint(LOOPBACK, 0):
            await trio.lowlevel.checkpoint()

    before = open_descriptors()
    assert await cancel_everywhere(act) > 3
    gc.collect()
    assert open_descriptors() == before


async def test_a_cancelled_dial_leaves_no_connection_on_either_side() -> None:
    async with open_endpoint(LOOPBACK, 0) as a, open_endpoint(LOOPBACK, 0) as b:

        async def act() -> None:
            # Cancelling cannot come between a finished dial and its caller.
            link = await a.dial((LOOPBACK, b.port))
            link.abort("enough")

        b._door.admission.decide = _always_admit(b)  # type: ignore[method-assign]
        assert await cancel_everywhere(act) > 5
        assert a.links == ()
        with trio.fail_after(5):
            while b.links:  # the farewells are on their way
                await trio.testing.wait_all_tasks_blocked(0.005)


def _always_admit(endpoint: Endpoint) -> Callable[..., object]:
    from presenced.net.admission import Verdict

    return lambda source, **_named: Verdict.ADMIT


async def test_a_cancelled_read_takes_nothing_and_a_cancelled_close_still_closes() -> None:
    async with open_endpoint(LOOPBACK, 0) as a, open_endpoint(LOOPBACK, 0) as b:
        b._door.admission.decide = _always_admit(b)  # type: ignore[method-assign]
        near = await a.dial((LOOPBACK, b.port))
        await near.send_all(b"first")
        far = await b.incoming.receive()
        near.mark_authenticated()
        far.mark_authenticated()
        assert await far.receive_some() == b"first"
        with trio.CancelScope() as scope:
            scope.cancel()
            await far.receive_some()
        assert scope.cancelled_caught
        await near.send_all(b"second")
        await trio.testing.wait_all_tasks_blocked(0.01)
        with trio.CancelScope() as scope:
            scope.cancel()
            await far.receive_some()
        assert await far.receive_some() == b"second"

        async def act() -> None:
            link = await a.dial((LOOPBACK, b.port))
            try:
                await link.send_all(bytes(3_000))
            finally:
                await link.aclose()

        assert await cancel_everywhere(act) > 8
        assert a.links == (near,)


async def test_a_cancelled_send_leaves_the_link_usable_by_its_owner_only_to_close() -> None:
    with trio.fail_after(20):
        async with open_endpoint(LOOPBACK, 0) as a, open_endpoint(LOOPBACK, 0) as b:
            near = await a.dial((LOOPBACK, b.port))
            await near.send_all(b"x")
            far = await b.incoming.receive()
            near.mark_authenticated()
            far.mark_authenticated()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(near.send_all, bytes(50_000_000))  # nobody reads
                while sum(map(len, far._unread)) < STREAM_WINDOW_BYTES:
                    await trio.testing.wait_all_tasks_blocked(0.001)
                nursery.cancel_scope.cancel()
            await near.aclose()
            data = await far.receive_some()
            while data:
                data = await far.receive_some()
            assert far.ended


async def test_waiting_tasks_are_woken_when_the_endpoint_closes() -> None:
    outcomes: list[object] = []

    async def read(link_reads: Callable[[], Awaitable[bytes]]) -> None:
        outcomes.append(await link_reads())

    async def dial(endpoint: Endpoint) -> None:
        try:
            await endpoint.dial((LOOPBACK, 9))
        except DialFailed:
            outcomes.append("failed")

    with trio.fail_after(10):
        async with (
            open_endpoint(LOOPBACK, 0) as b,
            trio.open_nursery() as nursery,
            open_endpoint(LOOPBACK, 0) as a,
        ):
            near = await a.dial((LOOPBACK, b.port))
            nursery.start_soon(read, near.receive_some)
            nursery.start_soon(dial, a)
            await trio.testing.wait_all_tasks_blocked()
    assert sorted(map(str, outcomes)) == ["b''", "failed"]
