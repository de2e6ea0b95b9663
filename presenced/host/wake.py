"""Notices that the machine slept, or that its clock was set, by comparing clocks.

CLOCK_BOOTTIME goes on while the machine sleeps and CLOCK_MONOTONIC does not, so that their
difference grows by the sleep; the wall clock against CLOCK_BOOTTIME shows a clock that was set. On
Linux a timer that the kernel cancels at such a moment (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET)
wakes us at once; elsewhere, and for a virtual machine that was paused, the clocks are compared at
intervals.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import trio

SLEEP_SECONDS_MIN: Final = 1.0
"a shorter sleep breaks no link"

STEP_SECONDS_MIN: Final = 10.0
"a smaller correction of the wall clock is of no interest"

COMPARE_SECONDS: Final = 30.0
"interval of comparing: two wake-ups a minute"

_CLOCK_REALTIME: Final = 0
_TFD_NONBLOCK: Final = 0o4000
_TFD_CLOEXEC: Final = 0o2000000
_TFD_TIMER_ABSTIME: Final = 1
_TFD_TIMER_CANCEL_ON_SET: Final = 2
_FAR_SECONDS: Final = 2**40


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """One reading, in seconds."""

    monotonic: float
    "stands still while the machine sleeps"
    boot: float
    "goes on while it sleeps"
    wall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """The machine slept, or its clock was set, or both."""

    slept_seconds: float
    stepped_seconds: float
    "how far the wall clock was set (beyond what passed), negative for back"


def read_clocks() -> Clocks:
    """The clocks now. Where there is no CLOCK_BOOTTIME a sleep shows as a step of the wall."""
    monotonic = time.monotonic()
    boot = time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else monotonic
    return Clocks(monotonic=monotonic, boot=boot, wall=time.time())


def compare(before: Clocks, after: Clocks) -> Jump | None:
    """The jump between two readings; None if time went its way."""
    slept = (after.boot - before.boot) - (after.monotonic - before.monotonic)
    stepped = (after.wall - before.wall) - (after.boot - before.boot)
    if slept < SLEEP_SECONDS_MIN and abs(stepped) < STEP_SECONDS_MIN:
        return None
    return Jump(slept_seconds=max(0.0, slept), stepped_seconds=stepped)


async def watch_wake(
    jumped: Callable[[Jump], None], *, read: Callable[[], Clocks] = read_clocks
) -> None:
    """Call `jumped` after each sleep or set clock, until cancelled."""
    timer = _open_timer()
    try:
        known = read()
        while True:
            with trio.move_on_after(COMPARE_SECONDS):
                if timer is None:
                    await trio.sleep_forever()
                else:
                    await trio.lowlevel.wait_readable(timer)
                    _rearm(timer)
            current = read()
            jump = compare(known, current)
            known = current
            if jump is not None:
                jumped(jump)
    finally:
        if timer is not None:
            os.close(timer)


class _Itimerspec(ctypes.Structure):
    _fields_ = [
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("value_seconds", ctypes.c_long),
        ("value_nanoseconds", ctypes.c_long),
    ]


def _open_timer() -> int | None:
    """A descriptor that becomes readable when the wall clock is set or the machine wakes."""
    if sys.platform != "linux":
        return None
    try:
        create = ctypes.CDLL(None, use_errno=True).timerfd_create
    except (OSError, AttributeError):
        return None
    timer: int = create(_CLOCK_REALTIME, _TFD_NONBLOCK | _TFD_CLOEXEC)
    if timer < 0:
        return None
    if not _arm(timer):
        os.close(timer)
        return None
    return timer


def _arm(timer: int) -> bool:
    never = _Itimerspec(value_seconds=_FAR_SECONDS)
    flags = _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET
    settime = ctypes.CDLL(None, use_errno=True).timerfd_settime
    result: int = settime(timer, flags, ctypes.byref(never), None)
    return result == 0


def _rearm(timer: int) -> None:
    try:
        os.read(timer, 8)
    except OSError:  # ECANCELED: that is the news
        pass
    _arm(timer)
