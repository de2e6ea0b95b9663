"""One commit, one transaction: all of it can be read afterwards, or none of it.

What every reader answers, this one too, is in testing/conformance_reader.py.
"""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from presenced.crypto.database_key import DatabaseKey
from presenced.device.commit import Commit, Counts, StoredSummary, StoreReader
from presenced.ids import DeviceId, LogId, StatementId
from presenced.presence.summary import LostValue, Side, SummaryRow
from presenced.replica.hlc import HLC_MAX, Hlc
from presenced.replica.rows import ForkProof, OverlayRow
from presenced.store import Store, open_store
from presenced.testing.stored import (
    LOG,
    entry_hash,
    log_head,
    record_id,
    stored_entry,
    stored_follow,
    stored_session,
)

OTHER = LogId(b"another 16 bytes")


UNSENT = OverlayRow("follows", "follow", record_id(1), "title", Hlc(HLC_MAX), b"\xc3", b"\x90", 1)

SUMMARY = StoredSummary(
    ended_ms=1_700_000_000_000,
    rows=(
        SummaryRow(
            side=Side.BOTH,
            map="follow",
            record=record_id(1),
            field="title",
            log=LOG,
            device=DeviceId(b"d" * 16),
            ms=17,
            title="A show",
            value={"uri": "https://example.org/"},
            rule="latest",
            asks=True,
            losing=(
                LostValue(log=OTHER, device=None, ms=16, value="An old name", restorable=True),
            ),
        ),
    ),
    more=3,
)


async def test_everything_in_a_commit_is_read_back(path: Path, key: DatabaseKey) -> None:
    fork = ForkProof("follows", LOG, 2, entry_hash(1), b"first", b"second")
    async with open_store(path, key) as store:
        reader: StoreReader = store.reader
        await store.commit(
            Commit(
                statements=[(StatementId(b"s" * 32), b"statement")],
                entries=[stored_entry(1), stored_entry(2)],
                heads=[log_head(2)],
                overlay_put=[UNSENT],
                base={"follows": [b"chunk 0", b"chunk 1"]},
                forks=[fork],
                follows=[stored_follow(1, tags=["b", "ä"], conflicts=["title"])],
                sessions=[stored_session(2, aliases=["urn:x"], conflicts=["progress"])],
                summary=SUMMARY,
                meta={"space": b"\x00\x01"},
            )
        )
        assert reader.statements() == [b"statement"]
        assert reader.log_heads("follows") == [log_head(2)]
        assert reader.entries("follows", LOG, 1, bytes_max=10**6) == [
            stored_entry(1).raw,
            stored_entry(2).raw,
        ]
        assert reader.overlay("follows") == [UNSENT]
        assert reader.base("follows") == [b"chunk 0", b"chunk 1"]
        assert list(reader.forks()) == [fork]
        assert reader.follow(record_id(1)) == stored_follow(1, tags=["b", "ä"], conflicts=["title"])
        assert reader.session(record_id(2)) == stored_session(
            2, aliases=["urn:x"], conflicts=["progress"]
        )
        assert reader.summary() == SUMMARY
        assert reader.meta("space") == b"\x00\x01"
        assert reader.counts() == Counts(follows=1, sessions=1, conflicts=2, unsent=1)


async def test_a_commit_survives_reopening(path: Path, key: DatabaseKey) -> None:
    async with open_store(path, key) as store:
        await store.commit(Commit(entries=[stored_entry(1)], heads=[log_head(1)]))
    async with open_store(path, key) as store:
        await store.commit(Commit(entries=[stored_entry(2)], heads=[log_head(2)]))
        assert store.reader.log_heads("follows") == [log_head(2)]
        assert len(store.reader.entries("follows", LOG, 1, bytes_max=10**6)) == 2


async def test_text_comes_back_exactly_as_it_went_in(path: Path, key: DatabaseKey) -> None:
    odd = "zero \x00 quote ' \" \\ line \r\n wide 🎧 combined e\u0301 rtl \u202e"
    row = stored_follow(1, title=odd, tags=[odd, ""], kind=odd)
    async with open_store(path, key) as store:
        await store.commit(Commit(follows=[row], sessions=[stored_session(2, title=odd)]))
        assert store.reader.follow(record_id(1)) == row
        assert store.reader.session(record_id(2)) == stored_session(2, title=odd)


async def write_nothing_of_it(store: Store) -> None:
    """A commit that names a value SQLite cannot take, after much that it can."""
    bad = stored_follow(9)._replace(title=None)  # type: ignore[arg-type]
    with pytest.raises(apsw.ConstraintError):
        await store.commit(
            Commit(
                statements=[(StatementId(b"t" * 32), b"t")],
                entries=[stored_entry(2)],
                heads=[log_head(2), log_head(1, collection="sessions")._replace(log=OTHER)],
                follows=[stored_follow(8), bad],
                meta={"a": b"changed"},
            )
        )


async def test_a_failed_commit_leaves_nothing_and_the_store_goes_on(
    path: Path, key: DatabaseKey
) -> None:
    async with open_store(path, key) as store:
        reader = store.reader
        await store.commit(
            Commit(entries=[stored_entry(1)], heads=[log_head(1)], meta={"a": b"kept"})
        )
        await write_nothing_of_it(store)
        assert reader.statements() == []
        assert reader.log_heads("follows") == [log_head(1)]
        assert reader.log_heads("sessions") == []
        assert reader.follow(record_id(8)) is None
        assert reader.meta("a") == b"kept"
        # `OTHER` got a number inside the failed commit: it must not be remembered.
        await store.commit(
            Commit(
                entries=[
                    stored_entry(2),
                    stored_entry(1, collection="sessions")._replace(log=OTHER),
                ],
                heads=[log_head(2), log_head(1, collection="sessions")._replace(log=OTHER)],
            )
        )
        assert len(reader.entries("sessions", OTHER, 1, bytes_max=10**6)) == 1
        assert len(reader.entries("follows", LOG, 1, bytes_max=10**6)) == 2


async def test_an_entrys_place_is_taken_once(path: Path, key: DatabaseKey) -> None:
    async with open_store(path, key) as store:
        await store.commit(Commit(entries=[stored_entry(1)], heads=[log_head(1)]))
        with pytest.raises(apsw.ConstraintError):
            await store.commit(Commit(entries=[stored_entry(1, 50)], heads=[log_head(1)]))
        assert store.reader.entries("follows", LOG, 1, bytes_max=1) == [stored_entry(1).raw]
