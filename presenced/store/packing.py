"""Rows of views to and from their columns. Defaults are NULL and take no space."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from presenced.ids import LogId, RecordId
from presenced.presence.views import FollowRow, SessionRow
from presenced.wire import decode, encode_prepared

FOLLOW_COLUMNS = "record, uri, title, kind, unfollowed, notify, tags, conflicts, updated_ms"
USUAL_KIND = "feed"
"of a follow: stored as NULL"

SESSION_COLUMNS = "record, kind, uri, title, ended, aliases, conflicts, updated_ms, rest"


def follow_columns(row: FollowRow) -> tuple[Any, ...]:
    tags, conflicts = row.tags, row.conflicts
    return (
        row.record,
        row.uri,
        row.title,
        None if row.kind == USUAL_KIND else row.kind,
        row.state != "followed",
        None if row.notify == "default" else row.notify,
        _list(tags) if tags else None,
        _list(conflicts) if conflicts else None,
        row.updated_ms,
    )


def follow_from(columns: Sequence[Any]) -> FollowRow:
    record, uri, title, kind, unfollowed, notify, tags, conflicts, updated_ms = columns
    return FollowRow(
        record,
        uri,
        title,
        kind or USUAL_KIND,
        "unfollowed" if unfollowed else "followed",
        notify or "default",
        _texts(tags),
        _texts(conflicts),
        updated_ms,
    )


def session_columns(row: SessionRow) -> tuple[Any, ...]:
    rest = [
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
        row.kind,
        row.uri,
        row.title,
        row.state != "open",
        _list(row.aliases) if row.aliases else None,
        _list(row.conflicts) if row.conflicts else None,
        row.updated_ms,
        encode_prepared(rest),
    )


def session_from(columns: Sequence[Any]) -> SessionRow:
    record, kind, uri, title, ended, aliases, conflicts, updated_ms, raw = columns
    duration_ms, at, done, of, speed, lifecycle, holder, claim, phase = decode(raw)
    return SessionRow(
        record=RecordId(record),
        kind=kind,
        uri=uri,
        title=title,
        aliases=_texts(aliases),
        duration_ms=duration_ms,
        at=at,
        done=done,
        of=of,
        speed=speed,
        state="ended" if ended else "open",
        lifecycle=lifecycle,
        holder=None if holder is None else LogId(holder),
        claim=claim,
        phase=phase,
        conflicts=_texts(conflicts),
        updated_ms=updated_ms,
    )


def _list(texts: Sequence[str]) -> str:
    """JSON, so that a query can look inside (`json_each`)."""
    return json.dumps(texts, ensure_ascii=False)


def _texts(raw: str | None) -> tuple[str, ...]:
    return tuple(json.loads(raw)) if raw else ()
