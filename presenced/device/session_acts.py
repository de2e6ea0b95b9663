"""Acts on a session by name: which function of the record layer each one is.

Theory. A sitting is an open player. `take` begins one, `open` begins one without writing, `close`
ends it; every other act goes on from the open one, if there is one. Fields are written in the
order holder, progress, state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from presenced.device.edits import Act, SessionAct
from presenced.errors import InvalidValue
from presenced.presence import decisions, sessions
from presenced.presence.draft import RecordDraft
from presenced.presence.holder import set_phase
from presenced.presence.player import Report, ReportOutcome, offer, report
from presenced.presence.sitting import Sitting, begun_here, checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The sitting after the act (None: closed or none), and what a player should be told."""

    sitting: Sitting | None
    told: ReportOutcome | None = None


def perform_act(
    draft: RecordDraft, act: SessionAct, sitting: Sitting | None, *, mono_ms: int
) -> Done:
    """Carry out one act; its writes are in `draft`. Raises `CallerError`s."""
    return _ACTS[act.act](draft, act, sitting, mono_ms)


def _seek(draft: RecordDraft, act: SessionAct, sitting: Sitting | None, _mono_ms: int) -> Done:
    decisions.seek(draft, _place(act), of=act.size, sitting=sitting)
    return Done(sitting=sitting)


def _report(draft: RecordDraft, act: SessionAct, sitting: Sitting | None, mono_ms: int) -> Done:
    sitting = sitting or Sitting()
    said = Report(at=_place(act), of=act.size, played_ms=act.played_ms, stopped=act.stopped)
    return Done(sitting=sitting, told=report(draft, sitting, said, mono_ms=mono_ms))


def _open(draft: RecordDraft, act: SessionAct, sitting: Sitting | None, mono_ms: int) -> Done:
    decisions.check_place(None, act.size, draft.unit)
    checkpoint(sitting, draft, mono_ms=mono_ms)
    told = ReportOutcome(offered=offer(draft, act.size or 0))
    return Done(sitting=begun_here(draft, of=act.size), told=told)


def _close(draft: RecordDraft, _act: SessionAct, sitting: Sitting | None, mono_ms: int) -> Done:
    checkpoint(sitting, draft, mono_ms=mono_ms)
    return Done(sitting=None)


def _pause(draft: RecordDraft, act: SessionAct, sitting: Sitting | None, mono_ms: int) -> Done:
    set_phase(draft, "paused")
    if act.at is not None:
        decisions.seek(draft, act.at, of=act.size, sitting=sitting)
    checkpoint(sitting, draft, mono_ms=mono_ms)
    return Done(sitting=sitting)


def _resume(draft: RecordDraft, _act: SessionAct, sitting: Sitting | None, _mono_ms: int) -> Done:
    set_phase(draft, "active")
    return Done(sitting=sitting)


def _stop(draft: RecordDraft, _act: SessionAct, sitting: Sitting | None, mono_ms: int) -> Done:
    set_phase(draft, "free")
    checkpoint(sitting, draft, mono_ms=mono_ms)
    return Done(sitting=None)


def _finish(draft: RecordDraft, act: SessionAct, sitting: Sitting | None, _mono_ms: int) -> Done:
    decisions.finish(draft, at=act.at, of=act.size, sitting=sitting)
    return Done(sitting=sitting)


def _unfinish(draft: RecordDraft, act: SessionAct, sitting: Sitting | None, _mono_ms: int) -> Done:
    decisions.unfinish(draft, at=act.at, of=act.size, sitting=sitting)
    return Done(sitting=sitting)


def _restart(draft: RecordDraft, act: SessionAct, sitting: Sitting | None, _mono_ms: int) -> Done:
    decisions.restart(draft, of=act.size, sitting=sitting)
    return Done(sitting=sitting)


def _rewind(draft: RecordDraft, act: SessionAct, sitting: Sitting | None, _mono_ms: int) -> Done:
    decisions.rewind(draft, act.at, of=act.size, sitting=sitting)
    return Done(sitting=sitting)


def _undo(draft: RecordDraft, _act: SessionAct, sitting: Sitting | None, _mono_ms: int) -> Done:
    decisions.undo(draft, sitting=sitting)
    return Done(sitting=sitting)


def _end(draft: RecordDraft, _act: SessionAct, sitting: Sitting | None, mono_ms: int) -> Done:
    set_phase(draft, "free")
    checkpoint(sitting, draft, mono_ms=mono_ms)
    sessions.end(draft, sitting=sitting)
    return Done(sitting=None)


def _reopen(draft: RecordDraft, _act: SessionAct, sitting: Sitting | None, _mono_ms: int) -> Done:
    sessions.reopen(draft, sitting=sitting)
    return Done(sitting=sitting)


def _take(draft: RecordDraft, _act: SessionAct, sitting: Sitting | None, _mono_ms: int) -> Done:
    return Done(sitting=decisions.take(draft, sitting=sitting))


def _adopt(draft: RecordDraft, act: SessionAct, sitting: Sitting | None, _mono_ms: int) -> Done:
    if act.log is None:
        raise InvalidValue("whose place?", hint="`presence session history` lists them.")
    decisions.adopt(draft, act.log, act=act.row, sitting=sitting)
    return Done(sitting=sitting)


def _place(act: SessionAct) -> int:
    if act.at is None:
        raise InvalidValue("no position given", hint="Say where, with --position.")
    return act.at


_ACTS: Final[dict[Act, Callable[[RecordDraft, SessionAct, Sitting | None, int], Done]]] = {
    Act.SEEK: _seek,
    Act.REPORT: _report,
    Act.OPEN: _open,
    Act.CLOSE: _close,
    Act.PAUSE: _pause,
    Act.RESUME: _resume,
    Act.STOP: _stop,
    Act.FINISH: _finish,
    Act.UNFINISH: _unfinish,
    Act.RESTART: _restart,
    Act.REWIND: _rewind,
    Act.UNDO: _undo,
    Act.END: _end,
    Act.REOPEN: _reopen,
    Act.TAKE: _take,
    Act.ADOPT: _adopt,
}
