"""The record stories: writers leave exactly the slots told, rules make of them what is told."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest

from presenced.testing.record_fixtures import run

SHARED = Path(os.environ.get("PRESENCED_SHARED", Path(__file__).parents[2].parent / "shared"))
FILE = SHARED / "vectors" / "records" / "fixtures.json"
STORIES: list[Any] = json.loads(FILE.read_text())["fixtures"] if FILE.exists() else []

pytestmark = pytest.mark.skipif(not STORIES, reason=f"no record stories at {FILE}")


@pytest.mark.parametrize("story", STORIES, ids=[story["name"] for story in STORIES])
def test_story_leaves_the_slots_told_and_they_come_to_what_is_told(story: dict[str, Any]) -> None:
    assert run(story) == []


def test_a_wrong_slot_is_noticed() -> None:
    story = copy.deepcopy(next(story for story in STORIES if "session.progress" in story["slots"]))
    slot = next(iter(story["slots"]["session.progress"].values()))
    slot["value"]["at"] += 1
    assert any(problem.startswith("slots session.progress") for problem in run(story))


def test_a_wrong_expectation_is_noticed() -> None:
    story = copy.deepcopy(STORIES[0])
    story["expect"]["session.progress"]["rule"] = "latest"
    assert any(problem.startswith("expect session.progress") for problem in run(story))


def test_a_story_of_slots_alone_is_judged_by_them() -> None:
    for story in STORIES:
        assert run({key: value for key, value in story.items() if key != "devices"}) == []
