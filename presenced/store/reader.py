"""Reads committed state, synchronously, on the main thread: `device.commit.StoreReader`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import apsw

from presenced.device.commit import (
    Counts,
    FollowPage,
    FollowQuery,
    SessionPage,
    SessionQuery,
    StoredSummary,
)
from presenced.errors import CallerError
from presenced.ids import Collection, EntryHash, LogId, RecordId
from presenced.presence.summary import row_from_bytes
from presenced.presence.views import FollowRow, SessionRow
from presenced.replica.hlc import Hlc
from presenced.replica.rows import ForkProof, LogHead, OverlayRow
from presenced.store.connection import errors_named
from presenced.store.packing import (
    FOLLOW_COLUMNS,
    SESSION_COLUMNS,
    follow_from,
    session_from,
)
from presenced.store.schema import SEQ_BITS
from presenced.wire import decode, encode


class BadCursor(CallerError):
    """A page cursor that is not one."""

    code = "bad-cursor"
    hint = "Begin again without `after`."


class Reader:
    """One reading connection. Every call sees what was committed when it began."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def close(self) -> None:
        self._connection.close()

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with errors_named(self._path):
            return self._connection.execute(sql, values).fetchall()

    def _row(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        rows = self._rows(sql, values)
        return rows[0] if rows else None

    # --- what machines begin from ---

    def meta(self, key: str, /) -> bytes | None:
        row = self._row("SELECT value FROM meta WHERE key = ?", (key,))
        return None if row is None else row[0]

    def statements(self) -> list[bytes]:
        return [raw for (raw,) in self._rows("SELECT raw FROM statement ORDER BY rowid")]

    def log_heads(self, collection: Collection) -> list[LogHead]:
        return [
            LogHead(
                collection=collection,
                log=LogId(log),
                held_seq=held_seq,
                held_hash=EntryHash(held_hash),
                applied_seq=applied_seq,
                applied_hash=EntryHash(applied_hash),
                clock_end=clock_end,
                base_seq=base_seq,
                fork_seq=fork_seq,
            )
            for (
                log,
                held_seq,
                held_hash,
                applied_seq,
                applied_hash,
                clock_end,
                base_seq,
                fork_seq,
            ) in self._rows(
                "SELECT log, held_seq, held_hash, applied_seq, applied_hash, clock_end, base_seq,"
                " fork_seq FROM log WHERE collection = ? ORDER BY log",
                (collection,),
            )
        ]

    def entries(
        self, collection: Collection, log: LogId, first_seq: int, *, bytes_max: int
    ) -> list[bytes]:
        found = self._row("SELECT idx FROM log WHERE collection = ? AND log = ?", (collection, log))
        if found is None:
            return []
        begin = found[0] << SEQ_BITS
        raws: list[bytes] = []
        size = 0
        with errors_named(self._path):
            for place, raw in self._connection.execute(
                "SELECT place, raw FROM entry WHERE place BETWEEN ? AND ? ORDER BY place",
                (begin | first_seq, begin | ((1 << SEQ_BITS) - 1)),
            ):
                size += len(raw)
                if place != begin | (first_seq + len(raws)) or (raws and size > bytes_max):
                    break
                raws.append(raw)
        return raws

    def overlay(self, collection: Collection) -> list[OverlayRow]:
        return [
            OverlayRow(
                collection=collection,
                map=map_name,
                record=RecordId(record),
                field=field,
                hlc=Hlc(int.from_bytes(hlc, "big")),
                value=value,
                seen=seen,
                generation=generation,
            )
            for map_name, record, field, hlc, value, seen, generation in self._rows(
                "SELECT map, record, field, hlc, value, seen, generation FROM overlay"
                " WHERE collection = ? ORDER BY hlc, map, record, field",
                (collection,),
            )
        ]

    def base(self, collection: Collection) -> list[bytes]:
        return [
            raw
            for (raw,) in self._rows(
                "SELECT raw FROM base WHERE collection = ? ORDER BY chunk", (collection,)
            )
        ]

    def forks(self) -> Iterable[ForkProof]:
        return [ForkProof(*row) for row in self._rows("SELECT * FROM fork")]

    # --- what people see ---

    def follows(self, query: FollowQuery, /) -> FollowPage:
        where = ["rowid > ?"]
        values: list[Any] = [_after(query.after, 0)]
        if query.state is not None:
            where.append("unfollowed = ?")
            values.append(query.state != "followed")
        if query.kind is not None:
            where.append("kind = ?")
            values.append(query.kind)
        if query.tag is not None:
            where.append("instr(tags, ?) > 0")
            values.append(encode(query.tag))
        if query.text is not None:
            where.append("(instr(lower(title), ?) > 0 OR instr(lower(uri), ?) > 0)")
            values += [_lower(query.text)] * 2
        if query.conflicts_only:
            where.append("conflicts IS NOT NULL")
        rows = self._rows(
            f"SELECT rowid, {FOLLOW_COLUMNS} FROM follow WHERE {' AND '.join(where)}"  # noqa: S608
            " ORDER BY rowid LIMIT ?",
            (*values, query.limit + 1),
        )
        following = str(rows[query.limit - 1][0]) if len(rows) > query.limit else None
        return FollowPage([follow_from(row[1:]) for row in rows[: query.limit]], following)

    def follow(self, record: RecordId, /) -> FollowRow | None:
        row = self._row(f"SELECT {FOLLOW_COLUMNS} FROM follow WHERE record = ?", (record,))  # noqa: S608
        return None if row is None else follow_from(row)

    def sessions(self, query: SessionQuery, /) -> SessionPage:
        where = ["1"]
        values: list[Any] = []
        if query.after is not None:
            updated, _, number = query.after.partition("-")
            at = _after(updated, 0)
            where.append("(updated_ms < ? OR (updated_ms = ? AND rowid > ?))")
            values += [at, at, _after(number or "?", 0)]
        if query.state is not None:
            where.append("ended = ?")
            values.append(int(query.state != "open"))
        if query.conflicts_only:
            where.append("conflicts IS NOT NULL")
        rows = self._rows(
            f"SELECT rowid, {SESSION_COLUMNS} FROM session WHERE {' AND '.join(where)}"  # noqa: S608
            " ORDER BY updated_ms DESC, rowid LIMIT ?",
            (*values, query.limit + 1),
        )
        following = None
        if len(rows) > query.limit:
            last = rows[query.limit - 1]
            following = f"{last[4]}-{last[0]}"
        return SessionPage([session_from(row[1:]) for row in rows[: query.limit]], following)

    def session(self, record: RecordId, /) -> SessionRow | None:
        row = self._row(f"SELECT {SESSION_COLUMNS} FROM session WHERE record = ?", (record,))  # noqa: S608
        return None if row is None else session_from(row)

    def sessions_like(self, prefix: bytes, uri: str, /) -> list[SessionRow]:
        rows = self._rows(
            f"SELECT {SESSION_COLUMNS} FROM session"  # noqa: S608
            " WHERE (length(?1) > 0 AND substr(record, 1, length(?1)) = ?1) OR uri = ?2",
            (prefix, uri),
        )
        return [session_from(row) for row in rows]

    def counts(self) -> Counts:
        [(follows, follow_conflicts)] = self._rows(
            "SELECT count(*) FILTER (WHERE unfollowed = 0), count(conflicts) FROM follow"
        )
        [(sessions, session_conflicts)] = self._rows(
            "SELECT count(*) FILTER (WHERE ended = 0), count(conflicts) FROM session"
        )
        [(unsent,)] = self._rows("SELECT count(*) FROM overlay")
        return Counts(
            follows=follows,
            sessions=sessions,
            conflicts=follow_conflicts + session_conflicts,
            unsent=unsent,
        )

    def summary(self) -> StoredSummary | None:
        row = self._row("SELECT raw FROM summary")
        if row is None:
            return None
        ended_ms, more, rows = decode(row[0])
        return StoredSummary(
            ended_ms=ended_ms, rows=tuple(row_from_bytes(raw) for raw in rows), more=more
        )


def _after(cursor: str | None, default: int) -> int:
    if cursor is None:
        return default
    if not cursor.isascii() or not cursor.isdigit():
        raise BadCursor("not a cursor")
    return int(cursor)


def _lower(text: str) -> str:
    """As SQLite's `lower`: ASCII only."""
    return "".join(char.lower() if char.isascii() else char for char in text)
