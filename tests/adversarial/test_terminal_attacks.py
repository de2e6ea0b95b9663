"""What another device can make a terminal do: its names and fields are shown, and pasted."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from presenced.clients.cli.recap_commands import _summary_lines

RECORD = "mvqwi2hxmvqwi2hxmvqwi2hxmv"
HOSTILE = "\x1b[2J\x9b31m\u202e\r\x07\x00\u2028\u200b"
FORBIDDEN = set("\x1b\x9b\u202e\r\x07\x00\u2028\u200b\n")


def _row(**changed: Any) -> dict[str, Any]:
    lost = {
        "log": RECORD,
        "value": "b",
        "device": RECORD,
        "device_name": "box",
        "time": None,
        "restorable": True,
    }
    row = {
        "map": "follow",
        "record": RECORD,
        "title": "A title",
        "field": "title",
        "value": "a",
        "rule": "latest",
        "asks": True,
        "device": RECORD,
        "device_name": "laptop",
        "time": None,
        "losing": [lost],
    }
    return row | changed


def _shown(row: dict[str, Any]) -> str:
    told: dict[str, Any] = {"both": [row], "elsewhere": [row], "here": [row]}
    told |= {f"{key}_more": 0 for key in ("both", "elsewhere", "here")}
    return "\n".join(_summary_lines(told, None))


@pytest.mark.parametrize(
    "field", ["x; rm -rf ~", "$(reboot)", "`id`", "a b", "a'b", "a\nreboot", "|sh", "title"]
)
def test_the_command_that_is_offered_does_nothing_but_what_it_says(field: str) -> None:
    (line,) = [line for line in _shown(_row(field=field)).splitlines() if "take it" in line]
    words = shlex.split(line.partition("take it: ")[2])
    assert words == ["presence", "resolve", RECORD[:8], field.replace("\n", " ")]


@pytest.mark.parametrize("place", ["title", "field", "value", "rule", "device_name"])
def test_nothing_in_a_summary_plays_with_the_terminal(place: str) -> None:
    row = _row(**{place: HOSTILE})
    row["losing"] = [row["losing"][0] | {"value": HOSTILE, "device_name": HOSTILE}]
    for line in _shown(row).split("\n"):
        assert not FORBIDDEN & set(line)
