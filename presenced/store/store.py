"""The store's life: opening, committing, closing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import apsw

from presenced.crypto.database_key import DatabaseKey
from presenced.device.commit import Commit, StoreReader
from presenced.store.connection import check_if_small, check_on_disk, connect, keep
from presenced.store.limits import VERIFY_SECONDS_MAX
from presenced.store.reader import Reader
from presenced.store.schema import Telling, migrate, say_nothing
from presenced.store.writer import Writer
from presenced.store.writer_thread import Job, WriterThread


class Store:
    """One open database. `reader` is for the main thread and sees what is committed."""

    def __init__(
        self,
        thread: WriterThread,
        writer: Writer,
        reader: Reader,
        check_on_disk: Callable[[float], bool],
    ) -> None:
        self._thread = thread
        self._writer = writer
        self._check_on_disk = check_on_disk
        self.reader: StoreReader = reader

    async def commit(self, commit: Commit) -> None:
        """Write a commit; on return all of it is on disk.

        Raises `StoreFull`, `StoreCorrupt` or `StoreError`; then nothing of it is, and the store
        goes on. A task cancelled before has written nothing; once begun, the commit runs to its
        end and its result is known, so cancellation waits for it.
        """
        await self._thread.call(partial(self._writer.write, commit))

    def begin(self, commit: Commit) -> Job[None]:
        """As `commit`, but writing begins at once; the job's `result` tells the end."""
        return self._thread.begin(partial(self._writer.write, commit))

    async def verify(self) -> bool:
        """Read every page from the disk and check that they fit together.

        Commits wait meanwhile, at most `VERIFY_SECONDS_MAX`; False if that was too short for all
        of it (100,000 records take 0.3 s). Raises `StoreCorrupt` or `StoreError`.
        """
        return await self._thread.call(partial(self._check_on_disk, VERIFY_SECONDS_MAX))


@asynccontextmanager
async def open_store(
    path: Path, key: DatabaseKey, *, migrating: Telling = say_nothing
) -> AsyncIterator[Store]:
    """The database at `path`, made if it is not there. Leaving closes it, whatever is queued first.

    `migrating` hears how an older file becomes one of this version.
    Raises `WrongKey`, `StoreCorrupt`, `StoreFull` or `StoreError`, the file untouched.
    """
    thread = WriterThread()
    opened: list[apsw.Connection] = []
    try:
        writer, reader = await thread.call(partial(_open, path, key, opened, migrating))
        thread.between_jobs(writer)
        yield Store(thread, writer, reader, partial(check_on_disk, path, key))
    finally:
        await thread.close(partial(_close, opened))


def _open(
    path: Path, key: DatabaseKey, opened: list[apsw.Connection], migrating: Telling
) -> tuple[Writer, Reader]:
    """What was opened is in `opened`, to be closed whether or not this succeeds."""
    writing = connect(path, key, writable=True)
    opened.append(writing)
    check_if_small(writing, path)
    migrate(writing, path, tell=migrating)
    keep(writing)
    reading = connect(path, key, writable=False)
    opened.append(reading)
    return Writer(writing, path), Reader(reading, path)


def _close(opened: list[apsw.Connection]) -> None:
    """The reader first: the last one to close copies the write-ahead log into the file."""
    while opened:
        opened[-1].close()
        opened.pop()
