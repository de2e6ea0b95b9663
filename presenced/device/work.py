"""What takes a while, in numbers: entries that come and go until every link has caught up.

Rules of this file: counted is from a link's first frontiers until it is in sync, never what is
pushed live afterwards. `total` only grows while the work lasts, `done` never goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from presenced.clock import Instant
from presenced.device.effects import Event
from presenced.replica.sync import SyncMachine

FIRST_SYNC: Final = "first-sync"
"a device that had nothing of others gets everything"

CATCH_UP: Final = "catch-up"

WORK_EVENTS_MS: Final = 200
"milliseconds between two events of one piece of work; its first one comes after as much"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How far a piece of work has come."""

    kind: str
    done: int
    total: int
    unit: str = "entries"


class CatchUp:
    """The work of all links that have not caught up, as one."""

    def __init__(self) -> None:
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._kind = ""
        self._done = self._total = self._tell_at_ms = 0
        self._was_told = False

    @property
    def work(self) -> Work | None:
        """None when there is none."""
        if not self._kind or not self._total:
            return None
        return Work(kind=self._kind, done=self._done, total=self._total)

    def measure(
        self, syncs: Iterable[SyncMachine], now: Instant, *, is_new: Callable[[], bool]
    ) -> Event | None:
        """Count what is left of the syncs that have not caught up; what to tell, if anything.

        `is_new`: whether this device has nothing of others yet; asked when work begins.
        """
        left = [_left(sync) for sync in syncs]
        if not left:
            return self._over()
        if not self._kind:
            self._kind = FIRST_SYNC if is_new() else CATCH_UP
            self._tell_at_ms = now.mono_ms + WORK_EVENTS_MS
        remaining = sum(left)
        self._total = max(self._total, self._done + remaining)
        self._done = max(self._done, self._total - remaining)
        if now.mono_ms < self._tell_at_ms or not self._total:
            return None
        self._tell_at_ms = now.mono_ms + WORK_EVENTS_MS
        self._was_told = True
        data = {"kind": self._kind, "done": self._done, "total": self._total, "unit": "entries"}
        return Event("work.progress", data)

    def _over(self) -> Event | None:
        kind, told = self._kind, self._was_told
        self._begin_anew()
        return Event("work.done", {"kind": kind}) if told else None


def _left(sync: SyncMachine) -> int:
    """Entries that are still to come or to go; of a snapshot the share that has not arrived."""
    coming = sync.ahead
    if (adopting := sync.adopting) is not None:
        here, count = adopting
        coming = coming * (count - here) // count
    return coming + sync.behind
