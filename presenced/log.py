"""The log. structlog is imported when the first line is written.

Why late: structlog and what it brings (asyncio; rich, where that is installed) take a seventh of a
start, and a start that goes well has nothing to say before it is ready.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Log:
    """Lines about what happened, each with fields; where they go, `host.logs` says."""

    def __init__(self) -> None:
        self._set_up: Callable[[], None] | None = None
        self._lock = threading.Lock()

    def before_first_line(self, set_up: Callable[[], None]) -> None:
        """Call this before the next line is written, whichever thread writes it."""
        self._set_up = set_up

    def info(self, event: str, **fields: object) -> None:
        self.prepared().info(event, **fields)

    def warning(self, event: str, **fields: object) -> None:
        self.prepared().warning(event, **fields)

    def error(self, event: str, **fields: object) -> None:
        self.prepared().error(event, **fields)

    def prepared(self) -> Any:
        """structlog's logger, imported and set up."""
        import structlog

        with self._lock:
            if self._set_up is not None:
                self._set_up()
                self._set_up = None
        return structlog.get_logger()


log = Log()
