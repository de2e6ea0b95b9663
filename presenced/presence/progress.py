"""The progress value: its shape, its units, and how places in different copies are measured.

A place is an integer: milliseconds, or for reading parts per million. A copy's size is its
duration in milliseconds or its number of pages; 0 = unknown. A record has one unit, because its
kind is part of its identifier.

Source: RULES, Progress (`docs/spec/rules.md`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple

INTEGER_MAX: Final = 2**53 - 1
"what JSON carries exactly"
READING_PLACE_MAX: Final = 1_000_000
"the end of a text, in parts per million"
KNOWS_MAX: Final = 2**31 - 1

SAME_PLACE_MS: Final = 1_000
"places this close are the same place; sizes this close are the same copy"
SAME_PLACE_SCALED_PPM: Final = 10_000
"the same place in copies of different length, in parts per million of each"
UNKNOWN_PAGE_PPM: Final = 2_000
"one page of a text whose number of pages is not known"
BACK_MS: Final = 30_000
"falling further than this behind the furthest place is a rewind; less is nothing"
BACK_PAGES: Final = 2
"the same for reading"


class Unit(Enum):
    """What a place counts."""

    MS = "ms"
    PPM = "ppm"


class Place(NamedTuple):
    """A place in a copy: `at` in the record's unit, `of` the copy's size (0 unknown)."""

    at: int
    of: int

    def measured_in(self, copy: int, unit: Unit) -> int:
        """The same place in a copy of another size. Reading places need no scaling."""
        if unit is Unit.PPM or not self.of or not copy or self.of == copy:
            return self.at
        return self.at * copy // self.of


def page_ppm(pages: int) -> int:
    """One page of a copy, rounded up, in parts per million."""
    return -(-READING_PLACE_MAX // pages) if pages else UNKNOWN_PAGE_PPM


def tolerance_in(copy: int, unit: Unit) -> int:
    """How far apart two places in one copy may be and still be the same."""
    return SAME_PLACE_MS if unit is Unit.MS else page_ppm(copy)


def back_in(copy: int, unit: Unit) -> int:
    """How far a player may fall back in a copy before it is a rewind."""
    return BACK_MS if unit is Unit.MS else BACK_PAGES * page_ppm(copy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One readable progress value."""

    at: int = 0
    done: bool = False
    of: int = 0
    was: tuple[int, bool, int] | None = None
    "`at, done, of` that the last decision replaced"
    knows: Mapping[str, int]
    "per log (as text) how many of its decisions this branch has seen; 0 is left out"
    acts: tuple[Any, ...] = ()
    "the writing device's own last acts `[HLC ms, kind, at]`; rows are not checked"

    @property
    def place(self) -> Place:
        return Place(self.at, self.of)

    def to_value(self) -> dict[str, Any]:
        """The wire value."""
        return {
            "at": self.at,
            "done": self.done,
            "of": self.of,
            "was": None if self.was is None else list(self.was),
            "knows": dict(self.knows),
            "acts": list(self.acts),
        }


_KEYS: Final = frozenset(("at", "done", "of", "was", "knows", "acts"))

BEGINNING: Final = Progress(knows={})
"what a record without progress shows"


def parse_progress(value: Any, unit: Unit) -> Progress | None:
    """The progress of a wire value, or None if this version cannot read it."""
    if type(value) is not dict:
        return None
    if not value.keys() >= _KEYS:
        return None
    at, done, of, was = value["at"], value["done"], value["of"], value["was"]
    knows, acts = value["knows"], value["acts"]
    if not _is_place(at, done, of, unit):
        return None
    if was is not None and not (
        type(was) is list and len(was) == 3 and _is_place(was[0], was[1], was[2], unit)
    ):
        return None
    if type(knows) is not dict or type(acts) is not list:
        return None
    if not all(type(count) is int and 0 <= count <= KNOWS_MAX for count in knows.values()):
        return None
    return Progress(
        at=at,
        done=done,
        of=of,
        was=None if was is None else (was[0], was[1], was[2]),
        knows={log: count for log, count in knows.items() if count},
        acts=tuple(acts),
    )


def is_progress(value: Any, unit: Unit) -> bool:
    return parse_progress(value, unit) is not None


def merge_knows(branches: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Every decision that any of the branches has seen."""
    merged: dict[str, int] = {}
    for knows in branches:
        for log, count in knows.items():
            if count > merged.get(log, 0):
                merged[log] = count
    return merged


def carried_over(value: Any, before: Any, old: str, new: str) -> Any:
    """A progress value that was written as log `old` after its value `before`, as log `new`'s.

    The decisions made since are the new log's: the old one may have made others of that number.
    What is not progress comes back as it is.
    """
    made, known = _decisions(value, old), _decisions(before, old)
    if made <= known:
        return value
    knows = {**value["knows"], old: known, new: value["knows"].get(new, 0) + made - known}
    return {**value, "knows": {log: count for log, count in knows.items() if count}}


def _decisions(value: Any, log: str) -> int:
    knows = value.get("knows") if type(value) is dict else None
    count = knows.get(log, 0) if type(knows) is dict else 0
    return count if type(count) is int else 0


def knows_all(branch: Mapping[str, int], other: Mapping[str, int]) -> bool:
    """Whether `branch` has seen every decision that `other` has seen."""
    return all(branch.get(log, 0) >= count for log, count in other.items())


def _is_place(at: Any, done: Any, of: Any, unit: Unit) -> bool:
    return (
        type(at) is int
        and 0 <= at <= (INTEGER_MAX if unit is Unit.MS else READING_PLACE_MAX)
        and type(done) is bool
        and type(of) is int
        and 0 <= of <= INTEGER_MAX
    )
