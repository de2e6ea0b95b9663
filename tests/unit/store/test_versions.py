"""What an older version wrote is read by this one, as it was; what later versions keep smaller."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from presenced.crypto.database_key import DatabaseKey
from presenced.device.commit import Commit, FollowQuery
from presenced.presence.views import FollowRow
from presenced.replica.rows import LogHead, StoredEntry
from presenced.store import open_store
from presenced.store.connection import connect
from presenced.store.limits import SEQ_BITS, STARTS_KEPT
from presenced.store.schema import MIGRATIONS, migrate
from presenced.testing.stored import LOG, log_head, stored_entry, stored_follow

BYTES_MAX = 1_000_000

ENTRIES = [stored_entry(seq) for seq in (1, 2, 3)]
FOLLOWS = [
    stored_follow(1),
    stored_follow(2, kind="podcast", tags=["new"]),
    stored_follow(3, state="unfollowed", conflicts=["title"]),
]


@pytest.fixture
def old(path: Path, key: DatabaseKey) -> Path:
    """A database as version 1 wrote it."""
    connection = connect(path, key, writable=True)
    migrate(connection, path, MIGRATIONS[:1])
    head = log_head(3)
    connection.execute("INSERT INTO log VALUES (1,?,?,?,?,?,?,?,?,?)", tuple(head))
    for entry in ENTRIES:
        connection.execute("INSERT INTO entry VALUES (?,?)", (1 << SEQ_BITS | entry.seq, entry.raw))
    for row in FOLLOWS:
        connection.execute(
            "INSERT INTO follow (record, uri, title, kind, unfollowed, tags, conflicts,"
            " updated_ms) VALUES (?,?,?,?,?,?,?,?)",
            (
                row.record,
                row.uri,
                row.title,
                row.kind,
                row.state == "unfollowed",
                '["new"]' if row.tags else None,
                '["title"]' if row.conflicts else None,
                row.updated_ms,
            ),
        )
    connection.close()
    return path


def in_order(rows: list[FollowRow]) -> list[FollowRow]:
    return sorted(rows, key=lambda row: row.updated_ms)


async def test_what_version_1_wrote_is_read_and_added_to(old: Path, key: DatabaseKey) -> None:
    async with open_store(old, key) as store:
        more = Commit(entries=[stored_entry(4)], heads=[log_head(4)], follows=[stored_follow(4)])
        await store.commit(more)
    async with open_store(old, key) as store:
        reader = store.reader
        raws = reader.entries("follows", LOG, 1, bytes_max=BYTES_MAX)
        assert raws == [entry.raw for entry in (*ENTRIES, stored_entry(4))]
        assert in_order(reader.follows(FollowQuery(state=None)).rows) == [
            *FOLLOWS,
            stored_follow(4),
        ]
        feeds = reader.follows(FollowQuery(state=None, kind="feed")).rows
        assert {row.record for row in feeds} == {
            row.record for row in (FOLLOWS[0], FOLLOWS[2], stored_follow(4))
        }
        assert reader.follows(FollowQuery(kind="podcast")).rows == [FOLLOWS[1]]
        assert reader.follows(FollowQuery(state=None, conflicts_only=True)).rows == [FOLLOWS[2]]
        assert reader.counts().follows == 3


async def test_rows_keep_their_order_of_arrival(old: Path, key: DatabaseKey) -> None:
    async with open_store(old, key) as store:
        await store.commit(Commit(follows=[stored_follow(0), FOLLOWS[1]]))
        rows = store.reader.follows(FollowQuery(state=None, order="added")).rows
        assert rows == [*FOLLOWS, stored_follow(0)]


def raw_bytes(path: Path, key: DatabaseKey) -> tuple[int, int]:
    """Rows of `entry_start`, and bytes of all entries beside it."""
    connection = connect(path, key, writable=False)
    [found] = connection.execute(
        "SELECT (SELECT count(*) FROM entry_start), (SELECT sum(length(raw)) FROM entry)"
    ).fetchall()
    connection.close()
    return int(found[0]), int(found[1])


async def test_what_entries_begin_with_is_stored_once(path: Path, key: DatabaseKey) -> None:
    async with open_store(path, key) as store:
        await store.commit(Commit(entries=ENTRIES, heads=[log_head(3)]))
        await store.commit(Commit(entries=[stored_entry(4)], heads=[log_head(4)]))
    starts, bytes_ = raw_bytes(path, key)
    assert (starts, bytes_) == (1, 4 * (300 - 20))


@pytest.mark.parametrize("raw", [b"", b"short", bytes(20), bytes(21)])
async def test_entries_of_any_length_come_back(path: Path, key: DatabaseKey, raw: bytes) -> None:
    entry = ENTRIES[0]._replace(raw=raw)
    async with open_store(path, key) as store:
        await store.commit(Commit(entries=[entry], heads=[log_head(1)]))
        assert store.reader.entries("follows", LOG, 1, bytes_max=BYTES_MAX) == [raw]


async def test_more_starts_than_are_remembered_come_back(path: Path, key: DatabaseKey) -> None:
    """Nothing is amiss where hardly two entries begin alike."""
    count = STARTS_KEPT + 10
    raws = [(seq % (count - 5)).to_bytes(20, "big") + b"rest" for seq in range(1, count + 1)]
    entries = [StoredEntry("follows", LOG, seq, b"", raw) for seq, raw in enumerate(raws, 1)]
    async with open_store(path, key) as store:
        await store.commit(Commit(entries=entries, heads=[log_head(count)]))
        assert store.reader.entries("follows", LOG, 1, bytes_max=BYTES_MAX) == raws


async def test_a_commit_that_failed_leaves_no_start_behind(path: Path, key: DatabaseKey) -> None:
    """Its start has no row then: the next entry that begins so makes one."""
    heads: list[LogHead] = [log_head(1)]
    async with open_store(path, key) as store:
        with pytest.raises(apsw.ConstraintError):
            await store.commit(Commit(entries=[ENTRIES[0], ENTRIES[0]], heads=heads))
        other = ENTRIES[0]._replace(raw=b"another twenty bytes and the rest")
        await store.commit(Commit(entries=[other], heads=heads))
        await store.commit(Commit(entries=[ENTRIES[1]], heads=[log_head(2)]))
    async with open_store(path, key) as store:
        raws = store.reader.entries("follows", LOG, 1, bytes_max=BYTES_MAX)
        assert raws == [other.raw, ENTRIES[1].raw]
