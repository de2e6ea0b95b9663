"""`python -m presenced.testing.fixtures FILE…`: run files of fixtures, a line for each fixture.

A file is an object whose key `cases` or `fixtures` lists them; the first keys of such a file
explain the format. A fixture with a `draw` is one of membership, one with `devices` or `slots` is
a record story. `-` reads standard input. Prints `ok NAME` or `FAIL NAME: why`, always on one line.
Exit code 0 if all pass, 1 if any fails, 2 if a file cannot be read or holds none.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, TextIO

STDIN: Final = "-"
LIST_KEYS: Final = ("cases", "fixtures")


def main(
    arguments: Sequence[str], out: TextIO, err: TextIO, given: Callable[[], bytes] | None = None
) -> int:
    """Run the files named; the exit code. `given` reads standard input."""
    if not arguments:
        print("usage: python -m presenced.testing.fixtures FILE… (- is standard input)", file=err)
        return 2
    count = failed = unread = 0
    for name in arguments:
        try:
            raw = given() if name == STDIN and given is not None else Path(name).read_bytes()
            fixtures = fixtures_in(json.loads(raw.decode("utf-8-sig")))
        except (OSError, ValueError, RecursionError) as error:
            unread += 1
            print(one_line(f"{name}: {error}"), file=err)
            continue
        for title, problems in run_all(fixtures):
            count += 1
            failed += bool(problems)
            told = f"FAIL {title}: {'; '.join(problems)}" if problems else f"ok {title}"
            print(one_line(told), file=out)
    print(f"{count} fixtures, {failed} failed", file=err)
    return 2 if unread else 1 if failed else 0


def fixtures_in(content: Any) -> list[Any]:
    """The fixtures of a file. Raises `ValueError` for another shape, or if there are none."""
    lists = [content[key] for key in LIST_KEYS if key in content] if type(content) is dict else []
    if not lists or not all(type(one) is list for one in lists):
        raise ValueError("neither membership fixtures (`cases`) nor record fixtures (`fixtures`)")
    fixtures = [fixture for one in lists for fixture in one]
    if not fixtures:
        raise ValueError("no fixtures")
    return fixtures


def run_all(fixtures: Sequence[Any]) -> Iterator[tuple[str, list[str]]]:
    """Each fixture's name and what is wrong; one that cannot be run fails, and the rest go on."""
    for number, fixture in enumerate(fixtures, 1):
        name = str(fixture.get("name", number)) if isinstance(fixture, dict) else str(number)
        try:
            problems = run(fixture)
        except Exception as error:  # the boundary: one broken fixture is one failed line
            problems = [f"cannot be run: {type(error).__name__}: {error}"]
        yield name, problems


def run(fixture: Mapping[str, Any]) -> list[str]:
    """What is wrong with one fixture; nothing when it passes. Raises what makes it unplayable."""
    if "draw" in fixture:
        from presenced.testing import membership_fixtures

        return membership_fixtures.run(fixture)
    if "devices" in fixture or "slots" in fixture:
        from presenced.testing import record_fixtures

        return record_fixtures.run(fixture)
    raise ValueError("neither a drawing (`draw`) nor a story (`devices`, `slots`)")


def one_line(text: str) -> str:
    """Text that any terminal takes as one line: what is not printable is escaped."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )


def _on_any_terminal(stream: TextIO) -> TextIO:
    """Text that the terminal's encoding lacks is escaped too, instead of ending the run."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


if __name__ == "__main__":
    sys.exit(
        main(
            sys.argv[1:],
            _on_any_terminal(sys.stdout),
            _on_any_terminal(sys.stderr),
            sys.stdin.buffer.read,
        )
    )
