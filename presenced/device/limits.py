"""Bounds of the device machine."""

from __future__ import annotations

from typing import Final

DEBTS_AT_ONCE_MAX: Final = 256
"statements signed for one collection in a row; each makes the debt smaller, so it is never met"

EDITS_PER_REQUEST_MAX: Final = 1_000
"edits of one request"

REQUESTS_PER_COMMIT_MAX: Final = 10_000
"edits that one commit takes; more wait for the next"
