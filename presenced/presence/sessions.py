"""Sessions as records: which record a session is, starting one, and all that is not progress.

A media or reading session on a URI is one record on all devices, because its id comes from kind
and URI; what was begun apart is the same thing. Calls, watching together and custom sessions are
events: their ids are random.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from presenced.clock import Entropy
from presenced.errors import InvalidValue, NotFound
from presenced.ids import ID_BYTES, RecordId
from presenced.presence.decisions import check_place, seek, set_value, take
from presenced.presence.draft import RecordDraft
from presenced.presence.fields import (
    CORE,
    ENDED,
    OPEN,
    SPEED,
    SPEED_MAX,
    SPEED_MIN,
    STATE,
    TITLE,
)
from presenced.presence.naming import CONTENT_KINDS, alias_field, normal_uri, session_id
from presenced.presence.progress import INTEGER_MAX, Unit
from presenced.presence.sitting import Sitting
from presenced.presence.values import SESSION_KINDS, checked_choice, checked_title


class NoSuchSession(NotFound):
    code = "no-such-session"
    hint = "`presence session list` lists them."


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCore:
    """What a session is about, checked."""

    kind: str
    uri: str
    title: str | None = None
    size: int = 0
    "duration in ms, or number of pages; 0 unknown"

    def __post_init__(self) -> None:
        checked_choice(self.kind, SESSION_KINDS)
        normal_uri(self.uri)
        if self.title is not None:
            checked_title(self.title)
        if not 0 <= self.size <= INTEGER_MAX:
            raise InvalidValue("size out of range", hint="A duration is not negative.")

    def to_value(self) -> dict[str, Any]:
        """The wire value, keys in canonical order."""
        value: dict[str, Any] = {"kind": self.kind}
        if self.size:
            value["pages" if unit_of(self.kind) is Unit.PPM else "duration"] = self.size
        if self.title:
            value["title"] = self.title
        value["uri"] = self.uri
        return dict(sorted(value.items()))


def unit_of(kind: Any) -> Unit:
    """The unit of a record's places. Anything but reading counts milliseconds."""
    return Unit.PPM if kind == "reading" else Unit.MS


def session_record(core: SessionCore, entropy: Entropy) -> RecordId:
    """The record of a session: from its content, or random for an event."""
    if core.kind in CONTENT_KINDS:
        return session_id(core.kind, core.uri)
    return RecordId(entropy(ID_BYTES))


def start(
    draft: RecordDraft,
    core: SessionCore,
    *,
    at: int | None = None,
    sitting: Sitting | None = None,
) -> Sitting:
    """Begin a session here, or go on with the record that is there: it is taken over.

    A finished one starts again (`restart`). `at`: a position given by hand. `sitting`: the one
    that this device had open. Returns the new sitting. What `core` lacks on other devices is
    filled in; what they call it stays.
    """
    check_place(at, core.size, draft.unit)
    known = draft.shown(CORE).value
    told = core.to_value()
    if any(key not in known for key in told):
        draft.write(CORE, dict(sorted({**told, **known}.items())))
    begun = take(draft, sitting=sitting)
    if at is not None:
        seek(draft, at, of=core.size or None, sitting=begun)
    return begun


def end(draft: RecordDraft, *, sitting: Sitting | None = None) -> None:
    """Put a session away."""
    require(draft)
    set_value(draft, STATE, ENDED, sitting=sitting)


def reopen(draft: RecordDraft, *, sitting: Sitting | None = None) -> None:
    """Take a session out again."""
    require(draft)
    set_value(draft, STATE, OPEN, sitting=sitting)


def set_speed(draft: RecordDraft, speed: int) -> None:
    """Speed in thousandths. Raises `InvalidValue` outside 50 to 16,000."""
    require(draft)
    if not SPEED_MIN <= speed <= SPEED_MAX:
        raise InvalidValue("speed out of range", hint="A speed is between 0.05 and 16.")
    draft.write(SPEED, speed)


def set_title(draft: RecordDraft, title: str | None) -> None:
    """Give a title of one's own; None or empty: show the one from `core` again."""
    require(draft)
    draft.write(TITLE, checked_title(title) if title else None)


def put_alias(draft: RecordDraft, uri: str) -> None:
    """Name another URI of the same work."""
    require(draft)
    field = alias_field(uri)
    shown = draft.shown(field)
    if shown.value is None or shown.losing:
        draft.write(field, uri)


def take_alias(draft: RecordDraft, uri: str) -> None:
    """Take another name off, as far as it is seen here."""
    require(draft)
    field = alias_field(uri)
    if draft.shown(field).value is not None:
        draft.write(field, None)


def require(draft: RecordDraft) -> None:
    """Raises `NoSuchSession` for a record that is not there."""
    if not draft.field(CORE):
        raise NoSuchSession("no such session")


# --- what is shown of a session's life: derived, never stored ---


class Lifecycle(Enum):
    """What a person sees of a session's life."""

    ENDED = "ended"
    FINISHED = "finished"
    ACTIVE = "active"
    PAUSED = "paused"
    FREE = "free"
    SUSPENDED = "suspended"
    TRANSFERRING = "transferring"


def lifecycle(
    *, state: str, done: bool, phase: str | None, reachable: bool = True, requested: bool = False
) -> Lifecycle:
    """The life shown: put away, else finished, else what its holder does.

    `phase`: of the holder's claim, None without one. `reachable`: whether the holder is linked or
    this device. `requested`: whether a request to hand it over is open.
    """
    if state == ENDED:
        return Lifecycle.ENDED
    if done:
        return Lifecycle.FINISHED
    if phase in (None, "free"):
        return Lifecycle.FREE
    if requested:
        return Lifecycle.TRANSFERRING
    if not reachable:
        return Lifecycle.SUSPENDED
    return Lifecycle(phase)
