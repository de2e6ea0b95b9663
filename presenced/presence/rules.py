"""From the slots of a field to what a person sees: the rules as pure functions.

Rules of this file:
1. only live slots count, and of those only readable ones decide and give the rule its name;
2. an unreadable live value never wins, never asks, and is listed last under losing;
3. the result depends on the slots alone: not on order, device, clock of the reader or history.

Source: RULES (`docs/spec/rules.md`); examples in the record fixtures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from presenced.ids import LogId
from presenced.presence.fields import FOLLOWED, OPEN, FieldSpec, Rule, spec_of
from presenced.presence.intent import Verdict, judge
from presenced.presence.progress import Unit, parse_progress
from presenced.replica.hlc import Hlc
from presenced.replica.slot import FieldSlots, Slot, live_slots
from presenced.wire import encode


class LosingValue(NamedTuple):
    """A live value that is not shown."""

    log: LogId
    value: Any
    hlc: Hlc
    readable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What the slots of one field come to."""

    value: Any
    "the value shown (a `wire.Value`)"
    rule: str
    "the step that decided: a rule's name, or default, single, agree, unreadable, decided, furthest"
    log: LogId | None
    "whose slot is shown (for `first`: whose speaks first); None if it is the default"
    losing: tuple[LosingValue, ...]
    "other live values, newest first, unreadable ones last"
    conflict: bool
    "whether to ask the person"


_Live = tuple[LogId, Slot]


def resolve(map_name: str, field: str, slots: FieldSlots, *, unit: Unit = Unit.MS) -> Resolution:
    """Resolve one field. `unit` is that of the record's places (only progress looks at it)."""
    spec = spec_of(map_name, field)
    if len(slots) == 1:
        [(log, slot)] = slots.items()
        if spec.readable(slot.value, unit):
            return Resolution(value=slot.value, rule="single", log=log, losing=(), conflict=False)
    live = newest_first(live_slots(slots).items())
    readable = [entry for entry in live if spec.readable(entry[1].value, unit)]
    unreadable = tuple(
        LosingValue(log, slot.value, slot.hlc, readable=False)
        for log, slot in live
        if not spec.readable(slot.value, unit)
    )
    if not readable:
        rule = "unreadable" if unreadable else "default"
        return Resolution(
            value=spec.default(), rule=rule, log=None, losing=unreadable, conflict=False
        )
    if len(readable) == 1:
        log, slot = readable[0]
        return Resolution(
            value=slot.value, rule="single", log=log, losing=unreadable, conflict=False
        )
    verdict = _VERDICTS[spec.rule](readable, spec, unit)
    losing = tuple(
        LosingValue(log, slot.value, slot.hlc, readable=True) for log, slot in verdict.losing
    )
    return Resolution(
        value=verdict.value,
        rule=verdict.rule,
        log=verdict.log,
        losing=losing + unreadable,
        conflict=verdict.conflict,
    )


def newest_first(slots: Any) -> list[_Live]:
    """Highest HLC first; of equal ones the lower log id first."""
    return sorted(slots, key=lambda entry: (-entry[1].hlc, entry[0]))


# --- one function per rule; `live` has at least two readable slots, newest first ---


def _latest(live: Sequence[_Live], spec: FieldSpec, _unit: Unit) -> Verdict:
    return _chosen(live[0], live, spec.rule.value, asks=spec.asks)


def _preferring(preferred: Callable[[Any], bool]) -> Callable[..., Verdict]:
    """The newest value that stays visible, else the newest."""

    def judge_visible(live: Sequence[_Live], spec: FieldSpec, _unit: Unit) -> Verdict:
        winner = next((entry for entry in live if preferred(entry[1].value)), live[0])
        return _chosen(winner, live, spec.rule.value, asks=spec.asks)

    return judge_visible


def _claim(live: Sequence[_Live], _spec: FieldSpec, _unit: Unit) -> Verdict:
    """The highest number, then the lower log. Claims never agree: each is its log's own."""
    winner = min(live, key=lambda entry: (-entry[1].value[0], entry[0]))
    losing = tuple(entry for entry in live if entry is not winner)
    return Verdict(
        value=winner[1].value,
        rule=Rule.CLAIM.value,
        log=winner[0],
        losing=losing,
        conflict=any(slot.value[1] != "free" for _, slot in losing),
    )


def _first(live: Sequence[_Live], _spec: FieldSpec, _unit: Unit) -> Verdict:
    """Who spoke first is shown; keys it lacks come from the next."""
    oldest_first = sorted(live, key=lambda entry: (entry[1].hlc, entry[0]))
    value: dict[str, Any] = {}
    for _, slot in oldest_first:
        for key, item in slot.value.items():
            value.setdefault(key, item)
    shown = {key: encode(item) for key, item in value.items()}
    losing = tuple(
        entry
        for entry in live
        if any(encode(item) != shown[key] for key, item in entry[1].value.items())
    )
    return Verdict(
        value=value,
        rule=Rule.FIRST.value if losing else "agree",
        log=oldest_first[0][0],
        losing=losing,
        conflict=False,
    )


def _intent(live: Sequence[_Live], _spec: FieldSpec, unit: Unit) -> Verdict:
    branches = []
    for log, slot in live:
        progress = parse_progress(slot.value, unit)
        assert progress is not None
        branches.append((log, slot, progress))
    return judge(branches, unit)


def _chosen(winner: _Live, live: Sequence[_Live], rule: str, *, asks: bool) -> Verdict:
    """The winner against the live values that differ from it."""
    shown = encode(winner[1].value)
    losing = tuple(entry for entry in live if encode(entry[1].value) != shown)
    return Verdict(
        value=winner[1].value,
        rule=rule if losing else "agree",
        log=winner[0],
        losing=losing,
        conflict=asks and bool(losing),
    )


_VERDICTS: dict[Rule, Callable[[Sequence[_Live], FieldSpec, Unit], Verdict]] = {
    Rule.FIRST: _first,
    Rule.FOLLOW_WINS: _preferring(lambda value: value == FOLLOWED),
    Rule.OPEN_WINS: _preferring(lambda value: value == OPEN),
    Rule.TAG_WINS: _preferring(lambda value: value is not None),
    Rule.CLAIM: _claim,
    Rule.INTENT: _intent,
    Rule.LATEST: _latest,
}
