"""A person's acts on progress: decisions, a position by hand, and taking over.

Rules of this file:
1. every act here is recorded at once and covers all that is applied on this device;
2. a decision replaces the *shown* value, which goes into `was`; what is not told stays;
3. a decision merges the `knows` of all slots and adds one for the own log;
4. fields are written in the order holder, progress, state.

Source: RULES, Progress, Acts, and Hand-off (`docs/spec/rules.md`).
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import Any

from presenced.errors import InvalidValue, NotFound
from presenced.ids import LogId
from presenced.presence.draft import RecordDraft
from presenced.presence.fields import OPEN, PROGRESS, STATE
from presenced.presence.history import Act, act_at
from presenced.presence.holder import claim
from presenced.presence.progress import (
    INTEGER_MAX,
    KNOWS_MAX,
    READING_PLACE_MAX,
    Place,
    Progress,
    Unit,
    parse_progress,
    tolerance_in,
)
from presenced.presence.sitting import (
    CONTINUE,
    Sitting,
    act_row,
    begun_here,
    checkpoint,
    goes_on_from,
    with_act,
)


class Decision(Enum):
    """What a person may decide about progress."""

    REWIND = "rewind"
    RESTART = "restart"
    FINISH = "finish"
    UNFINISH = "unfinish"
    ADOPT = "adopt"
    UNDO = "undo"


def rewind(
    draft: RecordDraft, at: int | None, *, of: int | None = None, sitting: Sitting | None = None
) -> None:
    """Go to a place that need not be ahead; it is unfinished again."""
    _decide_told(draft, Decision.REWIND, at=at, of=of, done=False, sitting=sitting)


def restart(draft: RecordDraft, *, of: int | None = None, sitting: Sitting | None = None) -> None:
    """From the beginning."""
    _decide_told(draft, Decision.RESTART, at=0, of=of, done=False, sitting=sitting)


def finish(
    draft: RecordDraft,
    *,
    at: int | None = None,
    of: int | None = None,
    sitting: Sitting | None = None,
) -> None:
    """Finished. Does not open a session that was ended."""
    _decide_told(draft, Decision.FINISH, at=at, of=of, done=True, sitting=sitting)


def unfinish(
    draft: RecordDraft,
    *,
    at: int | None = None,
    of: int | None = None,
    sitting: Sitting | None = None,
) -> None:
    """Not finished after all; the place stays."""
    _decide_told(draft, Decision.UNFINISH, at=at, of=of, done=False, sitting=sitting)


def adopt(
    draft: RecordDraft, log: LogId, *, act: int | None = None, sitting: Sitting | None = None
) -> None:
    """Take the value of a log's slot, or with `act` the place in that row of its acts (0 oldest).

    Raises `NotFound` if there is no such slot or row, or this version cannot read it.
    """
    _adoptable(draft, log, act)
    checkpoint(sitting, draft)
    source, row = _adoptable(draft, log, act)  # again: the checkpoint may have moved the own one
    at, done = source.at, source.done
    if row is not None:
        at, done = row.at, row.kind == Decision.FINISH.value
    shown = draft.shown_progress()
    value = replace(shown, at=at, done=done, of=source.of, was=_replaced(shown))
    _record_decision(draft, Decision.ADOPT, value, sitting=sitting)


def undo(draft: RecordDraft, *, sitting: Sitting | None = None) -> bool:
    """Return to what the last decision replaced; twice is redo. False: there is nothing to undo."""
    checkpoint(sitting, draft)
    shown = draft.shown_progress()
    if shown.was is None:
        return False
    at, done, of = shown.was
    value = replace(shown, at=at, done=done, of=of, was=_replaced(shown))
    _record_decision(draft, Decision.UNDO, value, sitting=sitting)
    return True


def seek(
    draft: RecordDraft, at: int, *, of: int | None = None, sitting: Sitting | None = None
) -> None:
    """A position given by hand.

    More than one tolerance behind the shown place, or in what is finished: a rewind. Ahead: a
    continue that is a person's act. In between: nothing, as a continue never lowers a place.
    """
    check_place(at, of, draft.unit)
    checkpoint(sitting, draft)
    shown = draft.shown_progress()
    copy = of or shown.of
    place = shown.place.measured_in(copy, draft.unit)
    if shown.done or at < place - tolerance_in(copy, draft.unit):
        rewind(draft, at, of=of, sitting=sitting)
    elif at > place:
        hlc = draft.tick()
        progress = Progress(
            at=at,
            done=shown.done,
            of=copy,
            was=shown.was,
            knows=draft.merged_knows(),
            acts=with_act(draft, act_row(hlc, CONTINUE, at)),
        )
        draft.write(PROGRESS, progress.to_value(), hlc=hlc)
        draft.write(STATE, OPEN)
        goes_on_from(sitting, draft, progress, opened=True, told=of or 0)


def take(draft: RecordDraft, *, sitting: Sitting | None = None) -> Sitting:
    """Continue here: claim the session and begin a new sitting at the shown place.

    A finished session is restarted. If the shown place is another device's, or other values lose,
    it is adopted, a decision: what the old holder plays on unaware gives way to it. `sitting` is
    the one that this device had open; it ends.
    """
    checkpoint(sitting, draft)
    claim(draft)
    shown = draft.shown(PROGRESS)
    progress = draft.shown_progress()
    if progress.done:
        restart(draft)
    elif shown.losing or shown.log not in (None, draft.log):
        _record_decision(draft, Decision.ADOPT, progress)
    else:
        draft.write(STATE, OPEN)
    begun = begun_here(draft)
    begun.state_written = True
    return begun


def set_value(
    draft: RecordDraft, field: str, value: Any, *, sitting: Sitting | None = None
) -> None:
    """Write a value as a person's act, whatever the field; an open sitting goes on from it."""
    draft.write(field, value)
    if sitting is None or not sitting.begun:
        return
    sitting.coverage[field] = draft.covering(field)
    if field == PROGRESS:
        progress = parse_progress(value, draft.unit)
        goes_on_from(sitting, draft, progress or sitting.base, opened=False)


def _adoptable(draft: RecordDraft, log: LogId, act: int | None) -> tuple[Progress, Act | None]:
    slot = draft.field(PROGRESS).get(log)
    source = None if slot is None else parse_progress(slot.value, draft.unit)
    if source is None:
        raise NotFound("no progress of that device", hint="`presence session history` lists it.")
    if act is None:
        return source, None
    row = act_at(source.acts, act, draft.unit)
    if row is None:
        raise NotFound("no such act", hint="`presence session history` lists them.")
    return source, row


def _decide_told(
    draft: RecordDraft,
    decision: Decision,
    *,
    at: int | None,
    of: int | None,
    done: bool,
    sitting: Sitting | None,
) -> None:
    check_place(at, of, draft.unit)
    checkpoint(sitting, draft)
    shown = draft.shown_progress()
    value = replace(
        shown,
        at=shown.at if at is None else at,
        done=done,
        of=of or shown.of,
        was=_replaced(shown),
    )
    _record_decision(draft, decision, value, sitting=sitting, told=of or 0)


def _record_decision(
    draft: RecordDraft,
    decision: Decision,
    value: Progress,
    *,
    sitting: Sitting | None = None,
    told: int = 0,
) -> None:
    knows = draft.merged_knows()
    knows[draft.log_name] = min(knows.get(draft.log_name, 0) + 1, KNOWS_MAX)
    hlc = draft.tick()
    acts = with_act(draft, act_row(hlc, decision.value, value.at))
    progress = replace(value, knows=knows, acts=acts)
    draft.write(PROGRESS, progress.to_value(), hlc=hlc)
    opens = decision is not Decision.FINISH
    if opens:
        draft.write(STATE, OPEN)
    goes_on_from(sitting, draft, progress, opened=opens, told=told)


def _replaced(shown: Progress) -> tuple[int, bool, int]:
    return (shown.at, shown.done, shown.of)


def check_place(at: int | None, of: int | None, unit: Unit) -> None:
    """Raises `InvalidValue` for a place or size that a progress value cannot hold."""
    place = Place(at or 0, of or 0)
    at_max = INTEGER_MAX if unit is Unit.MS else READING_PLACE_MAX
    if not (0 <= place.at <= at_max and 0 <= place.of <= INTEGER_MAX):
        raise InvalidValue(
            "place out of range",
            hint="Positions are not negative; in reading the end is 1,000,000 parts per million.",
        )
