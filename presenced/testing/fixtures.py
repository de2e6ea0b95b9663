"""`python -m presenced.testing.fixtures FILE`: run a file of fixtures, a line for each.

A file with the key `cases` holds membership fixtures, one with `fixtures` record fixtures; the
first keys of such a file explain its format. Prints `ok NAME` or `FAIL NAME: why`. Exit code 0
if all pass, 1 if any fails, 2 if the file cannot be read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO


def main(arguments: Sequence[str], out: TextIO, err: TextIO) -> int:
    """Run the file named by the one argument; the exit code."""
    if len(arguments) != 1:
        print("usage: python -m presenced.testing.fixtures FILE", file=err)
        return 2
    try:
        content = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        fixtures, run = choose(content)
    except (OSError, ValueError) as error:
        print(f"{arguments[0]}: {error}", file=err)
        return 2
    failed = 0
    for name, problems in run_all(fixtures, run):
        failed += bool(problems)
        print(f"FAIL {name}: {'; '.join(problems)}" if problems else f"ok {name}", file=out)
    print(f"{len(fixtures)} fixtures, {failed} failed", file=err)
    return 1 if failed else 0


Run = Callable[[Mapping[str, Any]], list[str]]


def choose(content: Any) -> tuple[Sequence[Mapping[str, Any]], Run]:
    """The fixtures of a file and what runs them. Raises `ValueError` for another shape."""
    if isinstance(content, dict) and isinstance(content.get("cases"), list):
        from presenced.testing import membership_fixtures

        return content["cases"], membership_fixtures.run
    if isinstance(content, dict) and isinstance(content.get("fixtures"), list):
        from presenced.testing import record_fixtures

        return content["fixtures"], record_fixtures.run
    raise ValueError("neither membership fixtures (`cases`) nor record fixtures (`fixtures`)")


def run_all(fixtures: Sequence[Mapping[str, Any]], run: Run) -> Iterator[tuple[str, list[str]]]:
    """Each fixture's name and what is wrong; one that cannot be run fails, and the rest go on."""
    for number, fixture in enumerate(fixtures, 1):
        name = str(fixture.get("name", number)) if isinstance(fixture, dict) else str(number)
        try:
            problems = run(fixture)
        except Exception as error:  # the boundary: one broken fixture is one failed line
            problems = [f"cannot be run: {type(error).__name__}: {error}"]
        yield name, problems


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdout, sys.stderr))
