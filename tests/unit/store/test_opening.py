"""Opening: what does not open is named, with the way out, and is left as it was."""

from __future__ import annotations

import re
import shutil
import stat
from pathlib import Path

import apsw
import pytest

from presenced.crypto.database_key import MARKER_BYTES, DatabaseKey
from presenced.device.commit import Commit, FollowQuery
from presenced.errors import StoreCorrupt, StoreError, WrongKey
from presenced.store import open_store
from presenced.store.connection import connect
from presenced.testing.stored import log_head, single_edit, stored_entry, stored_follow

PAGE = 4_096


async def written(path: Path, key: DatabaseKey) -> None:
    """A closed database of some pages."""
    async with open_store(path, key) as store:
        await store.commit(
            Commit(
                entries=[stored_entry(1, 9_000)],
                heads=[log_head(1)],
                follows=[stored_follow(number) for number in range(200)],
            )
        )


async def killed(path: Path, key: DatabaseKey, copy: Path) -> Path:
    """A database as a killed daemon leaves it: what was committed lies in the log beside it."""
    async with open_store(path, key) as store:
        await store.commit(single_edit(2))
        for beside in path.parent.glob(f"{path.name}*"):
            shutil.copy(beside, copy / beside.name)
    return copy / path.name


def files(path: Path) -> dict[str, bytes]:
    """The database and its log, byte for byte (the -shm file is an index, rebuilt at will)."""
    return {
        beside.name: beside.read_bytes()
        for beside in path.parent.glob(f"{path.name}*")
        if not beside.name.endswith("-shm")
    }


def content(path: Path) -> bytes:
    return path.read_bytes()


def put(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)


async def test_only_the_owner_can_read_the_files(path: Path, key: DatabaseKey) -> None:
    async with open_store(path, key) as store:
        await store.commit(single_edit(1))
        modes = {stat.S_IMODE(one.stat().st_mode) for one in path.parent.glob(f"{path.name}*")}
    assert modes == {0o600}


async def test_after_closing_there_is_one_file(path: Path, key: DatabaseKey) -> None:
    await written(path, key)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


async def test_no_title_or_uri_is_readable_in_any_file(path: Path, key: DatabaseKey) -> None:
    secrets = [b"canary-title", b"canary.example", b"canary-tag", b"canary-meta", b"follow"]
    row = stored_follow(1, title="canary-title", tags=["canary-tag"])
    row = row._replace(uri="https://canary.example/")
    async with open_store(path, key) as store:
        await store.commit(Commit(follows=[row] * 50, meta={"canary-meta": b"canary-meta"}))
        during = b"".join(one.read_bytes() for one in path.parent.iterdir())
        assert any(one.name.endswith("-wal") for one in path.parent.iterdir())
    after = content(path)
    for secret in secrets:
        assert secret not in during
        assert secret not in after


async def test_a_wrong_key_is_told_and_nothing_is_touched(
    path: Path, key: DatabaseKey, tmp_path: Path
) -> None:
    (tmp_path / "copy").mkdir()
    left = await killed(path, key, tmp_path / "copy")
    before = files(left)
    assert len(before) == 2
    with pytest.raises(WrongKey) as caught:
        async with open_store(left, DatabaseKey(bytes(32))):
            raise AssertionError
    assert str(left) in caught.value.detail
    assert "key file" in caught.value.hint
    assert files(left) == before
    async with open_store(left, key) as store:
        assert store.reader.log_heads("follows") == [log_head(2)]


async def test_a_key_is_never_shown(path: Path, key: DatabaseKey) -> None:
    await written(path, key)
    with pytest.raises(WrongKey) as caught:
        async with open_store(path, DatabaseKey(b"\xab" * 32)):
            raise AssertionError
    shown = f"{caught.value!r} {caught.value.hint} {key!r}"
    assert "abab" not in shown
    assert key.raw.hex() not in shown


@pytest.mark.parametrize("page", [0, 1, 2, 5, 10])
async def test_a_damaged_page_is_told_and_nothing_is_touched(
    path: Path, key: DatabaseKey, page: int
) -> None:
    await written(path, key)
    damaged = bytearray(content(path))
    assert len(damaged) > 11 * PAGE
    damaged[page * PAGE + 1_000] ^= 0x10
    put(path, damaged)
    with pytest.raises(StoreCorrupt) as caught:
        async with open_store(path, key):
            raise AssertionError
    assert str(path) in caught.value.detail
    assert "presence join" in caught.value.hint
    assert content(path) == damaged


async def test_a_damaged_page_beside_a_log_leaves_the_log_alone(
    path: Path, key: DatabaseKey, tmp_path: Path
) -> None:
    await written(path, key)
    (tmp_path / "copy").mkdir()
    left = await killed(path, key, tmp_path / "copy")
    damaged = bytearray(content(left))
    damaged[10 * PAGE + 1_000] ^= 0x10
    put(left, damaged)
    before = files(left)
    with pytest.raises(StoreCorrupt):
        async with open_store(left, key):
            raise AssertionError
    assert files(left) == before


async def test_damage_in_a_large_file_is_told_when_it_is_read(
    path: Path, key: DatabaseKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("presenced.store.connection.QUICK_CHECK_BYTES_MAX", 0)
    await written(path, key)
    whole = content(path)
    damaged = verified = 0
    for page in range(1, len(whole) // PAGE):
        changed = bytearray(whole)
        changed[page * PAGE + 17] ^= 1
        put(path, changed)
        try:
            async with open_store(path, key) as store:
                with pytest.raises(StoreCorrupt):
                    await store.verify()
                verified += 1
                store.reader.follows(FollowQuery())
                store.reader.entries("follows", stored_entry(1).log, 1, bytes_max=1)
        except StoreCorrupt:
            damaged += 1
    assert damaged >= 8, "the rows and the entry lie in at least this many pages"
    assert verified >= 8, "the file opens, and the whole check finds every one"
    put(path, whole)
    async with open_store(path, key) as store:
        assert await store.verify()


async def test_a_check_reads_the_disk_and_not_what_is_remembered(
    path: Path, key: DatabaseKey
) -> None:
    await written(path, key)
    async with open_store(path, key) as store:
        remembered = store.reader.follows(FollowQuery()).rows
        damaged = bytearray(content(path))
        damaged[10 * PAGE + 1_000] ^= 0x10
        put(path, damaged)
        with pytest.raises(StoreCorrupt, match=re.escape(str(path))):
            await store.verify()
        assert store.reader.follows(FollowQuery()).rows == remembered


async def test_a_check_that_takes_too_long_ends_without_a_verdict(
    path: Path, key: DatabaseKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(path, key) as store:
        await store.commit(Commit(follows=[stored_follow(number) for number in range(2_000)]))
        monkeypatch.setattr("presenced.store.store.VERIFY_SECONDS_MAX", 0.0)
        assert not await store.verify()
        monkeypatch.undo()
        assert await store.verify()
        await store.commit(Commit(follows=[stored_follow(2_000)]))


@pytest.mark.parametrize("size", [1, 100, PAGE - 1, PAGE + 100, 5 * PAGE])
async def test_a_file_cut_short_is_told(path: Path, key: DatabaseKey, size: int) -> None:
    await written(path, key)
    put(path, content(path)[:size])
    with pytest.raises((StoreCorrupt, WrongKey)):
        async with open_store(path, key):
            raise AssertionError
    assert len(content(path)) == size


async def test_something_else_in_its_place_is_not_overwritten(path: Path, key: DatabaseKey) -> None:
    put(path, b"SQLite format 3\x00" + bytes(9_000))
    with pytest.raises(WrongKey):
        async with open_store(path, key):
            raise AssertionError
    assert content(path) == b"SQLite format 3\x00" + bytes(9_000)


async def test_an_empty_file_of_a_start_that_failed_becomes_a_database(
    path: Path, key: DatabaseKey
) -> None:
    put(path, b"")
    await written(path, key)
    assert content(path)[:MARKER_BYTES] == key.marker


async def test_the_marker_tells_keys_apart_and_nothing_else(key: DatabaseKey) -> None:
    assert len(key.marker) == MARKER_BYTES
    assert key.marker == DatabaseKey(key.raw).marker != DatabaseKey(bytes(32)).marker
    assert key.marker not in key.raw


async def test_a_folder_that_is_not_there_is_a_host_error(tmp_path: Path, key: DatabaseKey) -> None:
    with pytest.raises(StoreError, match="No such file"):
        async with open_store(tmp_path / "gone" / "presenced.db", key):
            raise AssertionError


async def test_the_file_is_durable_and_lean(path: Path, key: DatabaseKey) -> None:
    async with open_store(path, key):
        writing = connect(path, key, writable=True)
        try:
            settings = {
                name: writing.pragma(name)
                for name in ("journal_mode", "synchronous", "temp_store", "mmap_size", "cipher")
            }
        finally:
            writing.close()
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,
        "temp_store": 2,
        "mmap_size": 0,
        "cipher": "chacha20",
    }


async def test_the_reader_cannot_write(path: Path, key: DatabaseKey) -> None:
    await written(path, key)
    reading = connect(path, key, writable=False)
    with pytest.raises(apsw.ReadOnlyError):
        reading.execute("DELETE FROM follow")
    reading.close()
