"""The store under cancellation: nothing half-written, every result known, nothing left running."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from presenced.crypto.database_key import DatabaseKey
from presenced.device.commit import Commit
from presenced.errors import StoreError, WrongKey
from presenced.store import Store, open_store
from presenced.store.writer import Writer
from presenced.testing.stored import LOG, log_head, single_edit, stored_follow

KEY = DatabaseKey(bytes(range(32)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "presenced.db"


def writer_threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "presenced-store"]


class Gate:
    """Holds the writer inside a commit until it is let go; tells when it is there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.inside = trio.Event()
        self.go = threading.Event()
        token = trio.lowlevel.current_trio_token()
        write = Writer.write

        def held(writer: Writer, commit: Commit) -> None:
            token.run_sync_soon(self.inside.set)
            assert self.go.wait(30)
            write(writer, commit)

        monkeypatch.setattr(Writer, "write", held)


async def in_order(store: Store, seqs: range, done: Callable[[int], None]) -> None:
    for seq in seqs:
        await store.commit(single_edit(seq))
        done(seq)


async def test_a_commit_that_has_begun_runs_to_its_end_and_reports(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(path, KEY) as store:
        gate = Gate(monkeypatch)
        reported: list[int] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_order, store, range(1, 5), reported.append)
            await gate.inside.wait()
            nursery.cancel_scope.cancel()
            gate.go.set()
        assert reported == [1], "the one in flight is known to be done; no other was begun"
        assert store.reader.log_heads("follows") == [log_head(1)]


async def test_a_failed_commit_is_reported_to_a_cancelled_task(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[StoreError] = []

    async def commit(store: Store) -> None:
        try:
            await store.commit(single_edit(1))
        except StoreError as error:
            errors.append(error)

    async with open_store(path, KEY) as store:
        monkeypatch.setattr(Writer, "_write", _fail)
        gate = Gate(monkeypatch)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(commit, store)
            await gate.inside.wait()
            nursery.cancel_scope.cancel()
            gate.go.set()
        assert len(errors) == 1
        monkeypatch.undo()
        await store.commit(single_edit(1))
        assert store.reader.log_heads("follows") == [log_head(1)]


def _fail(_writer: Writer, _commit: Commit) -> None:
    raise StoreError("the disk is gone")


async def test_a_task_cancelled_before_it_commits_writes_nothing(path: Path) -> None:
    async with open_store(path, KEY) as store:
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.commit(single_edit(1))
        assert scope.cancelled_caught
        assert store.reader.log_heads("follows") == []
        await store.commit(single_edit(1))


async def test_leaving_waits_for_what_was_begun(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trio.CancelScope() as scope:
        async with open_store(path, KEY) as store, trio.open_nursery() as nursery:
            gate = Gate(monkeypatch)
            nursery.start_soon(store.commit, single_edit(1))
            await gate.inside.wait()
            scope.cancel()
            gate.go.set()
    monkeypatch.undo()
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    async with open_store(path, KEY) as store:
        assert store.reader.log_heads("follows") == [log_head(1)]


async def test_the_thread_ends_with_the_block(path: Path) -> None:
    async with open_store(path, KEY):
        assert len(writer_threads()) == 1
    await _until(lambda: not writer_threads())
    with pytest.raises(WrongKey):
        async with open_store(path, DatabaseKey(bytes(32))):
            raise AssertionError
    await _until(lambda: not writer_threads())
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_store(path, KEY):
            raise AssertionError
    await _until(lambda: not writer_threads())


async def _until(condition: Callable[[], bool]) -> None:
    """The thread was told to end; it does so on its own time."""
    with trio.fail_after(10):
        while not condition():
            await trio.to_thread.run_sync(lambda: None)


async def test_cancelled_at_any_moment_the_log_has_no_gap(path: Path) -> None:
    """Commits from one task, cancelled after a growing number of scheduler turns."""
    last = 0
    async with open_store(path, KEY) as store:
        for turns in range(60):
            reported: list[int] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(in_order, store, range(last + 1, last + 50), reported.append)
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            last = max([last, *reported])
            heads = store.reader.log_heads("follows")
            assert [head.held_seq for head in heads] == ([last] if last else [])
            raws = store.reader.entries("follows", LOG, 1, bytes_max=10**9)
            assert len(raws) == last
            assert store.reader.counts().follows == last
    assert last > 0


async def test_a_reader_sees_whole_commits_only(path: Path) -> None:
    async with open_store(path, KEY) as store, trio.open_nursery() as nursery:
        done = trio.Event()

        async def write() -> None:
            for turn in range(20):
                rows = [stored_follow(turn * 500 + number) for number in range(500)]
                await store.commit(Commit(heads=[log_head(turn + 1)], follows=rows))
            done.set()

        nursery.start_soon(write)
        seen = set()
        while not done.is_set():
            count = store.reader.counts().follows
            assert count % 500 == 0
            seen.add(count)
            await trio.lowlevel.checkpoint()
        assert len(seen) > 2
