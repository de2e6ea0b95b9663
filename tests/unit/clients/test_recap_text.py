"""What the summary says of a value in words, whoever wrote it."""

from __future__ import annotations

from typing import Any

import pytest

from presenced.clients.cli.recap_commands import _summary_lines, _value


def progress(position: Any = None, place: Any = None, finished: Any = False) -> dict[str, Any]:
    return {"position": position, "place": place, "finished": finished}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("progress", progress(754.5), "at 12:34"),
        ("progress", progress(place=0.25), "at 25 %"),
        ("progress", progress(1, finished=True), "finished"),
        ("progress", {"finished": True}, "begun"),
        ("progress", progress("chapter 9"), "begun"),
        ("progress", progress(place=10**400), "begun"),
        ("progress", progress(1, finished="yes"), "begun"),
        ("mood", progress(1, finished=True), "begun"),
        ("tag/x", None, "taken off"),
        ("title", None, "nothing"),
        ("holder", [2, "paused"], "paused"),
    ],
)
def test_a_value_in_words_never_takes_a_foreign_shape_for_a_place(
    field: str, value: Any, words: str
) -> None:
    assert _value(field, value) == words


def changed(field: str, value: Any, *, map_name: str = "follow", **more: Any) -> dict[str, Any]:
    row = {"map": map_name, "record": "r" * 26, "field": field, "title": "T", "value": value}
    told = {"device": "d", "device_name": "box", "time": "2026-11-24T20:00:00.000Z"}
    return row | told | {"rule": "", "asks": False, "losing": []} | more


def summary(**lists: list[dict[str, Any]]) -> list[str]:
    empty: dict[str, Any] = {"both": [], "elsewhere": [], "here": []}
    more = {"both_more": 0, "elsewhere_more": 0, "here_more": 0}
    return list(_summary_lines(empty | more | lists, None))


def test_a_new_follow_is_one_line_in_words() -> None:
    lines = summary(elsewhere=[changed("core", {"title": "T"}), changed("state", "followed")])
    assert len(lines) == 2
    assert lines[1].startswith("  T, added: T   (box")


def test_a_state_that_is_all_that_changed_is_told() -> None:
    for field in ("followed", "unfollowed"):
        assert summary(here=[changed("state", field)])[1].startswith(f"  T, following: {field}")


def test_what_both_changed_is_told_once() -> None:
    lost = {"device": "e", "device_name": "laptop", "time": None, "value": "L", "restorable": True}
    lines = summary(
        both=[changed("title", "B", rule="latest", asks=True, losing=[lost])],
        elsewhere=[changed("title", "B"), changed("notify", "all")],
        here=[changed("title", "L")],
    )
    assert sum("title" in line for line in lines) == 2, "the row and its command"
    assert "asks you" in lines[0]
    assert not any("Changed here" in line for line in lines)


def test_a_claim_that_lost_is_taken_back_on_the_device_that_made_it() -> None:
    lost = {
        "device": "e",
        "device_name": "laptop",
        "time": None,
        "value": [1, "active"],
        "restorable": False,
    }
    claim = changed(
        "holder", [1, "active"], map_name="session", rule="claim", asks=True, losing=[lost]
    )
    assert summary(both=[claim])[-1].endswith("; on laptop: presence continue rrrrrrrr")
