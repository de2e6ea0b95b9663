"""Statements of one link that wait for heads which have not come.

Invariant: bounded in number and bytes; what does not fit is refused, never dropped in silence.
"""

from __future__ import annotations

from presenced.errors import LimitExceeded
from presenced.ids import StatementId
from presenced.trust.limits import SYNC_WAITING_BYTES_MAX, SYNC_WAITING_MAX
from presenced.trust.statement import Statement


class StatementBuffer:
    """Waiting statements, by what they wait for."""

    def __init__(self) -> None:
        self._waiting: dict[StatementId, Statement] = {}
        self._waiters: dict[StatementId, list[StatementId]] = {}
        self._bytes = 0

    def __contains__(self, id_: StatementId) -> bool:
        return id_ in self._waiting

    def add(self, statement: Statement, lacking: list[StatementId]) -> None:
        """Keep a statement until one of the heads it lacks comes. Raises `LimitExceeded`."""
        if len(self._waiting) >= SYNC_WAITING_MAX:
            raise LimitExceeded("SYNC_WAITING_MAX")
        if self._bytes + len(statement.raw) > SYNC_WAITING_BYTES_MAX:
            raise LimitExceeded("SYNC_WAITING_BYTES_MAX")
        self._waiting[statement.id] = statement
        self._bytes += len(statement.raw)
        self._waiters.setdefault(lacking[0], []).append(statement.id)

    def release(self, head: StatementId) -> list[Statement]:
        """Take out what waited for a head; each may still lack others."""
        released = [self._waiting.pop(one) for one in self._waiters.pop(head, ())]
        self._bytes -= sum(len(one.raw) for one in released)
        return released

    @property
    def missing(self) -> list[StatementId]:
        """The heads waited for that do not wait themselves, sorted."""
        return sorted(head for head in self._waiters if head not in self._waiting)
