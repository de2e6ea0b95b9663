"""What the owner API says and understands, as msgspec Structs.

Rules of this file: snake_case; durations and positions are seconds as numbers (a place in a text is
a fraction of it, 0 to 1); times are RFC 3339 in UTC; ids are 26 characters; a field is only ever
added. Requests refuse fields that they do not know, so that a slip of the pen is seen.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct, field

Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=9_007_199_254_740)]
"a position or duration; as milliseconds it stays below 2**53"

Fraction: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
"how far into a text"

Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class Request(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op", rename=None
):
    """Something asked."""


class Answer(Struct, frozen=True, kw_only=True):
    """Something told."""


# --- edits ---


class Follow(Request, frozen=True, tag="follow"):
    uri: str
    title: str | None = None
    kind: str = "feed"
    tags: list[str] = field(default_factory=list)
    notify: str | None = None


class Unfollow(Request, frozen=True, tag="unfollow"):
    uri: str


class ChangeFollow(Request, frozen=True, tag="change_follow"):
    uri: str
    title: str | None = None
    "empty: the original one again"
    notify: str | None = None
    tags_on: list[str] = field(default_factory=list)
    tags_off: list[str] = field(default_factory=list)


class StartSession(Request, frozen=True, tag="start_session"):
    uri: str
    title: str | None = None
    kind: str = "media"
    duration: Seconds | None = None
    pages: Count | None = None
    position: Seconds | None = None
    place: Fraction | None = None
    aliases: list[str] = field(default_factory=list)


SessionActName: TypeAlias = Literal[
    "seek",
    "report",
    "open",
    "close",
    "pause",
    "resume",
    "stop",
    "finish",
    "unfinish",
    "restart",
    "rewind",
    "undo",
    "end",
    "reopen",
    "take",
    "adopt",
]


class SessionAct(Request, frozen=True, tag="session_act"):
    session: str
    "an id"
    act: SessionActName
    position: Seconds | None = None
    place: Fraction | None = None
    duration: Seconds | None = None
    pages: Count | None = None
    played: Seconds = 0
    "report: seconds played since the last one"
    stopped: bool = False
    log: str | None = None
    "adopt: whose place"
    row: Count | None = None
    "adopt: `row` of the history"


class ChangeSession(Request, frozen=True, tag="change_session"):
    session: str
    title: str | None = None
    speed: Annotated[float, Meta(ge=0, le=1_000)] | None = None
    "1 is the speed of the work itself"
    aliases_on: list[str] = field(default_factory=list)
    aliases_off: list[str] = field(default_factory=list)


class ResolveField(Request, frozen=True, tag="resolve"):
    map: str
    record: str
    field: str
    log: str


class NameDevice(Request, frozen=True, tag="name_device"):
    name: str


Edit: TypeAlias = (
    Follow
    | Unfollow
    | ChangeFollow
    | StartSession
    | SessionAct
    | ChangeSession
    | ResolveField
    | NameDevice
)


class EditDone(Answer, frozen=True):
    """What became of one edit, in the order asked."""

    map: str
    id: str
    written: bool
    "false: it was so already"
    overtaken_by: str | None = None
    "report: the device that took over; pause"
    stale: bool = False
    "report: the player goes on apart from the place offered"
    position: float | None = None
    "open, and report of a stale player: the place offered, in seconds; null for reading"
    place: float | None = None
    "the same for reading, as a fraction of the text"
    approximate: bool = False
    "the place offered was measured in a copy of another length and scaled to yours"


class EditsDone(Answer, frozen=True):
    results: list[EditDone]


class ImportedFollow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of an import."""

    uri: str
    title: str | None = None
    kind: str = "feed"
    tags: list[str] = field(default_factory=list)
    notify: str | None = None


class SkippedLine(Answer, frozen=True):
    line: int
    reason: str


class ImportProgress(Answer, frozen=True, tag_field="event", tag="progress"):
    done: int


class ImportDone(Answer, frozen=True, tag_field="event", tag="done"):
    lines: int
    imported: int
    already_followed: int
    skipped: list[SkippedLine]
    skipped_more: int = 0


class ImportFailed(Answer, frozen=True, tag_field="event", tag="failed"):
    """Cut short: `imported` lines are on disk, the rest is not."""

    problem: Problem
    imported: int


# --- lists ---


class FollowShown(Answer, frozen=True):
    id: str
    uri: str
    title: str
    kind: str
    state: str
    notify: str
    tags: list[str]
    conflicts: list[str]
    updated: str


class FollowList(Answer, frozen=True):
    follows: list[FollowShown]
    next: str | None = None


class SessionShown(Answer, frozen=True):
    id: str
    uri: str
    title: str
    kind: str
    aliases: list[str]
    position: float | None
    "seconds; null for reading"
    place: float | None
    "fraction of the text; null for others"
    duration: float | None
    "seconds; null if unknown"
    pages: int | None
    finished: bool
    speed: float
    state: str
    "open or ended"
    lifecycle: str
    "active, paused, free, suspended (holder out of reach), finished, ended"
    holder: str | None
    "device that has it; null if nobody does"
    holder_name: str | None
    claim: int
    conflicts: list[str]
    updated: str


class SessionList(Answer, frozen=True):
    sessions: list[SessionShown]
    next: str | None = None


class HistoryAct(Answer, frozen=True):
    log: str
    row: int
    device: str | None
    device_name: str | None
    time: str
    kind: str
    position: float | None
    place: float | None
    finished: bool


class HistoryList(Answer, frozen=True):
    session: str
    acts: list[HistoryAct]


# --- devices ---


class ClaimShown(Answer, frozen=True):
    name: str
    value: str
    basis: str


class EvidenceShown(Answer, frozen=True):
    status: str
    reason: str
    claims: list[ClaimShown]


class DeviceShown(Answer, frozen=True):
    id: str
    name: str
    fingerprint: str
    own: bool
    active: bool
    linked: bool
    collections: list[str]
    added_by: str | None
    last_seen: str | None
    evidence: EvidenceShown | None


class DeviceList(Answer, frozen=True):
    devices: list[DeviceShown]


# --- status, summary, doctor ---


class LinkShown(Answer, frozen=True):
    device: str
    name: str
    address: str
    inbound: bool
    since: str
    in_sync: bool


class PendingShown(Answer, frozen=True):
    unsent: int
    waiting: int
    quarantined: int


class WorkShown(Answer, frozen=True):
    kind: str
    done: int
    total: int | None
    unit: str


class SnapshotShown(Answer, frozen=True):
    collection: str
    sponsor: str
    sponsor_name: str | None
    state: str
    """`confirmed`; `provisional`; `only`: no second device could; `disputed`; `stale`."""
    confirmed_by: str | None
    disputed_by: list[str]


class StatusShown(Answer, frozen=True):
    version: str
    identity: str | None
    device: str | None
    name: str | None
    port: int
    addresses: list[str]
    key_protection: str
    phrase_unconfirmed: bool
    net: Literal["up", "down"]
    digest: dict[str, str]
    links: list[LinkShown]
    pending: PendingShown
    follows: int
    sessions: int
    conflicts: int
    work: list[WorkShown]
    snapshots: list[SnapshotShown]
    alerts: list[str]


class LostShown(Answer, frozen=True):
    log: str
    device: str | None
    device_name: str | None
    time: str
    value: Any
    restorable: bool


class SummaryLine(Answer, frozen=True):
    map: str
    record: str
    field: str
    device: str | None
    device_name: str | None
    time: str | None
    title: str
    value: Any
    rule: str
    asks: bool
    losing: list[LostShown]


class SummaryShown(Answer, frozen=True):
    elsewhere: list[SummaryLine]
    here: list[SummaryLine]
    both: list[SummaryLine]
    elsewhere_more: int
    here_more: int
    both_more: int


class CheckShown(Answer, frozen=True):
    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    next_step: str


class DoctorShown(Answer, frozen=True):
    version: str
    checks: list[CheckShown]


# --- set-up, pairing, net ---


class InitRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=256)]


class InitDone(Answer, frozen=True):
    identity: str
    device: str
    phrase: str


class PhraseShown(Answer, frozen=True):
    confirmed: bool
    phrase: str | None


class PhraseConfirm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two words by position, counted from 1."""

    words: Annotated[dict[str, str], Meta(min_length=2, max_length=2)]


class PairingBegin(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    role: Literal["sponsor", "joiner"]
    code: Annotated[str, Meta(max_length=256)] | None = None
    peers: Annotated[list[str], Meta(max_length=16)] = field(default_factory=list)
    "host:port"
    name: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class CodeEvent(Answer, frozen=True, tag_field="event", tag="code"):
    code: str
    addresses: list[str]


class CandidateEvent(Answer, frozen=True, tag_field="event", tag="candidate"):
    name: str
    fingerprint: str
    words: str
    receives: list[str]


class AddedEvent(Answer, frozen=True, tag_field="event", tag="added"):
    device: str


class FailedEvent(Answer, frozen=True, tag_field="event", tag="failed"):
    type: str
    detail: str


PairingEvent: TypeAlias = CodeEvent | CandidateEvent | AddedEvent | FailedEvent


class PairingShown(Answer, frozen=True):
    over: bool
    events: list[PairingEvent]


class NetRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    state: Literal["up", "down"]


class NetShown(Answer, frozen=True):
    net: Literal["up", "down"]


class Problem(Answer, frozen=True, omit_defaults=True):
    """RFC 9457 problem details, with a stable `code` and what to do next."""

    status: int
    code: str
    title: str
    type: str = "about:blank"
    detail: str = ""
    next_step: str = ""
