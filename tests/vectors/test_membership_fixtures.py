"""The public membership fixtures, each in many delivery orders, and the command that runs files."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from presenced.testing import fixtures, membership_fixtures

SHARED = Path(os.environ.get("PRESENCED_SHARED", Path(__file__).resolve().parents[3] / "shared"))
FILE = SHARED / "vectors" / "membership" / "fixtures.json"


def cases() -> list[Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))["cases"] if FILE.exists() else []


def test_the_public_fixtures_are_here() -> None:
    if not FILE.exists():
        pytest.skip("no shared vectors beside this repository")
    assert len(cases()) >= 39


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in cases()])
def test_fixture(case: dict[str, Any]) -> None:
    assert membership_fixtures.run(case) == []


CASE = {
    "name": "one device",
    "draw": ["a: root genesis A"],
    "expect": {"active": ["A"], "void": {}},
}


def run_file(tmp_path: Path, content: object) -> tuple[int, str, str]:
    file = tmp_path / "fixtures.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    out, err = io.StringIO(), io.StringIO()
    return fixtures.main([str(file)], out, err), out.getvalue(), err.getvalue()


def test_the_command_prints_a_line_for_each_and_fails_if_one_fails(tmp_path: Path) -> None:
    wrong = {**CASE, "name": "wrong", "expect": {"active": ["B"]}}
    unknown = {**CASE, "name": "unknown", "expect": {"no such key": 1}}
    broken = {"name": "broken", "draw": ["nonsense"], "expect": {}}
    code, out, err = run_file(tmp_path, {"cases": [CASE, wrong, unknown, broken]})
    assert code == 1
    first, second, third, fourth = out.splitlines()
    assert first == "ok one device"
    assert second == "FAIL wrong: active: expected ['B'], got ['A']"
    assert third.startswith("FAIL unknown: no such key")
    assert fourth.startswith("FAIL broken: cannot be run: ValueError")
    assert "4 fixtures, 3 failed" in err
    assert run_file(tmp_path, {"cases": [CASE]})[0] == 0


@pytest.mark.parametrize("content", ["{", "[]", {"neither": []}, {"cases": 5}])
def test_a_file_that_is_no_fixture_file_is_told_so(tmp_path: Path, content: object) -> None:
    code, out, err = run_file(tmp_path, content)
    assert (code, out) == (2, "")
    assert err


def test_the_command_takes_one_file() -> None:
    err = io.StringIO()
    assert fixtures.main([], io.StringIO(), err) == 2
    assert "usage" in err.getvalue()
