"""Rows of views to and from their columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from presenced.ids import LogId, RecordId
from presenced.presence.views import FollowRow, SessionRow
from presenced.wire import decode, encode

FOLLOW_COLUMNS = "record, uri, title, kind, unfollowed, notify, tags, conflicts, updated_ms"
SESSION_COLUMNS = "record, uri, ended, updated_ms, conflicts, rest"


def follow_columns(row: FollowRow) -> tuple[Any, ...]:
    """Defaults take no space: NULL for no tags, no conflicts and the usual notify."""
    return (
        row.record,
        row.uri,
        row.title,
        row.kind,
        row.state != "followed",
        None if row.notify == "default" else row.notify,
        encode(row.tags) if row.tags else None,
        encode(row.conflicts) if row.conflicts else None,
        row.updated_ms,
    )


def follow_from(columns: Sequence[Any]) -> FollowRow:
    record, uri, title, kind, unfollowed, notify, tags, conflicts, updated_ms = columns
    return FollowRow(
        record=RecordId(record),
        uri=uri,
        title=title,
        kind=kind,
        state="unfollowed" if unfollowed else "followed",
        notify=notify or "default",
        tags=tuple(decode(tags)) if tags else (),
        conflicts=tuple(decode(conflicts)) if conflicts else (),
        updated_ms=updated_ms,
    )


def session_columns(row: SessionRow) -> tuple[Any, ...]:
    rest = [
        row.kind,
        row.title,
        row.aliases,
        row.duration_ms,
        row.at,
        row.done,
        row.of,
        row.speed,
        row.lifecycle,
        row.holder,
        row.claim,
        row.phase,
    ]
    return (
        row.record,
        row.uri,
        row.state != "open",
        row.updated_ms,
        encode(row.conflicts) if row.conflicts else None,
        encode(rest),
    )


def session_from(columns: Sequence[Any]) -> SessionRow:
    record, uri, ended, updated_ms, conflicts, raw = columns
    rest = decode(raw)
    kind, title, aliases, duration_ms, at, done, of, speed, life, holder, claim, phase = rest
    return SessionRow(
        record=RecordId(record),
        kind=kind,
        uri=uri,
        title=title,
        aliases=tuple(aliases),
        duration_ms=duration_ms,
        at=at,
        done=done,
        of=of,
        speed=speed,
        state="ended" if ended else "open",
        lifecycle=life,
        holder=None if holder is None else LogId(holder),
        claim=claim,
        phase=phase,
        conflicts=tuple(decode(conflicts)) if conflicts else (),
        updated_ms=updated_ms,
    )
