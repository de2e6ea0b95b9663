"""Taking a value that lost: what `resolve` does.

A person's act that covers all that is applied here: progress is adopted (a decision), anything
else is written again under the own log, so the difference ends wherever it arrives.
"""

from __future__ import annotations

from presenced.errors import Conflict, NotFound
from presenced.ids import LogId
from presenced.presence.decisions import adopt, set_value
from presenced.presence.draft import RecordDraft
from presenced.presence.fields import CORE, HOLDER, PROGRESS, SESSION_MAP, spec_of
from presenced.presence.holder import claim
from presenced.presence.sitting import Sitting


class NotRestorable(Conflict):
    """A value that cannot be taken from this device."""

    code = "not-restorable"


def take_value(
    draft: RecordDraft,
    field: str,
    log: LogId,
    *,
    act: int | None = None,
    sitting: Sitting | None = None,
) -> None:
    """Show the value that `log` holds in a field; for progress `act` may name a row of its history.

    Raises `NotFound` if that log holds none, `NotRestorable` if this version cannot read it or if
    it is another device's claim.
    """
    if draft.map == SESSION_MAP and field == PROGRESS:
        adopt(draft, log, act=act, sitting=sitting)
        return
    slot = draft.field(field).get(log)
    if slot is None:
        raise NotFound("no value of that device", hint="`presence summary` lists the values.")
    if not spec_of(draft.map, field).readable(slot.value, draft.unit):
        raise NotRestorable("not readable", hint="Use the device that wrote it; it is newer.")
    if draft.map == SESSION_MAP and field == HOLDER:
        if log != draft.log:
            raise NotRestorable(
                "another device's claim", hint="Run `presence continue` on that device."
            )
        claim(draft)
        return
    value = slot.value
    if field == CORE:
        value = dict(sorted({**draft.shown(CORE).value, **value}.items()))
    set_value(draft, field, value, sitting=sitting)


def is_restorable(draft_map: str, field: str, *, readable: bool, own: bool) -> bool:
    """Whether `take_value` would take a losing value; `own`: it is this device's."""
    claims = draft_map == SESSION_MAP and field == HOLDER
    return readable and (own or not claims)
