"""What `resolve` says of a statement: it counts, or it is void, with a reason and the blame."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from presenced.ids import StatementId


class Reason(StrEnum):
    """Why a statement is void; given in this order (MEMBERSHIP §1, §3)."""

    UNADMITTED = "unadmitted"
    "no admission of its author in its past"
    SHAPE = "shape"
    "its body names what is not in its past or not allowed there"
    HANGS = "hangs"
    "every admission of its author in its past is void"
    REMOVED = "removed"
    "its author was removed by a removal that does not have it in its past"
    DEAD = "dead"
    "it grants to a device whose removal it has seen"
    READER = "reader"
    "its author may not have the collection"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason` is None for what counts (of a removal: what stands)."""

    reason: Reason | None
    blame: frozenset[StatementId] = frozenset()
    "the standing removals that make it void"

    @property
    def counts(self) -> bool:
        return self.reason is None


COUNTS: Final = Verdict(None)
