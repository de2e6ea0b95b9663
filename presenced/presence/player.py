"""What a player reports, and what of it is recorded.

Rules of this file:
1. falling more than 30 s (reading: two pages) behind the furthest place is a rewind; less is
   nothing, and so is a report behind it that says the player stopped (players fall to 0);
2. a device whose claim lost records nothing; if the claim that won is free, it claims anew;
3. the first report of a player that loaded nothing decides whether it began at the place offered.

Source: RULES, Progress, When, and Hand-off (`docs/spec/rules.md`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from presenced.errors import InvalidValue
from presenced.ids import LogId
from presenced.presence.decisions import check_place, rewind
from presenced.presence.draft import RecordDraft
from presenced.presence.fields import HOLDER
from presenced.presence.holder import Standing, claim, standing
from presenced.presence.progress import (
    SAME_PLACE_MS,
    Place,
    Unit,
    back_in,
    tolerance_in,
)
from presenced.presence.sitting import (
    Sitting,
    begin_at_offered,
    begin_in_own_branch,
    checkpoint,
    note_place,
)

WRITE_EVERY_MS: Final = 5 * 60 * 1000
"milliseconds between a running sitting's automatic writes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a player says."""

    at: int
    of: int | None = None
    "size of its copy; None or 0: not told"
    played_ms: int = 0
    "milliseconds played since its last report"
    stopped: bool = False
    "it says that it stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Where a player should open."""

    at: int
    of: int
    "size of the copy that `at` is measured in"
    approximate: bool = False
    "it was scaled from a copy of another length"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOutcome:
    """What the player's app should be told."""

    overtaken_by: LogId | None = None
    "another device took over: pause, nothing was recorded"
    stale: bool = False
    "the player goes on apart from the place offered"
    offered: Offer | None = None
    "the place offered: to a player that opens, and to one that did not begin there"


def offer(draft: RecordDraft, copy: int) -> Offer:
    """The shown place for a player of a copy of that size (0: not told)."""
    place = draft.shown_progress().place
    if draft.unit is Unit.MS and copy and place.of and abs(copy - place.of) > SAME_PLACE_MS:
        return Offer(at=place.measured_in(copy, draft.unit), of=copy, approximate=True)
    return Offer(at=place.at, of=place.of)


def report(draft: RecordDraft, sitting: Sitting, said: Report, *, mono_ms: int) -> ReportOutcome:
    """Take a player's report into its sitting; write if it is time (see `checkpoint`).

    Raises `InvalidValue` for a place, size or time that cannot be.
    """
    check_place(said.at, said.of, draft.unit)
    if said.played_ms < 0:
        raise InvalidValue("played backwards", hint="Time played is not negative.")
    claimed = standing(draft)
    if claimed.standing is Standing.OVERTAKEN or (
        claimed.standing is Standing.VACANT and said.stopped
    ):
        return ReportOutcome(overtaken_by=claimed.holder)
    if not sitting.begun and not _begin(draft, sitting, said):
        return ReportOutcome()
    sitting.played_ms += said.played_ms
    sitting.told_copy = said.of or sitting.told_copy
    if claimed.standing is Standing.VACANT:
        claim(draft, covering=sitting.coverage.get(HOLDER, {}))
    _move(draft, sitting, said, mono_ms)
    if sitting.stale:
        return ReportOutcome(stale=True, offered=offer(draft, sitting.copy))
    return ReportOutcome()


def _begin(draft: RecordDraft, sitting: Sitting, said: Report) -> bool:
    """Decide from the first report what the sitting began from. False: it says nothing."""
    offered = draft.shown_progress()
    copy = said.of or offered.of
    place = offered.place.measured_in(copy, draft.unit)
    if said.stopped and said.at < place:
        return False
    ahead = back_in(copy, draft.unit) + (said.played_ms if draft.unit is Unit.MS else 0)
    near = place - tolerance_in(copy, draft.unit) <= said.at <= place + ahead
    if near and not offered.done:
        begin_at_offered(sitting, draft)
    else:
        begin_in_own_branch(sitting, draft)
    return True


def _move(draft: RecordDraft, sitting: Sitting, said: Report, mono_ms: int) -> None:
    copy = sitting.copy
    furthest = said.at
    if sitting.furthest is not None:
        furthest = sitting.furthest.measured_in(copy, draft.unit)
        if said.stopped and said.at < furthest:
            return
        if said.at < furthest - back_in(copy, draft.unit):
            told = sitting.told_copy
            rewind(draft, said.at, of=copy, sitting=sitting)
            sitting.told_copy = told
            sitting.written_mono_ms = mono_ms
            return
    sitting.furthest = Place(max(said.at, furthest), copy)
    note_place(sitting, said.at, draft.unit)
    written = sitting.written_mono_ms
    if written is None or said.stopped or mono_ms - written >= WRITE_EVERY_MS:
        checkpoint(sitting, draft, mono_ms=mono_ms)
