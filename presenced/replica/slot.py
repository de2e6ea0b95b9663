"""Slots: what one log says of one field. The unit that rules resolve and digests cover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from presenced.ids import LogId, RecordId
from presenced.replica.hlc import Hlc


@dataclass(frozen=True, slots=True)
class Slot:
    """`[seq, hlc, value, seen]` of one field in one log (DESIGN §5)."""

    seq: int
    "number of the log's entry that wrote it; unsent edits carry the log's next number"
    hlc: Hlc
    value: Any
    "a wire.Value"
    seen: Mapping[LogId, int]
    "per other log the seq of the slot in this field that the writer had before it"


class Operation(NamedTuple):
    """One field write inside an entry, as `[map, record, field, hlc, value, seen]`."""

    map: str
    "root map of the document: `follow`, `session`, `device`, or a newer version's"
    record: RecordId
    field: str
    hlc: Hlc
    value: Any
    seen: Mapping[LogId, int]


FieldSlots = Mapping[LogId, Slot]
"one field: slot by log"

RecordSlots = Mapping[str, FieldSlots]
"one record: slots by field name"


def live_slots(slots: FieldSlots) -> dict[LogId, Slot]:
    """The slots that no other log's slot of the same field has in its `seen`."""
    if len(slots) == 1:
        return dict(slots)
    return {
        log: slot
        for log, slot in slots.items()
        if not any(
            other.seen.get(log, 0) >= slot.seq for name, other in slots.items() if name != log
        )
    }
