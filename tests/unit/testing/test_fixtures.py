"""The command that runs fixture files, and how exactly it compares."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from presenced.limits import NAME_BYTES_MAX, VALUE_BYTES_MAX
from presenced.testing import fixtures
from presenced.testing.record_fixtures import same

TIME = "2027-01-10T10:00:00Z"
DRAWING = {"name": "drawing", "draw": ["a: root genesis A"], "expect": {"active": ["A"]}}
DEFAULT = {"value": 1000, "rule": "default", "conflict": False, "losing": []}


def story(*acts: dict[str, Any], **expect: Any) -> dict[str, Any]:
    told = [{"time": TIME, "synced": {}, **act} for act in acts]
    return {"name": "story", "unit": "ms", "devices": {"x": {"acts": told}}, "expect": expect}


STORY = story({"do": "open"}, **{"session.speed": DEFAULT})


def run_files(*contents: bytes | Any, tmp_path: Path) -> tuple[int, list[str], str]:
    names = []
    for number, content in enumerate(contents):
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        names.append(str(tmp_path / f"{number}.json"))
        Path(names[-1]).write_bytes(raw)
    out, err = io.StringIO(), io.StringIO()
    code = fixtures.main(names, out, err)
    return code, out.getvalue().splitlines(), err.getvalue()


def test_one_file_may_hold_both_kinds_under_either_key(tmp_path: Path) -> None:
    code, lines, err = run_files({"cases": [STORY], "fixtures": [DRAWING]}, tmp_path=tmp_path)
    assert (code, lines) == (0, ["ok story", "ok drawing"])
    assert "2 fixtures, 0 failed" in err


def test_a_file_that_cannot_be_read_fails_the_run_and_the_others_are_run(tmp_path: Path) -> None:
    code, lines, err = run_files(
        b'{"cases": ', {"fixtures": []}, {"cases": [DRAWING]}, tmp_path=tmp_path
    )
    assert (code, lines) == (2, ["ok drawing"])
    assert "0.json: " in err
    assert "1.json: no fixtures" in err


def test_json_nested_beyond_reading_is_told_and_does_not_end_the_run(tmp_path: Path) -> None:
    deep = b'{"cases": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    code, lines, err = run_files(deep, {"cases": [DRAWING]}, tmp_path=tmp_path)
    assert (code, lines) == (2, ["ok drawing"])
    assert "0.json: " in err


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + json.dumps({"cases": [DRAWING]}).encode()
    assert run_files(content, tmp_path=tmp_path)[:2] == (0, ["ok drawing"])


def test_a_dash_reads_standard_input() -> None:
    out, err = io.StringIO(), io.StringIO()
    given = json.dumps({"cases": [DRAWING]}).encode()
    assert fixtures.main(["-"], out, err, lambda: given) == 0
    assert out.getvalue() == "ok drawing\n"


def test_a_fixture_takes_one_printable_line_whatever_its_name(tmp_path: Path) -> None:
    odd = {**DRAWING, "name": "two\nlines \ud800 \x1b[2J"}
    wrong = {**odd, "expect": {"active": ["a\nb"]}}
    code, lines, _ = run_files({"cases": [odd, wrong]}, tmp_path=tmp_path)
    assert code == 1
    assert lines[0] == "ok two\\nlines \\ud800 \\x1b[2J"
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("fixture", "why"),
    [
        (story({"do": "juggle"}, **{"session.speed": DEFAULT}), "unknown act 'juggle'"),
        (story({"do": "play"}, **{"session.speed": DEFAULT}), "'at'"),
        (story({"do": "set", "field": "speed", "value": 1}, x={}), "not a field of a map: 'speed'"),
        (story({"do": "open"}), "expects nothing"),
        (story({"do": "open"}, **{"session.speed": {**DEFAULT, "mood": 1}}), "'mood'"),
        (story({"do": "open", "synced": {"y": 1}}, **{"session.speed": DEFAULT}), "'y'"),
        ({**STORY, "unit": "furlongs"}, "furlongs"),
        ({"name": "neither"}, "neither a drawing"),
        ("text", "neither a drawing"),
    ],
)
def test_what_cannot_be_played_or_asserts_nothing_fails_and_says_why(
    fixture: Any, why: str, tmp_path: Path
) -> None:
    code, lines, _ = run_files({"fixtures": [fixture, STORY]}, tmp_path=tmp_path)
    assert code == 1
    assert lines[0].startswith("FAIL ")
    assert why in lines[0]
    assert lines[1] == "ok story"


@pytest.mark.parametrize(
    ("field", "value", "is_kept"),
    [
        ("follow.long", "x" * (VALUE_BYTES_MAX - 3), True),
        ("follow.long", "x" * (VALUE_BYTES_MAX - 2), False),
        ("follow." + "f" * NAME_BYTES_MAX, 1, True),
        ("follow." + "f" * (NAME_BYTES_MAX + 1), 1, False),
        ("follow.number", 2**8000, True),
        ("follow.number", 2**9000, False),
        ("follow.number", float("inf"), False),
        ("follow.number", float("nan"), False),
        ("follow.text", "\udfff", False),
        ("follow.keys", {"\ud83d": 1}, False),
    ],
)
def test_an_act_leaves_a_value_that_a_document_can_hold_and_nothing_of_another(
    field: str, value: Any, is_kept: bool
) -> None:
    kept = {"value": value, "rule": "single", "conflict": False, "losing": []}
    default = {"value": None, "rule": "default", "conflict": False, "losing": []}
    act = {"do": "set", "field": field, "value": value}
    assert fixtures.run(story(act, **{field: kept if is_kept else default})) == []


def test_a_refused_act_leaves_its_sitting_where_it_was() -> None:
    acts = (
        {"do": "play", "at": 60_000},
        {"do": "set", "field": "session.progress", "value": float("nan")},
        {"do": "play", "at": 70_000},
    )
    progress = {"at": 70_000, "done": False, "rule": "single", "conflict": False, "losing": []}
    assert fixtures.run(story(*acts, **{"session.progress": progress})) == []


def test_what_a_story_does_not_expect_is_not_asserted() -> None:
    assert fixtures.run(story({"do": "open"}, **{"session.speed": {"rule": "default"}})) == []


def test_values_are_the_same_if_their_canonical_bytes_are() -> None:
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    assert same(deep, deep)
    assert same({"a": 1, "b": [2.5]}, {"b": [2.5], "a": 1})
    for one, other in ((1, 1.0), (1, True), (0.0, -0.0), ("é", "e\u0301"), ([], {}), ([1], [])):
        assert same(one, one)
        assert not same(one, other)
        assert not same({"k": [one]}, {"k": [other]})
