"""What a device tells when it comes back."""

from __future__ import annotations

from typing import Any

from presenced.ids import DeviceId, LogId, RecordId
from presenced.limits import NESTING_MAX
from presenced.presence.choice import take_value
from presenced.presence.draft import RecordDraft
from presenced.presence.limits import (
    SUMMARY_CHANGES_MAX,
    SUMMARY_CONTESTS_MAX,
    SUMMARY_TEXT_CHARS_MAX,
)
from presenced.presence.rules import resolve
from presenced.presence.summary import Recap, Side, brief, row_from_bytes, row_to_bytes
from presenced.replica.hlc import make_hlc
from presenced.replica.slot import Operation, Slot

OWN, OTHER, THIRD = LogId(b"own"), LogId(b"other"), LogId(b"third")
RECORD = RecordId(bytes(16))
DEVICES = {OWN: DeviceId(b"laptop"), OTHER: DeviceId(b"box")}


def recap() -> Recap:
    return Recap(OWN, DEVICES.get)


def operation(number: int, field: str = "title", value: Any = "x", ms: int = 5) -> Operation:
    record = RecordId(number.to_bytes(16, "big"))
    return Operation("follow", record, field, make_hlc(ms), value, {})


def title_of(_map: str, record: RecordId) -> str:
    return f"record {int.from_bytes(record, 'big')}"


def progress(at: int, **rest: Any) -> dict[str, Any]:
    return {"at": at, "done": False, "of": 0, "was": None, "knows": {}, "acts": [], **rest}


def test_it_tells_what_changed_elsewhere_by_whom_and_when_and_what_changed_here() -> None:
    told = recap()
    told.changed(OTHER, [operation(1, ms=5), operation(2, "notify", "all", ms=9)])
    told.changed(OTHER, [operation(1, value="y", ms=7)])
    told.changed(OWN, [operation(3, ms=1)])
    summary = told.summary(title_of)
    assert [(row.title, row.field, row.value, row.ms) for row in summary.elsewhere] == [
        ("record 2", "notify", "all", 9),
        ("record 1", "title", "y", 7),
    ]
    assert {row.device for row in summary.elsewhere} == {DEVICES[OTHER]}
    assert [(row.side, row.device) for row in summary.here] == [(Side.HERE, DEVICES[OWN])]


def test_where_both_changed_a_field_it_names_the_rule_the_loser_and_the_way_back() -> None:
    slots = {
        "progress": {
            OWN: Slot(2, make_hlc(9), progress(700_000), {}),
            OTHER: Slot(3, make_hlc(5), progress(1_900_000), {}),
        },
        "speed": {OWN: Slot(2, make_hlc(9), 1_500, {})},
    }
    told = recap()
    told.contested("session", RECORD, slots)
    [row] = told.summary(title_of).both
    assert (row.field, row.rule, row.asks, row.device) == ("progress", "furthest", True, b"box")
    assert row.value == {"at": 1_900_000, "done": False, "of": 0}
    [lost] = row.losing
    assert (lost.log, lost.device, lost.ms, lost.value["at"]) == (OWN, b"laptop", 9, 700_000)
    assert lost.restorable

    draft = RecordDraft("session", RECORD, slots, log=OWN, tick=lambda: make_hlc(10))
    take_value(draft, row.field, lost.log)
    after = resolve("session", "progress", draft.field("progress"))
    assert (after.value["at"], after.rule) == (700_000, "single")


def test_a_difference_that_has_ended_is_no_longer_told() -> None:
    slots = {"title": {OWN: Slot(1, make_hlc(1), "a", {}), OTHER: Slot(1, make_hlc(2), "b", {})}}
    told = recap()
    told.contested("follow", RECORD, slots)
    assert len(told.summary(title_of).both) == 1
    slots["title"][OWN] = Slot(2, make_hlc(3), "a", {OTHER: 1})
    told.contested("follow", RECORD, slots, ["title"])
    assert told.summary(title_of).both == ()
    assert told.empty


def test_what_cannot_be_taken_from_here_is_marked() -> None:
    slots = {
        "holder": {
            OTHER: Slot(1, make_hlc(1), [1, "active"], {}),
            THIRD: Slot(1, make_hlc(2), [2, "active"], {}),
        },
        "speed": {OWN: Slot(1, make_hlc(1), 900, {}), OTHER: Slot(1, make_hlc(2), "fast", {})},
    }
    told = recap()
    told.contested("session", RECORD, slots)
    assert [lost.restorable for row in told.summary(title_of).both for lost in row.losing] == [
        False,
        False,
    ]


def test_differences_that_ask_come_first() -> None:
    pair = {OWN: Slot(1, make_hlc(1), "all", {}), OTHER: Slot(1, make_hlc(9), "none", {})}
    titles = {OWN: Slot(1, make_hlc(1), "a", {}), OTHER: Slot(1, make_hlc(2), "b", {})}
    told = recap()
    told.contested("follow", RECORD, {"notify": pair, "title": titles})
    assert [row.field for row in told.summary(title_of).both] == ["title", "notify"]


def test_lists_are_bounded_and_the_rest_is_counted() -> None:
    told = recap()
    many = [operation(number) for number in range(SUMMARY_CHANGES_MAX + 7)]
    told.changed(OTHER, many)
    told.changed(OTHER, [operation(0, value="newer")])
    pair = {OWN: Slot(1, make_hlc(1), "a", {}), OTHER: Slot(1, make_hlc(2), "b", {})}
    for change in many[: SUMMARY_CONTESTS_MAX + 5]:
        told.contested("follow", change.record, {"title": pair})
    summary = told.summary(title_of)
    assert (len(summary.elsewhere), summary.elsewhere_more) == (SUMMARY_CHANGES_MAX, 7)
    assert (len(summary.both), summary.both_more) == (SUMMARY_CONTESTS_MAX, 5)
    assert "newer" in {row.value for row in summary.elsewhere}


def test_values_are_told_in_short() -> None:
    assert brief("session", "progress", progress(5, acts=[[1, "x", 5]] * 16))["at"] == 5
    cut = brief("follow", "title", "é" * (SUMMARY_TEXT_CHARS_MAX + 1))
    assert (len(cut), cut[-1]) == (SUMMARY_TEXT_CHARS_MAX, "…")
    core = {"uri": "u" * 999, "kind": "feed", "title": 4, "x": "left out"}
    assert brief("follow", "core", core) == {
        "kind": "feed",
        "uri": "u" * (SUMMARY_TEXT_CHARS_MAX - 1) + "…",
    }
    assert brief("newer", "thing", ["x" * 999]) is None
    assert brief("newer", "thing", [1, None]) == [1, None]
    assert brief("newer", "thing", b"x" * (SUMMARY_TEXT_CHARS_MAX - 2)) is not None
    assert brief("newer", "thing", b"x" * (SUMMARY_TEXT_CHARS_MAX - 1)) is None


def test_the_deepest_value_that_a_field_may_hold_does_not_keep_a_row_from_the_store() -> None:
    deep: Any = 1
    for _ in range(NESTING_MAX):
        deep = [deep]
    told = recap()
    told.changed(OTHER, [operation(1, value=deep)])
    told.contested(
        "follow",
        RECORD,
        {"mood": {OTHER: Slot(1, make_hlc(1), deep, {}), THIRD: Slot(1, make_hlc(2), deep[0], {})}},
    )
    rows = told.summary(title_of).rows
    assert len(rows) == 2
    assert [row_from_bytes(row_to_bytes(row)) for row in rows] == list(rows)


def test_rows_survive_the_store() -> None:
    told = recap()
    told.changed(OTHER, [operation(1, value=None)])
    pair = {THIRD: Slot(1, make_hlc(1), "a", {}), OTHER: Slot(1, make_hlc(2), "b", {})}
    same = {OWN: Slot(1, make_hlc(1), "all", {}), OTHER: Slot(1, make_hlc(2), "all", {})}
    told.contested("follow", RECORD, {"title": pair, "notify": same})
    rows = told.summary(title_of).rows
    assert len(rows) == 2, "what agrees is no difference"
    assert [row_from_bytes(row_to_bytes(row)) for row in rows] == list(rows)
