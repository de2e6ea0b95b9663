"""The parameters that all lists share: `limit`, `after`, `state`."""

from __future__ import annotations

from collections.abc import Mapping

from presenced.local.limits import PAGE_ROWS_MAX
from presenced.local.problems import BadBody

ALL = "all"


def limit_of(query: Mapping[str, str]) -> int:
    """Rows of a page: what is asked, at most `PAGE_ROWS_MAX`. Raises `BadBody`."""
    text = query.get("limit", str(PAGE_ROWS_MAX))
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0):
        raise BadBody("limit is not a number", hint="Give a limit from 1 on.")
    return min(int(text), PAGE_ROWS_MAX)


def state_of(query: Mapping[str, str], *states: str, default: str | None) -> str | None:
    """The state asked for, None for `all`. Raises `BadBody`."""
    state = query.get("state")
    if state is None:
        return default
    if state == ALL:
        return None
    if state not in states:
        raise BadBody("no such state", hint=f"Use {', '.join(states)} or {ALL}.")
    return state
