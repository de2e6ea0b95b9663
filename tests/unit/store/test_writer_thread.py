"""The writer's thread: one job after another, tidying in between, errors where they belong."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from presenced.errors import StoreFull
from presenced.store.writer_thread import WriterThread


class Room:
    """Something to tidy, which tells when it was tidied."""

    def __init__(self) -> None:
        self.untidy = False
        self.overdue = False
        self.tidied = 0
        self.error: Exception | None = None
        self._token = trio.lowlevel.current_trio_token()
        self._told = trio.Event()

    def tidy(self) -> None:
        self.tidied += 1
        self.untidy = self.overdue = False
        self._token.run_sync_soon(self._tell)
        if self.error is not None:
            raise self.error

    def _tell(self) -> None:
        self._told.set()
        self._told = trio.Event()

    async def wait_tidied(self) -> None:
        with trio.fail_after(30):
            await self._told.wait()


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[WriterThread, Room]]:
    thread, room = WriterThread(), Room()
    thread.between_jobs(room)
    try:
        yield thread, room
    finally:
        await thread.close(lambda: None)


def setter(room: Room, name: str) -> Callable[[], None]:
    return lambda: setattr(room, name, True)


async def test_a_job_runs_in_the_thread_and_gives_its_result() -> None:
    async with opened() as (thread, _):
        assert await thread.call(lambda: threading.current_thread().name) == "presenced-store"
        assert await thread.call(lambda: None) is None


async def test_a_job_that_was_begun_has_one_result_however_late_it_is_asked_for() -> None:
    ran = threading.Event()
    async with opened() as (thread, _):
        job = thread.begin(lambda: ran.set() or 7)
        await thread.call(lambda: None)  # behind it
        assert ran.is_set()
        assert await job.result() == 7
        assert await job.result() == 7


async def test_a_jobs_error_is_raised_where_it_was_asked_for() -> None:
    def fail() -> None:
        raise StoreFull("no space")

    async with opened() as (thread, _):
        with pytest.raises(StoreFull, match="no space"):
            await thread.call(fail)
        assert await thread.call(lambda: 7) == 7


async def test_jobs_of_many_tasks_run_one_at_a_time_and_all() -> None:
    inside = 0
    done: list[int] = []

    def job(number: int) -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        done.append(number)
        inside -= 1

    async def ask(thread: WriterThread, number: int) -> None:
        await thread.call(lambda: job(number))

    async with opened() as (thread, _), trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(ask, thread, number)
    assert sorted(done) == list(range(50))


async def test_it_tidies_once_nobody_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("presenced.store.writer_thread.QUIET_SECONDS", 0.01)
    async with opened() as (thread, room):
        await thread.call(setter(room, "untidy"))
        await room.wait_tidied()
        await thread.call(lambda: None)
        assert room.tidied == 1


async def test_it_does_not_tidy_between_commits_that_follow_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("presenced.store.writer_thread.QUIET_SECONDS", 3_600.0)
    async with opened() as (thread, room):
        for _ in range(100):
            await thread.call(setter(room, "untidy"))
        assert room.tidied == 0


async def test_what_is_overdue_is_tidied_before_the_next_job() -> None:
    async with opened() as (thread, room):
        await thread.call(setter(room, "overdue"))
        assert await thread.call(lambda: room.tidied) == 1


async def test_what_cannot_be_tidied_does_no_harm() -> None:
    async with opened() as (thread, room):
        room.error = StoreFull("no space")
        await thread.call(setter(room, "overdue"))
        assert await thread.call(lambda: room.tidied) == 1
