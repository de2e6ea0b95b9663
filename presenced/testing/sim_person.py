"""Whoever uses the devices of a simulated world: edits drawn by lot, on few things, so they clash.

Rules of this file: everything goes through the intents that apps and people have; what an intent
cannot do where it is asked (an act on a session that is not there) is asked all the same. Only
`newer_writes` goes past them: what a later version of presenced would write.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

from presenced.device.edits import (
    Act,
    ChangeFollow,
    ChangeSession,
    Edit,
    Follow,
    NameDevice,
    Resolve,
    SessionAct,
    StartSession,
    Unfollow,
)
from presenced.ids import Collection, LogId, RecordId
from presenced.presence.naming import follow_id, session_id
from presenced.replica.hlc import Hlc
from presenced.replica.slot import Operation, RecordSlots
from presenced.testing.sim_device import SimDevice

FOLLOW_URIS: Final = (
    "https://example.org/feed",
    "HTTPS://Example.org:443/feed",
    "https://example.net/%7eanna/podcast.xml",
    "https://example.com/%C3%BCn%c3%afcode?a=1",
)
SESSIONS: Final = (
    ("media", "https://example.org/film", 5_400_000),
    ("media", "https://example.org/song", 0),
    ("reading", "https://example.org/book", 320),
)
TITLES: Final = ("", "One", "Two", "a\u0301 and \u00e1", "\U0001f4fb radio", "עברית", "x" * 500)
TAGS: Final = ("news", "News", "для чтения", "\u200d")
ODD_VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    1,
    1.0,
    -0.0,
    2**64,
    -(2**200),
    b"\x00\xff",
    [],
    {"b": [1, {"a": None}], "a": "\U0010ffff"},
)
_ACTS: Final = tuple(Act)


class SimPerson:
    """Draws what is done next on a device."""

    def __init__(self, lots: random.Random) -> None:
        self._lots = lots
        self._numbered = 0

    def edits(self, device: SimDevice) -> list[Edit]:
        """One request: mostly one edit, sometimes several."""
        count = self._lots.choices((1, 2, 5), (8, 2, 1))[0]
        return [self._edit(device) for _ in range(count)]

    def burst(self, fields: int) -> list[Edit]:
        """An import: that many distinct follows."""
        self._numbered += fields
        return [
            Follow(uri=f"https://example.org/list/{number}", title=f"Item {number}", imported=True)
            for number in range(self._numbered - fields, self._numbered)
        ]

    def newer_writes(self, device: SimDevice) -> Mapping[Collection, Sequence[Operation]]:
        """Operations of a later version: unknown maps, unknown fields, values of new shapes."""
        machine = device.machine
        assert machine is not None
        lots = self._lots
        map_name, field, record = lots.choice(
            (
                ("follow", "rating", follow_id(FOLLOW_URIS[0])),
                ("follow", "title", follow_id(FOLLOW_URIS[0])),
                ("follow", "state", follow_id(FOLLOW_URIS[2])),
                ("queue", "items", RecordId(b"q" * 16)),
                ("follow", "ключ", RecordId(b"r" * 16)),
                ("session", "title", session_id(*SESSIONS[0][:2])),
            )
        )
        slots = machine.shelf.replicas["follows"].record(map_name, record)
        seen = {
            log: slot.seq
            for log, slot in slots.get(field, {}).items()
            if log != device.own["follows"]
        }
        hlc = machine.new_stamp(device.now)
        value = lots.choice(ODD_VALUES)
        return {"follows": [Operation(map_name, record, field, Hlc(hlc), value, seen)]}

    def _edit(self, device: SimDevice) -> Edit:
        lots = self._lots
        if lots.random() < 0.45:
            return self._follow_edit(device)
        if lots.random() < 0.05:
            return NameDevice(name=lots.choice(("Laptop", "Box", "电话")))
        return self._session_edit(device)

    def _follow_edit(self, device: SimDevice) -> Edit:
        lots = self._lots
        uri = lots.choice(FOLLOW_URIS)
        if device.disk.follow(follow_id(uri)) is None and lots.random() < 0.7:
            return Follow(uri=uri, title=lots.choice(TITLES) or None)
        match lots.randrange(8):
            case 0 | 1:
                return Follow(uri=uri, title=lots.choice(TITLES) or None)
            case 2:
                return Follow(uri=uri, imported=True, tags=(lots.choice(TAGS),))
            case 3 | 4:
                return Unfollow(uri=uri)
            case 5:
                return ChangeFollow(uri=uri, title=lots.choice(TITLES))
            case 6:
                return ChangeFollow(
                    uri=uri,
                    notify=lots.choice((None, "all", "none", "default")),
                    tags_on=tuple(lots.sample(TAGS, lots.randrange(3))),
                    tags_off=tuple(lots.sample(TAGS, lots.randrange(3))),
                )
            case _:
                return self._resolve(device, "follow", follow_id(uri))

    def _session_edit(self, device: SimDevice) -> Edit:
        lots = self._lots
        kind, uri, size = lots.choice(SESSIONS)
        record = session_id(kind, uri)
        most = 1_000_000 if kind == "reading" else 5_400_000
        missing = device.disk.session(record) is None and lots.random() < 0.7
        match 0 if missing else lots.randrange(10):
            case 0 | 1:
                at = lots.choice((None, lots.randrange(most)))
                return StartSession(uri=uri, kind=kind, size=size, title=lots.choice(TITLES), at=at)
            case 2:
                return StartSession(uri="https://example.org/call", kind="call")
            case 3:
                return ChangeSession(
                    session=record,
                    title=lots.choice((None, *TITLES)),
                    speed=lots.choice((None, 500, 1_000, 2_000)),
                    aliases_on=(uri + "?alias",) if lots.random() < 0.5 else (),
                    aliases_off=(uri + "?alias",) if lots.random() < 0.3 else (),
                )
            case 4:
                return self._resolve(device, "session", record)
            case _:
                return self._act(device, record, most)

    def _act(self, device: SimDevice, record: RecordId, most: int) -> Edit:
        lots = self._lots
        act = lots.choice(_ACTS)
        row = device.disk.session(record)
        at = row.at if row is not None else 0
        log: LogId | None = None
        if act is Act.REPORT:
            at = min(most, max(0, at + lots.choice((-60_000, -500, 0, 11_000, 40_000))))
        elif act is Act.SEEK:
            at = lots.randrange(most)
        elif act is Act.ADOPT:
            log = self._some_log(self._slots(device, "session", record), "progress")
        given = act in (Act.REPORT, Act.SEEK) or lots.random() < 0.2
        return SessionAct(
            session=record,
            act=act,
            at=at if given else None,
            played_ms=11_000 if act is Act.REPORT else 0,
            stopped=act is Act.REPORT and lots.random() < 0.2,
            log=log,
        )

    def _resolve(self, device: SimDevice, map_name: str, record: RecordId) -> Edit:
        slots = self._slots(device, map_name, record)
        field = self._lots.choice(sorted(slots)) if slots else "title"
        log = self._some_log(slots, field) or device.own["follows"]
        return Resolve(map=map_name, record=record, field=field, log=log)

    def _some_log(self, slots: RecordSlots, field: str) -> LogId | None:
        logs = sorted(slots.get(field, {}))
        return self._lots.choice(logs) if logs else None

    def _slots(self, device: SimDevice, map_name: str, record: RecordId) -> RecordSlots:
        assert device.machine is not None
        return device.machine.shelf.record(map_name, record)
