"""The writer between commits: the log is copied into the file, deleted secrets are overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from presenced.crypto.database_key import DatabaseKey
from presenced.device.commit import Commit
from presenced.errors import StoreFull
from presenced.store.connection import connect, keep
from presenced.store.limits import (
    BULK_CACHE_KIB,
    BULK_ROWS,
    CACHE_KIB,
    CHECKPOINT_PAGES_MAX,
    CHECKPOINT_QUIET_PAGES,
    LOG_BYTES_KEPT,
    ROWS_TOGETHER,
)
from presenced.store.schema import migrate
from presenced.store.writer import Writer
from presenced.testing.stored import log_head, single_edit, stored_entry, stored_follow

PAGE = 4_096
FRAME = PAGE + 24


@pytest.fixture
def connection(path: Path, key: DatabaseKey) -> Iterator[apsw.Connection]:
    opened = connect(path, key, writable=True)
    migrate(opened, path)
    keep(opened)
    yield opened
    opened.close()


@pytest.fixture
def writer(connection: apsw.Connection, path: Path) -> Writer:
    return Writer(connection, path)


def log_pages(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size // FRAME


def test_a_commit_never_copies_the_log_itself(writer: Writer, path: Path) -> None:
    before = path.read_bytes()
    for seq in range(1, 500):
        writer.write(single_edit(seq))
    assert log_pages(path) > 1_000  # SQLite's own bound
    assert path.read_bytes() == before


def test_follows_written_together_are_all_there_and_the_last_of_each_counts(
    writer: Writer, connection: apsw.Connection
) -> None:
    count = sum(ROWS_TOGETHER) + 3
    rows = [stored_follow(number) for number in range(count)]
    again = [stored_follow(number, title="again") for number in range(0, count, 7)]
    writer.write(Commit(follows=[*rows, *again]))
    found = connection.execute("SELECT record, title FROM follow ORDER BY number").fetchall()
    titles = {row.record: row.title for row in [*rows, *again]}
    assert found == [(row.record, titles[row.record]) for row in rows]


def test_the_log_is_tidied_when_it_holds_a_mebibyte(writer: Writer, path: Path) -> None:
    seq = 0
    while not writer.untidy:
        seq += 1
        writer.write(single_edit(seq))
    assert log_pages(path) >= CHECKPOINT_QUIET_PAGES
    assert log_pages(path) < CHECKPOINT_QUIET_PAGES + 20
    assert not writer.overdue
    before = path.stat().st_size
    pages = log_pages(path)
    writer.tidy()
    assert path.stat().st_size > before
    assert log_pages(path) == pages, "its blocks are used again"
    assert not writer.untidy


def test_a_long_log_is_tidied_at_once(writer: Writer, path: Path) -> None:
    seq = 0
    while not writer.overdue:
        seq += 1
        writer.write(Commit(entries=[stored_entry(seq, 200_000)], heads=[log_head(seq)]))
    assert CHECKPOINT_PAGES_MAX <= log_pages(path) < CHECKPOINT_PAGES_MAX + 100
    writer.tidy()
    assert not writer.overdue
    assert log_pages(path) >= CHECKPOINT_PAGES_MAX, "its blocks are used again"
    seq += 1
    writer.write(single_edit(seq))  # the log begins anew
    assert not writer.untidy


def test_a_log_left_long_by_a_bulk_is_emptied_when_quiet(writer: Writer, path: Path) -> None:
    for seq in range(1, 12):
        writer.write(Commit(entries=[stored_entry(seq, 200_000)], heads=[log_head(seq)]))
    assert log_pages(path) * FRAME > 2 * LOG_BYTES_KEPT
    assert not writer.overdue
    writer.tidy()
    assert log_pages(path) == 0


def test_a_bulk_gets_more_memory_and_gives_it_back_when_quiet(
    writer: Writer, connection: apsw.Connection
) -> None:
    writer.write(Commit(follows=[stored_follow(number) for number in range(BULK_ROWS)]))
    assert connection.pragma("cache_size") == -CACHE_KIB
    writer.write(Commit(follows=[stored_follow(number) for number in range(BULK_ROWS + 1)]))
    assert connection.pragma("cache_size") == -BULK_CACHE_KIB
    assert writer.untidy
    writer.tidy()
    assert connection.pragma("cache_size") == -CACHE_KIB
    assert not writer.untidy


def test_without_space_nothing_is_recorded_and_the_writer_goes_on(
    writer: Writer, path: Path, connection: apsw.Connection
) -> None:
    writer.write(single_edit(1))
    pages = connection.pragma("page_count")
    connection.pragma("max_page_count", pages + 3)
    bulk = Commit(follows=[stored_follow(number) for number in range(500)], meta={"a": b"1"})
    for _ in range(2):
        with pytest.raises(StoreFull) as caught:
            writer.write(bulk)
        assert str(path) in caught.value.detail
        assert "not recorded" in caught.value.hint
    assert connection.execute("SELECT count(*) FROM follow").fetchall() == [(1,)]
    connection.pragma("max_page_count", 2**30)
    writer.write(bulk)
    writer.write(single_edit(2))
    assert connection.execute("SELECT count(*) FROM follow").fetchall() == [(502,)]


def test_a_deleted_secret_is_overwritten_at_once(
    writer: Writer, path: Path, connection: apsw.Connection
) -> None:
    secret = b"the root key!" * 30
    for number in range(50):
        writer.write(Commit(meta={f"key {number:02d}": secret, "stays": b"x"}))
    writer.tidy()  # the secrets are in the file now, not in the log alone
    assert not writer.overdue
    writer.write(Commit(meta={f"key {number:02d}": None for number in range(50)}))
    assert writer.overdue
    writer.tidy()
    assert not writer.overdue
    assert log_pages(path) == 0
    pages = connection.serialize("main")  # in clear, also those that hold nothing
    assert b"stays" in pages
    assert b"the root key!" not in pages
