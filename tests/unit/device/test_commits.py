"""Nothing shows before it is on disk; what cannot be done fails alone; full disks lose nothing."""

from __future__ import annotations

import pytest

from presenced.device.edits import Act, ChangeFollow, Follow, SessionAct, StartSession
from presenced.device.effects import Answer, CommitBatch, Emit, RequestNumber, SendMessages
from presenced.errors import CallerError, InvalidValue, NotFound, StoreFull
from presenced.ids import RecordId
from presenced.presence.naming import follow_id
from presenced.replica.document import DocumentLost
from presenced.replica.limits import QUIET_MS
from presenced.replica.replica import Replica
from presenced.testing.desk import Line, founder, joiner, linked_pair

FEED = "https://one.example/feed.xml"
OTHER = "https://two.example/feed.xml"


def test_an_edit_is_answered_told_and_sent_only_once_it_is_on_disk() -> None:
    first, _, line = linked_pair()
    first.holds = True
    first.performed.clear()
    request = first.ask(Follow(uri=FEED, title="One"))
    assert [type(effect) for effect in first.performed] == [CommitBatch]
    assert not line.sent[first]
    first.land()
    kinds = [type(effect) for effect in first.performed[1:]]
    assert kinds == [SendMessages, Emit, Answer], "commit, then send, then tell"
    assert first.answer_of(request)[0].written


def test_edits_that_come_while_a_commit_is_in_flight_become_one_commit() -> None:
    first, _, _ = linked_pair()
    first.holds = True
    requests = [first.ask(Follow(uri=f"https://{n}.example/feed")) for n in range(50)]
    first.land()
    assert list(first.answers)[-1] == requests[0]
    flying = first.flying
    assert flying is not None
    assert len(flying.commit.follows) == 49
    assert len(flying.commit.entries) == 1, "and one entry"
    before = first.commits
    first.land()
    assert first.commits == before + 1
    assert all(first.answer_of(request) for request in requests)


def test_lines_imported_together_have_one_time_and_what_comes_after_a_later_one() -> None:
    first, _, _ = linked_pair()
    uris = [f"https://{n}.example/feed" for n in range(3)]
    first.edit(*(Follow(uri=uri, imported=True) for uri in uris), Follow(uri=FEED))
    first.edit(*(Follow(uri=uri, title="x", imported=True) for uri in uris), Follow(uri=OTHER))

    def written(uri: str, field: str) -> int:
        record = first.machine.shelf.record("follow", follow_id(uri))
        return max(slot.hlc for slot in record[field].values())

    (imported,) = {written(uri, "core") for uri in uris}
    assert imported < written(FEED, "core") < written(FEED, "state") < written(OTHER, "core")


def test_a_request_that_cannot_be_done_fails_alone_and_changes_nothing() -> None:
    first, _, _ = linked_pair()
    first.holds = True
    first.ask(Follow(uri=FEED))
    good = first.ask(Follow(uri=OTHER, title="Two"))
    bad = first.ask(
        Follow(uri="https://three.example/"), ChangeFollow(uri="https://4.example/", title="x")
    )
    also_good = first.ask(ChangeFollow(uri=FEED, title="One"))
    first.land()
    first.land()
    assert first.answer_of(good)
    assert first.answer_of(also_good)
    with pytest.raises(CallerError):
        first.answer_of(bad)
    assert first.follows() == {FEED: "One", OTHER: "Two"}


def test_what_the_document_refuses_in_one_collection_is_written_in_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, _, _ = linked_pair()
    check = Replica.check

    def refuses(replica: Replica, operations: object) -> None:
        if replica.collection == "sessions":
            raise InvalidValue("a record would have too many fields")
        check(replica, operations)  # type: ignore[arg-type]

    monkeypatch.setattr(Replica, "check", refuses)
    with pytest.raises(InvalidValue):
        first.edit(Follow(uri=FEED), StartSession(uri="https://a.example/1.mp3", title="A"))
    assert first.follows() == {}
    assert not first.machine.shelf.record("follow", follow_id(FEED))


def test_of_a_batch_that_the_document_refuses_only_the_guilty_request_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, _, _ = linked_pair()
    first.holds = True
    write = Replica.write

    def refuses(replica: Replica, operations: object, *, live: bool) -> object:
        if any(one.value == "poison" for one in operations):  # type: ignore[attr-defined]
            raise InvalidValue("a record would have too many fields")
        return write(replica, operations, live=live)  # type: ignore[arg-type]

    monkeypatch.setattr(Replica, "write", refuses)
    first.ask(Follow(uri=FEED))
    good = first.ask(Follow(uri=OTHER))
    bad = first.ask(ChangeFollow(uri=FEED, title="poison"))
    first.land()
    first.land()
    assert first.answer_of(good)
    with pytest.raises(InvalidValue):
        first.answer_of(bad)
    assert set(first.follows()) == {FEED, OTHER}


def test_at_rest_what_a_player_reached_is_on_disk_before_the_answer() -> None:
    first = founder()
    session = first.edit(StartSession(uri="https://a.example/1.mp3", title="A", size=600_000))[0]
    for at in (15_000, 40_000):
        report = SessionAct(session=session.record, act=Act.REPORT, at=at, played_ms=15_000)
        first.edit(report)
    assert first.disk.session(session.record).at == 15_000
    first.perform(first.machine.rest(RequestNumber(900), first.now))
    assert first.disk.session(session.record).at == 40_000
    assert first.answers[900].error is None


def test_a_refused_request_leaves_open_players_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = founder()
    session = first.edit(StartSession(uri="https://a.example/1.mp3", title="A", size=600_000))[0]
    report = SessionAct(session=session.record, act=Act.REPORT, at=5_000, played_ms=5_000)
    first.edit(report)
    with monkeypatch.context() as patch:

        def refuses(_replica: Replica, _operations: object, *, live: bool) -> object:
            raise InvalidValue("no")

        patch.setattr(Replica, "write", refuses)
        with pytest.raises(InvalidValue):
            first.edit(Follow(uri=FEED))
    result = first.edit(
        SessionAct(session=session.record, act=Act.REPORT, at=9_000, played_ms=4_000)
    )
    assert not result[0].stale, "the player is still the one that started here"


def test_a_full_disk_fails_every_waiting_request_and_the_device_goes_on() -> None:
    first, second, line = linked_pair()
    first.holds = True
    requests = [first.ask(Follow(uri=f"https://{n}.example/feed")) for n in range(3)]
    first.fail()
    for request in requests:
        with pytest.raises(StoreFull):
            first.answer_of(request)
    assert first.closed[line.number(first)] == "host-error"
    assert first.kinds()[-1] == "link.down"
    line.cut()
    first.holds = False
    assert first.follows() == {}
    first.edit(Follow(uri=FEED, title="One"))
    Line(first, second).deliver()
    assert second.follows() == {FEED: "One"}
    assert first.digests() == second.digests()


def test_entries_that_were_not_stored_are_asked_for_again() -> None:
    first, second, line = linked_pair()
    second.holds = True
    first.edit(Follow(uri=FEED, title="One"))
    line.deliver()
    second.fail()
    line.cut()
    assert second.follows() == {}
    second.holds = False
    Line(second, first).deliver()
    assert second.follows() == {FEED: "One"}


def test_a_failed_admission_is_answered_and_forgotten() -> None:
    first = founder()
    first.holds = True
    with pytest.raises(KeyError):
        joiner(first)  # its answer has not come
    first.fail()
    request = max(first.answers)
    with pytest.raises(StoreFull):
        first.answer_of(request)  # type: ignore[arg-type]
    assert first.machine.membership.members.active == (first.device,)
    first.holds = False
    second = joiner(first)
    Line(first, second).deliver()
    assert first.machine.in_sync(second.device)


def lose_next_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next time anything is put into a document, yrs panics."""
    from presenced.replica.document import Document

    flush = Document.flush
    armed = [True]

    def panics(document: Document) -> None:
        if armed:
            armed.clear()
            raise DocumentLost("a panic of yrs, made up")
        flush(document)

    monkeypatch.setattr(Document, "flush", panics)


def test_a_panic_while_writing_fails_that_request_and_loads_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, _, line = linked_pair()
    first.edit(Follow(uri=FEED, title="One"))
    lose_next_flush(monkeypatch)
    with pytest.raises(DocumentLost):
        first.edit(Follow(uri=OTHER))
    assert line.number(first) in first.closed
    first.edit(Follow(uri=OTHER, title="Two"))
    assert first.follows() == {FEED: "One", OTHER: "Two"}


def test_what_is_gathered_between_a_panic_and_the_commit_in_flight_is_void(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It rests on documents that do not hold, and would be on disk and nowhere else."""
    first, second, line = linked_pair()
    second.holds = True
    second.ask(Follow(uri=FEED, title="One"))
    first.edit(Follow(uri="https://three.example/", title="Three"))
    lose_next_flush(monkeypatch)
    line.deliver()
    second.machine._pipeline.commit.meta["gathered"] = b"since"
    second.land()
    while second.flying is not None:
        second.land()
    assert second.disk.meta("gathered") is None
    assert second.follows() == {FEED: "One"}


def test_a_panic_while_a_commit_is_in_flight_keeps_what_that_commit_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second, line = linked_pair()
    second.holds = True
    kept = second.ask(Follow(uri=FEED, title="One"))
    waits = second.ask(Follow(uri=OTHER, title="Two"))
    first.edit(Follow(uri="https://three.example/", title="Three"))
    lose_next_flush(monkeypatch)
    line.deliver()
    assert second.closed
    assert not second.answers.keys() & {kept, waits}, "the commit in flight decides"
    second.land()
    assert second.answer_of(kept)
    second.land()
    assert second.answer_of(waits), "what had not begun is done afterwards"
    line.cut()
    second.holds = False
    Line(first, second).deliver()
    assert first.digests() == second.digests()
    assert len(first.follows()) == 3


def test_an_act_on_a_session_that_is_not_there_says_so() -> None:
    with pytest.raises(NotFound):
        founder().edit(SessionAct(session=RecordId(bytes(16)), act=Act.PAUSE))


def test_a_device_without_the_directory_has_no_name_and_starts() -> None:
    first = founder()
    second = joiner(first, collections=["follows"])
    assert second.machine.name_of(second.device) == ""
    assert second.machine.membership.collections == ("follows",)


def test_in_a_quiet_moment_a_long_log_gets_a_base_that_the_next_start_begins_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("presenced.replica.base.BASE_TAIL_ENTRIES", 5)
    first, second, line = linked_pair()
    for number in range(6):
        assert not first.disk.base("follows")
        first.edit(Follow(uri=f"https://{number}.example/feed", title="T"))
        line.deliver()
    for desk in (first, second):
        desk.pass_ms(QUIET_MS)
    line.deliver()
    assert first.disk.base("follows")
    digest = first.digests()["follows"]
    first.edit(Follow(uri=FEED, title="One"))
    line.deliver()
    later = second.digests()["follows"]
    assert later != digest
    first.restart()
    assert first.digests()["follows"] == later
    assert len(first.follows()) == 7
