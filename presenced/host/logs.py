"""Logs on stderr: what happened, never what it was about.

Rules of this file: only the keys in `SAFE_KEYS` are written, whatever a caller passes, and only
plain short values; so a title, URI, name, code or key cannot reach a log by mistake. Under the
journal a line begins with its priority and carries no time of its own (sd-daemon(3)).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import MutableMapping
from functools import partial
from typing import Any, Final

from presenced.log import log

SAFE_KEYS: Final = frozenset(
    {
        "by_peer",
        "code",
        "collection",
        "count",
        "detail",
        "done",
        "errno",
        "error",
        "event",
        "kind",
        "left",
        "level",
        "log",
        "milliseconds",
        "peer",
        "port",
        "seconds",
        "signal",
        "timestamp",
        "total",
        "version",
        "where",
    }
)
"keys that say nothing of content; `detail` is our own wording of a protocol fault"

VALUE_CHARS_MAX: Final = 200
"a longer value is cut"

_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def only_safe_keys(
    _logger: Any, _method: str, fields: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Hide every field that is not known to be safe, and cut and flatten the rest."""
    shown: dict[str, Any] = {}
    for key, value in fields.items():
        if key not in SAFE_KEYS:
            shown[key] = "[hidden]"
        elif value is None or isinstance(value, bool | int | float):
            shown[key] = value
        else:
            shown[key] = "".join(
                char if char.isprintable() else "?" for char in str(value)[:VALUE_CHARS_MAX]
            )
    return shown


def _with_priority(_logger: Any, method: str, line: Any) -> str:
    return f"<{_PRIORITIES.get(method, 6)}>{line}"


def set_up_logs(level: str) -> None:
    """Say how this process logs. `level`: debug, info, warning or error."""
    log.before_first_line(partial(_configure, level))


def _configure(level: str) -> None:
    import structlog  # here: see `presenced.log`

    journal = bool(os.environ.get("JOURNAL_STREAM"))
    processors: list[Any] = [structlog.processors.add_log_level, only_safe_keys]
    if not journal:
        processors.insert(0, structlog.processors.TimeStamper(fmt="iso", utc=True))
    processors.append(
        structlog.processors.KeyValueRenderer(
            key_order=["event"] if journal else ["timestamp", "level", "event"], drop_missing=True
        )
    )
    if journal:
        processors.append(_with_priority)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
