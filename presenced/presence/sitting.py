"""A sitting: one player on one session, from when it opens to when it closes.

Rules of this file:
1. opening writes nothing;
2. a sitting's automatic writes cover what it began from, never what arrived meanwhile;
3. a continue never lowers a place;
4. before ten seconds of play a sitting writes nothing by itself.

Theory. A sitting that loaded the place offered (or whose first report lies close enough to it)
*began there*: it goes on from the shown value and covers what was applied at that moment. Any
other is a *stale player*: it goes on in its own log's branch and covers nothing new. A person's
act on the same record moves an open sitting: it goes on from that act, covering what it covers.

Source: RULES, Progress, When (`docs/spec/rules.md`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from presenced.presence.draft import Coverage, RecordDraft
from presenced.presence.fields import HOLDER, OPEN, PROGRESS, STATE
from presenced.presence.holder import Standing, standing
from presenced.presence.limits import ACTS_MAX
from presenced.presence.progress import BEGINNING, Place, Progress, Unit, page_ppm
from presenced.replica.hlc import Hlc, hlc_ms

FIRST_WRITE_PLAYED_MS: Final = 10_000
"milliseconds of play before a sitting's first automatic write: a glance is no progress"

CONTINUE: Final = "continue"
"kind of an act that only moves the place forward"


@dataclass(slots=True, kw_only=True)
class Sitting:
    """What an open player goes on from. Made by `Sitting()` or `begun_here`; moved by its acts."""

    begun: bool = False
    "whether it is known what it began from; a player that loaded nothing has yet to report"
    stale: bool = False
    "it did not begin at the place offered: it stays in its own branch"
    base: Progress = BEGINNING
    "the value it goes on from, `knows` of everything it covers merged in"
    coverage: dict[str, Coverage] = field(default_factory=dict)
    "per field what its automatic writes cover"
    furthest: Place | None = None
    "furthest place offered or reported since the last act of a person"
    told_copy: int = 0
    "size of the copy it plays, once told"
    played_ms: int = 0
    "time played since it opened"
    pending: Place | None = None
    "a place ahead of `base` that is not written yet"
    written_mono_ms: int | None = None
    "when it last wrote, by the monotonic clock"
    row: list[Any] | None = None
    "the row of `acts` that its continues share"
    state_written: bool = False
    "whether it, or a person's act in it, has written that the session is open"

    @property
    def copy(self) -> int:
        """Size of the copy played: as told, else that of the value it goes on from."""
        return self.told_copy or self.base.of


def begun_here(draft: RecordDraft, *, of: int | None = None) -> Sitting:
    """A player that loads the place offered now, in its copy of size `of`. Writes nothing."""
    sitting = Sitting(told_copy=of or 0)
    begin_at_offered(sitting, draft)
    return sitting


def begin_at_offered(sitting: Sitting, draft: RecordDraft) -> None:
    """The sitting begins from the shown value and all that is applied now."""
    shown = draft.shown_progress()
    sitting.begun = True
    sitting.base = replace(shown, knows=draft.merged_knows())
    sitting.coverage = {name: draft.covering(name) for name in (HOLDER, PROGRESS, STATE)}
    sitting.furthest = shown.place


def begin_in_own_branch(sitting: Sitting, draft: RecordDraft) -> None:
    """A stale player: it goes on from the own log's value and covers what that covers."""
    sitting.begun = True
    sitting.stale = True
    sitting.base = draft.own_progress()
    sitting.coverage = {HOLDER: {}, PROGRESS: {}, STATE: {}}


def goes_on_from(
    sitting: Sitting | None, draft: RecordDraft, progress: Progress, *, opened: bool, told: int = 0
) -> None:
    """A person acted: the open sitting goes on from that act, covering what it covers.

    `opened`: the act wrote that the session is open. `told`: size of the copy if the act told it.
    """
    if sitting is None:
        return
    sitting.begun = True
    sitting.stale = False
    sitting.base = progress
    sitting.coverage[PROGRESS] = draft.covering(PROGRESS)
    sitting.furthest = progress.place
    sitting.told_copy = told or sitting.told_copy
    sitting.pending = None
    sitting.row = None
    if opened:
        sitting.coverage[STATE] = draft.covering(STATE)
        sitting.state_written = True


def note_place(sitting: Sitting, at: int, unit: Unit) -> None:
    """Remember a reported place if it is ahead of what is written (reading: by half a page)."""
    copy = sitting.copy
    ahead = at - sitting.base.place.measured_in(copy, unit)
    moved = ahead > 0 if unit is Unit.MS else 2 * ahead > page_ppm(copy)
    sitting.pending = Place(at, copy) if moved else None


def checkpoint(sitting: Sitting | None, draft: RecordDraft, *, mono_ms: int | None = None) -> None:
    """Write the place reached, if the sitting may and has moved forward.

    Called at pause, stop, sleep, hand-off, link-up (before remote entries are applied), before a
    decision, and when `player.report` finds that it is time.
    """
    if sitting is None or sitting.pending is None or sitting.played_ms < FIRST_WRITE_PLAYED_MS:
        return
    if standing(draft).standing in (Standing.OVERTAKEN, Standing.VACANT):
        return
    place, sitting.pending = sitting.pending, None
    hlc = draft.tick()
    row = act_row(hlc, CONTINUE, place.at)
    progress = replace(
        sitting.base,
        at=place.at,
        of=place.of,
        acts=with_act(draft, row, sharing=sitting.row),
    )
    covering = sitting.coverage.get(PROGRESS, {})
    draft.write(PROGRESS, progress.to_value(), hlc=hlc, covering=covering)
    sitting.base = progress
    sitting.row = row
    sitting.written_mono_ms = mono_ms
    if not sitting.state_written:
        draft.write(STATE, OPEN, covering=sitting.coverage.get(STATE, {}))
        sitting.state_written = True


def with_act(draft: RecordDraft, row: list[Any], *, sharing: Any = None) -> tuple[Any, ...]:
    """The own acts with one more row, or with the row in place of the one it shares."""
    acts = draft.own_progress().acts
    if sharing is not None and acts and acts[-1] == sharing:
        acts = acts[:-1]
    return (*acts, row)[-ACTS_MAX:]


def act_row(hlc: Hlc, kind: str, at: int) -> list[Any]:
    """One row of `acts`: the time as the writing device saw it, what was done, the place."""
    return [hlc_ms(hlc), kind, at]
