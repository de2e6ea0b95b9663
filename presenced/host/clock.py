"""The system's clocks, read at the edge."""

from __future__ import annotations

import time

from presenced.clock import Instant


class SystemClock:
    """`presenced.clock.Clock` of this machine."""

    def now(self) -> Instant:
        return Instant(time.monotonic_ns() // 1_000_000, time.time_ns() // 1_000_000)
