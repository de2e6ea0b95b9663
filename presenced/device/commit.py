"""What one transaction holds, and what the device machine reads: the seam to the store.

Rules of this file: values only. A `Commit` is everything that must become true together; the
reader answers from committed state only, synchronously.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from presenced.ids import Collection, RecordId, StatementId
from presenced.presence.summary import SummaryRow
from presenced.presence.views import FollowRow, SessionRow
from presenced.replica.rows import ForkProof, LogCut, LogHead, OverlayRow, StoredEntry
from presenced.replica.seams import ReplicaReader


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSummary:
    """What happened while this device was away, once: replaces the one before."""

    ended_ms: int
    "when it had caught up, by its own clock"
    rows: tuple[SummaryRow, ...]
    more: int
    "changes beyond the bound, counted only"


@dataclass(slots=True, kw_only=True)
class Commit:
    """Rows of one transaction. Empty fields change nothing."""

    statements: list[tuple[StatementId, bytes]] = field(default_factory=list)
    cuts: list[LogCut] = field(default_factory=list)
    "entries that go before `entries` are written"
    entries: list[StoredEntry] = field(default_factory=list)
    "each is new, and its log has a head in this commit or in an earlier one"
    heads: list[LogHead] = field(default_factory=list)
    "each replaces the row of its (collection, log)"
    overlay_put: list[OverlayRow] = field(default_factory=list)
    overlay_drop: dict[Collection, int] = field(default_factory=dict)
    "rows of this generation and older go, after `overlay_put` is written"
    base: dict[Collection, list[bytes]] = field(default_factory=dict)
    "replaces all chunks of the collection's base"
    forks: list[ForkProof] = field(default_factory=list)
    views_reset: set[Collection] = field(default_factory=set)
    "all view rows of the collection go before the new ones are written"
    follows: list[FollowRow] = field(default_factory=list)
    sessions: list[SessionRow] = field(default_factory=list)
    summary: StoredSummary | None = None
    meta: dict[str, bytes | None] = field(default_factory=dict)
    "None deletes"


ListOrder = Literal["added", "title", "updated"]
"""`added`: as this device learned of them, the cheapest order for a whole list; `title`: without
regard to case (ASCII); `updated`: newest change first."""

PAGE_ROWS_MAX: Final = 1_000
"rows of one page; a query for more gets this many"


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowQuery:
    """Which follows. None does not restrict. `after` is the `next` of a page of the same order."""

    state: str | None = "followed"
    kind: str | None = None
    tag: str | None = None
    text: str | None = None
    "part of title or URI, without regard to case"
    conflicts_only: bool = False
    order: ListOrder = "added"
    limit: int = PAGE_ROWS_MAX
    after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionQuery:
    """Which sessions. None does not restrict. `after` is the `next` of a page of the same order."""

    state: str | None = None
    kind: str | None = None
    text: str | None = None
    "part of title or URI, without regard to case"
    conflicts_only: bool = False
    order: ListOrder = "updated"
    limit: int = PAGE_ROWS_MAX
    after: str | None = None


@dataclass(frozen=True, slots=True)
class FollowPage:
    rows: Sequence[FollowRow]
    next: str | None
    "opaque, and as private as the rows; None on the last page"


@dataclass(frozen=True, slots=True)
class SessionPage:
    rows: Sequence[SessionRow]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How much there is."""

    follows: int
    "followed now"
    sessions: int
    "open now"
    conflicts: int
    "records with a field that asks the person"
    unsent: int
    "overlay rows"


class StoreReader(ReplicaReader, Protocol):
    """Committed state, read synchronously."""

    def statements(self) -> Sequence[bytes]: ...

    def meta(self, key: str, /) -> bytes | None: ...

    def follows(self, query: FollowQuery, /) -> FollowPage:
        """Raises `CallerError` for a cursor that is not one."""
        ...

    def follow(self, record: RecordId, /) -> FollowRow | None: ...

    def sessions(self, query: SessionQuery, /) -> SessionPage: ...

    def session(self, record: RecordId, /) -> SessionRow | None: ...

    def sessions_like(self, prefix: bytes, uri: str, /) -> Sequence[SessionRow]:
        """Sessions whose id begins with `prefix` (if not empty) or whose URI or alias is `uri`."""
        ...

    def known(self, map_name: str, records: Iterable[RecordId], /) -> set[RecordId]:
        """Those of the records that have a row (`follow` or `session`)."""
        ...

    def counts(self) -> Counts: ...

    def summary(self) -> StoredSummary | None: ...
