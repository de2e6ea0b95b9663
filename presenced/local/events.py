"""Events for the owner's clients: numbered, replayed to who comes back, bounded for who does not.

Rules of this file:
1. ids are `<epoch>-<seq>`: the epoch names this run of the daemon, seq counts from 1 without gaps;
2. publishing never waits and never fails: a reader that is `EVENTS_UNREAD_MAX` behind, or comes
   back with an id that is no longer kept, gets one `reset` and goes on from now: it reads lists
   anew. Nothing is lost silently;
3. an event is encoded once, for all readers; ids are shown as text, places in seconds.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import msgspec
import trio

from presenced.device.effects import Event
from presenced.ids import show_id
from presenced.local.limits import EVENTS_REPLAY_MAX, EVENTS_UNREAD_MAX
from presenced.local.places import place_shown
from presenced.presence.sessions import unit_of

_EPOCH_BYTES: Final = 6
RESET: Final = "reset"

_encode = msgspec.json.Encoder().encode


class EventHub:
    """Where the daemon publishes and readers subscribe."""

    def __init__(self, epoch: str | None = None) -> None:
        self._epoch = epoch or os.urandom(_EPOCH_BYTES).hex()
        self._seq = 0
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=EVENTS_REPLAY_MAX)
        self._readers: set[EventReader] = set()

    @property
    def last_id(self) -> str:
        """Id of the newest event; a reader that begins there misses nothing from now on."""
        return f"{self._epoch}-{self._seq}"

    def publish(self, events: Iterable[Event]) -> None:
        """Tell all readers, in order. Data: what JSON has, ids as bytes; `at` is a place."""
        fresh = []
        for event in events:
            self._seq += 1
            data = _encode(_shown(event.data))
            fresh.append((self._seq, self._frame(self._seq, event.kind, data)))
        self._kept.extend(fresh)
        for reader in self._readers:
            reader.offer(fresh)

    def subscribe(self, after: str | None = None) -> EventReader:
        """A reader from now on, or from just after the event id `after`. Close it when done."""
        reader = EventReader(self)
        if after is not None:
            first = self._position(after)
            if first is None:
                reader.reset()
            else:
                reader.offer([item for item in self._kept if item[0] > first])
        self._readers.add(reader)
        return reader

    def unsubscribe(self, reader: EventReader) -> None:
        self._readers.discard(reader)

    def reset_frame(self) -> bytes:
        return self._frame(self._seq, RESET, b"{}")

    def _position(self, event_id: str) -> int | None:
        """The seq of an id of this epoch whose followers are all kept, else None."""
        epoch, _, text = event_id.rpartition("-")
        if epoch != self._epoch or not text.isascii() or not text.isdigit() or len(text) > 18:
            return None
        seq = int(text)
        oldest = self._kept[0][0] if self._kept else self._seq + 1
        return seq if oldest - 1 <= seq <= self._seq else None

    def _frame(self, seq: int, kind: str, data: bytes) -> bytes:
        return b"id: %s-%d\nevent: %s\ndata: %s\n\n" % (
            self._epoch.encode("ascii"),
            seq,
            kind.encode("utf-8"),
            data,
        )


def _shown(data: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        key: show_id(value) if type(value) is bytes else value for key, value in data.items()
    }
    if "at" in shown:
        unit = unit_of(shown.get("kind"))
        shown["position"], shown["place"] = place_shown(shown.pop("at"), unit)
    return shown


class EventReader:
    """One client's unread events, as frames of an event stream."""

    def __init__(self, hub: EventHub) -> None:
        self._hub = hub
        self._unread: deque[bytes] = deque()
        self._arrived = trio.Event()

    def offer(self, frames: list[tuple[int, bytes]]) -> None:
        if len(self._unread) + len(frames) > EVENTS_UNREAD_MAX:
            self.reset()
        else:
            self._unread.extend(frame for _, frame in frames)
        if self._unread:
            self._arrived.set()

    def reset(self) -> None:
        """Forget what is unread and say so."""
        self._unread.clear()
        self._unread.append(self._hub.reset_frame())
        self._arrived.set()

    async def read(self) -> bytes:
        """What is unread, at least one frame; waits for it."""
        if not self._unread:
            self._arrived = trio.Event()
            await self._arrived.wait()
        frames = b"".join(self._unread)
        self._unread.clear()
        return frames

    def close(self) -> None:
        self._hub.unsubscribe(self)
