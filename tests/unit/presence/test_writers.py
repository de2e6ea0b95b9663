"""What writers record, act by act, on one device at a time."""

from __future__ import annotations

from typing import Any

import pytest

from presenced.errors import CallerError, InvalidValue, NotFound
from presenced.ids import LogId, RecordId, show_id
from presenced.presence import decisions, holder, player
from presenced.presence.choice import NotRestorable, take_value
from presenced.presence.draft import RecordDraft, TooManyFields
from presenced.presence.history import history
from presenced.presence.limits import (
    ACTS_MAX,
    KNOWS_LOGS_MAX,
    LABELLED_FIELDS_MAX,
    OTHER_FIELDS_MAX,
)
from presenced.presence.progress import Unit
from presenced.presence.sitting import FIRST_WRITE_PLAYED_MS, Sitting, begun_here, checkpoint
from presenced.replica.hlc import HybridClock, hlc_ms, make_hlc
from presenced.replica.slot import Slot

OWN, OTHER, THIRD = LogId(b"own"), LogId(b"other"), LogId(b"third")
RECORD = RecordId(bytes(16))


class Desk:
    """One device at one record: drafts are applied as the overlay would."""

    def __init__(self, unit: Unit = Unit.MS) -> None:
        self.unit = unit
        self.slots: dict[str, dict[LogId, Slot]] = {}
        self.clock = HybridClock()
        self.now_ms = 1_000_000
        self.ticks: list[int] = []

    def draft(self, map_name: str = "session") -> RecordDraft:
        def tick() -> Any:
            hlc = self.clock.tick(self.now_ms)
            self.ticks.append(hlc)
            return hlc

        return RecordDraft(
            map_name, RECORD, self.slots, log=OWN, tick=tick, unit=self.unit,
            log_name=lambda log: log.decode(),
        )  # fmt: skip

    def keep(self, draft: RecordDraft) -> list[str]:
        for op in draft.operations:
            old = self.slots.get(op.field, {}).get(OWN)
            seq = 1 if old is None else old.seq + 1
            self.slots.setdefault(op.field, {})[OWN] = Slot(seq, op.hlc, op.value, op.seen)
        return [op.field for op in draft.operations]

    def arrive(
        self, field: str, value: Any, *, log: LogId = OTHER, seq: int = 1, **seen: int
    ) -> None:
        told = {LogId(name.encode()): count for name, count in seen.items()}
        self.slots.setdefault(field, {})[log] = Slot(seq, make_hlc(self.now_ms + seq), value, told)

    def progress(self) -> dict[str, Any]:
        value: dict[str, Any] = self.slots["progress"][OWN].value
        return value

    def report(self, sitting: Sitting, at: int, **told: Any) -> player.ReportOutcome:
        draft = self.draft()
        mono_ms = told.pop("mono_ms", self.now_ms)
        outcome = player.report(draft, sitting, player.Report(at=at, **told), mono_ms=mono_ms)
        self.keep(draft)
        return outcome


def progress(at: int, **rest: Any) -> dict[str, Any]:
    return {"at": at, "done": False, "of": 0, "was": None, "knows": {}, "acts": [], **rest}


def test_opening_writes_nothing_and_takes_no_tick() -> None:
    desk = Desk()
    desk.arrive("progress", progress(900_000))
    draft = desk.draft()
    begun_here(draft)
    assert draft.operations == []
    assert desk.ticks == []


def test_a_glance_of_less_than_ten_seconds_writes_nothing_even_when_it_stops() -> None:
    desk, sitting = Desk(), Sitting()
    desk.report(sitting, 9_000, played_ms=FIRST_WRITE_PLAYED_MS - 1)
    draft = desk.draft()
    checkpoint(sitting, draft)
    assert draft.operations == []
    desk.report(sitting, 9_001, played_ms=1)
    assert desk.progress()["at"] == 9_001


def test_a_running_sitting_writes_every_five_minutes_and_what_is_left_at_a_checkpoint() -> None:
    desk, sitting = Desk(), Sitting()
    desk.report(sitting, 10_000, played_ms=10_000, mono_ms=0)
    desk.report(sitting, 300_000, played_ms=290_000, mono_ms=player.WRITE_EVERY_MS - 1)
    assert desk.progress()["at"] == 10_000
    desk.report(sitting, 300_500, played_ms=500, mono_ms=player.WRITE_EVERY_MS)
    assert desk.progress()["at"] == 300_500
    desk.report(sitting, 310_000, played_ms=9_500, mono_ms=player.WRITE_EVERY_MS + 9_500)
    assert desk.progress()["at"] == 300_500
    draft = desk.draft()
    checkpoint(sitting, draft)
    desk.keep(draft)
    assert desk.progress()["at"] == 310_000
    assert [row[1] for row in desk.progress()["acts"]] == ["continue"]


def test_a_place_not_written_yet_is_written_before_a_decision_replaces_it() -> None:
    desk, sitting = Desk(), Sitting()
    desk.report(sitting, 10_000, played_ms=10_000)
    desk.report(sitting, 60_000, played_ms=50_000)
    draft = desk.draft()
    decisions.restart(draft, sitting=sitting)
    assert desk.keep(draft) == ["progress", "state"]
    assert desk.progress()["was"] == [60_000, False, 0]
    assert [row[1:] for row in desk.progress()["acts"]] == [["continue", 60_000], ["restart", 0]]


def test_holder_progress_and_state_tick_in_this_order() -> None:
    desk = Desk()
    desk.arrive("progress", progress(5_000))
    draft = desk.draft()
    decisions.take(draft)
    assert [op.field for op in draft.operations] == ["holder", "progress", "state"]
    hlcs = [op.hlc for op in draft.operations]
    assert hlcs == sorted(set(hlcs))
    assert desk.ticks == hlcs


def test_taking_over_the_own_undisputed_place_adopts_nothing() -> None:
    desk, sitting = Desk(), Sitting()
    desk.report(sitting, 10_000, played_ms=10_000)
    draft = desk.draft()
    decisions.take(draft, sitting=sitting)
    assert desk.keep(draft) == ["holder", "state"]


def test_taking_over_claims_one_more_than_any_number_known_even_covered_ones() -> None:
    desk = Desk()
    desk.arrive("holder", [7, "free"])
    desk.arrive("holder", [3, "active"], log=THIRD, other=1)
    draft = desk.draft()
    decisions.take(draft)
    desk.keep(draft)
    assert desk.slots["holder"][OWN].value == [8, "active"]


def test_a_device_whose_claim_lost_records_nothing_from_its_player_and_says_who_has_it() -> None:
    desk = Desk()
    draft = desk.draft()
    sitting = decisions.take(draft)
    desk.keep(draft)
    desk.report(sitting, 50_000, played_ms=50_000)
    desk.arrive("holder", [2, "active"], own=1)
    outcome = desk.report(sitting, 90_000, played_ms=40_000, mono_ms=9**9)
    assert outcome.overtaken_by == OTHER
    assert desk.progress()["at"] == 50_000
    for phase in ("paused", "active", "free"):
        draft = desk.draft()
        holder.set_phase(draft, phase)
        assert draft.operations == [], "a stale stop must not cover the claim that won"


def test_a_playing_device_claims_anew_when_the_claim_that_won_is_free() -> None:
    desk = Desk()
    draft = desk.draft()
    sitting = decisions.take(draft)
    desk.keep(draft)
    desk.arrive("holder", [2, "free"], own=1)
    assert desk.report(sitting, 50_000, played_ms=50_000, stopped=True).overtaken_by == OTHER
    assert desk.report(sitting, 50_000, played_ms=50_000).overtaken_by is None
    assert desk.slots["holder"][OWN].value == [3, "active"]
    assert desk.progress()["at"] == 50_000


def test_a_stopped_report_behind_is_no_rewind_and_no_first_report() -> None:
    desk, sitting = Desk(), Sitting()
    desk.arrive("progress", progress(900_000))
    desk.report(sitting, 0, played_ms=20_000, stopped=True)
    assert not sitting.begun
    desk.report(sitting, 900_500, played_ms=10_000)
    assert not sitting.stale
    desk.report(sitting, 0, played_ms=0, stopped=True)
    assert desk.progress()["at"] == 900_500


@pytest.mark.parametrize(
    ("at", "stale"),
    [(898_999, True), (899_000, False), (940_000, False), (940_001, True)],
)
def test_a_first_report_near_the_offered_place_began_there(at: int, stale: bool) -> None:
    desk, sitting = Desk(), Sitting()
    desk.arrive("progress", progress(900_000))
    outcome = desk.report(sitting, at, played_ms=10_000)
    assert sitting.stale is stale
    assert outcome.stale is stale
    assert (outcome.offered is not None) is stale


@pytest.mark.parametrize(("at", "stale"), [(296_665, True), (296_666, False), (306_668, False)])
def test_a_reader_begins_from_one_page_behind_to_two_ahead(at: int, stale: bool) -> None:
    desk, sitting = Desk(Unit.PPM), Sitting()
    desk.arrive("progress", progress(300_000, of=300))
    desk.report(sitting, at, of=300, played_ms=10_000)
    assert sitting.stale is stale


def test_a_player_near_a_finished_place_did_not_begin_there() -> None:
    desk, sitting = Desk(), Sitting()
    desk.arrive("progress", progress(900_000, done=True))
    desk.report(sitting, 901_000, played_ms=10_000)
    assert sitting.stale
    assert desk.progress()["done"] is False
    assert desk.slots["progress"][OWN].seen == {}


def test_falling_thirty_seconds_back_is_nothing_and_more_is_a_rewind() -> None:
    desk, sitting = Desk(), Sitting()
    desk.report(sitting, 100_000, played_ms=100_000)
    desk.report(sitting, 70_000, played_ms=1)
    assert desk.progress()["at"] == 100_000
    desk.report(sitting, 69_999, played_ms=1)
    assert (desk.progress()["at"], desk.progress()["knows"]) == (69_999, {"own": 1})


def test_a_position_by_hand_within_the_tolerance_behind_writes_nothing() -> None:
    desk = Desk()
    desk.arrive("progress", progress(100_000))
    for at, acts in ((99_000, []), (100_000, []), (98_999, ["rewind"]), (100_001, ["continue"])):
        draft = desk.draft()
        decisions.seek(draft, at)
        rows = [op.value["acts"][-1][1] for op in draft.operations if op.field == "progress"]
        assert rows == acts
        assert ("state" in [op.field for op in draft.operations]) is bool(acts)


def test_a_position_by_hand_in_what_is_finished_is_a_rewind() -> None:
    desk = Desk()
    desk.arrive("progress", progress(100_000, done=True))
    draft = desk.draft()
    decisions.seek(draft, 200_000)
    desk.keep(draft)
    assert (desk.progress()["done"], desk.progress()["knows"]) == (False, {"own": 1})


def test_undo_without_anything_to_undo_writes_nothing() -> None:
    desk = Desk()
    draft = desk.draft()
    assert decisions.undo(draft) is False
    assert draft.operations == []


def test_the_seventeenth_act_drops_the_oldest() -> None:
    desk = Desk()
    for at in range(ACTS_MAX + 1):
        desk.now_ms += 1
        draft = desk.draft()
        decisions.rewind(draft, at)
        desk.keep(draft)
    assert [row[2] for row in desk.progress()["acts"]] == list(range(1, ACTS_MAX + 1))


def test_continues_of_a_sitting_share_a_row_until_a_person_acts() -> None:
    desk, sitting = Desk(), Sitting()
    for step in range(1, 4):
        desk.report(sitting, step * 10_000, played_ms=10_000, mono_ms=step * 10**6)
    draft = desk.draft()
    decisions.seek(draft, 50_000, sitting=sitting)
    desk.keep(draft)
    for step in range(6, 8):
        desk.report(sitting, step * 10_000, played_ms=10_000, mono_ms=step * 10**6)
    assert [row[2] for row in desk.progress()["acts"]] == [30_000, 50_000, 70_000]


def test_adopting_what_is_not_there_is_refused_and_keeps_the_sitting_whole() -> None:
    desk, sitting = Desk(), Sitting()
    desk.report(sitting, 10_000, played_ms=10_000)
    desk.report(sitting, 20_000, played_ms=10_000)
    desk.arrive("progress", progress(7, acts=[["no", "act", -1]]))
    for source, act in ((THIRD, None), (OTHER, 0), (OTHER, 1), (OTHER, -1)):
        with pytest.raises(NotFound):
            decisions.adopt(desk.draft(), source, act=act, sitting=sitting)
    assert sitting.pending is not None


@pytest.mark.parametrize(("at", "of"), [(-1, None), (2**53, None), (0, -1), (0, 2**53)])
def test_places_that_a_value_cannot_hold_are_refused(at: int, of: int | None) -> None:
    for act in (decisions.seek, decisions.rewind):
        with pytest.raises(InvalidValue):
            act(Desk().draft(), at, of=of)
    with pytest.raises(InvalidValue):
        Desk().report(Sitting(), at, of=of)
    with pytest.raises(InvalidValue):
        Desk().report(Sitting(), 0, played_ms=-1)
    with pytest.raises(InvalidValue):
        decisions.rewind(Desk(Unit.PPM).draft(), 1_000_001)


def test_knows_is_keyed_by_the_text_of_the_log_id() -> None:
    log = LogId(bytes(range(16)))
    draft = RecordDraft("session", RECORD, {}, log=log, tick=lambda: make_hlc(1))
    decisions.restart(draft)
    assert draft.operations[0].value["knows"] == {show_id(log): 1}


def test_what_faulty_devices_claim_to_know_cannot_outgrow_a_value() -> None:
    desk = Desk()
    desk.arrive("progress", progress(1, knows={f"a{n}": 1 for n in range(400)}))
    desk.arrive(
        "progress", progress(1, knows={f"b{n}": 1 for n in range(400)} | {"third": 7}), log=THIRD
    )
    for _ in range(2):
        draft = desk.draft()
        decisions.restart(draft)
        desk.keep(draft)
    knows = desk.progress()["knows"]
    assert (knows["own"], knows["third"], len(knows)) == (2, 7, KNOWS_LOGS_MAX)


def test_history_lists_readable_rows_newest_first_and_any_row_can_be_adopted() -> None:
    desk = Desk()
    rows = [[5, "continue", 10], ["x"], [9, "finish", 30, "more"], [7, "rewind", 2**60]]
    desk.arrive("progress", progress(1, of=40, acts=rows), own=9)
    desk.arrive("progress", {"place": 1}, log=THIRD)
    found = history(desk.slots["progress"], unit=Unit.MS)
    assert [(row.index, row.kind, row.at, row.done) for row in found] == [
        (2, "finish", 30, True),
        (0, "continue", 10, False),
    ]
    draft = desk.draft()
    decisions.adopt(draft, found[0].log, act=found[0].index)
    value = draft.operations[0].value
    assert (value["at"], value["done"], value["of"]) == (30, True, 40)


def test_seen_never_shrinks_and_a_persons_act_covers_all_that_is_applied() -> None:
    desk = Desk()
    desk.arrive("title", "theirs", seq=4)
    draft = desk.draft("follow")
    draft.write("title", "mine")
    draft.write("title", "mine again", covering={THIRD: 2})
    assert draft.operations[0].seen == {OTHER: 4, THIRD: 2}


def test_several_writes_to_a_field_leave_the_last_in_the_order_of_their_clocks() -> None:
    desk = Desk()
    draft = desk.draft("follow")
    draft.write("title", "a")
    draft.write("notify", "all")
    draft.write("title", "b")
    assert [(op.field, op.value) for op in draft.operations] == [("notify", "all"), ("title", "b")]
    assert [hlc_ms(op.hlc) for op in draft.operations] == [desk.now_ms, desk.now_ms]


def test_a_record_has_room_for_so_many_labels_and_so_many_unknown_fields() -> None:
    desk = Desk()
    for number in range(LABELLED_FIELDS_MAX):
        desk.arrive(f"tag/{number}", "x")
    with pytest.raises(TooManyFields):
        desk.draft("follow").write("tag/new", "x")
    desk.draft("follow").write("tag/0", None)
    for number in range(OTHER_FIELDS_MAX):
        desk.arrive(f"newer-{number}", 1)
    with pytest.raises(TooManyFields):
        desk.draft("follow").write("newer", 1)
    desk.draft("follow").write("state", "followed")


def test_resolve_writes_the_losing_value_over_everything_applied() -> None:
    desk = Desk()
    desk.arrive("state", "unfollowed", seq=3)
    desk.arrive("state", "followed", log=THIRD)
    draft = desk.draft("follow")
    take_value(draft, "state", OTHER)
    [operation] = draft.operations
    assert (operation.value, operation.seen) == ("unfollowed", {OTHER: 3, THIRD: 1})
    with pytest.raises(NotFound):
        take_value(desk.draft("follow"), "state", LogId(b"nobody"))


def test_resolve_of_core_keeps_what_the_losing_one_does_not_say() -> None:
    desk = Desk()
    desk.arrive("core", {"uri": "a:b", "kind": "feed"})
    desk.arrive("core", {"uri": "A:b", "title": "T"}, log=THIRD, seq=2)
    draft = desk.draft("follow")
    take_value(draft, "core", THIRD)
    assert draft.operations[0].value == {"kind": "feed", "title": "T", "uri": "A:b"}


def test_resolve_cannot_take_another_devices_claim_or_an_unreadable_value() -> None:
    desk = Desk()
    desk.arrive("holder", [2, "active"])
    desk.arrive("speed", "fast")
    for field in ("holder", "speed"):
        with pytest.raises(NotRestorable) as refused:
            take_value(desk.draft(), field, OTHER)
        assert isinstance(refused.value, CallerError)
        assert refused.value.hint


def test_resolve_of_the_own_lost_claim_claims_anew() -> None:
    desk = Desk()
    draft = desk.draft()
    decisions.take(draft)
    desk.keep(draft)
    desk.arrive("holder", [4, "active"])
    draft = desk.draft()
    take_value(draft, "holder", OWN)
    assert draft.operations[0].value == [5, "active"]


def test_finishing_does_not_open_what_was_ended() -> None:
    desk = Desk()
    desk.arrive("state", "ended")
    draft = desk.draft()
    decisions.finish(draft)
    assert [op.field for op in draft.operations] == ["progress"]
