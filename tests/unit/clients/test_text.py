from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenced.clients.cli.progress import bar_line
from presenced.clients.cli.text import (
    clock,
    coloured,
    cut,
    moment,
    place_text,
    safe,
    seconds_of,
    table,
)


@given(st.text())
def test_safe_text_is_one_printable_line(text: str) -> None:
    shown = safe(text)
    assert shown.replace("\u200c", "").replace("\u200d", "").isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ünï 日本", "Ünï 日本"),
        ("a\x1b[31mb", "a\\u001b[31mb"),
        ("a\nb\tc\u00a0d", "a b c d"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\x9b2J", "\\u009b2J"),
        ("👩\u200d💻", "👩\u200d💻"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    assert safe(text) == shown


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("751", 751.0),
        ("0", 0.0),
        ("12.5", 12.5),
        ("12:31", 751.0),
        ("1:02:03", 3_723.0),
        ("90:00", 5_400.0),
        ("0:30.5", 30.5),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("1:2:3:4", None),
        ("", None),
    ],
)
def test_times_are_read_as_people_write_them(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


def test_places_and_moments_in_words() -> None:
    assert clock(3_723.9) == "1:02:03"
    assert clock(None) == ""
    assert place_text({"position": 61.0, "duration": 120.0}) == "1:01 of 2:00"
    assert place_text({"position": 61.0, "duration": None}) == "1:01"
    assert place_text({"place": 0.456, "position": None}) == "46 %"
    assert moment(None) == ""
    assert moment("2025-06-15T15:06:40.000Z").startswith("2025-06-1")
    assert moment("9999-12-31T23:59:59.999Z")
    assert moment("gestern\x1b") == "gestern\\u001b"


def test_columns_are_cut_and_aligned() -> None:
    assert table([("a", "bbb"), ("cccccc", "d")], (4, 9)) == ["a     bbb", "ccc…  d"]
    assert table([], (4,)) == []
    assert cut("abc", 3) == "abc"


def test_colour_obeys_no_color_and_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert coloured(Terminal())
    assert not coloured(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured(Terminal())


@pytest.mark.parametrize(
    ("done", "total", "line"),
    [
        (5, None, "import 5 follows"),
        (5, 0, "import 5 follows"),
        (50, 100, f"import [{'#' * 15}{' ' * 15}]  50 % 50 of 100 follows"),
        (200, 100, f"import [{'#' * 30}] 100 % 200 of 100 follows"),
    ],
)
def test_a_bar_shows_how_far(done: int, total: int | None, line: str) -> None:
    assert bar_line("import", done, total, "follows") == line
