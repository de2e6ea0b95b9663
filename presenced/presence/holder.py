"""Who holds a session: numbered claims, so that a stale stop cannot end what was taken over.

Rules of this file: the highest number known wins; pausing, resuming and stopping keep the own
number; a device whose own claim lost to one it has applied writes nothing for its player.

Source: RULES, Hand-off (`docs/spec/rules.md`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

from presenced.ids import LogId
from presenced.presence.draft import Coverage, RecordDraft
from presenced.presence.fields import CLAIM_MAX, HOLDER

Phase = Literal["active", "paused", "free"]


class Standing(Enum):
    """What became of the own claim."""

    NO_CLAIM = auto()
    HELD = auto()
    OVERTAKEN = auto()
    "another claim that is applied here won, and is in use"
    VACANT = auto()
    "another claim won, but is free by now: a playing device claims anew"


@dataclass(frozen=True, slots=True)
class ClaimStanding:
    standing: Standing
    holder: LogId | None
    "whose claim wins"


def standing(draft: RecordDraft) -> ClaimStanding:
    """What became of the own claim, by all that is applied here."""
    shown = draft.shown(HOLDER)
    if draft.log not in draft.claims():
        return ClaimStanding(Standing.NO_CLAIM, shown.log)
    if shown.log == draft.log:
        return ClaimStanding(Standing.HELD, shown.log)
    free = shown.log is not None and shown.value[1] == "free"
    return ClaimStanding(Standing.VACANT if free else Standing.OVERTAKEN, shown.log)


def claim(draft: RecordDraft, *, covering: Coverage | None = None) -> None:
    """Claim the session: one more than the highest number known, live or covered.

    `covering`: as in `RecordDraft.write`; a person's act leaves it out.
    """
    highest = max((number for number, _ in draft.claims().values()), default=0)
    draft.write(HOLDER, [min(highest + 1, CLAIM_MAX), "active"], covering=covering)


def set_phase(draft: RecordDraft, phase: Phase) -> None:
    """Rewrite the phase under the own number. Nothing without a claim, or after it lost."""
    if standing(draft).standing is Standing.HELD:
        draft.write(HOLDER, [draft.claims()[draft.log][0], phase])
