"""What every store must answer, whether it lies on a disk or in memory.

A check is an async function of a fresh store and of how to commit to it. `REPLICA_CHECKS` need
what the replica reads, `DEVICE_CHECKS` all of `StoreReader`:

    @pytest.mark.parametrize("check", DEVICE_CHECKS, ids=check_name)
    async def test_my_store_conforms(check):
        async with my_store() as store:
            await check(store.reader, store.commit)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, TypeAlias

from presenced.device.commit import (
    Commit,
    Counts,
    FollowQuery,
    SessionQuery,
    StoredSummary,
    StoreReader,
)
from presenced.errors import CallerError
from presenced.ids import COLLECTIONS, LogId, StatementId
from presenced.replica.hlc import Hlc
from presenced.replica.rows import ForkProof, LogCut, OverlayRow
from presenced.replica.seams import ReplicaReader
from presenced.testing.stored import (
    LOG,
    entry_hash,
    log_head,
    record_id,
    stored_entry,
    stored_follow,
    stored_session,
)

CommitTo: TypeAlias = Callable[[Commit], Awaitable[None]]
ReplicaCheck: TypeAlias = Callable[[ReplicaReader, CommitTo], Awaitable[None]]
DeviceCheck: TypeAlias = Callable[[StoreReader, CommitTo], Awaitable[None]]

OTHER_LOG: Final = LogId(b"another 16 bytes")
ENOUGH: Final = 10**6
"bytes: more than all entries of a check"


def check_name(check: Callable[..., Any]) -> str:
    """For test ids."""
    return check.__name__


# --- what the replica reads ---


async def nothing_is_there_at_first(reader: ReplicaReader, commit: CommitTo) -> None:
    for collection in COLLECTIONS:
        assert list(reader.log_heads(collection)) == []
        assert list(reader.entries(collection, LOG, 1, bytes_max=ENOUGH)) == []
        assert list(reader.overlay(collection)) == []
        assert list(reader.base(collection)) == []


async def a_log_has_its_last_head(reader: ReplicaReader, commit: CommitTo) -> None:
    other = log_head(7)._replace(log=OTHER_LOG, fork_seq=6)
    await commit(Commit(heads=[log_head(1), log_head(2), other]))
    assert sorted(reader.log_heads("follows")) == sorted([log_head(2), other])
    await commit(Commit(heads=[log_head(3)]))
    assert sorted(reader.log_heads("follows")) == sorted([log_head(3), other])
    assert list(reader.log_heads("sessions")) == []


async def entries_come_in_order_up_to_a_gap(reader: ReplicaReader, commit: CommitTo) -> None:
    await commit(Commit(entries=[stored_entry(seq) for seq in (1, 2, 4)], heads=[log_head(4)]))
    await commit(Commit(entries=[stored_entry(3)], heads=[log_head(4)]))
    await commit(Commit(entries=[stored_entry(6)], heads=[log_head(6)]))
    raws = [stored_entry(seq).raw for seq in range(1, 5)]
    assert list(reader.entries("follows", LOG, 1, bytes_max=ENOUGH)) == raws
    assert list(reader.entries("follows", LOG, 3, bytes_max=ENOUGH)) == raws[2:]
    assert list(reader.entries("follows", LOG, 5, bytes_max=ENOUGH)) == []
    assert list(reader.entries("follows", LOG, 7, bytes_max=ENOUGH)) == []


async def entries_stop_at_the_bound_but_give_one(reader: ReplicaReader, commit: CommitTo) -> None:
    await commit(
        Commit(entries=[stored_entry(seq, 100) for seq in range(1, 6)], heads=[log_head(5)])
    )
    for bytes_max, count in ((0, 1), (99, 1), (100, 1), (199, 1), (200, 2), (499, 4), (500, 5)):
        assert len(reader.entries("follows", LOG, 1, bytes_max=bytes_max)) == count


async def logs_and_collections_are_apart(reader: ReplicaReader, commit: CommitTo) -> None:
    elsewhere = stored_entry(1, 30, collection="sessions")
    other = stored_entry(1, 40)._replace(log=OTHER_LOG)
    await commit(
        Commit(
            entries=[stored_entry(1, 20), elsewhere, other],
            heads=[
                log_head(1),
                log_head(1, collection="sessions"),
                log_head(1)._replace(log=OTHER_LOG),
            ],
        )
    )
    assert list(reader.entries("follows", LOG, 1, bytes_max=ENOUGH)) == [stored_entry(1, 20).raw]
    assert list(reader.entries("sessions", LOG, 1, bytes_max=ENOUGH)) == [elsewhere.raw]
    assert list(reader.entries("follows", OTHER_LOG, 1, bytes_max=ENOUGH)) == [other.raw]
    assert list(reader.entries("directory", LOG, 1, bytes_max=ENOUGH)) == []


async def a_log_that_is_cut_takes_other_entries(reader: ReplicaReader, commit: CommitTo) -> None:
    beside = [stored_entry(seq)._replace(log=OTHER_LOG) for seq in (1, 2)]
    heads = [log_head(4), log_head(2)._replace(log=OTHER_LOG)]
    await commit(
        Commit(entries=[*(stored_entry(seq) for seq in (1, 2, 3, 4)), *beside], heads=heads)
    )
    other = stored_entry(3, 50)
    await commit(Commit(cuts=[LogCut("follows", LOG, 3)], entries=[other], heads=[log_head(3)]))
    raws = [stored_entry(1).raw, stored_entry(2).raw, other.raw]
    assert list(reader.entries("follows", LOG, 1, bytes_max=ENOUGH)) == raws
    assert len(reader.entries("follows", OTHER_LOG, 1, bytes_max=ENOUGH)) == 2


async def overlay_rows_are_replaced_and_dropped(reader: ReplicaReader, commit: CommitTo) -> None:
    def row(field: str, generation: int, hlc: int = 1, value: bytes = b"\xc3") -> OverlayRow:
        return OverlayRow(
            "follows", "follow", record_id(1), field, Hlc(hlc), value, b"\x90", generation
        )

    await commit(Commit(overlay_put=[row("title", 1), row("state", 1, hlc=2**63)]))
    assert set(reader.overlay("follows")) == {row("title", 1), row("state", 1, hlc=2**63)}
    await commit(Commit(overlay_put=[row("title", 2, value=b"\xc2")], overlay_drop={"sessions": 9}))
    assert set(reader.overlay("follows")) == {
        row("title", 2, value=b"\xc2"),
        row("state", 1, hlc=2**63),
    }
    # Dropping comes after putting: what was put under the generation that goes, goes too.
    await commit(Commit(overlay_put=[row("notify", 1)], overlay_drop={"follows": 1}))
    assert list(reader.overlay("follows")) == [row("title", 2, value=b"\xc2")]
    assert list(reader.overlay("sessions")) == []


async def a_base_is_replaced_whole(reader: ReplicaReader, commit: CommitTo) -> None:
    await commit(Commit(base={"follows": [b"one", b"two", b"three"]}))
    await commit(Commit(base={"sessions": [b"other"]}))
    assert list(reader.base("follows")) == [b"one", b"two", b"three"]
    await commit(Commit(base={"follows": [b"four"]}))
    assert list(reader.base("follows")) == [b"four"]
    await commit(Commit(base={"follows": []}))
    assert list(reader.base("follows")) == []
    assert list(reader.base("sessions")) == [b"other"]


REPLICA_CHECKS: Final[tuple[ReplicaCheck, ...]] = (
    nothing_is_there_at_first,
    a_log_has_its_last_head,
    entries_come_in_order_up_to_a_gap,
    entries_stop_at_the_bound_but_give_one,
    logs_and_collections_are_apart,
    a_log_that_is_cut_takes_other_entries,
    overlay_rows_are_replaced_and_dropped,
    a_base_is_replaced_whole,
)


# --- what the device reads beyond that ---


async def an_empty_device_answers(reader: StoreReader, commit: CommitTo) -> None:
    assert list(reader.statements()) == []
    assert reader.meta("space") is None
    assert reader.summary() is None
    assert list(reader.forks()) == []
    assert list(reader.follows(FollowQuery()).rows) == []
    assert reader.follows(FollowQuery()).next is None
    assert list(reader.sessions(SessionQuery()).rows) == []
    assert reader.follow(record_id(1)) is None
    assert reader.session(record_id(1)) is None
    assert reader.counts() == Counts(follows=0, sessions=0, conflicts=0, unsent=0)


async def statements_come_once_in_order(reader: StoreReader, commit: CommitTo) -> None:
    named = [(StatementId(bytes([9 - n]) * 32), b"%d" % n) for n in range(5)]
    await commit(Commit(statements=named[:3]))
    await commit(Commit(statements=named[1:]))
    assert list(reader.statements()) == [b"0", b"1", b"2", b"3", b"4"]


async def meta_is_replaced_and_deleted(reader: StoreReader, commit: CommitTo) -> None:
    await commit(Commit(meta={"a": b"1", "b": b""}))
    assert (reader.meta("a"), reader.meta("b")) == (b"1", b"")
    await commit(Commit(meta={"a": b"2", "b": None, "never": None}))
    assert (reader.meta("a"), reader.meta("b"), reader.meta("never")) == (b"2", None, None)


async def a_summary_replaces_the_one_before(reader: StoreReader, commit: CommitTo) -> None:
    await commit(Commit(summary=StoredSummary(ended_ms=1, rows=(), more=9)))
    await commit(Commit())
    assert reader.summary() == StoredSummary(ended_ms=1, rows=(), more=9)
    await commit(Commit(summary=StoredSummary(ended_ms=2, rows=(), more=0)))
    assert reader.summary() == StoredSummary(ended_ms=2, rows=(), more=0)


async def forks_are_kept(reader: StoreReader, commit: CommitTo) -> None:
    fork = ForkProof("follows", LOG, 2, entry_hash(1), b"first", b"second")
    await commit(Commit(heads=[log_head(1)], forks=[fork]))
    assert list(reader.forks()) == [fork]
    lower = fork._replace(seq=1)
    await commit(Commit(forks=[fork._replace(seq=2, second=b"third"), lower]))
    assert list(reader.forks()) == [lower], "of each log the one that came last, the lowest"


async def rows_are_replaced_by_record(reader: StoreReader, commit: CommitTo) -> None:
    await commit(Commit(follows=[stored_follow(1)], sessions=[stored_session(1)]))
    follow = stored_follow(1, title="New", state="unfollowed", tags=["a", "ä"], conflicts=["title"])
    session = stored_session(1, state="ended", aliases=["urn:x"], conflicts=["progress"])
    await commit(Commit(follows=[follow._replace(notify="none")], sessions=[session]))
    assert reader.follow(record_id(1)) == follow._replace(notify="none")
    assert reader.session(record_id(1)) == session
    assert reader.counts() == Counts(follows=0, sessions=0, conflicts=2, unsent=0)


async def a_reset_view_has_the_new_rows_only(reader: StoreReader, commit: CommitTo) -> None:
    both = [stored_follow(1), stored_follow(2)]
    await commit(Commit(follows=both, sessions=[stored_session(3)]))
    await commit(Commit(views_reset={"follows"}, follows=both[1:]))
    assert reader.follow(record_id(1)) is None
    assert list(reader.follows(FollowQuery()).rows) == both[1:]
    assert reader.session(record_id(3)) == stored_session(3)


async def follows_are_found(reader: StoreReader, commit: CommitTo) -> None:
    rows = [
        stored_follow(1, title="Night train", tags=["b", "jazz"]),
        stored_follow(2, title="jazz hour", kind="podcast", conflicts=["title"]),
        stored_follow(3, title="Gone", state="unfollowed"),
    ]
    await commit(Commit(follows=rows))

    def found(**query: Any) -> list[int]:
        page = reader.follows(FollowQuery(**query))
        return [rows.index(row) + 1 for row in page.rows]

    assert found() == [1, 2]
    assert found(state=None) == [1, 2, 3]
    assert found(state="unfollowed") == [3]
    assert found(kind="podcast") == [2]
    assert found(tag="jazz") == [1]
    assert found(tag="jaz") == []
    assert found(text="JAZZ") == [2]
    assert found(text="FEEDS1.example") == [1]
    assert found(conflicts_only=True) == [2]


async def sessions_are_found(reader: StoreReader, commit: CommitTo) -> None:
    rows = [
        stored_session(1, aliases=["urn:isbn:1"]),
        stored_session(2, state="ended", conflicts=["holder"]),
        replace(stored_session(3), kind="reading"),
    ]
    await commit(Commit(sessions=rows))

    def found(**query: Any) -> set[int]:
        page = reader.sessions(SessionQuery(**query))
        return {rows.index(row) + 1 for row in page.rows}

    assert found() == {1, 2, 3}
    assert found(state="open") == {1, 3}
    assert found(kind="reading") == {3}
    assert found(text="episode 000002") == {2}
    assert found(conflicts_only=True) == {2}
    assert list(reader.sessions_like(rows[1].record[:4], "")) == [rows[1]]
    assert list(reader.sessions_like(b"", rows[2].uri)) == [rows[2]]
    assert list(reader.sessions_like(b"", "urn:isbn:1")) == [rows[0]]
    assert list(reader.sessions_like(b"", "urn:isbn")) == []


async def pages_are_complete_while_rows_come(reader: StoreReader, commit: CommitTo) -> None:
    await commit(Commit(follows=[stored_follow(number) for number in range(25)]))
    seen = []
    after = None
    for turn in range(100):
        page = reader.follows(FollowQuery(limit=4, after=after))
        assert 0 < len(page.rows) <= 4
        seen += [row.record for row in page.rows]
        after = page.next
        if after is None:
            break
        if turn < 5:
            await commit(
                Commit(follows=[stored_follow(turn, title="New"), stored_follow(90 + turn)])
            )
    assert len(seen) == len(set(seen)), "nothing is shown twice"
    assert set(seen) >= {record_id(number) for number in range(25)}, "nothing is skipped"


async def a_bad_cursor_is_the_callers_fault(reader: StoreReader, commit: CommitTo) -> None:
    for cursor in ("", "x", "-1", "🎧", "a" * 1_000):
        for ask in (
            lambda: reader.follows(FollowQuery(after=cursor)),  # noqa: B023 (called at once)
            lambda: reader.sessions(SessionQuery(after=cursor)),  # noqa: B023
        ):
            try:
                ask()
            except CallerError:
                continue
            raise AssertionError(f"{cursor!r} was taken")


async def known_records_are_told(reader: StoreReader, commit: CommitTo) -> None:
    await commit(
        Commit(
            follows=[stored_follow(number) for number in range(0, 1_200, 2)],
            sessions=[stored_session(5)],
        )
    )
    asked = [record_id(number) for number in range(1_300)]
    assert reader.known("follow", asked) == {record_id(number) for number in range(0, 1_200, 2)}
    assert reader.known("session", asked) == {record_id(5)}
    assert reader.known("follow", []) == set()


DEVICE_CHECKS: Final[tuple[DeviceCheck, ...]] = (
    *REPLICA_CHECKS,
    an_empty_device_answers,
    statements_come_once_in_order,
    meta_is_replaced_and_deleted,
    a_summary_replaces_the_one_before,
    forks_are_kept,
    rows_are_replaced_by_record,
    a_reset_view_has_the_new_rows_only,
    follows_are_found,
    sessions_are_found,
    pages_are_complete_while_rows_come,
    a_bad_cursor_is_the_callers_fault,
    known_records_are_told,
)
