"""The tables, and how an older file becomes a newer one.

Rules of this file: a migration is appended, never changed; it runs in one transaction with its
new `user_version`. Ids are stored as their 16 bytes, log ids once, in `log`. Views have a rowid
and a unique index over the id: hashed ids as primary keys cost ten times as much.
"""

from __future__ import annotations

from typing import Final

import apsw

from presenced.errors import StoreError

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE statement (id BLOB NOT NULL UNIQUE, raw BLOB NOT NULL);
    CREATE TABLE log (
        idx INTEGER PRIMARY KEY, collection TEXT NOT NULL, log BLOB NOT NULL,
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
        collection TEXT NOT NULL, chunk INTEGER NOT NULL, raw BLOB NOT NULL,
        UNIQUE (collection, chunk)
    );
    CREATE TABLE fork (
        collection TEXT NOT NULL, log BLOB NOT NULL, seq INTEGER NOT NULL, previous BLOB NOT NULL,
        first BLOB NOT NULL, second BLOB NOT NULL, PRIMARY KEY (collection, log, seq)
    );
    CREATE TABLE follow (
        record BLOB NOT NULL UNIQUE, uri TEXT NOT NULL, title TEXT NOT NULL, kind TEXT NOT NULL,
        unfollowed INTEGER NOT NULL, notify TEXT, tags BLOB, conflicts BLOB,
        updated_ms INTEGER NOT NULL
    );
    CREATE TABLE session (
        record BLOB NOT NULL UNIQUE, uri TEXT NOT NULL, ended INTEGER NOT NULL,
        updated_ms INTEGER NOT NULL, conflicts BLOB, rest BLOB NOT NULL
    );
    CREATE TABLE summary (only_one INTEGER PRIMARY KEY CHECK (only_one = 1), raw BLOB NOT NULL);
    """,
)

SEQ_BITS: Final = 40
"an entry's place is its log's idx above this many bits of seq"


def migrate(connection: apsw.Connection, name: str) -> None:
    """Bring a database to the newest version. Raises `StoreError` if it is newer than we are."""
    version = connection.pragma("user_version")
    assert isinstance(version, int)
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{name} was written by a newer presenced",
            hint="Install the newer version again; this file was not touched.",
        )
    for number in range(version, len(MIGRATIONS)):
        with connection:
            connection.execute(MIGRATIONS[number])
            connection.pragma("user_version", number + 1)
