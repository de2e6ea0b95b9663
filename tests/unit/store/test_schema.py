"""Migrations: appended, never changed; a copy is kept while rows change."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import apsw
import pytest

from presenced.crypto.database_key import DatabaseKey
from presenced.device.commit import FollowQuery
from presenced.errors import StoreError
from presenced.store import open_store
from presenced.store.connection import connect
from presenced.store.schema import MIGRATIONS, Migration, copy_path, migrate
from presenced.testing.stored import single_edit, stored_follow

VERSION_1 = "baa0c7446889bb13aa8cf5d46efa7927"
"what the first version's SQL hashes to: a change would leave older files behind"

ADDS = Migration(sql="ALTER TABLE follow ADD COLUMN rating INTEGER;", changes_rows=False)
REWRITES = Migration(sql="UPDATE follow SET title = upper(title);", changes_rows=True)
FAILS = Migration(
    sql="UPDATE follow SET title = ''; INSERT INTO nowhere VALUES (1);", changes_rows=True
)


@pytest.fixture
async def old(path: Path, key: DatabaseKey) -> Path:
    """A database of version 1 with a row."""
    connection = connect(path, key, writable=True)
    migrate(connection, path, MIGRATIONS[:1])
    connection.close()
    async with open_store(path, key) as store:
        await store.commit(single_edit(1))
    return path


def content(path: Path) -> bytes:
    return path.read_bytes()


def titles(connection: apsw.Connection) -> list[str]:
    return [str(title) for (title,) in connection.execute("SELECT title FROM follow")]


def test_the_first_version_is_frozen() -> None:
    digest = blake2b(MIGRATIONS[0].sql.encode(), digest_size=16).hexdigest()
    assert digest == VERSION_1


async def test_a_database_of_version_1_becomes_the_newest(old: Path, key: DatabaseKey) -> None:
    async with open_store(old, key) as store:
        assert store.reader.follows(FollowQuery()).rows == single_edit(1).follows
    connection = connect(old, key, writable=True)
    assert connection.pragma("user_version") == len(MIGRATIONS)
    connection.close()


async def test_steps_run_in_order_and_once(old: Path, key: DatabaseKey) -> None:
    connection = connect(old, key, writable=True)
    for _ in range(2):
        migrate(connection, old, (*MIGRATIONS, ADDS, REWRITES))
    assert connection.pragma("user_version") == len(MIGRATIONS) + 2
    assert titles(connection) == [stored_follow(1_000_001).title.upper()]
    connection.close()


async def test_a_copy_is_kept_while_rows_change_and_goes_afterwards(
    old: Path, key: DatabaseKey
) -> None:
    connection = connect(old, key, writable=True)
    seen: list[bytes] = []
    copy = copy_path(old, len(MIGRATIONS))
    connection.create_scalar_function("look", lambda: seen.append(copy.read_bytes()) or "", 0)
    before = content(old)
    looking = Migration(sql="UPDATE follow SET title = look();", changes_rows=True)
    migrate(connection, old, (*MIGRATIONS, looking))
    connection.close()
    assert seen == [before]
    assert list(old.parent.glob("*.version-*")) == []


async def test_a_step_that_only_adds_makes_no_copy(old: Path, key: DatabaseKey) -> None:
    connection = connect(old, key, writable=True)
    copy = copy_path(old, len(MIGRATIONS))
    seen: list[bool] = []
    connection.create_scalar_function("look", lambda: seen.append(copy.exists()) or 1, 0)
    adding = Migration(sql="SELECT look();", changes_rows=False)
    migrate(connection, old, (*MIGRATIONS, adding))
    connection.close()
    assert seen == [False]


async def test_a_step_that_fails_changes_nothing_and_leaves_the_copy(
    old: Path, key: DatabaseKey
) -> None:
    connection = connect(old, key, writable=True)
    with pytest.raises(apsw.SQLError):
        migrate(connection, old, (*MIGRATIONS, FAILS))
    assert connection.pragma("user_version") == len(MIGRATIONS)
    assert titles(connection) == [stored_follow(1_000_001).title]
    connection.close()
    copy = copy_path(old, len(MIGRATIONS))
    assert copy.stat().st_mode & 0o777 == 0o600
    opened = connect(copy, key, writable=True)
    assert titles(opened) == [stored_follow(1_000_001).title]
    opened.close()


async def test_a_copy_left_by_a_crash_after_the_step_goes_at_the_next_start(
    old: Path, key: DatabaseKey
) -> None:
    copy_path(old, 0).write_bytes(b"left behind")
    async with open_store(old, key):
        pass
    assert not copy_path(old, 0).exists()


async def test_a_newer_file_is_refused_and_left_alone(old: Path, key: DatabaseKey) -> None:
    connection = connect(old, key, writable=True)
    connection.pragma("user_version", len(MIGRATIONS) + 1)
    connection.pragma("wal_checkpoint(TRUNCATE)")
    connection.close()
    before = content(old)
    with pytest.raises(StoreError, match="newer presenced") as caught:
        async with open_store(old, key):
            raise AssertionError
    assert "Install the newer version" in caught.value.hint
    assert content(old) == before


async def test_each_step_of_an_older_file_is_told_and_a_new_file_is_not(
    old: Path, key: DatabaseKey, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    connection = connect(old, key, writable=True)
    migrate(
        connection,
        old,
        (*MIGRATIONS, ADDS, REWRITES),
        tell=lambda done, total: told.append((done, total)),
    )
    connection.close()
    assert told == [(0, 2), (1, 2), (2, 2)]
    told.clear()
    async with open_store(tmp_path / "new.db", key, migrating=lambda *now: told.append(now)):
        assert told == []


async def test_a_step_that_takes_long_is_told_again(
    old: Path, key: DatabaseKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("presenced.store.schema.TOLD_AGAIN_SECONDS", 0.0)
    many = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100000)"
    slow = Migration(sql=f"CREATE TABLE t AS {many} SELECT x FROM n;", changes_rows=False)
    told: list[tuple[int, int]] = []
    connection = connect(old, key, writable=True)
    migrate(connection, old, (*MIGRATIONS, slow), tell=lambda *now: told.append(now))
    assert told.count((0, 1)) > 3
    assert told[-1] == (1, 1)
    told.clear()
    connection.execute(f"{many} SELECT count(*) FROM n").fetchall()
    assert told == [], "nothing is told once it is over"
    connection.close()
