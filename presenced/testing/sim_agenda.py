"""What is due in a simulated world, in order of true time; equal times in an order drawn by lot."""

from __future__ import annotations

import random
from collections.abc import Callable
from heapq import heappop, heappush
from typing import TypeAlias

Happening: TypeAlias = Callable[[], None]


class SimAgenda:
    """The only thing that moves true time (microseconds)."""

    def __init__(self, lots: random.Random) -> None:
        self.now = 0
        self.happened = 0
        "how many happenings there were"
        self._lots = lots
        self._due: list[tuple[int, float, int, Happening]] = []
        self._count = 0

    def at(self, time: int, happening: Happening) -> None:
        """Let something happen at a time; what is past happens now."""
        self._count += 1
        entry = (max(time, self.now), self._lots.random(), self._count, happening)
        heappush(self._due, entry)

    def after(self, delay: int, happening: Happening) -> None:
        self.at(self.now + delay, happening)

    @property
    def next_time(self) -> int | None:
        return self._due[0][0] if self._due else None

    def happen(self) -> None:
        """Let the next thing happen."""
        self.now, _, _, happening = heappop(self._due)
        self.happened += 1
        happening()

    def run_until(self, time: int) -> None:
        """Let everything happen that is due by then."""
        while self._due and self._due[0][0] <= time:
            self.happen()
        self.now = max(self.now, time)
