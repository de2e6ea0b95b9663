"""The store's life: opening, the writer thread, closing.

Cancellation: a commit that has begun runs to its end and its result is known; a caller that is
cancelled while it waits for the writer has written nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import apsw
import trio

from presenced.device.commit import Commit
from presenced.store.connection import check, connect
from presenced.store.reader import Reader
from presenced.store.schema import migrate
from presenced.store.writer import Writer


class Store:
    """One open database. `reader` is for the main thread."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self.reader = reader
        self._limiter = trio.CapacityLimiter(1)

    async def commit(self, commit: Commit) -> None:
        """Write a commit; on return it is on disk. Raises `StoreError`s; then nothing of it is."""
        await trio.to_thread.run_sync(self._writer.write, commit, limiter=self._limiter)


@asynccontextmanager
async def open_store(path: Path, key: bytes) -> AsyncIterator[Store]:
    """The database at `path`, made if it is not there. `key`: 32 bytes.

    Raises `WrongKey`, `StoreCorrupt`, `StoreFull` or `StoreError`, file untouched.
    """
    writing, reading = await trio.to_thread.run_sync(partial(_open, path, key))
    try:
        yield Store(Writer(writing, path), Reader(reading, path))
    finally:
        reading.close()
        writing.close()


def _open(path: Path, key: bytes) -> tuple[apsw.Connection, apsw.Connection]:
    writing = connect(path, key, writable=True)
    try:
        check(writing, path)
        migrate(writing, str(path))
        return writing, connect(path, key, writable=False)
    except BaseException:
        writing.close()
        raise
