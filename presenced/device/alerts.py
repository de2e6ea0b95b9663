"""What a person should look at, in words that say what it means.

Rules of this file: one alert per key, newest last, at most `ALERTS_MAX`; a new one is told once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from presenced.device.effects import Event
from presenced.device.limits import ALERTS_MAX
from presenced.replica.rows import AlertKind

WORDS: Final[Mapping[AlertKind, str]] = {
    AlertKind.CLOCK_AHEAD: "the clock of a device is more than an hour ahead of this one's",
    AlertKind.BROKEN_CONTENT: "a device signed content that breaks the rules; it is left out",
    AlertKind.FORK: "a device signed two histories: it, or a copy of it, cannot be trusted",
    AlertKind.OWN_LOG_AHEAD: "this device had lost edits; another device gave them back",
    AlertKind.OWN_LOG_DIVERGED: "this device's history differs from what others have of it",
    AlertKind.DAY_LIMIT: "a device sent more than a day's amount; the rest waits",
    AlertKind.BASE_STALE: "a removal reaches below this device's snapshot; it needs a new one",
}


class Alerts:
    """Alerts by key."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._words: dict[str, str] = {}
        self._tell = tell

    @property
    def words(self) -> Sequence[str]:
        return tuple(self._words.values())

    def add(self, key: str, words: str) -> None:
        """Keep an alert; tell it if it is new."""
        is_new = key not in self._words
        if is_new and len(self._words) >= ALERTS_MAX:
            del self._words[next(iter(self._words))]
        self._words[key] = words
        if is_new:
            self._tell(Event("alert", {"detail": words}))

    def clear(self, key: str) -> None:
        """It is well again."""
        self._words.pop(key, None)
