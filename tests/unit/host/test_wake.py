"""Sleep and set clocks are told from the passing of time."""

from __future__ import annotations

import os
import socket
import sys
import time

import pytest
import trio

from presenced.host import wake as module
from presenced.host.clock import SystemClock
from presenced.host.wake import COMPARE_SECONDS, Clocks, Jump, compare, read_clocks, watch_wake


def reading(*, monotonic: float = 0.0, slept: float = 0.0, wall_off: float = 0.0) -> Clocks:
    boot = monotonic + slept
    return Clocks(monotonic=monotonic, boot=boot, wall=1e9 + boot + wall_off)


def test_time_that_passes_is_no_jump() -> None:
    assert compare(reading(), reading(monotonic=3_600.0)) is None
    assert compare(reading(), reading(monotonic=30.0, slept=0.5, wall_off=2.0)) is None


def test_a_sleep_is_a_jump() -> None:
    jump = compare(reading(), reading(monotonic=1.0, slept=3_600.0))
    assert jump == Jump(slept_seconds=3_600.0, stepped_seconds=0.0)


@pytest.mark.parametrize("step", [-3_600.0, 3_600.0])
def test_a_set_clock_is_a_jump_either_way(step: float) -> None:
    jump = compare(reading(), reading(monotonic=1.0, wall_off=step))
    assert jump == Jump(slept_seconds=0.0, stepped_seconds=step)


def test_without_a_boot_clock_a_sleep_shows_as_a_step() -> None:
    before = Clocks(monotonic=0.0, boot=0.0, wall=0.0)
    after = Clocks(monotonic=1.0, boot=1.0, wall=601.0)
    jump = compare(before, after)
    assert jump is not None
    assert jump.stepped_seconds == 600.0


async def test_waking_is_told_at_once_by_the_kernels_timer_and_else_at_the_next_look(
    monkeypatch: pytest.MonkeyPatch, mock_clock: trio.testing.MockClock
) -> None:
    kernel, ours = socket.socketpair()
    timer = os.dup(ours.fileno())
    ours.close()
    os.set_blocking(timer, False)
    monkeypatch.setattr(module, "_open_timer", lambda: timer)
    monkeypatch.setattr(module, "_arm", lambda _timer: True)
    slept = 0.0
    jumps: list[Jump] = []

    def read() -> Clocks:
        return reading(monotonic=trio.current_time(), slept=slept)

    with kernel:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: watch_wake(jumps.append, read=read))
            await trio.testing.wait_all_tasks_blocked(0.005)
            slept = 100.0
            kernel.send(b"cancelled")
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert [jump.slept_seconds for jump in jumps] == [100.0]
            slept = 150.0  # a virtual machine that was paused: no timer tells
            mock_clock.jump(COMPARE_SECONDS)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert [jump.slept_seconds for jump in jumps] == [100.0, 50.0]
            mock_clock.jump(COMPARE_SECONDS)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert len(jumps) == 2
            nursery.cancel_scope.cancel()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(timer)


async def test_without_a_timer_clocks_are_compared(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(module, "_open_timer", lambda: None)
    jumps: list[Jump] = []
    slept = 0.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: watch_wake(
                jumps.append,
                read=lambda: reading(monotonic=trio.current_time(), slept=slept),
            )
        )
        await trio.sleep(COMPARE_SECONDS * 2.5)
        slept = 10.0
        await trio.sleep(COMPARE_SECONDS)
        assert [jump.slept_seconds for jump in jumps] == [pytest.approx(10.0)]
        nursery.cancel_scope.cancel()


@pytest.mark.skipif(sys.platform != "linux", reason="timerfd is Linux")
def test_the_kernel_gives_such_a_timer() -> None:
    timer = module._open_timer()
    assert timer is not None
    try:
        with pytest.raises(BlockingIOError):
            os.read(timer, 8)
        module._rearm(timer)
    finally:
        os.close(timer)


def test_the_clocks_read_now() -> None:
    before, after = read_clocks(), read_clocks()
    assert compare(before, after) is None
    instant = SystemClock().now()
    assert abs(instant.wall_ms - time.time() * 1000) < 5_000
    assert abs(instant.mono_ms - time.monotonic() * 1000) < 5_000
