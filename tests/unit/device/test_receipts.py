"""What is unsent: own edits that no other device is known to hold."""

from __future__ import annotations

from presenced.device.edits import Follow
from presenced.device.receipts import RECEIPTS, Receipts
from presenced.ids import DeviceId, LogId
from presenced.testing.desk import Desk, Line, founder, joiner, linked_pair, rest

FEED = "https://one.example/feed.xml"
OTHER = "https://two.example/feed.xml"

A, B = DeviceId(b"a" * 16), DeviceId(b"b" * 16)
LOG, LOG_2 = LogId(b"l" * 16), LogId(b"m" * 16)


def unsent(desk: Desk) -> int:
    """As the status counts it."""
    replicas = desk.machine.shelf.replicas.values()
    return sum(one.pending.unsent for one in replicas) + desk.machine.unacknowledged


def test_all_is_sent_once_a_linked_device_has_acknowledged_it() -> None:
    first, second, line = linked_pair()
    first.edit(Follow(uri=FEED))
    assert unsent(first) == 1, "sealed and sent, but nobody said that it arrived"
    line.deliver()
    assert unsent(first) == unsent(second) == 0


def test_what_was_acknowledged_stays_so_when_the_link_is_gone() -> None:
    first, _, line = linked_pair()
    first.edit(Follow(uri=FEED))
    line.deliver()
    line.cut()
    assert unsent(first) == 0
    first.edit(Follow(uri=OTHER))
    assert unsent(first) > 0


def test_what_was_sealed_and_not_acknowledged_counts_without_a_link() -> None:
    first, _, line = linked_pair()
    first.edit(Follow(uri=FEED))
    line.cut()
    assert first.disk.counts().unsent == 0, "no overlay: it is an entry"
    assert unsent(first) == 1
    first.restart()
    assert unsent(first) == 1


def test_receipts_survive_a_restart_once_it_was_quiet_or_the_link_ended() -> None:
    first, _, line = linked_pair()
    first.edit(Follow(uri=FEED))
    line.deliver()
    first.pass_ms(2_000)
    assert first.disk.meta(RECEIPTS) is not None
    first.restart()
    assert unsent(first) == 0


def test_one_device_that_has_everything_is_enough() -> None:
    first, second, line = linked_pair()
    third = joiner(first, "Phone")
    link = Line(first, third)
    rest(line, link)
    link.cut()
    first.edit(Follow(uri=FEED))
    line.deliver()
    assert unsent(first) == 0
    assert unsent(second) == 0


def test_a_device_alone_has_sent_nothing() -> None:
    first = founder()
    first.edit(Follow(uri=FEED))
    assert unsent(first) == first.disk.counts().unsent > 1, "its name, and the follow"


def test_a_quiet_device_writes_no_receipts_again() -> None:
    first, _, line = linked_pair()
    first.pass_ms(2_000)
    before = first.commits
    line.deliver()
    first.pass_ms(60_000)
    assert first.commits == before


def test_receipts_count_for_the_devices_asked_about_only() -> None:
    receipts = Receipts(None)
    receipts.note(A, LOG, 7)
    receipts.note(B, LOG, 9)
    receipts.note(A, LOG_2, 1)
    assert receipts.held(LOG, [A]) == 7
    assert receipts.held(LOG, [A, B]) == 9
    assert receipts.held(LOG, []) == 0
    receipts.note(B, LOG, 3)
    assert receipts.held(LOG, [B]) == 9, "it never goes back"


def test_the_row_is_given_when_something_changed_and_reads_back() -> None:
    receipts = Receipts(None)
    assert receipts.take_row([A]) is None
    receipts.note(A, LOG, 7)
    receipts.note(B, LOG, 9)
    row = receipts.take_row([A])
    assert row is not None
    assert receipts.take_row([A]) is None
    again = Receipts(row)
    assert again.held(LOG, [A]) == 7
    assert again.held(LOG, [B]) == 0, "not a device of ours any more"
