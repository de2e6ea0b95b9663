"""How a command ends: one exit code per kind of outcome, and what to tell the person."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of `presence`. Others have not been promised."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_READY = 3
    "the daemon is not reachable, or nothing is set up yet"
    NOT_ALLOWED = 4
    NOT_FOUND = 5
    CONFLICT = 6
    NO_ANSWER = 7
    "not in time"
    FINDINGS = 8
    "done, and something needs attention"
    INTERRUPTED = 130


class Failure(Exception):
    """A command cannot be done. `next_step` is a sentence; `code` a stable word for scripts."""

    def __init__(
        self, detail: str, exit_code: Exit, *, next_step: str = "", code: str = "failed"
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.exit_code = exit_code
        self.next_step = next_step
        self.code = code


_EXITS = {
    400: Exit.USAGE,
    403: Exit.NOT_ALLOWED,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    413: Exit.USAGE,
    422: Exit.USAGE,
    504: Exit.NO_ANSWER,
}


def failure_of(problem: dict[str, object]) -> Failure:
    """The failure that a problem document (RFC 9457) of the daemon stands for."""
    code = str(problem.get("code", "failed"))
    status = problem.get("status")
    exit_code = _EXITS.get(status, Exit.FAILED) if isinstance(status, int) else Exit.FAILED
    if code == "not-set-up":
        exit_code = Exit.NOT_READY
    return Failure(
        str(problem.get("detail") or problem.get("title") or code),
        exit_code,
        next_step=str(problem.get("next_step", "")),
        code=code,
    )
