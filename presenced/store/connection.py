"""Opening the encrypted file, and what SQLite's errors mean for a person.

Rules of this file:
1. a file that does not open, or fails its check, is left as it was: its write-ahead log too;
2. every error names the file and the way out; none quotes what is in it.

The first 16 bytes of the file are the cipher's salt. A raw key does not use it, so it holds the
key's marker, and a wrong key is told from a damaged first page before SQLite touches anything.
Source: SQLite3 Multiple Ciphers, cipher `chacha20` (ChaCha20-Poly1305 per page, raw key).
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

from presenced.crypto.database_key import MARKER_BYTES, DatabaseKey
from presenced.errors import StoreCorrupt, StoreError, StoreFull, WrongKey
from presenced.store.limits import (
    BUSY_MS,
    CACHE_KIB,
    LOG_BYTES_KEPT,
    PROGRESS_STEPS,
    QUICK_CHECK_BYTES_MAX,
)


def connect(path: Path, key: DatabaseKey, *, writable: bool) -> apsw.Connection:
    """A connection to an encrypted database; a writable one makes the file (0600).

    Closing it leaves the write-ahead log alone until `keep` was called.
    Raises `WrongKey`, `StoreCorrupt`, `StoreFull` or `StoreError`; the file is untouched then.
    """
    with errors_named(path):
        if writable:
            _create(path)
        _require_marker(path, key)
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.set_busy_timeout(BUSY_MS)
            connection.pragma("cipher", "chacha20")
            connection.pragma("key", f"raw:{key.raw.hex()}{key.marker.hex()}")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            connection.pragma("temp_store", "memory")
            connection.pragma("cache_size", -CACHE_KIB)
            if writable:
                connection.pragma("journal_mode", "wal")
                connection.pragma("journal_size_limit", LOG_BYTES_KEPT)
                connection.pragma("synchronous", "full")
                connection.pragma("secure_delete", True)  # costs nothing that could be measured
            else:
                connection.pragma("query_only", True)
        except BaseException:
            connection.close()
            raise
        return connection


def check(connection: apsw.Connection, path: Path) -> None:
    """Read every page and check that they fit together. Raises `StoreCorrupt`."""
    with errors_named(path):
        if connection.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]:
            raise corrupt(path)


def check_on_disk(path: Path, key: DatabaseKey, seconds_max: float) -> bool:
    """Check the file with a connection that remembers no page. Raises `StoreCorrupt`.

    False if time was up before all of it was read.
    """
    deadline = time.monotonic() + seconds_max
    with closing(connect(path, key, writable=False)) as connection:
        connection.set_progress_handler(lambda: time.monotonic() >= deadline, PROGRESS_STEPS)
        try:
            check(connection, path)
        except apsw.InterruptError:
            return False
        return True


def check_if_small(connection: apsw.Connection, path: Path) -> None:
    """Check a file that is read in no time. Raises `StoreCorrupt`."""
    if path.stat().st_size <= QUICK_CHECK_BYTES_MAX:
        check(connection, path)


def keep(connection: apsw.Connection) -> None:
    """The file is sound and ours: closing copies its write-ahead log into it."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)


@contextmanager
def errors_named(path: Path) -> Iterator[None]:
    """SQLite's errors as ours. What only a bug can cause (a constraint, wrong SQL) passes."""
    try:
        yield
    except apsw.Error as error:
        named = _named(error, path)
        if named is None:
            raise
        raise named from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StoreFull(f"no space for {path}") from error
        raise StoreError(
            f"cannot use {path}: {error.strerror}",
            hint="Check that the disk is mounted, writable and has space.",
        ) from error


def corrupt(path: Path) -> StoreCorrupt:
    return StoreCorrupt(
        f"{path} is damaged",
        hint=(
            "Check the disk, then put back a copy of the file, or move it and the files beside it "
            "away and run `presence join`: your other devices have all that was synced. It was "
            "not touched."
        ),
    )


def _named(error: apsw.Error, path: Path) -> StoreError | None:
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
        return corrupt(path)
    if isinstance(error, apsw.FullError):
        return StoreFull(f"no space for {path}")
    if isinstance(error, apsw.IOError):
        extended: int = getattr(error, "extendedresult", 0)  # not in apsw's stub
        if extended in (apsw.SQLITE_IOERR_DATA, apsw.SQLITE_IOERR_CORRUPTFS):
            return corrupt(path)
        if extended == apsw.SQLITE_IOERR_WRITE:  # also a quota or a file size limit
            return StoreFull(f"cannot write {path}")
    elif not isinstance(error, _ENVIRONMENT):
        return None
    return StoreError(
        f"cannot use {path}: {type(error).__name__}",
        hint="Check that the disk is mounted, writable and has space; the edit was not recorded.",
    )


_ENVIRONMENT = (
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.LockedError,
    apsw.NoLFSError,
    apsw.NoMemError,
    apsw.PermissionsError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,
)


def _create(path: Path) -> None:
    """An empty file that only its owner may read, its name on disk; nothing if it is there."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """What was made, renamed or removed in a folder is on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _require_marker(path: Path, key: DatabaseKey) -> None:
    with path.open("rb") as file:
        marker = file.read(MARKER_BYTES)
    if marker and marker != key.marker:
        raise WrongKey(
            f"{path} does not open with this device's key",
            hint=(
                "Put back the key that belongs to it (keyring, passphrase or key file), or move "
                "it and the files beside it away and run `presence join`. It was not touched."
            ),
        )
