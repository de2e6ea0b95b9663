"""The rule `intent`: progress is decisions and drift, not a number.

Theory. A branch is one live progress value. (1) A branch that lacks decisions another has seen
gives way to it. (2) Among decisions made apart the branch written last stays, with all that know
the same: the only place where a clock chooses. (3) Of the same decisions, finished comes before
unfinished, then the furthest, then the newest. It asks unless nothing can be lost: the winner
knows the loser's decisions, is ahead of it, and is newer.

Source: RULES, Progress, Resolve (`docs/spec/rules.md`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from presenced.ids import LogId
from presenced.presence.progress import (
    READING_PLACE_MAX,
    SAME_PLACE_MS,
    SAME_PLACE_SCALED_PPM,
    Progress,
    Unit,
    knows_all,
    page_ppm,
)
from presenced.replica.slot import Slot

Branch = tuple[LogId, Slot, Progress]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a rule makes of at least two readable live slots."""

    value: Any
    rule: str
    log: LogId
    losing: tuple[tuple[LogId, Slot], ...]
    conflict: bool


@dataclass(frozen=True, slots=True)
class Scale:
    """How the places of several copies are compared."""

    relative: bool
    "as parts per million of each copy, because the copies differ in length"
    tolerance: int

    @classmethod
    def of(cls, values: Sequence[Progress], unit: Unit) -> Scale:
        if unit is Unit.PPM:
            return cls(False, max(page_ppm(value.of) for value in values))
        sizes = [value.of for value in values]
        if all(sizes) and max(sizes) - min(sizes) > SAME_PLACE_MS:
            return cls(True, SAME_PLACE_SCALED_PPM)
        return cls(False, SAME_PLACE_MS)

    def place(self, value: Progress) -> int:
        if not self.relative:
            return value.at
        return min(value.at * READING_PLACE_MAX // value.of, READING_PLACE_MAX)


def judge(live: Sequence[Branch], unit: Unit) -> Verdict:
    """Resolve readable live branches, given newest first."""
    scale = Scale.of([value for _, _, value in live], unit)
    informed = [branch for branch in live if not _gives_way(branch, live)]
    newest = informed[0][2].knows
    together = [branch for branch in informed if branch[2].knows == newest]
    winner = max(together, key=lambda branch: (branch[2].done, scale.place(branch[2])))
    shown = winner[2]
    losing = [
        branch
        for branch in live
        if branch[2].done != shown.done
        or abs(scale.place(branch[2]) - scale.place(shown)) > scale.tolerance
    ]
    if not losing:
        rule = "agree"
    elif len(together) < len(informed):
        rule = "latest"
    elif len(informed) < len(live):
        rule = "decided"
    else:
        rule = "furthest"
    return Verdict(
        value=winner[1].value,
        rule=rule,
        log=winner[0],
        losing=tuple((log, slot) for log, slot, _ in losing),
        conflict=any(not _loses_nothing(winner, branch, scale) for branch in losing),
    )


def _gives_way(branch: Branch, live: Sequence[Branch]) -> bool:
    """Whether some other branch knows all decisions of this one and more."""
    own = branch[2].knows
    return any(
        other is not branch and other[2].knows != own and knows_all(other[2].knows, own)
        for other in live
    )


def _loses_nothing(winner: Branch, loser: Branch, scale: Scale) -> bool:
    """Whether furthest and newest agree, among the loser's own decisions or later ones."""
    won, lost = winner[2], loser[2]
    ahead = (won.done, scale.place(won)) > (lost.done, scale.place(lost))
    newer = (-winner[1].hlc, winner[0]) < (-loser[1].hlc, loser[0])
    return ahead and newer and knows_all(won.knows, lost.knows)
