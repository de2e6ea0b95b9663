"""Text for people: safe in a terminal, places and times in words.

Rules of this file: names, titles and URIs come from other devices and from the web; nothing of them
reaches a terminal that is not printable, so no title can move the cursor, hide or forge a line.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import IO, Any, Final

_KEPT: Final = "\u200c\u200d"
"joiners that scripts and emoji need; everything else invisible is escaped"

_CLOCK: Final = re.compile(r"(?:(\d{1,6}):)?(\d{1,6}):(\d{1,2}(?:\.\d+)?)")


def safe(text: str) -> str:
    """The text on one line, with what is not printable as `\\u001b`."""
    if text.isprintable():
        return text
    return "".join(
        letter
        if letter.isprintable() or letter in _KEPT
        else " "
        if letter.isspace() and ord(letter) not in range(0x1C, 0x20)
        else f"\\u{ord(letter):04x}"
        for letter in text
    )


def cut(text: str, width: int) -> str:
    """Safe text, at most `width` characters."""
    text = safe(text)
    return text if len(text) <= width else text[: width - 1] + "…"


def table(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    """Lines of columns, each as wide as its widest cell and at most `widths`."""
    cells = [[cut(cell, width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    sizes = [max((len(row[index]) for row in cells), default=0) for index in range(len(widths))]
    return [
        "  ".join(cell.ljust(size) for cell, size in zip(row, sizes, strict=True)).rstrip()
        for row in cells
    ]


def clock(seconds: float | None) -> str:
    """`1:02:03` or `2:03`."""
    if seconds is None:
        return ""
    whole = int(seconds)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def seconds_of(text: str) -> float | None:
    """Seconds of `751`, `12:31`, `1:02:03`; None for anything else."""
    if (found := _CLOCK.fullmatch(text)) is not None:
        hours, minutes, seconds = found.groups()
        return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)
    try:
        seconds_given = float(text)
    except ValueError:
        return None
    return seconds_given if 0 <= seconds_given < float("inf") else None


def place_text(row: dict[str, Any]) -> str:
    """Where a session is: `12:31 of 1:00:00`, `45 %`."""
    if row.get("place") is not None:
        return f"{row['place'] * 100:.0f} %"
    here = clock(row.get("position"))
    whole = clock(row.get("duration"))
    return f"{here} of {whole}" if whole else here


def moment(text: str | None) -> str:
    """An RFC 3339 time as local `2026-11-24 17:02`; unreadable ones as they are."""
    if not text:
        return ""
    from datetime import datetime

    try:
        return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError):
        return safe(text)


def coloured(stream: IO[str]) -> bool:
    """Whether to use colour: on a terminal, unless NO_COLOR (no-color.org) says otherwise."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if coloured(sys.stdout) else text
