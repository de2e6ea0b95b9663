"""Lists: pages without gaps or repeats, queries that mean what they say."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenced.crypto.database_key import DatabaseKey
from presenced.device.commit import (
    PAGE_ROWS_MAX,
    Commit,
    FollowQuery,
    ListOrder,
    SessionQuery,
    StoreReader,
)
from presenced.presence.views import FollowRow, SessionRow
from presenced.store import Store, open_store
from presenced.store.lists import BadCursor, ListPage
from presenced.store.packing import FOLLOW_COLUMNS
from presenced.testing.stored import record_id, stored_follow, stored_session
from presenced.wire import encode

ORDERS: tuple[ListOrder, ...] = ("added", "title", "updated")


@pytest.fixture
async def store(path: Path, key: DatabaseKey) -> AsyncIterator[Store]:
    async with open_store(path, key) as opened:
        yield opened


def all_follows(reader: StoreReader, query: FollowQuery) -> list[FollowRow]:
    rows: list[FollowRow] = []
    pages = 0
    while True:
        page = reader.follows(query)
        rows += page.rows
        pages += 1
        assert len(page.rows) <= query.limit
        if page.next is None:
            return rows
        assert page.rows, "a page before another one is never empty"
        assert pages < 1_000
        query = replace(query, after=page.next)


def all_sessions(reader: StoreReader, query: SessionQuery) -> list[SessionRow]:
    rows: list[SessionRow] = []
    while True:
        page = reader.sessions(query)
        rows += page.rows
        if page.next is None:
            return rows
        query = replace(query, after=page.next)


async def test_pages_of_every_order_and_size_give_each_row_once(store: Store) -> None:
    titles = ["b", "A", "a", "", "Ä", "b", "zz"] * 5
    rows = [
        stored_follow(number, title=title, updated_ms=number % 7)
        for number, title in enumerate(titles)
    ]
    sessions = [stored_session(number, title=titles[number]) for number in range(len(titles))]
    await store.commit(Commit(follows=rows, sessions=sessions))
    number_of = {row.record: number for number, row in enumerate(rows)}
    expected = {
        "added": rows,
        "title": sorted(
            rows, key=lambda row: (row.title.replace("A", "a").encode(), number_of[row.record])
        ),
        "updated": sorted(rows, key=lambda row: (-row.updated_ms, number_of[row.record])),
    }
    for order in ORDERS:
        for limit in (1, 2, 7, 34, 35, 36):
            got = all_follows(store.reader, FollowQuery(order=order, limit=limit))
            assert got == expected[order], (order, limit)
            found = all_sessions(store.reader, SessionQuery(order=order, limit=limit))
            assert sorted(row.record for row in found) == sorted(number_of), (order, limit)


async def test_sessions_come_newest_first(store: Store) -> None:
    await store.commit(Commit(sessions=[stored_session(n, updated_ms=n * n % 7) for n in range(7)]))
    found = store.reader.sessions(SessionQuery()).rows
    assert [row.updated_ms for row in found] == sorted((n * n % 7 for n in range(7)), reverse=True)


async def test_rows_that_come_and_go_between_pages_disturb_nothing(store: Store) -> None:
    await store.commit(Commit(follows=[stored_follow(number) for number in range(10)]))
    for order in ORDERS:
        first = store.reader.follows(FollowQuery(order=order, limit=5))
        last = first.rows[-1]
        await store.commit(
            Commit(
                follows=[
                    last._replace(state="unfollowed", updated_ms=last.updated_ms + 10**9),
                    stored_follow(100, title="\uffff", updated_ms=1),
                ]
            )
        )
        rest = all_follows(store.reader, FollowQuery(order=order, limit=3, after=first.next))
        seen = {row.record for row in [*first.rows, *rest]}
        assert seen >= {record_id(number) for number in range(10)}
        assert len(seen) == len(first.rows) + len(rest)
        await store.commit(Commit(views_reset={"follows"}))
        await store.commit(Commit(follows=[stored_follow(number) for number in range(10)]))


async def test_a_query_restricts_by_state_kind_tag_and_conflict(store: Store) -> None:
    await store.commit(
        Commit(
            follows=[
                stored_follow(1, tags=["news", "é"]),
                stored_follow(2, kind="podcast", tags=["new"]),
                stored_follow(3, state="unfollowed", tags=["news"]),
                stored_follow(4, conflicts=["title"]),
                stored_follow(5, state="unfollowed", conflicts=["state"]),
            ]
        )
    )

    def numbers(query: FollowQuery) -> list[int]:
        shown = {record_id(number): number for number in range(1, 6)}
        return [shown[row.record] for row in store.reader.follows(query).rows]

    assert numbers(FollowQuery()) == [1, 2, 4]
    assert numbers(FollowQuery(state=None)) == [1, 2, 3, 4, 5]
    assert numbers(FollowQuery(state="unfollowed")) == [3, 5]
    assert numbers(FollowQuery(kind="podcast")) == [2]
    assert numbers(FollowQuery(tag="news")) == [1]
    assert numbers(FollowQuery(tag="news", state=None)) == [1, 3]
    assert numbers(FollowQuery(tag="new")) == [2]
    assert numbers(FollowQuery(tag="é")) == [1]
    assert numbers(FollowQuery(tag='", "')) == []
    assert numbers(FollowQuery(conflicts_only=True)) == [4]
    assert numbers(FollowQuery(conflicts_only=True, state=None)) == [4, 5]


async def test_a_session_query_restricts_by_state_kind_text_and_conflict(store: Store) -> None:
    await store.commit(
        Commit(
            sessions=[
                stored_session(1),
                stored_session(2, state="ended", title="Überraschung"),
                replace(stored_session(3, conflicts=["progress"]), kind="reading"),
            ]
        )
    )

    def numbers(query: SessionQuery) -> list[int]:
        shown = {record_id(number): number for number in range(1, 4)}
        return sorted(shown[row.record] for row in store.reader.sessions(query).rows)

    assert numbers(SessionQuery()) == [1, 2, 3]
    assert numbers(SessionQuery(state="open")) == [1, 3]
    assert numbers(SessionQuery(state="ended")) == [2]
    assert numbers(SessionQuery(kind="reading")) == [3]
    assert numbers(SessionQuery(text="ÜBER")) == [2]
    assert numbers(SessionQuery(conflicts_only=True)) == [3]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("straße", True),
        ("STRASSE", False),  # ASCII text folds ASCII only: `ß` is not looked into
        ("ÉTÉ", True),
        ("été 100%", True),
        ("example.org", True),
        ("EXAMPLE", True),
        ("%", True),
        ("_x_", False),
        ("", True),
        ("nowhere", False),
    ],
)
async def test_text_is_found_in_title_and_uri_whatever_its_case(
    store: Store, text: str, found: bool
) -> None:
    await store.commit(Commit(follows=[stored_follow(1, title="Été 100% auf der Straße")]))
    assert bool(store.reader.follows(FollowQuery(text=text)).rows) is found


async def test_a_page_has_at_most_a_thousand_rows_and_at_least_one(store: Store) -> None:
    await store.commit(Commit(follows=[stored_follow(n) for n in range(PAGE_ROWS_MAX + 1)]))
    page = store.reader.follows(FollowQuery(limit=10**9))
    assert len(page.rows) == PAGE_ROWS_MAX
    assert page.next is not None
    assert len(store.reader.follows(FollowQuery(limit=0)).rows) == 1


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "7",
        "not base64!",
        "ü",
        urlsafe_b64encode(b"\xc1").decode(),
        urlsafe_b64encode(encode(["added", 1])).decode(),
        urlsafe_b64encode(encode(["added", "1", 1])).decode(),
        urlsafe_b64encode(encode(["added", 1, True])).decode(),
        urlsafe_b64encode(encode(["added", -1, 1])).decode(),
        urlsafe_b64encode(encode(["added", 1, 2**63])).decode(),
        urlsafe_b64encode(encode(["title", "a", 1])).decode(),
        urlsafe_b64encode(encode({"added": 1})).decode(),
        urlsafe_b64encode(encode(7)).decode(),
    ],
)
async def test_what_is_not_a_cursor_of_this_order_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(BadCursor):
        store.reader.follows(FollowQuery(after=cursor))
    with pytest.raises(BadCursor):
        store.reader.sessions(SessionQuery(order="added", after=cursor))


@given(st.one_of(st.text(), st.binary().map(lambda raw: urlsafe_b64encode(raw).decode())))
def test_any_text_is_a_cursor_or_is_refused(cursor: str) -> None:
    page = ListPage("follow", FOLLOW_COLUMNS, "title", 10)
    try:
        page.only_after(cursor)
    except BadCursor:
        assert page.values == []
    else:
        assert isinstance(page.values[0], str)
