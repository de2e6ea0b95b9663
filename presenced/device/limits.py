"""Bounds of the device machine."""

from __future__ import annotations

from typing import Final

DEBTS_AT_ONCE_MAX: Final = 256
"statements signed for one collection in a row; each makes the debt smaller, so it is never met"

EDITS_PER_COMMIT_MAX: Final = 10_000
"edits that one commit takes; more wait for the next"

EARLY_MESSAGES_MAX: Final = 4
"sync messages of one collection kept until our side has begun; a peer sends its frontier only"

RESUME_MS: Final = 10_000
"after entries were not taken for lack of room, milliseconds until we ask again"

RECOVER_MS: Final = 10_000
"how long a peer may send nothing of what it says it has of our own log; then we go on without"

SNAPSHOT_KEPT_MS: Final = 600_000
"milliseconds for which a snapshot that was made is given again: a household's devices join at once"

SNAPSHOTS_GIVEN_MS: Final = 3_600_000
"milliseconds in which one device gets at most `SNAPSHOTS_GIVEN_MAX` snapshots"

SNAPSHOTS_GIVEN_MAX: Final = 12
"snapshots for one device in `SNAPSHOTS_GIVEN_MS`: each collection four times; then it gets entries"

GUEST_TRIALS_MAX: Final = 16
"times that the statements of a link that is no member's are resolved; an honest one needs two"

LATE_STATEMENTS_MAX: Final = 64
"statements of a removed device, beyond what its removals had seen, that are taken from itself"

ALERTS_MAX: Final = 100
"alerts kept in words; the oldest goes"

CROSSED_DIALS_MS: Final = 5_000
"links to one device that came up within this time were dialled from both sides at once"
