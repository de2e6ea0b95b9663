"""The console script of `presence`: runs the program and leaves, both as fast as Python can.

Two things that a process of a tenth of a second does not need take a quarter of it: looking for
garbage among modules, and taking the interpreter apart at the end.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import Final

_INTERRUPTED: Final = 130
"as `failure.Exit` has it, which is not imported yet"


def main() -> None:
    """Does not return."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a letter that the terminal lacks ends nothing
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run()
    except KeyboardInterrupt:  # before the program itself could answer it
        code = _INTERRUPTED
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it was closed by who started us
            with suppress(OSError):  # nobody reads it
                stream.flush()
    os._exit(code)


def _run() -> int:
    gc.disable()
    from presenced.clients.cli.program import run

    gc.freeze()
    gc.enable()
    return run(sys.argv[1:])


if __name__ == "__main__":
    main()
