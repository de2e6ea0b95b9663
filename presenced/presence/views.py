"""Rows of resolved records, as lists show and the store indexes them.

Rules of this file: a row is a pure function of a record's slots; a record whose `core` cannot be
read still has a row (with an empty URI), so that nothing synced is invisible to the store.
Unknown words from newer versions (a kind) are shown as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from presenced.ids import LogId, RecordId
from presenced.presence.fields import (
    ALIAS_PREFIX,
    CORE,
    FOLLOW_MAP,
    FOLLOWED,
    HOLDER,
    NOTIFY,
    PROGRESS,
    SESSION_MAP,
    SPEED,
    STATE,
    TAG_PREFIX,
    TITLE,
)
from presenced.presence.progress import INTEGER_MAX, parse_progress
from presenced.presence.rules import Resolution, resolve
from presenced.presence.sessions import lifecycle, unit_of
from presenced.replica.hlc import hlc_ms
from presenced.replica.slot import FieldSlots, Operation, RecordSlots


class FollowRow(NamedTuple):
    """A follow as a person sees it. A tuple, because they are made by the hundred thousand."""

    record: RecordId
    uri: str
    "as given first; empty if this version cannot read it"
    title: str
    "the person's own, else that of `core`, else empty"
    kind: str
    state: str
    "followed or unfollowed"
    notify: str
    tags: tuple[str, ...]
    "sorted"
    conflicts: tuple[str, ...]
    "fields that ask the person, sorted"
    updated_ms: int
    "newest write to any field, by its writer's clock"


_follow_row: Final = partial(tuple.__new__, FollowRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A session as a person sees it."""

    record: RecordId
    kind: str
    uri: str
    title: str
    aliases: tuple[str, ...]
    "sorted"
    duration_ms: int
    "0 unknown, and for reading"
    at: int
    "place in ms; reading: ppm"
    done: bool
    of: int
    "size of the copy that `at` was measured in"
    speed: int
    "thousandths"
    state: str
    "stored: open or ended"
    lifecycle: str
    "shown: ended, finished, active, paused or free; a holder out of reach is not known here"
    holder: LogId | None
    claim: int
    "number of the holder's claim, 0 without one"
    phase: str
    "of the holder's claim; free without one"
    conflicts: tuple[str, ...]
    updated_ms: int


def follow_row(record: RecordId, slots: RecordSlots) -> FollowRow:
    """The row of a follow."""
    shown = {name: resolve(FOLLOW_MAP, name, field) for name, field in slots.items()}
    core = _value(shown, CORE, {})
    return FollowRow(
        record=record,
        uri=_text(core.get("uri")),
        title=_value(shown, TITLE, None) or _text(core.get("title")),
        kind=_text(core.get("kind")) or "feed",
        state=_value(shown, STATE, FOLLOWED),
        notify=_value(shown, NOTIFY, "default"),
        tags=_labels(shown, TAG_PREFIX),
        conflicts=_conflicts(shown),
        updated_ms=_updated_ms(slots.values()),
    )


def new_follow_rows(operations: Sequence[Operation]) -> list[FollowRow]:
    """`follow_row` of records that have one slot each, the `core` given: the case of an import."""
    rows = []
    for _, record, _, hlc, core, _ in operations:
        if type(core) is not dict:
            core = {}
        uri, title, kind = core.get("uri"), core.get("title"), core.get("kind")
        columns = (
            record,
            uri if type(uri) is str else "",
            title if type(title) is str else "",
            kind if type(kind) is str and kind else "feed",
            FOLLOWED,
            "default",
            (),
            (),
            hlc >> 16,
        )
        rows.append(_follow_row(columns))
    return rows


def session_row(record: RecordId, slots: RecordSlots) -> SessionRow:
    """The row of a session."""
    core = resolve(SESSION_MAP, CORE, slots.get(CORE, {})).value
    kind = _text(core.get("kind")) or "custom"
    unit = unit_of(kind)
    shown = {name: resolve(SESSION_MAP, name, field, unit=unit) for name, field in slots.items()}
    progress = parse_progress(
        resolve(SESSION_MAP, PROGRESS, slots.get(PROGRESS, {}), unit=unit).value, unit
    )
    assert progress is not None
    holder = shown.get(HOLDER)
    number, phase = (0, "free") if holder is None or holder.value is None else holder.value
    state = _value(shown, STATE, "open")
    title = _value(shown, TITLE, None)
    duration = core.get("duration")
    return SessionRow(
        record=record,
        kind=kind,
        uri=_text(core.get("uri")),
        title=_text(title) or _text(core.get("title")),
        aliases=_labels(shown, ALIAS_PREFIX),
        duration_ms=duration if type(duration) is int and 0 <= duration <= INTEGER_MAX else 0,
        at=progress.at,
        done=progress.done,
        of=progress.of,
        speed=_value(shown, SPEED, 1_000),
        state=state,
        lifecycle=lifecycle(state=state, done=progress.done, phase=phase).value,
        holder=None if holder is None else holder.log,
        claim=number,
        phase=phase,
        conflicts=_conflicts(shown),
        updated_ms=_updated_ms(slots.values()),
    )


def _value(shown: dict[str, Resolution], field: str, default: Any) -> Any:
    resolution = shown.get(field)
    return default if resolution is None else resolution.value


def _text(value: Any) -> str:
    return value if type(value) is str else ""


def _labels(shown: dict[str, Resolution], prefix: str) -> tuple[str, ...]:
    texts = {
        resolution.value
        for name, resolution in shown.items()
        if name.startswith(prefix) and resolution.value is not None
    }
    return tuple(sorted(texts))


def _conflicts(shown: dict[str, Resolution]) -> tuple[str, ...]:
    return tuple(sorted(name for name, resolution in shown.items() if resolution.conflict))


def _updated_ms(fields: Iterable[FieldSlots]) -> int:
    return max((hlc_ms(slot.hlc) for field in fields for slot in field.values()), default=0)
