"""A database restored from a backup: what it lost comes back, and nothing is signed twice."""

from __future__ import annotations

from copy import deepcopy

import pytest

from presenced.device.edits import (
    Act,
    ChangeFollow,
    Edit,
    Follow,
    SessionAct,
    StartSession,
)
from presenced.device.effects import CommitBatch
from presenced.device.limits import RECOVER_MS
from presenced.device.rebirth import WORDS
from presenced.ids import COLLECTIONS
from presenced.replica import sync as syncing
from presenced.replica.replica import Replica
from presenced.testing.desk import Desk, Line, founder, joiner, linked_pair, rest
from presenced.testing.sim_disk import SimDisk
from presenced.trust.bodies import NewIncarnation

FEED = "https://one.example/feed.xml"
LOST = "https://lost.example/feed.xml"
OFFLINE = "https://offline.example/feed.xml"
FILM = "https://films.example/1.mp4"


def backup(desk: Desk) -> SimDisk:
    return deepcopy(desk.disk)


def restore(desk: Desk, disk: SimDisk) -> Desk:
    """The same device on an older disk."""
    again = Desk(disk, (desk.seed, "restored"))
    again.now = desk.now
    again.pass_ms(60_000)
    return again


def meet(*pairs: tuple[Desk, Desk]) -> None:
    """Link pairs until all is quiet; links that a rebirth ends are dialled again."""
    for _ in range(4):
        lines = [Line(*pair) for pair in pairs]
        rest(*lines)
        for line in lines:
            line.cut()


def agree(*desks: Desk) -> None:
    first = desks[0]
    for desk in desks:
        assert desk.disk.counts().unsent == 0
        assert desk.digests() == first.digests()
        assert desk.follows() == first.follows()
        for replica in desk.machine.shelf.replicas.values():
            assert replica.pending.waiting == replica.pending.quarantined == 0


def incarnations(desk: Desk) -> list[NewIncarnation]:
    statements = desk.machine.membership.dag.topological()
    return [one.body for one in statements if isinstance(one.body, NewIncarnation)]


def many(count: int = 1_100) -> list[Edit]:
    """More than a device keeps unsent: it seals them alone."""
    return [Follow(uri=f"https://{n}.example/feed", imported=True) for n in range(count)]


def test_a_restored_device_takes_back_what_it_lost_and_goes_on_in_the_same_log() -> None:
    first, second, line = linked_pair()
    old = backup(second)
    second.edit(Follow(uri=LOST, title="Lost"))
    line.deliver()
    line.cut()
    again = restore(second, old)
    again.edit(Follow(uri=OFFLINE, title="Offline"))
    assert LOST not in again.follows()
    meet((first, again))
    agree(first, again)
    assert {LOST, OFFLINE} <= first.follows().keys()
    assert not incarnations(first)
    assert not first.disk.forks()
    assert any("gave them back" in words for words in again.machine.alerts)


def test_nothing_is_sealed_before_the_peer_said_what_it_has_of_the_own_log() -> None:
    first, second, line = linked_pair()
    old = backup(second)
    second.edit(Follow(uri=LOST, title="Lost"))
    line.deliver()
    line.cut()
    again = restore(second, old)
    again.edit(Follow(uri=OFFLINE))
    before = again.machine.shelf.own_seq("follows")
    again.performed.clear()
    meet((first, again))
    own = again.machine.shelf.own_log("follows")
    entries = [
        (one.seq, one.raw)
        for effect in again.performed
        if isinstance(effect, CommitBatch)
        for one in effect.commit.entries
        if one.log == own
    ]
    lost_seq = second.machine.shelf.own_seq("follows")
    assert [seq for seq, _ in entries] == list(range(before + 1, lost_seq + 2))
    theirs = second.disk.entries("follows", own, before + 1, bytes_max=10**6)
    assert [raw for _, raw in entries[:-1]] == list(theirs), "first what was lost, then our own"


def test_an_edit_made_while_what_was_lost_comes_back_waits_for_it() -> None:
    first, second, line = linked_pair()
    old = backup(second)
    for number in range(5):
        second.edit(Follow(uri=f"https://lost{number}.example/"))
    line.deliver()
    line.cut()
    again = restore(second, old)
    line = Line(first, again)
    for _ in range(200):
        moved = sum(line.deliver_from(desk, 1) for desk in line.ends)
        if any(peer.is_unsound("follows") for peer in again.machine.links.values()):
            break
        assert moved
    again.edit(Follow(uri=OFFLINE))
    assert again.disk.counts().unsent > 0
    line.deliver()
    agree(first, again)
    assert OFFLINE in first.follows()
    assert not incarnations(first)


def test_what_was_lost_may_rest_on_what_was_lost_of_others() -> None:
    first, second, line = linked_pair()
    old = backup(second)
    first.edit(Follow(uri=FEED, title="One"))
    line.deliver()
    second.edit(ChangeFollow(uri=FEED, title="Two"))
    line.deliver()
    first.edit(ChangeFollow(uri=FEED, title="Three"))
    line.deliver()
    line.cut()
    again = restore(second, old)
    again.edit(Follow(uri=OFFLINE))
    meet((first, again))
    agree(first, again)
    assert first.title(FEED) == "Three"
    assert not incarnations(first)


def test_a_restored_device_that_sealed_alone_gives_up_its_branch_and_loses_nothing() -> None:
    first, second, line = linked_pair()
    second.edit(Follow(uri=FEED, title="One"))
    line.deliver()
    old = backup(second)
    second.edit(Follow(uri=LOST, title="Lost"), ChangeFollow(uri=FEED, title="lost title"))
    line.deliver()
    first.edit(ChangeFollow(uri=LOST, title="Built upon"))
    line.deliver()
    line.cut()
    again = restore(second, old)
    again.edit(*many())
    again.edit(ChangeFollow(uri=FEED, title="new title"))
    assert again.machine.shelf.own_seq("follows") > old.log_heads("follows")[0].held_seq - 1
    meet((first, again))
    agree(first, again)
    assert len(first.follows()) == 1_102
    assert first.title(LOST) == "Built upon"
    assert first.title(FEED) == "new title"
    (begun,) = incarnations(first)
    assert begun.incarnation == again.machine.membership.secrets.incarnation
    assert set(begun.ends) == {"follows"}
    assert WORDS in again.machine.alerts
    assert not first.disk.forks(), "its own branch was never shown: nobody sees a thief"
    assert not any("two histories" in words for words in first.machine.alerts)


def test_after_the_rebirth_edits_go_into_the_new_logs_and_a_restart_keeps_them() -> None:
    first, second, line = linked_pair()
    old = backup(second)
    second.edit(Follow(uri=LOST))
    line.deliver()
    line.cut()
    again = restore(second, old)
    again.edit(*many())
    meet((first, again))
    again.restart()
    again.edit(Follow(uri=OFFLINE, title="After"))
    meet((first, again))
    agree(first, again)
    assert first.follows()[OFFLINE] == "After"
    assert len(incarnations(first)) == 1
    for collection in COLLECTIONS:
        log = again.machine.shelf.own_log(collection)
        assert log in first.machine.membership.own_logs.get(collection, ()) or (
            first.machine.membership.device_of(log) == again.device
        )


def test_a_crash_before_the_rebirth_is_on_disk_only_delays_it() -> None:
    first, second, line = linked_pair()
    old = backup(second)
    second.edit(Follow(uri=LOST))
    line.deliver()
    line.cut()
    again = restore(second, old)
    again.edit(*many())
    again.holds = True
    line = Line(first, again)
    for _ in range(500):
        sum(line.deliver_from(desk, 1) for desk in line.ends if not line.is_cut)
        if again.flying is not None:
            if again.flying.commit.cuts:
                break
            again.land()
    assert again.flying is not None
    assert again.flying.commit.meta.keys() >= {"secrets"}
    again.fail()
    again.holds = False
    assert not incarnations(again)
    meet((first, again))
    agree(first, again)
    assert len(incarnations(first)) == 1


def test_what_was_said_of_one_field_before_and_after_the_backup_is_shown_as_a_conflict() -> None:
    first, second, line = linked_pair()
    (begun,) = second.edit(StartSession(uri=FILM, title="Film", size=6_000_000))
    film = begun.record
    second.edit(SessionAct(session=film, act=Act.SEEK, at=600_000))
    line.deliver()
    old = backup(second)
    second.pass_ms(1_000)
    second.edit(SessionAct(session=film, act=Act.FINISH))
    line.deliver()
    line.cut()
    again = restore(second, old)
    again.edit(SessionAct(session=film, act=Act.SEEK, at=60_000))
    meet((first, again))
    agree(first, again)
    (row,) = first.disk.session_rows.values()
    assert "progress" in row.conflicts
    assert len(incarnations(first)) == 1


def test_a_backup_from_before_a_rebirth_begins_another_incarnation() -> None:
    first, second, line = linked_pair()
    old, older = backup(second), backup(second)
    second.edit(Follow(uri=LOST))
    line.deliver()
    line.cut()
    again = restore(second, old)
    again.edit(*many())
    meet((first, again))
    oldest = restore(again, older)
    oldest.edit(Follow(uri=OFFLINE, title="Third life"))
    meet((first, oldest))
    agree(first, oldest)
    assert first.follows()[OFFLINE] == "Third life"
    assert len(first.follows()) == 1_102
    assert len(incarnations(first)) == 2


def test_a_restored_device_that_wrote_on_to_a_third_one_is_not_taken_for_a_thief() -> None:
    first, second, line = linked_pair()
    third = joiner(first, "Third")
    for pair in ((first, third), (first, second), (second, third)):
        meet(pair)
    old = backup(second)
    line = Line(first, second)
    line.deliver()
    second.edit(Follow(uri=LOST, title="Lost"))
    line.deliver()
    line.cut()
    again = restore(second, old)
    line = Line(third, again)
    line.deliver()
    again.edit(Follow(uri=OFFLINE, title="Offline"))
    line.deliver()
    line.cut()
    assert OFFLINE in third.follows()
    meet((first, again))
    assert {LOST, OFFLINE} <= first.follows().keys()
    assert {LOST, OFFLINE} <= again.follows().keys()


def test_a_peer_that_claims_what_it_does_not_send_holds_nobody_up() -> None:
    first, second, line = linked_pair()
    old = backup(second)
    second.edit(Follow(uri=LOST))
    line.deliver()
    line.cut()
    again = restore(second, old)
    line = Line(first, again)
    for _ in range(200):
        sum(line.deliver_from(desk, 1) for desk in line.ends)
        if any(peer.is_unsound("follows") for peer in again.machine.links.values()):
            break
    line.sent[first].clear()
    again.edit(Follow(uri=OFFLINE))
    again.pass_ms(RECOVER_MS - 1)
    assert not incarnations(again)
    again.pass_ms(1)
    assert len(incarnations(again)) == 1
    line.cut()
    meet((first, again))
    agree(first, again)
    assert {LOST, OFFLINE} <= first.follows().keys()


@pytest.mark.parametrize("alone", [False, True])
def test_a_device_with_a_whole_log_begins_nothing_anew(alone: bool) -> None:
    first, second, line = linked_pair()
    second.edit(Follow(uri=FEED))
    line.deliver()
    line.cut()
    second.edit(*(many() if alone else [Follow(uri=OFFLINE)]))
    first.edit(*(many() if alone else [Follow(uri=OFFLINE)]))
    meet((first, second))
    agree(first, second)
    assert not incarnations(first)
    assert not first.machine.alerts
    assert not second.machine.alerts


def test_a_founder_can_be_restored_too() -> None:
    first = founder()
    first.edit(Follow(uri=FEED, title="One"))
    old = backup(first)
    second = joiner(first)
    meet((first, second))
    first.edit(Follow(uri=LOST, title="Lost"))
    meet((first, second))
    again = restore(first, old)
    number = Line(again, second, known=False)
    number.deliver()
    number.cut()
    meet((again, second))
    agree(again, second)
    assert LOST in again.follows()


@pytest.mark.parametrize("refused", [False, True])
def test_a_sponsor_with_unsent_edits_gives_its_snapshot_and_then_what_it_sealed(
    refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncing, "SNAPSHOT_SLOTS_MIN", 1)
    first, _, line = linked_pair()
    first.edit(Follow(uri=FEED, title="One"))
    line.deliver()
    line.cut()
    first.edit(Follow(uri=OFFLINE, title="Unsent"))
    if refused:
        monkeypatch.setattr(Replica, "snapshot", lambda replica, via: [])
    third = joiner(first, "Third")
    line = Line(first, third)
    line.deliver()
    assert not line.is_cut
    assert third.follows() == {FEED: "One", OFFLINE: "Unsent"}
    agree(first, third)
    assert first.machine.in_sync(third.device)
    assert third.machine.in_sync(first.device)
