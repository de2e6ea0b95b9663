"""Follows and sessions as records, and the rows that lists show of them."""

from __future__ import annotations

from typing import Any

import pytest

from presenced.errors import InvalidValue, NotFound
from presenced.ids import LogId, RecordId
from presenced.presence import decisions, follows, sessions
from presenced.presence.draft import RecordDraft
from presenced.presence.limits import TITLE_BYTES_MAX
from presenced.presence.naming import follow_id, session_id, tag_field
from presenced.presence.progress import Unit
from presenced.presence.sessions import Lifecycle, SessionCore, lifecycle
from presenced.presence.values import TitleTooLong, UnknownChoice
from presenced.presence.views import (
    FollowRow,
    follow_row,
    new_follow_rows,
    session_row,
)
from presenced.replica.hlc import HybridClock, make_hlc
from presenced.replica.slot import Operation, Slot

OWN, OTHER = LogId(b"own"), LogId(b"other")
URI = "https://example.org/feed"
Slots = dict[str, dict[LogId, Slot]]


class Book:
    """Slots of one record, and the clock of the device that writes it."""

    def __init__(self, map_name: str, record: RecordId, unit: Unit = Unit.MS) -> None:
        self.map, self.record, self.unit = map_name, record, unit
        self.slots: Slots = {}
        self.clock = HybridClock()

    def draft(self) -> RecordDraft:
        return RecordDraft(
            self.map, self.record, self.slots, log=OWN, tick=lambda: self.clock.tick(5_000),
            unit=self.unit,
        )  # fmt: skip

    def keep(self, draft: RecordDraft) -> list[str]:
        for op in draft.operations:
            self.slots.setdefault(op.field, {})[OWN] = Slot(1, op.hlc, op.value, op.seen)
        return [op.field for op in draft.operations]


def follow(book: Book, **told: Any) -> list[str]:
    draft = book.draft()
    follows.follow(draft, URI, **told)
    return book.keep(draft)


def followed() -> Book:
    book = Book("follow", follow_id(URI))
    follow(book, title="Example")
    return book


def test_following_writes_core_and_state_and_following_again_writes_state() -> None:
    book = Book("follow", follow_id(URI))
    assert follow(book, title="Example", kind="podcast") == ["core", "state"]
    assert book.slots["core"][OWN].value == {"kind": "podcast", "title": "Example", "uri": URI}
    assert follow(book) == ["state"]
    assert follow(book, title="Example") == ["state"]
    assert follow(book, title="Mine") == ["title", "state"]


def test_an_import_writes_core_alone_and_nothing_for_what_is_followed() -> None:
    book = Book("follow", follow_id(URI))
    assert follow(book, imported=True, title="Example") == ["core"]
    assert follow(book, imported=True, title="Other") == []
    draft = book.draft()
    follows.unfollow(draft)
    book.keep(draft)
    assert follow(book, imported=True) == ["state"]
    assert follow_row(book.record, book.slots).state == "followed"


def test_the_operation_of_a_new_follow_is_what_an_import_writes() -> None:
    book = Book("follow", follow_id(URI))
    draft = book.draft()
    follows.follow(draft, URI, title="Example", kind="channel", imported=True)
    fast = follows.new_follow(URI, title="Example", kind="channel", tick=lambda: make_hlc(5_000))
    assert [fast] == draft.operations
    with pytest.raises(InvalidValue):
        follows.new_follow("nowhere", tick=lambda: make_hlc(1))


def test_changing_what_is_not_followed_is_refused_with_the_way_out() -> None:
    draft = Book("follow", follow_id(URI)).draft()
    for change in (
        follows.unfollow,
        lambda draft: follows.set_title(draft, "x"),
        lambda draft: follows.set_notify(draft, "all"),
        lambda draft: follows.put_tag(draft, "x"),
        lambda draft: follows.take_tag(draft, "x"),
    ):
        with pytest.raises(NotFound) as refused:
            change(draft)
        assert "presence follows" in refused.value.hint
    assert draft.operations == []


def test_values_that_a_follow_cannot_have_are_refused() -> None:
    for told in ({"kind": "band"}, {"title": "x" * (TITLE_BYTES_MAX + 1)}, {"title": "\ud800"}):
        with pytest.raises(InvalidValue) as refused:
            follow(Book("follow", follow_id(URI)), **told)
        assert refused.value.hint
    assert follow(Book("follow", follow_id(URI)), title="x" * TITLE_BYTES_MAX)
    with pytest.raises(UnknownChoice) as choice:
        follows.set_notify(followed().draft(), "some")
    assert "default, all, none" in choice.value.hint


def test_a_tag_is_put_on_once_and_taken_off_only_when_it_is_on() -> None:
    book = followed()
    for change, written in (
        (follows.take_tag, []),
        (follows.put_tag, [tag_field("news")]),
        (follows.put_tag, []),
        (follows.take_tag, [tag_field("news")]),
        (follows.take_tag, []),
    ):
        draft = book.draft()
        change(draft, "news")
        assert book.keep(draft) == written


def test_a_follows_row_shows_the_own_title_tags_and_what_asks() -> None:
    book = followed()
    for text in ("news", "art"):
        draft = book.draft()
        follows.put_tag(draft, text)
        book.keep(draft)
    book.slots["title"] = {
        OWN: Slot(1, make_hlc(3), "Mine", {}),
        OTHER: Slot(1, make_hlc(9_000), "Theirs", {}),
    }
    row = follow_row(book.record, book.slots)
    assert (row.uri, row.title, row.kind, row.notify) == (URI, "Theirs", "feed", "default")
    assert (row.tags, row.conflicts, row.updated_ms) == (("art", "news"), ("title",), 9_000)


@pytest.mark.parametrize(
    "core",
    [
        {"uri": URI, "title": "T", "kind": "person"}, {"uri": URI}, {}, [], None,
        {"uri": 1, "title": [], "kind": None}, {"uri": URI, "kind": ""},
    ],
)  # fmt: skip
def test_the_fast_row_of_a_new_follow_is_the_row_of_its_one_slot(core: Any) -> None:
    record, hlc = follow_id(URI), make_hlc(77, 3)
    slow = follow_row(record, {"core": {OTHER: Slot(1, hlc, core, {})}})
    assert new_follow_rows([Operation("follow", record, "core", hlc, core, {})]) == [slow]
    assert isinstance(slow, FollowRow)


def test_starting_a_session_writes_core_claim_and_state_and_the_place_given() -> None:
    core = SessionCore(kind="media", uri=URI, title="Film", size=3_600_000)
    book = Book("session", session_id("media", URI))
    draft = book.draft()
    sessions.start(draft, core, at=60_000)
    assert set(book.keep(draft)) == {"core", "holder", "progress", "state"}
    row = session_row(book.record, book.slots)
    assert (row.kind, row.uri, row.title, row.duration_ms) == ("media", URI, "Film", 3_600_000)
    assert (row.at, row.of, row.holder, row.claim) == (60_000, 3_600_000, OWN, 1)
    assert (row.phase, row.lifecycle, row.conflicts) == ("active", "active", ())


def test_starting_a_finished_session_again_restarts_the_same_record() -> None:
    core = SessionCore(kind="media", uri=URI)
    book = Book("session", session_id("media", URI))
    for act in (sessions.start, lambda draft, _core: decisions.finish(draft, at=9)):
        draft = book.draft()
        act(draft, core)
        book.keep(draft)
    assert session_row(book.record, book.slots).lifecycle == "finished"
    draft = book.draft()
    sessions.start(draft, core)
    assert "core" not in book.keep(draft)
    row = session_row(book.record, book.slots)
    assert (row.at, row.done, row.claim) == (0, False, 2)


def test_starting_fills_in_what_the_core_of_another_device_lacks() -> None:
    book = Book("session", session_id("media", URI))
    book.slots["core"] = {OTHER: Slot(1, make_hlc(1), {"kind": "media", "uri": URI, "x": 1}, {})}
    draft = book.draft()
    sessions.start(draft, SessionCore(kind="media", uri=URI, title="Film"))
    book.keep(draft)
    slot = book.slots["core"][OWN]
    assert slot.value == {"kind": "media", "title": "Film", "uri": URI, "x": 1}
    assert slot.seen == {OTHER: 1}


def test_content_sessions_share_a_record_and_events_have_random_ones() -> None:
    film = SessionCore(kind="media", uri=URI)
    call = SessionCore(kind="call", uri="xmpp:room@example.org")
    assert sessions.session_record(film, lambda size: b"r" * size) == session_id("media", URI)
    assert sessions.session_record(call, lambda size: b"r" * size) == b"r" * 16


def test_a_readings_places_count_parts_per_million_and_its_size_is_pages() -> None:
    core = SessionCore(kind="reading", uri="urn:isbn:1", size=300)
    assert core.to_value() == {"kind": "reading", "pages": 300, "uri": "urn:isbn:1"}
    book = Book("session", session_id("reading", "urn:isbn:1"), Unit.PPM)
    draft = book.draft()
    with pytest.raises(InvalidValue):
        sessions.start(draft, core, at=1_000_001)
    assert draft.operations == []
    sessions.start(draft, core, at=500_000)
    book.keep(draft)
    row = session_row(book.record, book.slots)
    assert (row.at, row.of, row.duration_ms) == (500_000, 300, 0)


def test_values_that_a_session_cannot_have_are_refused() -> None:
    for told in (
        {"kind": "dance"}, {"uri": "nowhere"}, {"size": -1}, {"size": 2**53},
        {"title": "x" * (TITLE_BYTES_MAX + 1)},
    ):  # fmt: skip
        with pytest.raises(InvalidValue):
            SessionCore(**{"kind": "media", "uri": URI, **told})
    with pytest.raises(TitleTooLong):
        SessionCore(kind="media", uri=URI, title="é" * TITLE_BYTES_MAX)


def test_speed_aliases_title_and_end_show_in_the_row() -> None:
    book = Book("session", session_id("media", URI))
    draft = book.draft()
    sessions.start(draft, SessionCore(kind="media", uri=URI))
    sessions.set_speed(draft, 1_500)
    sessions.put_alias(draft, "urn:x:2")
    sessions.put_alias(draft, "URN:x:2")
    sessions.put_alias(draft, "urn:x:1")
    sessions.set_title(draft, "Mine")
    sessions.end(draft)
    book.keep(draft)
    row = session_row(book.record, book.slots)
    assert (row.speed, row.aliases, row.title) == (1_500, ("urn:x:1", "urn:x:2"), "Mine")
    assert (row.state, row.lifecycle) == ("ended", "ended")
    draft = book.draft()
    sessions.take_alias(draft, "urn:x:1")
    sessions.reopen(draft)
    sessions.set_title(draft, None)
    book.keep(draft)
    row = session_row(book.record, book.slots)
    assert (row.aliases, row.lifecycle, row.title) == (("urn:x:2",), "active", "")
    for speed in (49, 16_001):
        with pytest.raises(InvalidValue):
            sessions.set_speed(draft, speed)
    with pytest.raises(NotFound):
        sessions.end(Book("session", book.record).draft())


def test_a_row_of_hostile_values_holds_nothing_that_a_store_cannot() -> None:
    core = {"kind": 5, "uri": [], "title": {}, "duration": 2**60}
    row = session_row(RecordId(b"r"), {"core": {OTHER: Slot(1, make_hlc(1), core, {})}})
    assert (row.kind, row.uri, row.title, row.duration_ms) == ("custom", "", "", 0)
    row = session_row(RecordId(b"r"), {"newer": {OTHER: Slot(1, make_hlc(1), [], {})}})
    assert (row.state, row.at, row.holder, row.claim, row.phase) == ("open", 0, None, 0, "free")


@pytest.mark.parametrize(
    ("told", "life"),
    [
        ({"state": "ended", "done": True, "phase": "active"}, Lifecycle.ENDED),
        ({"state": "open", "done": True, "phase": "active"}, Lifecycle.FINISHED),
        ({"state": "open", "done": False, "phase": None}, Lifecycle.FREE),
        ({"state": "open", "done": False, "phase": "paused"}, Lifecycle.PAUSED),
        ({"state": "open", "done": False, "phase": "active", "reachable": False},
         Lifecycle.SUSPENDED),
        ({"state": "open", "done": False, "phase": "free", "reachable": False}, Lifecycle.FREE),
        ({"state": "open", "done": False, "phase": "active", "requested": True},
         Lifecycle.TRANSFERRING),
    ],
)  # fmt: skip
def test_the_life_shown_is_derived(told: dict[str, Any], life: Lifecycle) -> None:
    assert lifecycle(**told) is life
