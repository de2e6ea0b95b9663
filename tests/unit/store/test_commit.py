"""One commit, one transaction: all of it can be read afterwards, or none of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import apsw
import pytest

from presenced.crypto.database_key import DatabaseKey
from presenced.device.commit import Commit, Counts, FollowQuery, StoredSummary, StoreReader
from presenced.ids import DeviceId, EntryHash, LogId, RecordId, StatementId
from presenced.presence.summary import LostValue, Side, SummaryRow
from presenced.replica.hlc import HLC_MAX, Hlc
from presenced.replica.rows import ForkProof, LogHead, OverlayRow
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


def overlay(field: str, generation: int, *, value: bytes = b"\xc3") -> OverlayRow:
    return OverlayRow(
        "follows", "follow", record_id(1), field, Hlc(HLC_MAX), value, b"\x90", generation
    )


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
                overlay_put=[overlay("title", 1)],
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
        assert reader.overlay("follows") == [overlay("title", 1)]
        assert reader.base("follows") == [b"chunk 0", b"chunk 1"]
        assert list(reader.forks()) == [fork]
        assert reader.follow(record_id(1)) == stored_follow(1, tags=["b", "ä"], conflicts=["title"])
        assert reader.session(record_id(2)) == stored_session(
            2, aliases=["urn:x"], conflicts=["progress"]
        )
        assert reader.summary() == SUMMARY
        assert reader.meta("space") == b"\x00\x01"
        assert reader.counts() == Counts(follows=1, sessions=1, conflicts=2, unsent=1)


async def test_an_empty_store_answers_with_nothing(path: Path, key: DatabaseKey) -> None:
    async with open_store(path, key) as store:
        reader: StoreReader = store.reader
        assert reader.statements() == []
        assert reader.log_heads("follows") == []
        assert reader.entries("follows", LOG, 1, bytes_max=100) == []
        assert reader.overlay("sessions") == []
        assert reader.base("directory") == []
        assert list(reader.forks()) == []
        assert reader.follow(record_id(1)) is None
        assert reader.session(record_id(1)) is None
        assert reader.follows(FollowQuery()).rows == []
        assert reader.summary() is None
        assert reader.meta("space") is None
        assert reader.counts() == Counts(follows=0, sessions=0, conflicts=0, unsent=0)


async def test_a_commit_survives_reopening(path: Path, key: DatabaseKey) -> None:
    async with open_store(path, key) as store:
        await store.commit(Commit(entries=[stored_entry(1)], heads=[log_head(1)]))
    async with open_store(path, key) as store:
        await store.commit(Commit(entries=[stored_entry(2)], heads=[log_head(2)]))
        assert store.reader.log_heads("follows") == [log_head(2)]
        assert len(store.reader.entries("follows", LOG, 1, bytes_max=10**6)) == 2


async def test_statements_keep_their_order_and_come_once(path: Path, key: DatabaseKey) -> None:
    named = [(StatementId(bytes([9 - n]) * 32), b"%d" % n) for n in range(5)]
    async with open_store(path, key) as store:
        await store.commit(Commit(statements=named[:3]))
        await store.commit(Commit(statements=named[1:]))
        assert store.reader.statements() == [b"0", b"1", b"2", b"3", b"4"]


async def test_the_last_head_of_a_log_counts(path: Path, key: DatabaseKey) -> None:
    forked = LogHead("follows", OTHER, 7, EntryHash(b"h" * 32), 5, EntryHash(b"a" * 32), 50, 4, 6)
    async with open_store(path, key) as store:
        await store.commit(Commit(heads=[log_head(1), log_head(2), forked]))
        await store.commit(Commit(heads=[log_head(3)]))
        assert sorted(store.reader.log_heads("follows")) == sorted([forked, log_head(3)])
        assert store.reader.log_heads("sessions") == []


async def test_collections_do_not_see_each_others_logs(path: Path, key: DatabaseKey) -> None:
    async with open_store(path, key) as store:
        await store.commit(
            Commit(
                entries=[stored_entry(1), stored_entry(1, 20, collection="sessions")],
                heads=[log_head(1), log_head(1, collection="sessions")],
            )
        )
        assert store.reader.entries("sessions", LOG, 1, bytes_max=9) == [stored_entry(1, 20).raw]
        assert store.reader.log_heads("sessions") == [log_head(1, collection="sessions")]


async def test_entries_stop_at_a_gap_and_at_the_bound_but_give_one(
    path: Path, key: DatabaseKey
) -> None:
    present = [1, 2, 3, 5]
    async with open_store(path, key) as store:
        reader = store.reader
        await store.commit(
            Commit(entries=[stored_entry(seq, 100) for seq in present], heads=[log_head(5)])
        )
        assert len(reader.entries("follows", LOG, 1, bytes_max=10**6)) == 3
        assert len(reader.entries("follows", LOG, 1, bytes_max=299)) == 2
        assert len(reader.entries("follows", LOG, 1, bytes_max=300)) == 3
        assert reader.entries("follows", LOG, 2, bytes_max=1) == [stored_entry(2, 100).raw]
        assert reader.entries("follows", LOG, 4, bytes_max=10**6) == []
        assert reader.entries("follows", LOG, 6, bytes_max=10**6) == []
        assert reader.entries("follows", OTHER, 1, bytes_max=10**6) == []


async def test_an_overlay_row_is_replaced_and_old_generations_go(
    path: Path, key: DatabaseKey
) -> None:
    async with open_store(path, key) as store:
        await store.commit(Commit(overlay_put=[overlay("title", 1), overlay("state", 1)]))
        await store.commit(
            Commit(overlay_put=[overlay("title", 2, value=b"\xc2")], overlay_drop={"sessions": 9})
        )
        assert {row.field: row.value for row in store.reader.overlay("follows")} == {
            "title": b"\xc2",
            "state": b"\xc3",
        }
        await store.commit(Commit(overlay_put=[overlay("notify", 1)], overlay_drop={"follows": 1}))
        assert [row.field for row in store.reader.overlay("follows")] == ["title"]


async def test_a_base_is_replaced_as_a_whole(path: Path, key: DatabaseKey) -> None:
    async with open_store(path, key) as store:
        await store.commit(Commit(base={"follows": [b"1", b"2", b"3"], "sessions": [b"s"]}))
        await store.commit(Commit(base={"follows": [b"4"]}))
        assert store.reader.base("follows") == [b"4"]
        assert store.reader.base("sessions") == [b"s"]
        await store.commit(Commit(base={"follows": []}))
        assert store.reader.base("follows") == []


async def test_a_reset_view_holds_only_the_new_rows(path: Path, key: DatabaseKey) -> None:
    async with open_store(path, key) as store:
        reader = store.reader
        await store.commit(
            Commit(follows=[stored_follow(1), stored_follow(2)], sessions=[stored_session(3)])
        )
        await store.commit(Commit(views_reset={"follows"}, follows=[stored_follow(2)]))
        assert reader.follow(record_id(1)) is None
        assert reader.follow(record_id(2)) == stored_follow(2)
        assert reader.session(record_id(3)) is not None
        await store.commit(Commit(views_reset={"sessions", "directory"}))
        assert reader.session(record_id(3)) is None


async def test_rows_are_replaced_by_their_record(path: Path, key: DatabaseKey) -> None:
    changed = stored_follow(1, title="New", kind="podcast", state="unfollowed", tags=["x"])
    loud = dataclasses.replace(changed, notify="all", tags=())
    async with open_store(path, key) as store:
        await store.commit(Commit(follows=[stored_follow(1)], sessions=[stored_session(1)]))
        await store.commit(
            Commit(follows=[changed], sessions=[stored_session(1, title="New", state="ended")])
        )
        assert store.reader.follow(record_id(1)) == changed
        assert store.reader.session(record_id(1)) == stored_session(1, title="New", state="ended")
        await store.commit(Commit(follows=[loud]))
        assert store.reader.follow(record_id(1)) == loud
        assert store.reader.counts().follows == 0


async def test_text_comes_back_exactly_as_it_went_in(path: Path, key: DatabaseKey) -> None:
    odd = "zero \x00 quote ' \" \\ line \r\n wide 🎧 combined e\u0301 rtl \u202e"
    row = stored_follow(1, title=odd, tags=[odd, ""], kind=odd)
    async with open_store(path, key) as store:
        await store.commit(Commit(follows=[row], sessions=[stored_session(2, title=odd)]))
        assert store.reader.follow(record_id(1)) == row
        assert store.reader.session(record_id(2)) == stored_session(2, title=odd)


async def test_known_finds_those_that_have_a_row(path: Path, key: DatabaseKey) -> None:
    asked = [record_id(number) for number in range(1, 3_001, 2)]
    async with open_store(path, key) as store:
        await store.commit(
            Commit(
                follows=[stored_follow(number) for number in range(1_200)],
                sessions=[stored_session(5)],
            )
        )
        assert store.reader.known("follow", asked) == {record_id(n) for n in range(1, 1_200, 2)}
        assert store.reader.known("session", asked) == {record_id(5)}
        assert store.reader.known("follow", []) == set()


async def test_meta_rows_are_replaced_and_deleted(path: Path, key: DatabaseKey) -> None:
    async with open_store(path, key) as store:
        await store.commit(Commit(meta={"a": b"1", "b": b"2"}))
        await store.commit(Commit(meta={"a": b"3", "b": None, "never there": None}))
        assert store.reader.meta("a") == b"3"
        assert store.reader.meta("b") is None


async def write_nothing_of_it(store: Store) -> None:
    """A commit that names a value SQLite cannot take, after much that it can."""
    bad = stored_follow(9)
    object.__setattr__(bad, "title", None)
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


async def test_sessions_are_found_by_prefix_uri_or_alias(path: Path, key: DatabaseKey) -> None:
    one, two = stored_session(1), stored_session(2, aliases=["urn:isbn:1", "urn:isbn:2"])
    async with open_store(path, key) as store:
        await store.commit(Commit(sessions=[one, two, stored_session(3)]))
        like = store.reader.sessions_like
        assert like(one.record[:5], "") == [one]
        assert like(b"", two.uri) == [two]
        assert like(b"", "urn:isbn:2") == [two]
        assert like(b"", "urn:isbn") == []
        assert like(RecordId(b""), "") == []
