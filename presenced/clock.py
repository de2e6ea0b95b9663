"""Time as the machines see it: passed in, never read.

`mono_ms` orders timers and never steps back; `wall_ms` dates edits and may be wrong by years.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment of one device."""

    mono_ms: int
    "milliseconds of a monotonic clock"
    wall_ms: int
    "milliseconds since 1970-01-01T00:00:00Z by the device's own clock"


class Clock(Protocol):
    """Where the edge reads the time."""

    def now(self) -> Instant: ...


class Entropy(Protocol):
    """Where a machine gets its randomness, so that the simulator can seed it."""

    def __call__(self, size: int, /) -> bytes: ...
