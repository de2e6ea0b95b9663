"""The store's life: opening, committing, closing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import apsw

from presenced.crypto.database_key import DatabaseKey
from presenced.device.commit import Commit, StoreReader
from presenced.store.connection import check_if_small, connect, keep
from presenced.store.reader import Reader
from presenced.store.schema import migrate
from presenced.store.writer import Writer
from presenced.store.writer_thread import WriterThread


class Store:
    """One open database. `reader` is for the main thread and sees what is committed."""

    def __init__(self, thread: WriterThread, writer: Writer, reader: Reader) -> None:
        self._thread = thread
        self._writer = writer
        self.reader: StoreReader = reader

    async def commit(self, commit: Commit) -> None:
        """Write a commit; on return all of it is on disk.

        Raises `StoreFull`, `StoreCorrupt` or `StoreError`; then nothing of it is, and the store
        goes on. A task cancelled before has written nothing; once begun, the commit runs to its
        end and its result is known, so cancellation waits for it.
        """
        await self._thread.call(partial(self._writer.write, commit))

    async def verify(self) -> None:
        """Read every page and check that they fit together (0.2 s for 100,000 records).

        Commits wait meanwhile. Raises `StoreCorrupt` or `StoreError`.
        """
        await self._thread.call(self._writer.verify)


@asynccontextmanager
async def open_store(path: Path, key: DatabaseKey) -> AsyncIterator[Store]:
    """The database at `path`, made if it is not there. Leaving closes it, whatever is queued first.

    Raises `WrongKey`, `StoreCorrupt`, `StoreFull` or `StoreError`, the file untouched.
    """
    thread = WriterThread()
    opened: list[apsw.Connection] = []
    try:
        writer, reader = await thread.call(partial(_open, path, key, opened))
        thread.between_jobs(writer)
        yield Store(thread, writer, reader)
    finally:
        await thread.close(partial(_close, opened))


def _open(path: Path, key: DatabaseKey, opened: list[apsw.Connection]) -> tuple[Writer, Reader]:
    """What was opened is in `opened`, to be closed whether or not this succeeds."""
    writing = connect(path, key, writable=True)
    opened.append(writing)
    check_if_small(writing, path)
    migrate(writing, path)
    keep(writing)
    reading = connect(path, key, writable=False)
    opened.append(reading)
    return Writer(writing, path), Reader(reading, path)


def _close(opened: list[apsw.Connection]) -> None:
    """The reader first: the last one to close copies the write-ahead log into the file."""
    while opened:
        opened[-1].close()
        opened.pop()
