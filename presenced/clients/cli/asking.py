"""What a person types, a line at a time.

Rules of this file: nothing is read ahead, so what belongs to the next question, or to the next
program that reads this standard input, stays there.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Final

LINE_BYTES_MAX: Final = 4_096
"of an answer; whoever sends more on one line is no person"


def input_descriptor() -> int | None:
    """The descriptor of standard input; None if it is not a file of the system."""
    try:
        return sys.stdin.fileno()
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):
        return None


def read_line() -> str:
    """The next line, stripped; empty at the end of the input too."""
    descriptor = input_descriptor()
    if descriptor is None:
        return sys.stdin.readline(LINE_BYTES_MAX).strip() if sys.stdin is not None else ""
    line = b""
    while len(line) < LINE_BYTES_MAX:
        letter = os.read(descriptor, 1)
        if letter in (b"", b"\n"):
            break
        line += letter
    return line.decode("utf-8", "replace").strip()
