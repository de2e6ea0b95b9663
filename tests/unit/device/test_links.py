"""Links of one device machine: one per pair, statements first, content for members only."""

from __future__ import annotations

import pytest

from presenced.device.edits import ChangeFollow, Follow, Unfollow
from presenced.device.effects import SendMessages
from presenced.ids import LogId
from presenced.replica.messages import FIRST_TYPE
from presenced.testing.desk import Desk, Line, founder, joiner, linked_pair, rest

FEED = "https://one.example/feed.xml"
OTHER = "https://two.example/feed.xml"


def overlay_rows(desk: Desk) -> int:
    return desk.disk.counts().unsent


def test_edits_without_a_link_stay_unsent_and_survive_a_restart() -> None:
    first = founder()
    first.edit(Follow(uri=FEED, title="One"))
    assert overlay_rows(first) > 0
    first.restart()
    assert first.follows() == {FEED: "One"}
    first.edit(ChangeFollow(uri=FEED, title="Uno"))
    second = joiner(first)
    Line(first, second).deliver()
    assert second.follows() == {FEED: "Uno"}
    assert overlay_rows(first) == 0


def test_edits_while_a_link_is_up_are_sealed_at_once() -> None:
    first, second, line = linked_pair()
    for number in range(5):
        first.edit(Follow(uri=f"https://{number}.example/feed"))
        assert overlay_rows(first) == 0
    line.deliver()
    assert len(second.follows()) == 5


def test_a_thousand_unsent_fields_are_sealed_by_a_device_alone() -> None:
    first = founder()
    first.edit(*(Follow(uri=f"https://{n}.example/feed", imported=True) for n in range(1_001)))
    assert first.disk.log_heads("follows")
    first.restart()
    assert len(first.follows()) == 1_001


def test_unsent_edits_are_sealed_before_entries_of_others_are_applied() -> None:
    first, second, line = linked_pair()
    line.cut()
    first.edit(Follow(uri=FEED, title="here"))
    second.edit(Follow(uri=FEED, title="there"))
    Line(first, second).deliver()
    assert first.digests() == second.digests()
    assert first.title(FEED) == second.title(FEED)
    assert overlay_rows(first) == overlay_rows(second) == 0


def test_of_links_dialled_from_both_sides_the_lower_id_s_stays() -> None:
    first, second, line = linked_pair()
    line.cut()
    by_first = Line(first, second)
    by_second = Line(second, first)
    kept, ended = (by_first, by_second) if first.device < second.device else (by_second, by_first)
    for desk in (first, second):
        assert list(desk.machine.links) == [kept.number(desk)]
        assert desk.closed[ended.number(desk)] == "duplicate"
        assert desk.kinds().count("link.up") == 2, "once before, once now"
    assert "link.down" in first.kinds()
    kept.deliver()
    assert first.machine.in_sync(second.device)


def test_a_new_link_wins_over_one_that_has_been_up_for_long() -> None:
    first, second, line = linked_pair()
    first.pass_ms(60_000)
    again = Line(second, first)
    assert list(first.machine.links) == [again.number(first)]
    assert first.closed[line.number(first)] == "duplicate"


def test_a_device_that_was_added_elsewhere_is_admitted_by_what_it_brings() -> None:
    first, second, line = linked_pair()
    line.cut()
    third = joiner(second, "Phone")
    third.edit(Follow(uri=FEED, title="One"))
    link = Line(third, first, known=False)
    assert third.device not in first.machine.linked, "nobody told it yet"
    link.deliver()
    assert third.device in first.machine.linked
    assert first.follows() == {FEED: "One"}
    assert first.kinds().count("link.up") == 2


def test_statements_that_come_over_one_link_reach_the_others_before_their_entries() -> None:
    first, second, line = linked_pair()
    third = joiner(second, "Phone")
    link = Line(second, third)
    rest(line, link)
    assert third.device in first.machine.membership.members.active
    third.edit(Follow(uri=FEED, title="One"))
    rest(line, link)
    assert first.follows() == {FEED: "One"}
    assert len({tuple(sorted(one.digests().items())) for one in (first, second, third)}) == 1


def test_statement_messages_of_one_link_never_overtake_each_other() -> None:
    """While a commit is in flight statements come from two sides at once."""
    first, second, line = linked_pair()
    third = joiner(first, "Phone")
    link = Line(first, third)
    rest(line, link)
    first.holds = True
    first.ask(Follow(uri=FEED))  # in flight: everything below waits for it
    for name in ("A", "B", "C"):
        joiner(second, f"second-{name}")
        joiner(third, f"third-{name}")
        line.deliver_from(second)
        link.deliver_from(third)
    while first.flying is not None:
        first.land()
        rest(line, link)
    assert not first.closed
    assert not second.closed
    assert not third.closed
    heads = {desk.machine.membership.members.heads for desk in (first, second, third)}
    assert len(heads) == 1
    assert len(first.machine.membership.members.active) == 9


def test_entries_are_pushed_after_the_statements_they_were_sealed_under() -> None:
    first, _, line = linked_pair()
    first.holds = True
    first.ask(Follow(uri=FEED))
    with pytest.raises(KeyError):
        joiner(first, "Phone")  # answered with the next commit
    first.ask(Follow(uri=OTHER))
    first.land()
    before = len(line.said[first])
    first.land()
    types = [message[0] < FIRST_TYPE for message in line.said[first][before:]]
    assert types
    assert types == sorted(types, reverse=True), "statements first, then entries"


def test_a_device_gets_the_collections_that_it_may_have_and_no_other() -> None:
    first = founder()
    second = joiner(first, collections=["directory", "follows"])
    line = Line(first, second)
    line.deliver()
    first.edit(Follow(uri=FEED, title="One"))
    line.deliver()
    assert second.follows() == {FEED: "One"}
    assert set(second.machine.shelf.replicas) == {"directory", "follows"}
    link = next(iter(first.machine.links.values()))
    assert set(link.syncs) == {"directory", "follows"}


def test_a_link_that_ends_is_told_once_and_its_messages_are_nothing() -> None:
    first, _, line = linked_pair()
    line.cut()
    assert first.kinds().count("link.down") == 1
    before = len(first.performed)
    first.hear(line.number(first), b"\x10 anything")
    assert len(first.performed) == before
    first.perform(first.machine.link_down(line.number(first), first.now))
    assert first.kinds().count("link.down") == 1


def test_three_devices_in_a_row_come_to_the_same_content() -> None:
    first, second, line = linked_pair()
    third = joiner(second, "Phone")
    link = Line(second, third)
    rest(line, link)
    for number, desk in enumerate((first, second, third)):
        desk.edit(Follow(uri=f"https://{number}.example/feed", title=str(number)))
    rest(line, link)
    third.edit(Unfollow(uri="https://0.example/feed"))
    rest(line, link)
    assert first.follows() == second.follows() == third.follows()
    assert len(first.follows()) == 2
    assert first.digests() == second.digests() == third.digests()


def test_the_digests_of_a_quiet_link_are_compared_and_agree() -> None:
    first, second, line = linked_pair()
    first.edit(Follow(uri=FEED))
    line.deliver()
    first.pass_ms(2_000)
    second.pass_ms(2_000)
    line.deliver()
    assert first.machine.alerts == ()
    assert second.machine.alerts == ()
    assert first.machine.next_wakeup is None, "and then nothing is left to do"


def test_a_snapshot_holds_only_what_is_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """An own edit that is in flight when a new device asks must not leave before it is kept."""
    monkeypatch.setattr("presenced.replica.sync.SNAPSHOT_SLOTS_MIN", 10)
    first = founder()
    second = joiner(first)
    Line(first, second).deliver()
    first.edit(*(Follow(uri=f"https://{n}.example/feed", imported=True) for n in range(30)))
    third = joiner(first, "Phone")
    link = Line(third, first)
    while not any(third.machine.links[link.number(third)].syncs.values()):
        link.deliver_from(first, 1)
        link.deliver_from(third, 1)
    first.holds = True
    first.ask(Follow(uri=FEED, title="One"))
    link.deliver()
    own = first.machine.membership.secrets.log("follows")
    assert held(third, own) <= first.machine.shelf.own_seq("follows")
    while first.flying is not None:
        first.land()
        link.deliver()
    assert third.follows() == first.follows()
    assert third.disk.base("follows"), "it did start from a snapshot"


def held(desk: Desk, log: LogId) -> int:
    heads = {head.log: head.held_seq for head in desk.disk.log_heads("follows")}
    return heads.get(log, 0)


def test_nothing_is_sent_on_a_link_that_is_gone() -> None:
    first, _, line = linked_pair()
    first.holds = True
    first.ask(Follow(uri=FEED))
    line.cut()
    first.performed.clear()
    first.land()
    sent = [one for one in first.performed if isinstance(one, SendMessages)]
    assert sent == []
