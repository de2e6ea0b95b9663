"""What the summary says of a value in words, whoever wrote it."""

from __future__ import annotations

from typing import Any

import pytest

from presenced.clients.cli.recap_commands import _value


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
