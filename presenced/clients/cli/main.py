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


def main() -> None:
    """Does not return."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a letter that the terminal lacks ends nothing
            stream.reconfigure(errors="backslashreplace")
    gc.disable()
    from presenced.clients.cli.program import run

    gc.freeze()
    gc.enable()
    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it was closed by who started us
            with suppress(OSError):  # nobody reads it
                stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
