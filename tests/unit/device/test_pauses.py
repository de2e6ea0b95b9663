"""What cannot be taken now is asked for again; what waits while yrs is lost is told so."""

from __future__ import annotations

import pytest

from presenced.device.edits import Follow
from presenced.device.limits import RESUME_MS
from presenced.errors import CallerError
from presenced.ids import RecordId
from presenced.presence.naming import follow_id
from presenced.replica.document import Document, DocumentLost
from presenced.replica.replica import Replica
from presenced.testing.desk import Line, joiner, linked_pair, rest
from presenced.testing.link_doubles import SeededEntropy
from presenced.trust.identity import new_device_secrets
from presenced.wire import decode

FEED = "https://one.example/feed.xml"
OTHER = "https://two.example/feed.xml"


def test_entries_wait_while_own_edits_cannot_be_sealed_and_come_once_they_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second, line = linked_pair()
    with monkeypatch.context() as patch:
        mine = first.machine.shelf.replicas["follows"]
        patch.setattr(Replica, "can_seal", property(lambda replica: replica is not mine))
        first.edit(Follow(uri=FEED, title="One"))
        second.edit(Follow(uri=OTHER, title="Two"))
        line.deliver()
        assert first.follows() == {FEED: "One"}, "the invariant: unsent edits first"
        assert first.machine.alerts == ("edits of follows cannot be sent yet",)
        assert not first.machine.in_sync(second.device)
        first.pass_ms(RESUME_MS)
        line.deliver()
        assert first.follows() == {FEED: "One"}
    first.pass_ms(RESUME_MS)
    line.deliver()
    assert first.follows() == second.follows() == {FEED: "One", OTHER: "Two"}
    assert first.machine.alerts == ()
    assert first.machine.in_sync(second.device)


def test_what_was_left_out_for_lack_of_room_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second, line = linked_pair()
    with monkeypatch.context() as patch:
        patch.setattr("presenced.replica.allowance.DEVICE_DAY_BYTES_MAX", 0)
        second.edit(Follow(uri=OTHER, title="Two"))
        line.deliver()
        assert first.follows() == {}
        assert any("more than a day" in alert for alert in first.machine.alerts)
    first.pass_ms(RESUME_MS)
    line.deliver()
    assert first.follows() == {OTHER: "Two"}


def test_what_was_taken_today_is_written_with_it_and_survives_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second, line = linked_pair()
    second.edit(Follow(uri=OTHER, title="Two"))
    line.deliver()
    [row] = [first.disk.meta(name) for name in ("taken-follows",)]
    assert row is not None
    _, [[device, size]] = decode(row)
    assert device == second.device
    monkeypatch.setattr("presenced.replica.allowance.DEVICE_DAY_BYTES_MAX", size + 10)
    line.cut()
    first.restart()
    second.edit(Follow(uri=FEED, title="One"))
    again = Line(first, second)
    again.deliver()
    assert first.follows() == {OTHER: "Two"}
    first.pass_ms(24 * 3_600_000)
    again.deliver()
    assert first.follows() == second.follows()


def test_while_a_commit_decides_what_is_lost_newcomers_are_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second, line = linked_pair()
    first.holds = True
    kept = first.ask(Follow(uri=FEED, title="One"))
    second.edit(Follow(uri=OTHER, title="Two"))
    flush, armed = Document.flush, [True]

    def panics(document: Document) -> None:
        if armed:
            armed.clear()
            raise DocumentLost("a panic of yrs, made up")
        flush(document)

    monkeypatch.setattr(Document, "flush", panics)
    line.deliver()
    again = Line(first, second)
    assert first.closed[again.number(first)] == "document-lost"
    secrets = new_device_secrets(SeededEntropy("phone"))
    membership = first.machine.membership
    certificate = secrets.certificate(membership.space, membership.device)
    request = first.new_request()
    first.perform(first.machine.admit(request, certificate, ["follows"], first.now))
    with pytest.raises(DocumentLost):
        first.answer_of(request)
    first.land()
    assert first.answer_of(kept)
    first.holds = False
    first.edit(Follow(uri="https://3.example/"))
    Line(first, second).deliver()
    assert first.digests() == second.digests()
    assert len(first.follows()) == 3


def test_an_admission_that_is_not_allowed_is_answered_so() -> None:
    first, second, line = linked_pair()
    secrets = new_device_secrets(SeededEntropy("phone"))
    membership = first.machine.membership
    certificate = secrets.certificate(membership.space, second.device)
    request = first.new_request()
    first.perform(first.machine.admit(request, certificate, ["follows"], first.now))
    with pytest.raises(CallerError):
        first.answer_of(request)
    assert len(first.machine.membership.members.active) == 2
    line.deliver()


def test_a_device_of_few_collections_takes_no_edit_of_another() -> None:
    first, _, line = linked_pair()
    third = joiner(first, "Phone", collections=["sessions"])
    rest(Line(first, third), line)
    with pytest.raises(CallerError):
        third.edit(Follow(uri=FEED))
    assert not third.machine.shelf.has("follow")
    assert follow_id(FEED) not in third.disk.follow_rows
    assert third.machine.name_of(first.device) == ""
    assert third.machine.device_on(99) is None  # type: ignore[arg-type]
    assert RecordId(first.device) not in third.disk.session_rows
