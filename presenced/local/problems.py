"""Errors of every room as RFC 9457 problems: the one place where they are translated.

Rules of this file: an error that nobody foresaw becomes a bare 500; what it said stays here, since
it may quote a title or a URI.
"""

from __future__ import annotations

import traceback
from typing import Final

import msgspec

from presenced.errors import CallerError, HostError, LimitExceeded, PeerError, PresenceError
from presenced.local.model import Problem
from presenced.log import log

PEER_STATUS: Final = 502
_TRACE_LINES: Final = 6


class BadBody(CallerError):
    """A request body that is not what the API understands."""

    code = "bad-request"
    hint = "The fields of each request are described in /v1/openapi.json."


class BodyTooLarge(CallerError):
    code = "too-large"
    status = 413


class NoSuchPath(CallerError):
    code = "no-such-path"
    status = 404
    hint = "The paths are described in /v1/openapi.json."


class WrongMethod(CallerError):
    code = "wrong-method"
    status = 405


def map_errors(error: Exception) -> Problem:
    """The problem of an error. Logs what is nobody's request."""
    match error:
        case CallerError() | HostError():
            status = error.status
        case LimitExceeded():
            status = BodyTooLarge.status
        case PeerError():
            status = PEER_STATUS
        case PresenceError():
            status = 500
        case msgspec.ValidationError():
            return map_errors(BadBody(str(error)))
        case msgspec.DecodeError() | UnicodeDecodeError():
            return map_errors(BadBody("not JSON", hint="Send UTF-8 JSON."))
        case _:
            log.error("request failed", error=type(error).__name__, where=frames_of(error))
            return Problem(
                status=500,
                code="internal",
                title="internal error",
                next_step="This is a fault of presenced; its log names the place.",
            )
    if isinstance(error, HostError):
        log.warning("host error", code=error.code)
    return Problem(
        status=status,
        code=error.code,
        title=error.code.replace("-", " "),
        detail=error.detail,
        next_step=error.hint,
    )


def frames_of(error: Exception) -> list[str]:
    """Files and lines of the innermost frames: no message, no value."""
    frames = traceback.extract_tb(error.__traceback__)[-_TRACE_LINES:]
    return [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames]
