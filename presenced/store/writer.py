"""Writes one commit in one transaction. Runs in the store's writer thread only."""

from __future__ import annotations

from pathlib import Path

import apsw

from presenced.device.commit import Commit
from presenced.ids import Collection, LogId
from presenced.presence.summary import row_to_bytes
from presenced.replica.rows import LogHead
from presenced.store.connection import errors_named
from presenced.store.packing import (
    FOLLOW_COLUMNS,
    SESSION_COLUMNS,
    follow_columns,
    session_columns,
)
from presenced.store.schema import SEQ_BITS
from presenced.wire import encode

_UPSERT_FOLLOW = f"""
    INSERT INTO follow ({FOLLOW_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)
    ON CONFLICT (record) DO UPDATE SET uri=excluded.uri, title=excluded.title,
        kind=excluded.kind, unfollowed=excluded.unfollowed, notify=excluded.notify,
        tags=excluded.tags, conflicts=excluded.conflicts, updated_ms=excluded.updated_ms
"""  # noqa: S608 (constants)

_UPSERT_SESSION = f"""
    INSERT INTO session ({SESSION_COLUMNS}) VALUES (?,?,?,?,?,?)
    ON CONFLICT (record) DO UPDATE SET uri=excluded.uri, ended=excluded.ended,
        updated_ms=excluded.updated_ms, conflicts=excluded.conflicts, rest=excluded.rest
"""  # noqa: S608 (constants)

_UPSERT_HEAD = """
    INSERT INTO log (collection, log, held_seq, held_hash, applied_seq, applied_hash,
                     clock_end, base_seq, fork_seq)
    VALUES (?,?,?,?,?,?,?,?,?)
    ON CONFLICT (collection, log) DO UPDATE SET held_seq=excluded.held_seq,
        held_hash=excluded.held_hash, applied_seq=excluded.applied_seq,
        applied_hash=excluded.applied_hash, clock_end=excluded.clock_end,
        base_seq=excluded.base_seq, fork_seq=excluded.fork_seq
"""


class Writer:
    """The writing connection and what it remembers of log numbers."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._numbers: dict[tuple[Collection, LogId], int] = {
            (collection, LogId(log)): number
            for number, collection, log in connection.execute(
                "SELECT idx, collection, log FROM log"
            )
        }

    def write(self, commit: Commit) -> None:
        """All of it or nothing. Raises as `errors_named` says; the connection stays usable."""
        known = dict(self._numbers)
        try:
            with errors_named(self._path), self._connection:
                self._write(commit)
        except BaseException:
            self._numbers = known
            raise

    def close(self) -> None:
        self._connection.close()

    def _write(self, commit: Commit) -> None:
        execute, many = self._connection.execute, self._connection.executemany
        if commit.statements:
            many("INSERT OR IGNORE INTO statement (id, raw) VALUES (?,?)", commit.statements)
        self._write_logs(commit)
        if commit.overlay_put:
            many(
                "INSERT OR REPLACE INTO overlay VALUES (?,?,?,?,?,?,?,?)",
                (
                    (*row[:4], row.hlc.to_bytes(8, "big"), row.value, row.seen, row.generation)
                    for row in commit.overlay_put
                ),
            )
        for collection, generation in commit.overlay_drop.items():
            execute(
                "DELETE FROM overlay WHERE collection = ? AND generation <= ?",
                (collection, generation),
            )
        for collection, chunks in commit.base.items():
            execute("DELETE FROM base WHERE collection = ?", (collection,))
            many(
                "INSERT INTO base VALUES (?,?,?)",
                ((collection, index, raw) for index, raw in enumerate(chunks)),
            )
        self._write_views(commit)
        for key, value in commit.meta.items():
            if value is None:
                execute("DELETE FROM meta WHERE key = ?", (key,))
            else:
                execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (key, value))

    def _write_logs(self, commit: Commit) -> None:
        if commit.heads:
            self._connection.executemany(_UPSERT_HEAD, _newest(commit.heads))
        if commit.entries:
            self._connection.executemany(
                "INSERT OR REPLACE INTO entry VALUES (?,?)",
                (
                    (self._number(entry.collection, entry.log) << SEQ_BITS | entry.seq, entry.raw)
                    for entry in commit.entries
                ),
            )
        if commit.forks:
            self._connection.executemany(
                "INSERT OR IGNORE INTO fork VALUES (?,?,?,?,?,?)", commit.forks
            )

    def _write_views(self, commit: Commit) -> None:
        for collection in commit.views_reset:
            if collection == "follows":
                self._connection.execute("DELETE FROM follow")
            elif collection == "sessions":
                self._connection.execute("DELETE FROM session")
        if commit.follows:
            self._connection.executemany(_UPSERT_FOLLOW, map(follow_columns, commit.follows))
        if commit.sessions:
            self._connection.executemany(_UPSERT_SESSION, map(session_columns, commit.sessions))
        if (summary := commit.summary) is not None:
            raw = encode(
                [summary.ended_ms, summary.more, [row_to_bytes(row) for row in summary.rows]]
            )
            self._connection.execute("INSERT OR REPLACE INTO summary VALUES (1, ?)", (raw,))

    def _number(self, collection: Collection, log: LogId) -> int:
        key = (collection, log)
        number = self._numbers.get(key)
        if number is None:
            [(found,)] = self._connection.execute(
                "SELECT idx FROM log WHERE collection = ? AND log = ?", key
            ).fetchall()
            assert isinstance(found, int)
            number = self._numbers[key] = found
        return number


def _newest(heads: list[LogHead]) -> list[LogHead]:
    """The last head of each log: a bulk commit has one for every batch it gathered."""
    return list({(head.collection, head.log): head for head in heads}.values())
