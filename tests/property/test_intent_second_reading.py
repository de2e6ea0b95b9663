"""The rule `intent` against a second reading of the specification, on random slots.

The second reading is written from the text of `docs/spec/rules.md` as literally as it goes, with
plain values and no regard for speed.
"""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import pytest

from presenced.ids import LogId
from presenced.presence.progress import Unit
from presenced.presence.rules import resolve
from presenced.replica.hlc import make_hlc
from presenced.replica.slot import Slot

LOGS = [LogId(name) for name in (b"a", b"b", b"c", b"d")]


def second_reading(slots: dict[LogId, Slot], unit: Unit) -> tuple[Any, str, list[LogId], bool]:
    live = {
        log: slot
        for log, slot in slots.items()
        if all(other == log or slots[other].seen.get(log, 0) < slot.seq for other in slots)
    }
    values = {log: slot.value for log, slot in live.items()}
    if len(values) == 1:
        return next(iter(values)), "single", [], False

    def newer(one: LogId, other: LogId) -> bool:
        if live[one].hlc != live[other].hlc:
            return live[one].hlc > live[other].hlc
        return one < other

    def knows(log: LogId) -> dict[str, int]:
        return {name: count for name, count in values[log]["knows"].items() if count > 0}

    def has(one: LogId, other: LogId) -> bool:
        return all(knows(one).get(name, 0) >= count for name, count in knows(other).items())

    sizes = [value["of"] for value in values.values()]
    if unit is Unit.PPM:
        tolerance: Any = max(
            Fraction(10**6, pages).__ceil__() if pages else 2_000 for pages in sizes
        )
    else:
        tolerance = 1_000
    parts = unit is Unit.MS and 0 not in sizes and max(sizes) - min(sizes) > 1_000
    if parts:
        tolerance = 10_000

    def place(log: LogId) -> int:
        value = values[log]
        if not parts:
            return int(value["at"])
        return min(Fraction(value["at"] * 10**6, value["of"]).__floor__(), 10**6)

    one = [x for x in live if not any(has(y, x) and knows(y) != knows(x) for y in live)]
    newest = next(x for x in one if all(x == y or newer(x, y) for y in one))
    two = [x for x in one if knows(x) == knows(newest)]
    three = [x for x in two if values[x]["done"]] or two
    far = max(place(x) for x in three)
    ends = [x for x in three if place(x) == far]
    winner = next(x for x in ends if all(x == y or newer(x, y) for y in ends))
    lost = [
        x
        for x in live
        if values[x]["done"] != values[winner]["done"] or abs(place(x) - place(winner)) > tolerance
    ]
    lost.sort(key=lambda x: (-live[x].hlc, x))
    if not lost:
        rule = "agree"
    elif len(two) != len(one):
        rule = "latest"
    elif len(one) != len(live):
        rule = "decided"
    else:
        rule = "furthest"

    def safe(x: LogId) -> bool:
        if values[x]["done"] != values[winner]["done"]:
            before = values[winner]["done"]
        else:
            before = place(winner) > place(x)
        return has(winner, x) and before and newer(winner, x)

    return winner, rule, lost, not all(safe(x) for x in lost)


@pytest.mark.parametrize("seed", range(8))
def test_both_readings_come_to_the_same(seed: int) -> None:
    source = random.Random(seed)
    rules = set()
    for _ in range(1_500):
        unit = source.choice((Unit.MS, Unit.PPM))
        sizes = (0, 3_600_000, 3_600_900, 7_200_000) if unit is Unit.MS else (0, 280, 300, 900)
        slots = {
            log: Slot(
                source.randint(1, 3),
                make_hlc(source.randint(1, 4), source.randint(0, 1)),
                {
                    "at": source.choice((0, 1_000, 1_001, 2_000, 3_334, 500_000, 999_000)),
                    "done": source.random() < 0.3,
                    "of": source.choice(sizes),
                    "was": None,
                    "knows": {name: source.randint(0, 2) for name in ("a", "b")},
                    "acts": [],
                },
                {LOGS[0]: source.randint(1, 3)} if log != LOGS[0] and source.random() < 0.2 else {},
            )
            for log in source.sample(LOGS, source.randint(1, 4))
        }
        winner, rule, lost, asks = second_reading(slots, unit)
        shown = resolve("session", "progress", slots, unit=unit)
        assert (shown.log, shown.rule, shown.conflict) == (winner, rule, asks)
        assert [value.log for value in shown.losing] == lost
        rules.add(rule)
    assert rules == {"single", "agree", "latest", "decided", "furthest"}
