"""The summary after a time apart: elsewhere, here, and both with what lost and how to have it."""

from __future__ import annotations

import pytest

from presenced.device import recaps
from presenced.device.commit import Commit
from presenced.device.edits import (
    Act,
    ChangeFollow,
    Follow,
    Resolve,
    SessionAct,
    StartSession,
    Unfollow,
)
from presenced.device.recaps import SUMMARY_SEEN, seen_row
from presenced.presence.summary import Side, SummaryRow
from presenced.testing.desk import Desk, Line, founder, joiner, linked_pair

FEED = "https://one.example/feed.xml"
OTHER = "https://two.example/feed.xml"


def apart() -> tuple[Desk, Desk]:
    """Two devices that both follow FEED, with the link down."""
    first, second, line = linked_pair()
    first.edit(Follow(uri=FEED, title="One"))
    line.deliver()
    line.cut()
    return first, second


def together(first: Desk, second: Desk) -> Line:
    line = Line(first, second)
    line.deliver()
    return line


def rows(desk: Desk, side: Side) -> list[SummaryRow]:
    summary = desk.disk.summary()
    return [] if summary is None else [row for row in summary.rows if row.side is side]


def test_it_says_what_changed_elsewhere_by_whom_and_when() -> None:
    first, second = apart()
    second.edit(Follow(uri=OTHER, title="Two"))
    second.edit(Unfollow(uri=FEED))
    together(first, second)
    elsewhere = rows(first, Side.ELSEWHERE)
    assert {row.title for row in elsewhere} == {"One", "Two"}
    assert {row.device for row in elsewhere} == {second.device}
    assert all(row.ms >= second.now.wall_ms for row in elsewhere)
    assert first.kinds()[-1] == "summary.changed"


def test_it_says_what_changed_here_meanwhile() -> None:
    first, second = apart()
    first.edit(ChangeFollow(uri=FEED, title="Uno"))
    second.edit(Follow(uri=OTHER, title="Two"))
    together(first, second)
    here = rows(first, Side.HERE)
    assert [(row.title, row.value, row.device) for row in here] == [("Uno", "Uno", first.device)]


def test_what_changed_here_is_known_after_a_restart_too() -> None:
    first, second = apart()
    first.edit(ChangeFollow(uri=FEED, title="Uno"))
    second.edit(Follow(uri=OTHER, title="Two"))
    first.restart()
    together(first, second)
    assert [row.value for row in rows(first, Side.HERE)] == ["Uno"]


def test_where_both_changed_a_field_it_names_the_rule_and_what_lost() -> None:
    first, second = apart()
    first.edit(ChangeFollow(uri=FEED, title="Uno"))
    second.pass_ms(60_000)
    second.edit(ChangeFollow(uri=FEED, title="Eins"))
    together(first, second)
    for desk in (first, second):
        (row,) = rows(desk, Side.BOTH)
        assert row.value == "Eins", "the later one"
        assert row.rule
        (lost,) = row.losing
        assert (lost.value, lost.device, lost.restorable) == ("Uno", first.device, True)


def test_the_losing_value_is_one_command_away_on_either_device() -> None:
    first, second = apart()
    first.edit(ChangeFollow(uri=FEED, title="Uno"))
    second.pass_ms(60_000)
    second.edit(ChangeFollow(uri=FEED, title="Eins"))
    line = together(first, second)
    (row,) = rows(second, Side.BOTH)
    second.edit(Resolve(map=row.map, record=row.record, field=row.field, log=row.losing[0].log))
    line.deliver()
    assert first.title(FEED) == second.title(FEED) == "Uno"
    assert first.digests() == second.digests()


def test_a_place_in_a_session_that_both_went_on_from_is_in_it() -> None:
    first, second, line = linked_pair()
    started = first.edit(StartSession(uri="https://a.example/1.mp3", title="A", size=3_600_000))[0]
    line.deliver()
    line.cut()
    first.edit(SessionAct(session=started.record, act=Act.SEEK, at=600_000))
    second.pass_ms(60_000)
    second.edit(SessionAct(session=started.record, act=Act.SEEK, at=1_200_000))
    together(first, second)
    both = [row for row in rows(first, Side.BOTH) if row.field == "progress"]
    assert both
    assert both[0].title == "A"


def test_a_device_that_only_gave_has_no_summary() -> None:
    first, second = apart()
    first.edit(ChangeFollow(uri=FEED, title="Uno"))
    together(first, second)
    assert first.disk.summary() is None
    assert rows(second, Side.ELSEWHERE)


def test_what_comes_live_is_in_no_summary() -> None:
    first, second = apart()
    line = together(first, second)
    second.edit(Follow(uri=OTHER, title="Two"))
    line.deliver()
    assert first.disk.summary() is None


def test_it_is_told_once_all_collections_have_caught_up() -> None:
    first, second = apart()
    second.edit(Follow(uri=OTHER), StartSession(uri="https://a.example/1.mp3", title="A"))
    line = Line(first, second)
    while "summary.changed" not in first.kinds():
        assert sum(line.deliver_from(desk, 1) for desk in line.ends)
    assert {row.map for row in rows(first, Side.ELSEWHERE)} == {"follow", "session"}


def test_a_summary_that_nobody_read_goes_on_in_the_next_one() -> None:
    first, second = apart()
    first.edit(ChangeFollow(uri=FEED, title="Uno"))
    second.edit(Follow(uri=OTHER, title="Two"))
    line = together(first, second)
    line.cut()
    second.edit(Follow(uri="https://three.example/", title="Three"))
    together(first, second)
    assert {row.title for row in rows(first, Side.ELSEWHERE)} == {"Two", "Three"}
    assert [row.value for row in rows(first, Side.HERE)] == ["Uno"]


def test_a_summary_that_was_read_does_not_come_again() -> None:
    first, second = apart()
    second.edit(Follow(uri=OTHER, title="Two"))
    line = together(first, second)
    stored = first.disk.summary()
    assert stored is not None
    first.disk.apply(Commit(meta={SUMMARY_SEEN: seen_row(stored)}))
    line.cut()
    second.edit(Follow(uri="https://three.example/", title="Three"))
    together(first, second)
    assert {row.title for row in rows(first, Side.ELSEWHERE)} == {"Three"}


def test_what_goes_on_is_bounded_and_the_rest_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recaps, "SUMMARY_CHANGES_MAX", 3)
    first, second = apart()
    second.edit(Follow(uri=OTHER, title="Two"))
    line = together(first, second)
    line.cut()
    second.edit(Follow(uri="https://three.example/", title="Three"))
    together(first, second)
    stored = first.disk.summary()
    assert stored is not None
    elsewhere = [row for row in stored.rows if row.side is Side.ELSEWHERE]
    assert (len(elsewhere), stored.more) == (3, 1)


def test_names_of_devices_are_in_no_summary() -> None:
    first = founder()
    second = joiner(first)
    Line(first, second).deliver()
    assert first.disk.summary() is None
    assert second.disk.summary() is None
