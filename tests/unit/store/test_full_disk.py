"""A disk that is full at any page: the commit is refused whole, and the store goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from presenced.crypto.database_key import DatabaseKey
from presenced.device.commit import Commit
from presenced.errors import StoreFull
from presenced.ids import StatementId
from presenced.replica.hlc import Hlc
from presenced.replica.rows import OverlayRow
from presenced.store.connection import connect, keep
from presenced.store.reader import Reader
from presenced.store.schema import migrate
from presenced.store.writer import Writer
from presenced.testing.stored import (
    LOG,
    log_head,
    record_id,
    stored_entry,
    stored_follow,
    stored_session,
)


@pytest.fixture
def connection(path: Path, key: DatabaseKey) -> Iterator[apsw.Connection]:
    opened = connect(path, key, writable=True)
    migrate(opened, path)
    keep(opened)
    yield opened
    opened.close()


@pytest.fixture
def reader(connection: apsw.Connection, path: Path, key: DatabaseKey) -> Iterator[Reader]:
    reading = connect(path, key, writable=False)
    yield Reader(reading, path)
    reading.close()


def large(seq: int) -> Commit:
    """A commit that needs new pages for every kind of row."""
    return Commit(
        statements=[(StatementId(bytes([seq]) * 32), bytes(9_000))],
        entries=[stored_entry(seq, 9_000)],
        heads=[log_head(seq)],
        overlay_put=[
            OverlayRow(
                "follows", "follow", record_id(seq), "title", Hlc(1), bytes(9_000), b"\x90", seq
            )
        ],
        base={"follows": [bytes(9_000)]},
        follows=[stored_follow(seq * 100 + number) for number in range(100)],
        sessions=[stored_session(seq * 100 + number) for number in range(100)],
        meta={"large": bytes(9_000 + seq)},
    )


def everything(reader: Reader) -> list[object]:
    return [
        reader.statements(),
        reader.log_heads("follows"),
        reader.entries("follows", LOG, 1, bytes_max=10**9),
        reader.overlay("follows"),
        reader.base("follows"),
        reader.counts(),
        reader.meta("large"),
    ]


def test_whichever_page_does_not_fit_nothing_of_the_commit_is_there(
    connection: apsw.Connection, reader: Reader, path: Path
) -> None:
    writer = Writer(connection, path)
    writer.write(large(1))
    before = everything(reader)
    pages = connection.pragma("page_count")
    assert isinstance(pages, int)
    refusals = []
    for more in range(200):
        connection.pragma("max_page_count", pages + more)
        try:
            writer.write(large(2))
        except StoreFull as full:
            refusals.append(full)
            assert everything(reader) == before
        else:
            break
    assert len(refusals) > 10, "it was refused at many different pages"
    assert all(str(path) in full.detail and "not recorded" in full.hint for full in refusals)
    assert reader.log_heads("follows") == [log_head(2)]
    assert reader.counts().follows == 200


def test_what_needs_no_new_page_is_still_written_on_a_full_disk(
    connection: apsw.Connection, reader: Reader, path: Path
) -> None:
    writer = Writer(connection, path)
    writer.write(large(1))
    connection.pragma("max_page_count", connection.pragma("page_count"))
    with pytest.raises(StoreFull):
        writer.write(large(2))
    writer.write(Commit(meta={"large": None}, base={"follows": []}))
    writer.write(Commit(meta={"small": b"fits into what was given back"}))
    assert reader.meta("small") == b"fits into what was given back"
    assert connection.pragma("integrity_check") == "ok"
