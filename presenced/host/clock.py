"""The system's clocks as the machines want them."""

from __future__ import annotations

import time

from presenced.clock import Instant


class SystemClock:
    """Reads CLOCK_MONOTONIC and the wall clock. Implements `presenced.clock.Clock`."""

    def now(self) -> Instant:
        """This moment, in whole milliseconds."""
        return Instant(time.monotonic_ns() // 1_000_000, time.time_ns() // 1_000_000)
