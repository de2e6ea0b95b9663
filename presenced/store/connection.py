"""Opening the encrypted file, and what SQLite's errors mean for a person.

Source: SQLite3 Multiple Ciphers, cipher `chacha20` (ChaCha20-Poly1305 per page, raw key).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from presenced.errors import StoreCorrupt, StoreError, StoreFull, WrongKey

KEY_BYTES: Final = 32

CACHE_KIB: Final = 2_048
"page cache of one connection"

QUICK_CHECK_BYTES_MAX: Final = 4 * 1024 * 1024
"a smaller file is checked whole when it is opened; a larger one page by page as it is read"

BUSY_MS: Final = 5_000
"how long a reader waits for a checkpoint"


def connect(path: Path, key: bytes, *, writable: bool) -> apsw.Connection:
    """A connection to an encrypted database.

    Raises `WrongKey`, `StoreCorrupt`, `StoreFull` or `StoreError`; the file is untouched then.
    """
    assert len(key) == KEY_BYTES
    with errors_named(path):
        flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if writable else 0)
        connection = apsw.Connection(str(path), flags=flags)
        try:
            connection.set_busy_timeout(BUSY_MS)
            connection.pragma("cipher", "chacha20")
            connection.pragma("key", f"raw:{key.hex()}")
            try:
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            except apsw.NotADBError as error:
                raise WrongKey(
                    f"{path} does not open with this device's key",
                    hint=(
                        "Put back the key that belongs to it (keyring, passphrase or key file), "
                        "or move the file away and join again. It was not touched."
                    ),
                ) from error
            if writable:
                connection.pragma("journal_mode", "wal")
            connection.pragma("synchronous", "full")
            connection.pragma("temp_store", "memory")
            connection.pragma("cache_size", -CACHE_KIB)
        except BaseException:
            connection.close()
            raise
        return connection


def check(connection: apsw.Connection, path: Path) -> None:
    """Check a small file whole. Raises `StoreCorrupt`."""
    if path.stat().st_size > QUICK_CHECK_BYTES_MAX:
        return
    with errors_named(path):
        if connection.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]:
            raise _corrupt(path)


@contextmanager
def errors_named(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, which name the file and the way out."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise _corrupt(path) from error
    except apsw.FullError as error:
        raise StoreFull(f"no space for {path}") from error
    except (apsw.IOError, apsw.CantOpenError, apsw.PermissionsError, apsw.ReadOnlyError) as error:
        extended = getattr(error, "extendedresult", 0)
        if extended in (apsw.SQLITE_IOERR_DATA, apsw.SQLITE_IOERR_CORRUPTFS):
            raise _corrupt(path) from error
        if extended == apsw.SQLITE_IOERR_WRITE:
            raise StoreFull(f"cannot write {path}") from error
        raise StoreError(
            f"cannot use {path}: {type(error).__name__}",
            hint="Check that the disk is mounted, writable and has space.",
        ) from error
    except apsw.Error as error:
        raise StoreError(f"{path}: {type(error).__name__}") from error


def _corrupt(path: Path) -> StoreCorrupt:
    return StoreCorrupt(
        f"{path} is damaged",
        hint=(
            "Copy it away, move it out of its folder and run `presence join`: your other devices "
            "have all that was synced. It was not touched."
        ),
    )
