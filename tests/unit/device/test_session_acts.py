"""Every act on a session by its name, and the edits that are not acts."""

from __future__ import annotations

from typing import Any

import pytest

from presenced.device.edits import (
    Act,
    ChangeFollow,
    ChangeSession,
    Follow,
    NameDevice,
    Resolve,
    SessionAct,
    StartSession,
)
from presenced.errors import CallerError, InvalidValue
from presenced.ids import LogId, RecordId
from presenced.presence.naming import follow_id
from presenced.presence.player import Offer
from presenced.presence.views import SessionRow
from presenced.testing.desk import Desk, Line, founder, linked_pair

URI = "https://a.example/1.mp3"
HOUR_MS = 3_600_000


class Session:
    """A session of an hour, ten minutes in."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        start = StartSession(uri=URI, title="A", size=HOUR_MS, at=600_000)
        self.record = desk.edit(start)[0].record

    def does(self, act: Act, **given: Any) -> SessionRow:
        self.desk.edit(SessionAct(session=self.record, act=act, **given))
        return self.row

    @property
    def row(self) -> SessionRow:
        return self.desk.disk.session_rows[self.record]


@pytest.fixture
def session() -> Session:
    return Session(founder())


def test_a_start_holds_the_session_here(session: Session) -> None:
    row = session.row
    assert (row.at, row.of, row.state, row.phase) == (600_000, HOUR_MS, "open", "active")
    assert row.holder == session.desk.machine.membership.secrets.log("sessions")


@pytest.mark.parametrize(
    ("act", "given", "at", "phase"),
    [
        (Act.SEEK, {"at": 900_000}, 900_000, "active"),
        (Act.PAUSE, {}, 600_000, "paused"),
        (Act.PAUSE, {"at": 700_000}, 700_000, "paused"),
        (Act.STOP, {}, 600_000, "free"),
        (Act.RESTART, {}, 0, "active"),
        (Act.REWIND, {"at": 300_000}, 300_000, "active"),
    ],
)
def test_an_act_moves_the_place_and_the_phase(
    session: Session, act: Act, given: dict[str, int], at: int, phase: str
) -> None:
    row = session.does(act, **given)
    assert (row.at, row.phase) == (at, phase)


def test_a_pause_is_resumed(session: Session) -> None:
    session.does(Act.PAUSE)
    assert session.does(Act.RESUME).phase == "active"


def test_what_is_finished_is_done_until_it_is_unfinished(session: Session) -> None:
    assert session.does(Act.FINISH).done
    row = session.does(Act.UNFINISH, at=300_000)
    assert (row.done, row.at) == (False, 300_000)


def test_the_last_decision_is_undone(session: Session) -> None:
    assert session.does(Act.RESTART).at == 0
    assert session.does(Act.UNDO).at == 600_000
    assert session.does(Act.UNDO).at == 0, "twice is redo"


def test_what_is_ended_is_reopened(session: Session) -> None:
    assert session.does(Act.END).state == "ended"
    assert session.does(Act.REOPEN).state == "open"


def test_reports_move_the_place_and_are_written_by_a_close(session: Session) -> None:
    session.does(Act.OPEN)
    session.does(Act.REPORT, at=615_000, played_ms=15_000)
    assert session.does(Act.CLOSE).at == 615_000


def test_a_player_that_opens_is_told_where_scaled_to_its_copy(session: Session) -> None:
    def opens(size: int | None) -> Any:
        act = SessionAct(session=session.record, act=Act.OPEN, size=size)
        (result,) = session.desk.edit(act)
        assert not result.written
        return result.offered

    assert opens(None) == Offer(at=600_000, of=HOUR_MS)
    assert opens(HOUR_MS + 1_000) == Offer(at=600_000, of=HOUR_MS)
    assert opens(2 * HOUR_MS + 1) == Offer(at=1_200_000, of=2 * HOUR_MS + 1, approximate=True)
    session.does(Act.REPORT, at=1_215_000, played_ms=15_000)
    row = session.does(Act.CLOSE)
    assert (row.at, row.of) == (1_215_000, 2 * HOUR_MS + 1)


def test_a_player_that_goes_on_from_elsewhere_is_told_where_the_others_are(
    session: Session,
) -> None:
    session.does(Act.CLOSE)
    away = SessionAct(
        session=session.record, act=Act.REPORT, at=90_000, size=HOUR_MS // 2, played_ms=1_000
    )
    (result,) = session.desk.edit(away)
    assert result.stale
    assert result.offered == Offer(at=300_000, of=HOUR_MS // 2, approximate=True)


def test_a_session_is_taken_over_and_the_other_place_can_be_had_back() -> None:
    first, second, line = linked_pair()
    session = Session(first)
    line.deliver()
    there = Session.__new__(Session)
    there.desk, there.record = second, session.record
    row = there.does(Act.TAKE)
    assert row.holder == second.machine.membership.secrets.log("sessions")
    assert row.claim > session.row.claim
    there.does(Act.SEEK, at=1_200_000)
    line.deliver()
    mine = first.machine.membership.secrets.log("sessions")
    assert session.row.at == 1_200_000
    assert session.does(Act.ADOPT, log=mine).at == 600_000


def test_a_player_that_was_taken_over_is_told_by_whom() -> None:
    first, second, line = linked_pair()
    session = Session(first)
    line.deliver()
    second.edit(SessionAct(session=session.record, act=Act.TAKE))
    line.deliver()
    report = SessionAct(session=session.record, act=Act.REPORT, at=610_000, played_ms=10_000)
    (result,) = first.edit(report)
    assert result.overtaken_by == second.machine.membership.secrets.log("sessions")


def test_a_running_player_is_written_down_before_entries_of_others_are_applied() -> None:
    first, second, line = linked_pair()
    session = Session(first)
    line.deliver()
    line.cut()
    first.edit(SessionAct(session=session.record, act=Act.REPORT, at=630_000, played_ms=30_000))
    first.pass_ms(30_000)
    Line(first, second).deliver()
    assert second.disk.session_rows[session.record].at == 630_000


@pytest.mark.parametrize("act", [Act.SEEK, Act.REPORT, Act.ADOPT])
def test_an_act_that_lacks_what_it_needs_says_so(session: Session, act: Act) -> None:
    with pytest.raises(InvalidValue) as caught:
        session.does(act)
    assert caught.value.hint


def test_what_is_said_of_a_session_changes(session: Session) -> None:
    change = ChangeSession(
        session=session.record, title="B", speed=1_500, aliases_on=("https://b.example/",)
    )
    session.desk.edit(change)
    assert (session.row.title, session.row.speed) == ("B", 1_500)
    assert session.row.aliases == ("https://b.example/",)
    session.desk.edit(ChangeSession(session=session.record, aliases_off=("https://b.example/",)))
    assert session.row.aliases == ()


def test_what_is_said_of_a_follow_changes() -> None:
    desk = founder()
    desk.edit(Follow(uri=URI, title="A", tags=("news",), notify="all"))
    row = desk.disk.follow_rows[follow_id(URI)]
    assert (row.tags, row.notify) == (("news",), "all")
    desk.edit(ChangeFollow(uri=URI, notify="none", tags_on=("music",), tags_off=("news",)))
    row = desk.disk.follow_rows[follow_id(URI)]
    assert (row.tags, row.notify) == (("music",), "none")


def test_a_later_edit_of_a_request_sees_the_earlier_ones() -> None:
    desk = founder()
    desk.edit(Follow(uri=URI, title="A"), ChangeFollow(uri=URI, title="B"))
    assert desk.title(URI) == "B"


@pytest.mark.parametrize(
    "edit",
    [
        NameDevice(name="  "),
        Follow(uri="not a uri"),
        Resolve(map="nothing", record=RecordId(bytes(16)), field="x", log=LogId(bytes(16))),
        Resolve(map="follow", record=RecordId(bytes(16)), field="title", log=LogId(bytes(16))),
        ChangeSession(session=RecordId(bytes(16)), title="x"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_hint(edit: Any) -> None:
    with pytest.raises(CallerError):
        founder().edit(edit)
