"""What the replica hands to the store and to the record layer: rows and results, no behaviour.

Rules of this file: values only. A row says what is to be on disk; an `Outcome` gathers the rows
of one call together with what changed, so that one transaction can hold all of it (DESIGN §5,
*Order on one device*). Rows made by the hundred thousand are named tuples: they are cheap.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from presenced.errors import PeerError
from presenced.ids import Collection, DeviceId, EntryHash, LogId, RecordId
from presenced.replica.hlc import Hlc
from presenced.replica.slot import Operation


class StoredEntry(NamedTuple):
    """One entry as it travels and lies on disk. `raw` omits what its position implies."""

    collection: Collection
    log: LogId
    seq: int
    "1 for the first entry of a log"
    hash: EntryHash
    raw: bytes


class LogHead(NamedTuple):
    """How far one log has come on this device. Replaces the row of the same (collection, log)."""

    collection: Collection
    log: LogId
    held_seq: int
    "last entry stored, waiting and quarantined ones included; 0: none"
    held_hash: EntryHash
    applied_seq: int
    "last entry accepted and applied to the document; 0: none"
    applied_hash: EntryHash
    clock_end: int
    "operations applied so far: the Yjs clock of the log's next one"
    base_seq: int
    "entries up to here came inside a snapshot and are not stored one by one; 0: none"
    fork_seq: int = 0
    "lowest seq at which two signed entries are known; 0: none"

    @property
    def forked(self) -> bool:
        return self.fork_seq > 0


class LogCut(NamedTuple):
    """An own log is taken back: entries from `first_seq` on go before new ones are written."""

    collection: Collection
    log: LogId
    first_seq: int


class OverlayRow(NamedTuple):
    """One unsent own edit. Replaces the row of the same (collection, map, record, field)."""

    collection: Collection
    map: str
    record: RecordId
    field: str
    hlc: Hlc
    value: bytes
    "canonical bytes (wire.encode)"
    seen: bytes
    "canonical bytes of a list of [log, seq] pairs sorted by log"
    generation: int


@dataclass(frozen=True, slots=True)
class BaseChunk:
    """One part of a document snapshot, sealed. All chunks of a collection are replaced at once."""

    collection: Collection
    index: int
    raw: bytes


class ForkProof(NamedTuple):
    """Two entries signed for one (log, seq): evidence to keep and show (DESIGN §3 *Forks*)."""

    collection: Collection
    log: LogId
    seq: int
    previous: EntryHash
    first: bytes
    "raw bytes of the entry held before"
    second: bytes


class AppliedEntry(NamedTuple):
    """An entry that was accepted and applied, with its operations (ids derived)."""

    log: LogId
    device: DeviceId
    seq: int
    operations: list[Operation]


class AlertKind(Enum):
    """What a person or a report should hear of. The value is its stable name."""

    CLOCK_AHEAD = "clock-ahead"
    "a remote clock is more than an hour ahead of ours"
    BROKEN_CONTENT = "broken-content"
    "a member signed an entry that breaks the rules; its log ends there"
    FORK = "fork"
    "two entries for one (log, seq): the device, or a copy of it, equivocates"
    OWN_LOG_AHEAD = "own-log-ahead"
    "a peer has entries of this very log that we lost: the disk was restored; they were taken back"
    OWN_LOG_DIVERGED = "own-log-diverged"
    "a peer has other entries of this very log than we have: a new incarnation is needed"
    DAY_LIMIT = "day-limit"
    "one device sent more than a day's bytes; its entries wait"
    BASE_STALE = "base-stale"
    "acceptance shrank below the snapshot this device started from: a new one is needed"


@dataclass(frozen=True, slots=True)
class Alert:
    kind: AlertKind
    log: LogId
    device: DeviceId | None
    detail: str = ""


@dataclass(slots=True)
class Outcome:
    """All that one call did. The caller commits the rows, then sends, then tells.

    `touched` names every record whose slots changed and the fields that changed in it. An
    operation instead of fields: the record is new here and that `core` is all there is of it.
    """

    cuts: list[LogCut] = field(default_factory=list)
    "entries to be dropped before `entries` are written; the heads stand in `heads`"
    entries: list[StoredEntry] = field(default_factory=list)
    heads: list[LogHead] = field(default_factory=list)
    overlay_put: list[OverlayRow] = field(default_factory=list)
    overlay_drop: int | None = None
    "drop overlay rows of this generation and older (after `overlay_put` is written)"
    base: list[BaseChunk] | None = None
    "replace the collection's base by these chunks; an empty list removes it"
    touched: dict[tuple[str, RecordId], frozenset[str] | Operation] = field(default_factory=dict)
    applied: list[AppliedEntry] = field(default_factory=list)
    "in the order of application; empty after a rebuild"
    faults: list[PeerError] = field(default_factory=list)
    "what the peer who sent this broke; good entries beside the bad ones are kept"
    forks: list[ForkProof] = field(default_factory=list)
    quarantined: int = 0
    "entries held that the rule of acceptance keeps out at the moment"
    rebuilt: bool = False
    "acceptance shrank: the document was built anew, every view of the collection is stale"
    adopted_from: DeviceId | None = None
    "the device whose snapshot this one started from"
    adopted_via: tuple[DeviceId, ...] = ()
    "the devices by whose unconfirmed word that device has it"
    taken: bytes | None = None
    "what was taken from each device today: replaces the row of the collection"
    paused: bool = False
    "a bound was reached and entries were not taken: ask the peer again later"
    alerts: list[Alert] = field(default_factory=list)

    def touch(self, root: str, record: RecordId, field: str) -> None:
        """One more field of a record changed."""
        before = self.touched.get((root, record), frozenset())
        if isinstance(before, Operation):
            before = frozenset({before.field})
        self.touched[root, record] = before | {field}
