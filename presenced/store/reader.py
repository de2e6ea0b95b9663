"""Reads committed state, synchronously, on the main thread: `device.commit.StoreReader`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
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
from presenced.ids import Collection, EntryHash, LogId, RecordId
from presenced.presence.summary import row_from_bytes
from presenced.presence.views import FollowRow, SessionRow
from presenced.replica.hlc import Hlc
from presenced.replica.rows import ForkProof, LogHead, OverlayRow
from presenced.store.connection import errors_named
from presenced.store.limits import KNOWN_BATCH, SEQ_BITS, STARTS_KEPT
from presenced.store.lists import KEY_COLUMNS, follow_list, session_list
from presenced.store.packing import (
    FOLLOW_COLUMNS,
    SESSION_COLUMNS,
    follow_from,
    session_from,
)
from presenced.wire import decode

SQLiteValue = None | int | float | bytes | str


class Reader:
    """One reading connection. Every call sees what was committed when it began."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._start = lru_cache(STARTS_KEPT)(self._read_start)
        connection.create_scalar_function("fold", _fold, 1, deterministic=True)

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
        return [raw for (raw,) in self._rows("SELECT raw FROM statement ORDER BY number")]

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
        found = self._row(
            "SELECT number FROM log WHERE collection = ? AND log = ?", (collection, log)
        )
        if found is None:
            return []
        begin = found[0] << SEQ_BITS
        raws: list[bytes] = []
        size = 0
        with errors_named(self._path):
            for place, start, rest in self._connection.execute(
                "SELECT place, start, raw FROM entry WHERE place BETWEEN ? AND ? ORDER BY place",
                (begin | first_seq, begin | ((1 << SEQ_BITS) - 1)),
            ):
                raw = rest if start is None else self._start(start) + rest
                size += len(raw)
                if place != begin | (first_seq + len(raws)) or (raws and size > bytes_max):
                    break
                raws.append(raw)
        return raws

    def _read_start(self, number: int) -> bytes:
        [(raw,)] = self._rows("SELECT raw FROM entry_start WHERE number = ?", (number,))
        assert isinstance(raw, bytes)
        return raw

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
        page = follow_list(query)
        found = self._rows(page.sql, page.values)
        rows = [follow_from(columns[KEY_COLUMNS:]) for columns in found[: page.limit]]
        return FollowPage(rows, page.next_cursor(found))

    def sessions(self, query: SessionQuery, /) -> SessionPage:
        page = session_list(query)
        found = self._rows(page.sql, page.values)
        rows = [session_from(columns[KEY_COLUMNS:]) for columns in found[: page.limit]]
        return SessionPage(rows, page.next_cursor(found))

    def follow(self, record: RecordId, /) -> FollowRow | None:
        row = self._row(f"SELECT {FOLLOW_COLUMNS} FROM follow WHERE record = ?", (record,))  # noqa: S608
        return None if row is None else follow_from(row)

    def session(self, record: RecordId, /) -> SessionRow | None:
        row = self._row(f"SELECT {SESSION_COLUMNS} FROM session WHERE record = ?", (record,))  # noqa: S608
        return None if row is None else session_from(row)

    def sessions_like(self, prefix: bytes, uri: str, /) -> list[SessionRow]:
        rows = self._rows(
            f"SELECT {SESSION_COLUMNS} FROM session"  # noqa: S608
            " WHERE (length(?1) > 0 AND substr(record, 1, length(?1)) = ?1) OR uri = ?2"
            " OR EXISTS (SELECT 1 FROM json_each(aliases) WHERE value = ?2) ORDER BY number",
            (prefix, uri),
        )
        return [session_from(row) for row in rows]

    def known(self, map_name: str, records: Iterable[RecordId], /) -> set[RecordId]:
        table = {"follow": "follow", "session": "session"}[map_name]
        asked = list(records)
        found: set[RecordId] = set()
        for begin in range(0, len(asked), KNOWN_BATCH):
            batch = asked[begin : begin + KNOWN_BATCH]
            marks = ",".join("?" * len(batch))
            found.update(
                record
                for (record,) in self._rows(
                    f"SELECT record FROM {table} WHERE record IN ({marks})",  # noqa: S608
                    batch,
                )
            )
        return found

    def counts(self) -> Counts:
        [numbers] = self._rows(
            "SELECT (SELECT count(*) FROM follow), (SELECT count(*) FROM follow WHERE unfollowed),"
            " (SELECT count(*) FROM follow WHERE conflicts IS NOT NULL),"
            " (SELECT count(*) FROM session WHERE NOT ended),"
            " (SELECT count(*) FROM session WHERE conflicts IS NOT NULL),"
            " (SELECT count(*) FROM overlay)"
        )
        follows, unfollowed, follow_conflicts, sessions, session_conflicts, unsent = numbers
        return Counts(
            follows=follows - unfollowed,
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


def _fold(*values: SQLiteValue) -> SQLiteValue:
    [text] = values
    return text.casefold() if isinstance(text, str) else text
