"""Writes one commit in one transaction. Runs in the store's writer thread only.

The write-ahead log is copied into the file between commits, not inside one: in a quiet moment,
or when it has grown too long. So a commit costs what it writes, and one sync. A secret that was
deleted from `meta` (the root key) is overwritten in the file at once, and the log emptied.
"""

from __future__ import annotations

import os
from functools import lru_cache
from itertools import chain as concatenated
from pathlib import Path

import apsw

from presenced.device.commit import Commit
from presenced.ids import Collection, LogId
from presenced.presence.summary import row_to_bytes
from presenced.replica.rows import LogHead
from presenced.store.connection import errors_named
from presenced.store.limits import (
    BULK_CACHE_KIB,
    BULK_ROWS,
    CACHE_KIB,
    CHECKPOINT_PAGES_MAX,
    CHECKPOINT_QUIET_PAGES,
    ENTRY_START_BYTES,
    LOG_BYTES_KEPT,
    ROWS_TOGETHER,
    SEQ_BITS,
    STARTS_KEPT,
)
from presenced.store.packing import (
    FOLLOW_COLUMNS,
    SESSION_COLUMNS,
    follow_columns,
    session_columns,
)
from presenced.wire import encode

_UPSERT_FOLLOWS = {
    rows: f"""
    INSERT INTO follow ({FOLLOW_COLUMNS}) VALUES {",".join(["(?,?,?,?,?,?,?,?,?)"] * rows)}
    ON CONFLICT (record) DO UPDATE SET uri=excluded.uri, title=excluded.title,
        kind=excluded.kind, unfollowed=excluded.unfollowed, notify=excluded.notify,
        tags=excluded.tags, conflicts=excluded.conflicts, updated_ms=excluded.updated_ms
"""  # noqa: S608 (constants)
    for rows in ROWS_TOGETHER
}

_UPSERT_SESSION = f"""
    INSERT INTO session ({SESSION_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)
    ON CONFLICT (record) DO UPDATE SET kind=excluded.kind, uri=excluded.uri,
        title=excluded.title, ended=excluded.ended, aliases=excluded.aliases,
        conflicts=excluded.conflicts, updated_ms=excluded.updated_ms, rest=excluded.rest
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
    """The writing connection, what it remembers of log numbers, and how long its log is."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._numbers: dict[tuple[Collection, LogId], int] = {}
        self._start = lru_cache(STARTS_KEPT)(self._keep_start)
        "number of the first bytes of an entry"
        self._log_pages = 0
        self._cache_kib = CACHE_KIB
        self._erasing = False
        connection.set_wal_hook(self._note_pages)

    def write(self, commit: Commit) -> None:
        """All of it or nothing. Raises as `errors_named` says; the connection stays usable."""
        execute = self._connection.execute
        if len(commit.follows) + len(commit.sessions) > BULK_ROWS:
            self._set_cache(BULK_CACHE_KIB)
        with errors_named(self._path):
            execute("BEGIN IMMEDIATE")
            try:
                self._write(commit)
                execute("COMMIT")
                self._erasing |= None in commit.meta.values()
            except BaseException:
                self._numbers.clear()
                self._start.cache_clear()
                if self._connection.in_transaction:  # a full disk may have ended it already
                    execute("ROLLBACK")
                raise

    @property
    def untidy(self) -> bool:
        """There is something to tidy once nobody writes."""
        return self._log_pages >= CHECKPOINT_QUIET_PAGES or self._cache_kib > CACHE_KIB

    @property
    def overdue(self) -> bool:
        """Tidy before the next commit."""
        return self._erasing or self._log_pages >= CHECKPOINT_PAGES_MAX

    def tidy(self) -> None:
        """Copy the write-ahead log into the file; when quiet, give back the memory of a bulk.

        Raises as `errors_named` says; what was committed stays safe in the log.
        """
        quiet = not self.overdue
        emptying = self._erasing or (quiet and self._log_bytes() > 2 * LOG_BYTES_KEPT)
        self._log_pages = 0
        if quiet and self._cache_kib > CACHE_KIB:
            self._set_cache(CACHE_KIB)
            self._connection.pragma("shrink_memory")
        mode = apsw.SQLITE_CHECKPOINT_TRUNCATE if emptying else apsw.SQLITE_CHECKPOINT_PASSIVE
        with errors_named(self._path):
            self._connection.wal_checkpoint(mode=mode)
        self._erasing = False

    def _log_bytes(self) -> int:
        return os.stat(f"{self._path}-wal").st_size

    def _note_pages(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _set_cache(self, kib: int) -> None:
        if self._cache_kib != kib:
            self._connection.pragma("cache_size", -kib)
            self._cache_kib = kib

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
                "INSERT INTO base (collection, chunk, raw) VALUES (?,?,?)",
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
        for cut in commit.cuts:
            number = self._number(cut.collection, cut.log)
            self._connection.execute(
                "DELETE FROM entry WHERE place BETWEEN ? AND ?",
                (number << SEQ_BITS | cut.first_seq, (number + 1 << SEQ_BITS) - 1),
            )
        if commit.entries:
            self._connection.executemany(
                "INSERT INTO entry (place, raw, start) VALUES (?,?,?)",
                (
                    (
                        self._number(entry.collection, entry.log) << SEQ_BITS | entry.seq,
                        entry.raw[ENTRY_START_BYTES:],
                        self._start(entry.raw[:ENTRY_START_BYTES]),
                    )
                    for entry in commit.entries
                ),
            )
        if commit.forks:  # of each log the lowest is kept, and that is the one that comes last
            self._connection.executemany(
                "DELETE FROM fork WHERE collection = ? AND log = ?",
                {fork[:2] for fork in commit.forks},
            )
            self._connection.executemany(
                "INSERT INTO fork VALUES (?,?,?,?,?,?)",
                {fork[:2]: fork for fork in commit.forks}.values(),
            )

    def _write_views(self, commit: Commit) -> None:
        for collection in commit.views_reset:
            if collection == "follows":
                self._connection.execute("DELETE FROM follow")
            elif collection == "sessions":
                self._connection.execute("DELETE FROM session")
        at = 0
        for rows, upsert in _UPSERT_FOLLOWS.items():
            while at + rows <= len(commit.follows):
                columns = map(follow_columns, commit.follows[at : at + rows])
                self._connection.execute(upsert, tuple(concatenated.from_iterable(columns)))
                at += rows
        if commit.sessions:
            self._connection.executemany(_UPSERT_SESSION, map(session_columns, commit.sessions))
        if (summary := commit.summary) is not None:
            raw = encode(
                [summary.ended_ms, summary.more, [row_to_bytes(row) for row in summary.rows]]
            )
            self._connection.execute("INSERT OR REPLACE INTO summary VALUES (1, ?)", (raw,))

    def _keep_start(self, raw: bytes) -> int:
        self._connection.execute("INSERT OR IGNORE INTO entry_start (raw) VALUES (?)", (raw,))
        [(number,)] = self._connection.execute(
            "SELECT number FROM entry_start WHERE raw = ?", (raw,)
        ).fetchall()
        assert isinstance(number, int)
        return number

    def _number(self, collection: Collection, log: LogId) -> int:
        key = (collection, log)
        number = self._numbers.get(key)
        if number is None:
            [(found,)] = self._connection.execute(
                "SELECT number FROM log WHERE collection = ? AND log = ?", key
            ).fetchall()
            assert isinstance(found, int)
            number = self._numbers[key] = found
        return number


def _newest(heads: list[LogHead]) -> list[LogHead]:
    """The last head of each log: a bulk commit has one for every batch it gathered."""
    return list({(head.collection, head.log): head for head in heads}.values())
