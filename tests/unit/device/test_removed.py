"""A device that is removed gets the statement that says so, and content no more."""

from __future__ import annotations

import pytest

from presenced.device.edits import Follow
from presenced.errors import CallerError
from presenced.replica.messages import FIRST_TYPE
from presenced.testing.desk import Desk, Line, joiner, linked_pair, rest
from presenced.trust.admission import remove_body

FEED = "https://one.example/feed.xml"


def remove(by: Desk, device: Desk) -> None:
    """A member signs a removal that leaves the removed device's logs open."""
    by.sign(remove_body(device.device, [], "lost"))


def three() -> tuple[Desk, Desk, Desk, Line, Line]:
    first, second, line = linked_pair()
    third = joiner(first, "Phone")
    link = Line(first, third)
    rest(line, link)
    assert first.machine.in_sync(third.device)
    return first, second, third, line, link


def test_a_removed_device_s_link_goes_on_with_statements_only() -> None:
    first, second, third, line, link = three()
    remove(second, third)
    line.deliver()
    assert third.device not in first.machine.linked
    assert first.kinds()[-2:] == ["link.down", "membership.changed"]
    before = len(link.said[first])
    first.edit(Follow(uri=FEED, title="One"))
    rest(line, link)
    assert all(message[0] < FIRST_TYPE for message in link.said[first][before:])
    assert second.follows() == {FEED: "One"}
    assert third.follows() == {}
    assert not third.machine.membership.active, "it has learned of it"


def test_a_removed_device_keeps_running_and_says_what_it_may_not() -> None:
    _, second, third, line, link = three()
    remove(second, third)
    line.deliver()
    rest(line, link)
    third.restart()
    with pytest.raises(CallerError):
        third.edit(Follow(uri=FEED))
    assert third.machine.name_of(third.device) == ""


def test_a_removed_device_that_comes_back_is_a_stranger_that_learns_of_it() -> None:
    first, second, third, line, link = three()
    link.cut()
    remove(second, third)
    line.deliver()
    rest(line)
    third.edit(Follow(uri=FEED, title="One"))
    again = Line(third, first, known=False)
    again.deliver()
    assert third.device not in first.machine.linked
    assert not third.machine.membership.active
    assert first.follows() == {}
    assert all(message[0] < FIRST_TYPE for message in again.said[first])


def test_what_a_removal_takes_back_leaves_the_lists_and_nothing_else_does() -> None:
    first, second, third, line, link = three()
    first.edit(Follow(uri=FEED, title="One"))
    third.edit(Follow(uri="https://two.example/feed", title="Two"))
    rest(line, link)
    assert len(second.follows()) == 2
    first.sign(remove_body(third.device, [("follows", {})], "stolen"))
    rest(line)
    assert first.follows() == second.follows() == {FEED: "One"}
    assert "rebuilt" in second.kinds()


def test_what_a_removed_device_was_still_sending_ends_its_link_and_nothing_else() -> None:
    first, second, third, line, link = three()
    for number in range(8):
        third.edit(Follow(uri=f"https://{number}.example/feed"))
    remove(second, third)
    line.deliver()
    link.deliver_from(third)
    assert first.closed == {link.number(first): "limit-exceeded"}
    assert second.device in first.machine.linked
    first.edit(Follow(uri=FEED, title="One"))
    line.deliver()
    assert second.follows() == {FEED: "One"}
