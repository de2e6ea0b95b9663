"""Time in a simulated world: one true time, and what each device's clocks make of it.

Rules of this file: true time is an integer of microseconds and only the world moves it. A device's
monotonic clock stands still while the device sleeps and starts anew with each process; its wall
clock may be a month off, jump, stand still or run backwards.
"""

from __future__ import annotations

from typing import Final

from presenced.clock import Instant

MS: Final = 1_000
"microseconds"
SECOND: Final = 1_000 * MS
HOUR: Final = 3_600 * SECOND
DAY: Final = 24 * HOUR

EPOCH_MS: Final = 1_760_000_000_000
"wall time of the world's beginning"

SKEW_MS_MAX: Final = 30 * 24 * 3_600 * 1_000
"how far a device's wall clock may be off: 30 days"


class SimClock:
    """One device's clocks. Reads are given the true time."""

    def __init__(self, *, skew_ms: int = 0, wall_rate: int = 1) -> None:
        self.skew_ms = skew_ms
        self.wall_rate = wall_rate
        "1: as it should, 0: it stands still, -1: it runs backwards"
        self._slept_us = 0

    def read(self, true_us: int) -> Instant:
        wall_ms = EPOCH_MS + self.skew_ms + self.wall_rate * (true_us // MS)
        return Instant((true_us - self._slept_us) // MS, wall_ms)

    def true_time_of(self, mono_ms: int) -> int:
        """The true time at which the monotonic clock will show `mono_ms`."""
        return mono_ms * MS + self._slept_us

    def slept(self, duration_us: int) -> None:
        """The device slept that long; its monotonic clock did not go on."""
        self._slept_us += duration_us
