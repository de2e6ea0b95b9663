"""Each clause of the rules, on slots written down by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from presenced.ids import LogId
from presenced.presence.fields import CLAIM_MAX, FIELDS, SPEED_MAX, SPEED_MIN, Rule, spec_of
from presenced.presence.progress import INTEGER_MAX, KNOWS_MAX, Unit, is_progress
from presenced.presence.rules import Resolution, resolve
from presenced.replica.hlc import make_hlc
from presenced.replica.slot import Slot

A, B, C, D = (LogId(name) for name in (b"a", b"b", b"c", b"d"))


def slot(ms: int, value: Any, seen: dict[LogId, int] | None = None, seq: int = 1) -> Slot:
    return Slot(seq, make_hlc(ms), value, seen or {})


def progress(at: int, **rest: Any) -> dict[str, Any]:
    return {"at": at, "done": False, "of": 0, "was": None, "knows": {}, "acts": [], **rest}


def shown(slots: dict[LogId, Slot], unit: Unit = Unit.MS) -> Resolution:
    return resolve("session", "progress", slots, unit=unit)


def losing(resolution: Resolution) -> list[LogId]:
    return [lost.log for lost in resolution.losing]


def test_no_slot_is_the_default() -> None:
    resolution = resolve("session", "speed", {})
    assert (resolution.value, resolution.rule, resolution.log) == (1_000, "default", None)


def test_a_covered_slot_does_not_count() -> None:
    resolution = resolve("follow", "title", {A: slot(9, "x"), B: slot(1, "y", {A: 1})})
    assert (resolution.value, resolution.rule, losing(resolution)) == ("y", "single", [])


def test_equal_values_agree_and_one_true_and_one_point_zero_are_three_values() -> None:
    assert resolve("map", "field", {A: slot(1, 1), B: slot(2, 1)}).rule == "agree"
    three = resolve("map", "field", {A: slot(1, 1), B: slot(2, 1.0), C: slot(3, True)})
    assert (three.rule, losing(three)) == ("latest", [B, A])


def test_a_value_equal_to_the_shown_one_does_not_lose() -> None:
    resolution = resolve("follow", "title", {A: slot(1, "x"), B: slot(2, "y"), C: slot(3, "x")})
    assert (resolution.value, losing(resolution), resolution.conflict) == ("x", [B], True)


def test_of_equal_clocks_the_lower_log_is_newer() -> None:
    resolution = resolve("follow", "title", {B: slot(5, "b"), A: slot(5, "a"), C: slot(5, "c")})
    assert (resolution.value, losing(resolution)) == ("a", [B, C])


def test_only_unreadable_values_give_the_default() -> None:
    resolution = resolve("session", "speed", {A: slot(1, "fast"), B: slot(2, True)})
    assert (resolution.value, resolution.rule, losing(resolution)) == (1_000, "unreadable", [B, A])
    assert not resolution.conflict


def test_an_unreadable_value_covers_what_it_has_seen_and_does_not_ask() -> None:
    resolution = resolve("follow", "title", {A: slot(1, "x"), B: slot(2, 7, {A: 1})})
    assert (resolution.value, resolution.rule) == (None, "unreadable")
    beside = resolve("follow", "title", {A: slot(1, "x"), B: slot(2, 7)})
    assert (beside.value, beside.rule, beside.conflict) == ("x", "single", False)


def test_first_fills_keys_that_the_first_lacks_and_names_who_says_otherwise() -> None:
    resolution = resolve(
        "follow",
        "core",
        {A: slot(3, {"t": "A", "u": 1}), B: slot(1, {"u": 1}), C: slot(2, {"t": "C"})},
    )
    assert (resolution.value, resolution.log) == ({"u": 1, "t": "C"}, B)
    assert (resolution.rule, losing(resolution)) == ("first", [A])
    agreed = resolve("follow", "core", {A: slot(2, {"t": "A"}), B: slot(1, {"u": 1})})
    assert (agreed.rule, agreed.value) == ("agree", {"u": 1, "t": "A"})


@pytest.mark.parametrize(
    ("field", "visible", "gone", "rule", "asks"),
    [
        ("follow.state", "followed", "unfollowed", "follow-wins", True),
        ("session.state", "open", "ended", "open-wins", True),
        ("follow.tag/x", "x", None, "tag-wins", False),
        ("session.alias/x", "urn:x:1", None, "tag-wins", False),
    ],
)
def test_what_stays_visible_wins_over_what_goes(
    field: str, visible: Any, gone: Any, rule: str, asks: bool
) -> None:
    map_name, name = field.split(".")
    resolution = resolve(
        map_name, name, {A: slot(1, visible), B: slot(9, gone), C: slot(2, visible)}
    )
    assert (resolution.value, resolution.log, resolution.rule) == (visible, C, rule)
    assert (losing(resolution), resolution.conflict) == ([B], asks)


def test_equal_claims_never_agree_and_a_free_loser_does_not_ask() -> None:
    both = resolve("session", "holder", {B: slot(1, [2, "active"]), A: slot(2, [2, "active"])})
    assert (both.log, both.rule, losing(both), both.conflict) == (A, "claim", [B], True)
    freed = resolve("session", "holder", {A: slot(9, [1, "free"]), B: slot(2, [2, "paused"])})
    assert (freed.log, losing(freed), freed.conflict) == (B, [A], False)


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("session.holder", [[1, "free"], [CLAIM_MAX, "active"]],
         [None, [0, "free"], [CLAIM_MAX + 1, "free"], [True, "free"],
          [1, "busy"], [1], [1.0, "free"]]),
        ("session.speed", [SPEED_MIN, SPEED_MAX],
         [SPEED_MIN - 1, SPEED_MAX + 1, True, 1000.0, "1"]),
        ("session.state", ["open", "ended"], ["finished", None, 1]),
        ("follow.state", ["followed", "unfollowed"], ["muted", None]),
        ("follow.notify", ["default", "all", "none"], ["some", None, ["all"]]),
        ("follow.title", ["", "x", None], [1, ["x"]]),
        ("follow.tag/x", ["x", None], [1, {}]),
        ("follow.core", [{}, {"a": 1}], [[], None, "x"]),
        ("follow.newer", [1, None, {}], []),
        ("device.name", ["x", 1], []),
    ],
)  # fmt: skip
def test_shapes_are_exact(field: str, good: list[Any], bad: list[Any]) -> None:
    map_name, name = field.split(".")
    readable = spec_of(map_name, name).readable
    assert all(readable(value, Unit.MS) for value in good)
    assert not any(readable(value, Unit.MS) for value in bad)


def test_progress_shape_is_exact() -> None:
    def fine(unit: Unit = Unit.MS, **change: Any) -> bool:
        return is_progress({**progress(1), **change}, unit)

    assert fine()
    assert fine(extra="kept out", at=INTEGER_MAX, of=INTEGER_MAX)
    assert fine(knows={"x": KNOWS_MAX, "y": 0}, acts=["anything"], was=[1, True, 2])
    assert fine(Unit.PPM, at=1_000_000)
    assert not fine(Unit.PPM, at=1_000_001)
    assert not fine(Unit.PPM, was=[1_000_001, False, 0])
    for change in (
        {"at": -1}, {"at": 1.0}, {"at": True}, {"at": INTEGER_MAX + 1}, {"done": 0}, {"of": -1},
        {"of": None}, {"was": [1, False]}, {"was": [1, 0, 0]}, {"was": 0}, {"knows": []},
        {"knows": {"x": -1}}, {"knows": {"x": KNOWS_MAX + 1}}, {"knows": {"x": True}}, {"acts": {}},
    ):  # fmt: skip
        assert not fine(**change), change
    for key in progress(1):
        value = progress(1)
        del value[key]
        assert not is_progress(value, Unit.MS), key


def test_a_branch_that_lacks_a_decision_gives_way_however_far_and_new_it_is() -> None:
    resolution = shown({A: slot(1, progress(5, knows={"b": 1})), B: slot(9, progress(90_000))})
    assert (resolution.log, resolution.rule, resolution.conflict) == (A, "decided", True)


def test_giving_way_is_judged_against_every_live_branch() -> None:
    """B gives way to C, and A to B although B is out of the running itself."""
    resolution = shown(
        {
            A: slot(9, progress(50_000, knows={"x": 1})),
            B: slot(8, progress(40_000, knows={"x": 2})),
            C: slot(1, progress(9_000, knows={"x": 2, "y": 1})),
        }
    )
    assert (resolution.log, resolution.rule, losing(resolution)) == (C, "decided", [A, B])


def test_of_decisions_made_apart_the_branch_written_last_stays_with_its_furthest() -> None:
    resolution = shown(
        {
            A: slot(5, progress(9_000, knows={"a": 1})),
            B: slot(9, progress(2_000, knows={"b": 1})),
            C: slot(3, progress(7_000, knows={"b": 1})),
        }
    )
    assert (resolution.log, resolution.rule, losing(resolution)) == (C, "latest", [B, A])
    assert resolution.conflict


def test_the_same_decisions_go_to_done_then_furthest_then_newest() -> None:
    done = shown({A: slot(1, progress(1, done=True)), B: slot(2, progress(90_000))})
    assert (done.log, done.rule, done.conflict) == (A, "furthest", True)
    far = shown({A: slot(9, progress(90_000)), B: slot(2, progress(1))})
    assert (far.log, far.conflict) == (A, False)
    equal = shown({A: slot(1, progress(5)), B: slot(2, progress(5))})
    assert (equal.log, equal.rule) == (B, "agree")


def test_a_second_apart_is_the_same_place_and_more_is_not() -> None:
    assert shown({A: slot(1, progress(1_000)), B: slot(2, progress(2_000))}).rule == "agree"
    assert shown({A: slot(1, progress(1_000)), B: slot(2, progress(2_001))}).rule == "furthest"


def test_the_same_place_but_finished_on_one_side_loses() -> None:
    resolution = shown({A: slot(3, progress(5, done=True)), B: slot(2, progress(5))})
    assert (resolution.log, losing(resolution), resolution.conflict) == (A, [B], False)


def test_copies_of_different_length_are_compared_by_their_parts() -> None:
    far, near = progress(1_900_000, of=3_600_000), progress(3_700_000, of=7_200_000)
    resolution = shown({A: slot(2, far), B: slot(1, near)})
    assert (resolution.log, losing(resolution), resolution.conflict) == (A, [B], False)
    close = progress(1_800_000, of=3_601_001)
    assert shown({A: slot(1, close), B: slot(2, progress(1_830_000, of=3_600_000))}).rule == "agree"


def test_a_second_of_difference_in_length_or_one_unknown_length_compares_plain_places() -> None:
    one, other = progress(1_000, of=3_600_000), progress(5_000, of=3_601_000)
    assert shown({A: slot(1, one), B: slot(2, other)}).rule == "furthest"
    unknown = progress(5_000, of=0)
    long = progress(1_000, of=9_999_999_999)
    assert shown({A: slot(1, unknown), B: slot(2, long)}).log == A


def test_reading_tolerates_one_page_of_the_copy_with_fewest_pages() -> None:
    def of_two(apart: int, pages_a: int, pages_b: int) -> str:
        one, other = progress(1_000, of=pages_a), progress(1_000 + apart, of=pages_b)
        return shown({A: slot(1, one), B: slot(2, other)}, Unit.PPM).rule

    assert of_two(3_334, 300, 1_000) == "agree"
    assert of_two(3_335, 300, 1_000) == "furthest"
    assert of_two(2_000, 0, 0) == "agree"
    assert of_two(2_001, 0, 0) == "furthest"


def test_more_decisions_known_but_behind_asks_and_ahead_and_newer_does_not() -> None:
    knowing = {"b": 1}
    behind = shown({A: slot(9, progress(5, knows=knowing)), B: slot(1, progress(90_000))})
    assert behind.conflict
    ahead = shown({A: slot(9, progress(90_000, knows=knowing)), B: slot(1, progress(5))})
    assert (ahead.rule, ahead.conflict) == ("decided", False)
    older = shown({A: slot(1, progress(90_000, knows=knowing)), B: slot(9, progress(5))})
    assert older.conflict


def test_spec_page_and_table_name_the_same_fields_and_rules() -> None:
    page = (Path(__file__).parents[3] / "docs" / "spec" / "rules.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z.]+(?:/…)?)` \|.*\| `([a-z-]+)` \|", page, re.MULTILINE))
    table = {name: spec.rule.value for name, spec in FIELDS.items()}
    table |= {"follow.tag/…": Rule.TAG_WINS.value, "session.alias/…": Rule.TAG_WINS.value}
    assert rows == table
