"""Every field but progress against a second reading of the specification, on random slots.

The second reading is written from the text of `docs/spec/rules.md`, field by field, with its own
idea of which values are readable and which are equal.
"""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from presenced.ids import LogId
from presenced.presence.rules import resolve
from presenced.replica.hlc import make_hlc
from presenced.replica.slot import Slot

LOGS = [LogId(name) for name in (b"a", b"aa", b"b", b"\xff", b"c")]

TEXTS = ("", "news", "News", None)
FIELDS: dict[tuple[str, str], tuple[str, Any, bool, tuple[Any, ...], tuple[Any, ...]]] = {
    # map, field: rule, default, asks, readable values, others
    ("follow", "core"): (
        "first", {}, False,
        ({}, {"u": 1}, {"u": 1.0}, {"u": 1, "t": "T"}, {"t": "U"}, {"u": True, "t": ["T"]}),
        (None, [], "u"),
    ),
    ("follow", "state"): (
        "follow-wins", "followed", True, ("followed", "unfollowed"), ("gone", None, True),
    ),
    ("follow", "title"): ("latest", None, True, TEXTS, (7, [], {})),
    ("follow", "tag/x"): ("tag-wins", None, False, TEXTS, (7, False)),
    ("follow", "notify"): ("latest", "default", False, ("default", "all", "none"), (None, "loud")),
    ("session", "speed"): (
        "latest", 1_000, False, (50, 1_000, 16_000), (49, 16_001, True, 1_000.0, "fast"),
    ),
    ("session", "state"): ("open-wins", "open", True, ("open", "ended"), ("closed", 0)),
    ("session", "holder"): (
        "claim", None, True,
        ([1, "active"], [1, "free"], [2, "free"], [2, "paused"], [2**31 - 1, "active"]),
        (None, [0, "active"], [2**31, "free"], [1.0, "free"], [True, "free"], [1], [1, "x"]),
    ),
    ("session", "alias/y"): ("tag-wins", None, False, ("urn:a", "urn:b", None), (0, ["urn:a"])),
    ("session", "mood"): ("latest", None, False, (0, 0.0, -0.0, False, None, "0", [0], {}), ()),
    ("weather", "core"): ("latest", None, False, ({}, None, [1], 1, 1.0), ()),
}  # fmt: skip
KEPT = {"follow-wins": "followed", "open-wins": "open"}


def canon(value: Any) -> str:
    """Equal texts are equal canonical bytes, for the values used here."""
    return json.dumps(value, sort_keys=True)


def second_reading(key: tuple[str, str], slots: dict[LogId, Slot]) -> tuple[Any, ...]:
    rule, default, asks, good, _ = FIELDS[key]
    live = []
    for log in sorted(slots):
        covered = any(
            other != log and log in slot.seen and slot.seen[log] >= slots[log].seq
            for other, slot in slots.items()
        )
        if not covered:
            live.append((log, slots[log]))
    live.sort(key=lambda entry: entry[1].hlc, reverse=True)  # stable: lower logs stay before
    fits = {canon(value) for value in good}
    readable = [(log, slot) for log, slot in live if canon(slot.value) in fits]
    odd = [log for log, slot in live if canon(slot.value) not in fits]
    if not live:
        return default, "default", [], False
    if not readable:
        return default, "unreadable", odd, False
    if len(readable) == 1:
        return readable[0][1].value, "single", odd, False
    if rule == "first":
        value: dict[str, Any] = {}
        for _, slot in sorted(readable, key=lambda entry: (entry[1].hlc, entry[0])):
            value = {**slot.value, **value}
        lost = [
            log
            for log, slot in readable
            if any(canon(value[name]) != canon(item) for name, item in slot.value.items())
        ]
        return value, "first" if lost else "agree", lost + odd, False
    if rule == "claim":
        top = max(slot.value[0] for _, slot in readable)
        winner = min(log for log, slot in readable if slot.value[0] == top)
        others = [(log, slot) for log, slot in readable if log != winner]
        in_use = any(slot.value[1] != "free" for _, slot in others)
        return slots[winner].value, "claim", [log for log, _ in others] + odd, in_use
    shown = readable[0][1].value
    for _, slot in reversed(readable):
        stays = isinstance(slot.value, str) if rule == "tag-wins" else slot.value == KEPT.get(rule)
        if stays and rule != "latest":
            shown = slot.value
    lost = [log for log, slot in readable if canon(slot.value) != canon(shown)]
    return shown, rule if lost else "agree", lost + odd, asks and bool(lost)


@pytest.mark.parametrize("key", FIELDS, ids=".".join)
def test_both_readings_come_to_the_same(key: tuple[str, str]) -> None:
    chance = random.Random(str(key))
    rules = set()
    _, _, _, good, other = FIELDS[key]
    for _ in range(1_500):
        slots = {}
        for log in chance.sample(LOGS, chance.randint(0, len(LOGS))):
            pool = other if other and chance.random() < 0.25 else good
            seen = {chance.choice(LOGS): chance.randint(1, 3)} if chance.random() < 0.2 else {}
            seen.pop(log, None)
            hlc = make_hlc(chance.randint(1, 3), chance.randint(0, 1))
            slots[log] = Slot(chance.randint(1, 3), hlc, chance.choice(pool), seen)
        shown = resolve(*key, slots)
        value, rule, lost, asks = second_reading(key, slots)
        assert (canon(shown.value), shown.rule, shown.conflict) == (canon(value), rule, asks), slots
        assert [one.log for one in shown.losing] == lost, slots
        rules.add(rule)
    expected = {"default", "single", FIELDS[key][0]}
    expected |= {"unreadable"} if other else set()
    expected |= {"agree"} if FIELDS[key][0] != "claim" else set()
    assert rules == expected
