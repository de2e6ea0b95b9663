"""The tables, and how an older file becomes a newer one.

Rules of this file:
1. a migration is appended, never changed; it runs in one transaction with its `user_version`;
2. before a migration that changes rows, a copy of the file is kept; it goes once that is on disk.

Ids are stored as their 16 bytes, log ids once, in `log`. Views have a number (their order of
arrival) and a unique index over the id: hashed ids as primary keys cost ten times as much. What
all entries of an epoch begin with is stored once, in `entry_start`.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import apsw

from presenced.errors import StoreError
from presenced.store.connection import errors_named, sync_folder
from presenced.store.limits import PROGRESS_STEPS, TOLD_AGAIN_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step from a version to the next."""

    sql: str
    changes_rows: bool
    "what is stored is rewritten, not only added to"


MIGRATIONS: Final[tuple[Migration, ...]] = (
    Migration(
        changes_rows=False,
        sql="""
    CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE statement (
        number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, raw BLOB NOT NULL
    );
    CREATE TABLE log (
        number INTEGER PRIMARY KEY, collection TEXT NOT NULL, log BLOB NOT NULL,
        held_seq INTEGER NOT NULL, held_hash BLOB NOT NULL,
        applied_seq INTEGER NOT NULL, applied_hash BLOB NOT NULL,
        clock_end INTEGER NOT NULL, base_seq INTEGER NOT NULL, fork_seq INTEGER NOT NULL,
        UNIQUE (collection, log)
    );
    CREATE TABLE entry (place INTEGER PRIMARY KEY, raw BLOB NOT NULL);
    CREATE TABLE overlay (
        collection TEXT NOT NULL, map TEXT NOT NULL, record BLOB NOT NULL, field TEXT NOT NULL,
        hlc BLOB NOT NULL, value BLOB NOT NULL, seen BLOB NOT NULL, generation INTEGER NOT NULL,
        PRIMARY KEY (collection, map, record, field)
    ) WITHOUT ROWID;
    CREATE TABLE base (
        number INTEGER PRIMARY KEY, collection TEXT NOT NULL, chunk INTEGER NOT NULL,
        raw BLOB NOT NULL, UNIQUE (collection, chunk)
    );
    CREATE TABLE fork (
        collection TEXT NOT NULL, log BLOB NOT NULL, seq INTEGER NOT NULL, previous BLOB NOT NULL,
        first BLOB NOT NULL, second BLOB NOT NULL, PRIMARY KEY (collection, log, seq)
    );
    CREATE TABLE follow (
        number INTEGER PRIMARY KEY, record BLOB NOT NULL UNIQUE, uri TEXT NOT NULL,
        title TEXT NOT NULL, kind TEXT NOT NULL, unfollowed INTEGER NOT NULL, notify TEXT,
        tags TEXT, conflicts TEXT, updated_ms INTEGER NOT NULL
    );
    CREATE INDEX follow_gone ON follow (number) WHERE unfollowed;
    CREATE INDEX follow_asks ON follow (number) WHERE conflicts IS NOT NULL;
    CREATE TABLE session (
        number INTEGER PRIMARY KEY, record BLOB NOT NULL UNIQUE, kind TEXT NOT NULL,
        uri TEXT NOT NULL, title TEXT NOT NULL, ended INTEGER NOT NULL, aliases TEXT,
        conflicts TEXT, updated_ms INTEGER NOT NULL, rest BLOB NOT NULL
    );
    CREATE INDEX session_asks ON session (number) WHERE conflicts IS NOT NULL;
    CREATE TABLE summary (only_one INTEGER PRIMARY KEY CHECK (only_one = 1), raw BLOB NOT NULL);
    """,
    ),
    Migration(  # what entries begin with, once for all; older rows have theirs in `raw`
        changes_rows=False,
        sql="""
    CREATE TABLE entry_start (number INTEGER PRIMARY KEY, raw BLOB NOT NULL UNIQUE);
    ALTER TABLE entry ADD COLUMN start INTEGER REFERENCES entry_start;
    """,
    ),
    Migration(  # the usual kind takes no space: NULL
        changes_rows=True,
        sql="""
    CREATE TABLE newer (
        number INTEGER PRIMARY KEY, record BLOB NOT NULL UNIQUE, uri TEXT NOT NULL,
        title TEXT NOT NULL, kind TEXT, unfollowed INTEGER NOT NULL, notify TEXT,
        tags TEXT, conflicts TEXT, updated_ms INTEGER NOT NULL
    );
    INSERT INTO newer
        SELECT number, record, uri, title, nullif(kind, 'feed'), unfollowed, notify, tags,
            conflicts, updated_ms
        FROM follow ORDER BY number;
    DROP TABLE follow;
    ALTER TABLE newer RENAME TO follow;
    CREATE INDEX follow_gone ON follow (number) WHERE unfollowed;
    CREATE INDEX follow_asks ON follow (number) WHERE conflicts IS NOT NULL;
    """,
    ),
)


Telling = Callable[[int, int], None]
"steps done, steps in all. Called in the store's thread"


def say_nothing(_done: int, _total: int) -> None:
    """For who does not want to hear of it."""


def migrate(
    connection: apsw.Connection,
    path: Path,
    migrations: Sequence[Migration] = MIGRATIONS,
    tell: Telling = say_nothing,
) -> None:
    """Bring a database to the newest version.

    `tell` hears of each step of an older file, and while one takes long it hears the same again.
    Raises `StoreError` if it is newer than we are, or if a step fails: it is as it was then, and
    the copy made before the step is still there. Raises `StoreFull` without space for the copy.
    """
    version = connection.pragma("user_version")
    assert isinstance(version, int)
    if version > len(migrations):
        raise StoreError(
            f"{path} was written by a newer presenced",
            hint="Install the newer version again; this file was not touched.",
        )
    total = len(migrations) - version
    heard = tell if version and total else say_nothing  # a new file is made in no time
    for number in range(version, len(migrations)):
        migration = migrations[number]
        heard(number - version, total)
        if migration.changes_rows:
            _keep_copy(connection, path, copy_path(path, number))
        alive = partial(heard, number - version, total)
        with _told_again(connection, alive), errors_named(path), connection:
            connection.execute(migration.sql)
            connection.pragma("user_version", number + 1)
    heard(total, total)
    _drop_copies(path, len(migrations))


@contextmanager
def _told_again(connection: apsw.Connection, tell: Callable[[], None]) -> Iterator[None]:
    """Call `tell` every `TOLD_AGAIN_SECONDS` while a statement of the connection runs."""
    due = time.monotonic() + TOLD_AGAIN_SECONDS

    def look() -> bool:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + TOLD_AGAIN_SECONDS
            tell()
        return False  # go on

    connection.set_progress_handler(look, PROGRESS_STEPS)
    try:
        yield
    finally:
        connection.set_progress_handler(None)


def copy_path(path: Path, version: int) -> Path:
    """Where the copy of a database of a version lies while it is being changed."""
    return path.with_name(f"{path.name}.version-{version}")


def _keep_copy(connection: apsw.Connection, path: Path, copy: Path) -> None:
    with errors_named(path):
        connection.pragma("wal_checkpoint(TRUNCATE)")
        unfinished = copy.with_name(f"{copy.name}.unfinished")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with path.open("rb") as source, open(descriptor, "wb") as target:
            shutil.copyfileobj(source, target)
            target.flush()
            os.fsync(target.fileno())
        unfinished.replace(copy)
        sync_folder(path.parent)


def _drop_copies(path: Path, version: int) -> None:
    """All steps are on disk: copies of older versions are no longer needed."""
    for older in range(version):
        copy_path(path, older).unlink(missing_ok=True)
