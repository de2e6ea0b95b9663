"""The history of a session: every act that its slots still carry, live or covered.

No rule reads `acts`, so a device may write there what it likes: rows that are not
`[ms, kind, at]` are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from presenced.ids import LogId
from presenced.presence.progress import INTEGER_MAX, READING_PLACE_MAX, Unit, parse_progress
from presenced.replica.slot import FieldSlots

_KIND_CHARS_MAX = 32
"a kind is a word; longer text is not one"


class Act(NamedTuple):
    """One readable row of `acts`."""

    ms: int
    "when, by the clock of the device that did it"
    kind: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """One act; `log` and `index` are what `adopt` takes to return to it."""

    log: LogId
    index: int
    "0 = the oldest that this log still carries"
    ms: int
    kind: str
    at: int
    of: int
    "size of the copy of the slot that carries the row"
    done: bool
    "whether adopting it finishes the session"


def act_at(acts: Sequence[Any], index: int, unit: Unit) -> Act | None:
    """The row at an index, or None if there is none or it is not readable."""
    if not 0 <= index < len(acts):
        return None
    row = acts[index]
    if type(row) is not list or len(row) < 3:
        return None
    ms, kind, at = row[:3]
    at_max = INTEGER_MAX if unit is Unit.MS else READING_PLACE_MAX
    if type(ms) is not int or not 0 <= ms <= INTEGER_MAX:
        return None
    if type(kind) is not str or len(kind) > _KIND_CHARS_MAX:
        return None
    if type(at) is not int or not 0 <= at <= at_max:
        return None
    return Act(ms, kind, at)


def history(slots: FieldSlots, *, unit: Unit) -> list[HistoryRow]:
    """All acts of all slots of a progress field, newest first."""
    rows = []
    for log, slot in slots.items():
        progress = parse_progress(slot.value, unit)
        if progress is None:
            continue
        for index in range(len(progress.acts)):
            act = act_at(progress.acts, index, unit)
            if act is not None:
                rows.append(
                    HistoryRow(
                        log=log,
                        index=index,
                        ms=act.ms,
                        kind=act.kind,
                        at=act.at,
                        of=progress.of,
                        done=act.kind == "finish",
                    )
                )
    rows.sort(key=lambda row: (-row.ms, row.log, -row.index))
    return rows
