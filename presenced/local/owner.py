"""What the owner API needs from the daemon: one small Protocol per resource.

Rules of this file:
1. values are the rooms' own types (raw ids, integer milliseconds, rows of the record layer); what
   the API shows (seconds, RFC 3339 times, 26-character ids) is made in `shown`, in one place;
2. plain functions read committed state and return at once, async ones may load or wait;
3. an edit that returned is on disk;
4. errors are `CallerError`s and `HostError`s; the edge turns them into problems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeVar

from presenced.device.beginnings import Standing
from presenced.device.edits import Edit, EditResult
from presenced.ids import Collection, DeviceId, LogId, RecordId
from presenced.local.events import EventHub
from presenced.local.progress import PairingProgress
from presenced.presence.history import HistoryRow
from presenced.presence.summary import Summary
from presenced.presence.views import FollowRow, SessionRow

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Row]):
    """Some rows of a list, and where the next ones begin."""

    rows: Sequence[Row]
    next: str | None = None
    "opaque; pass it as `after`. None: these were the last"


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowQuery:
    """Which follows. None does not restrict. At most `limit` rows, after the cursor `after`."""

    limit: int
    after: str | None = None
    state: str | None = "followed"
    kind: str | None = None
    tag: str | None = None
    text: str | None = None
    "part of the title or URI, whatever its case"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionQuery:
    """Which sessions. None does not restrict. At most `limit` rows, after the cursor `after`."""

    limit: int
    after: str | None = None
    state: str | None = "open"
    text: str | None = None


class Records(Protocol):
    """Follows and sessions: edits and committed rows."""

    async def edit(self, edits: Sequence[Edit]) -> list[EditResult]:
        """Carry out all of them, or none; returns when they are on disk."""
        ...

    def follows(self, query: FollowQuery) -> Page[FollowRow]: ...

    def follow(self, record: RecordId) -> FollowRow | None: ...

    def sessions(self, query: SessionQuery) -> Page[SessionRow]: ...

    def session(self, record: RecordId) -> SessionRow | None: ...

    async def history(self, record: RecordId) -> Sequence[HistoryRow]:
        """Acts of a session, newest first. Raises `NotFound`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceFacts:
    """What a device said of itself, and what was made of it."""

    status: str
    "affirming, warning, contraindicated or none"
    reason: str = ""
    claims: Sequence[tuple[str, str, str]] = ()
    "name, value, what it rests on (`software-only`)"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """One device of the space."""

    device: DeviceId
    name: str
    fingerprint: str
    own: bool
    active: bool
    linked: bool
    collections: Sequence[Collection] = ()
    added_by: DeviceId | None = None
    "None: added by the root key"
    last_seen_ms: int | None = None
    evidence: EvidenceFacts | None = None


class Devices(Protocol):
    """Who belongs to the space."""

    def devices(self) -> Sequence[DeviceFacts]:
        """Own device first, then by seniority; removed ones last."""
        ...

    def device_of(self, log: LogId) -> DeviceId | None: ...


class Recaps(Protocol):
    """The offline summary."""

    async def summary(self) -> Summary: ...

    async def seen(self) -> None:
        """A person has read it: what changed is told, contested fields stay."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Founded:
    """A new identity. The phrase is a secret: shown once."""

    identity: str
    device: DeviceId
    phrase: str = field(repr=False)


class Setup(Protocol):
    """The identity of this home, and its recovery phrase."""

    async def init(self, name: str) -> Founded:
        """Raises `Conflict` if there is an identity already."""
        ...

    async def phrase(self) -> str | None:
        """The 24 words while they are not confirmed, else None."""
        ...

    async def confirm_phrase(self, words: Mapping[int, str]) -> None:
        """Two words by position (from 1). Raises `NotAllowed` if they are wrong.

        Erases the phrase from this device.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingRequest:
    """Begin an enrolment. `code` None: this device shows one, else it enters this one."""

    role: Literal["sponsor", "joiner"]
    code: str | None = field(default=None, repr=False)
    peers: Sequence[tuple[str, int]] = ()
    "where to dial, besides what is found on the network"
    name: str | None = None
    "joiner: what this device will be called"


class Pairing(Protocol):
    """One enrolment at a time; what happens is told through its `PairingProgress`."""

    async def begin(self, request: PairingRequest) -> PairingProgress:
        """Raises `Conflict` while another one runs, `NotSetUp` for a sponsor without identity."""
        ...

    def current(self) -> PairingProgress | None:
        """The running or the last one."""
        ...

    async def approve(self) -> None: ...

    async def refuse(self) -> None: ...

    async def cancel(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFacts:
    """One authenticated link."""

    device: DeviceId
    address: str
    inbound: bool
    since_ms: int
    in_sync: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """Entries that are not where they should be yet."""

    unsent: int = 0
    "own entries that no other device has acknowledged"
    waiting: int = 0
    "received, waiting for their past, a statement or a key"
    quarantined: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Something that takes longer than a second."""

    kind: str
    "import, first-sync, catch-up, rebuild, migration"
    done: int
    total: int | None = None
    unit: str = "edits"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFacts:
    """A collection that began here with another device's snapshot."""

    collection: Collection
    sponsor: DeviceId
    state: Standing
    confirmer: DeviceId | None
    against: Sequence[DeviceId]
    "devices that have other content at the same point"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusFacts:
    """The state of this daemon. Without an identity `identity` and `device` are None."""

    identity: str | None
    device: DeviceId | None
    name: str | None
    port: int
    addresses: Sequence[str]
    key_protection: str
    "where the database key is kept, in words"
    phrase_unconfirmed: bool
    links_held_down: bool
    digests: Mapping[Collection, bytes]
    links: Sequence[LinkFacts]
    pending: Pending
    follows: int
    sessions: int
    conflicts: int
    "fields that ask the person"
    work: Sequence[Work] = ()
    alerts: Sequence[str] = ()
    snapshots: Sequence[SnapshotFacts] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding of a self-check."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    next_step: str = ""


class Machine(Protocol):
    """The daemon itself."""

    async def status(self) -> StatusFacts: ...

    async def doctor(self) -> Sequence[Check]: ...

    async def hold_links(self, *, down: bool) -> None:
        """Close all links and keep them closed, or let them come back."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Everything the owner API serves; one object may stand for several Protocols."""

    records: Records
    devices: Devices
    recaps: Recaps
    setup: Setup
    pairing: Pairing
    machine: Machine
    events: EventHub
