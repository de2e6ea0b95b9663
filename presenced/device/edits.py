"""What an app or a person asks of a device, as values: the intents behind every edit.

An intent says what is meant (follow, take over, rewind), never which slots to write: the record
layer decides that from what is applied when the intent is carried out. Places and sizes are in
the session's unit (milliseconds; reading: parts per million, and pages).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from presenced.ids import LogId, RecordId
from presenced.presence.player import Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """Follow a URI. `imported`: from a list, so what is already followed is left alone."""

    uri: str
    title: str | None = None
    kind: str = "feed"
    tags: tuple[str, ...] = ()
    notify: str | None = None
    imported: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfollow:
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeFollow:
    """Change what is said of a follow. None leaves a thing as it is; an empty title clears it."""

    uri: str
    title: str | None = None
    notify: str | None = None
    tags_on: tuple[str, ...] = ()
    tags_off: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StartSession:
    """Begin a session here, or take over the one that is there."""

    uri: str
    title: str | None = None
    kind: str = "media"
    size: int = 0
    at: int | None = None
    aliases: tuple[str, ...] = ()


class Act(Enum):
    """What can be done to a session. The value is its name in the API."""

    SEEK = "seek"
    "a position given by hand"
    REPORT = "report"
    "a player says where it is"
    OPEN = "open"
    "a player loads the place offered; writes nothing"
    CLOSE = "close"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    FINISH = "finish"
    UNFINISH = "unfinish"
    RESTART = "restart"
    REWIND = "rewind"
    UNDO = "undo"
    END = "end"
    REOPEN = "reopen"
    TAKE = "take"
    "continue here"
    ADOPT = "adopt"
    "return to another log's place, or to a row of its history"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionAct:
    """One act on a session, with what that act needs."""

    session: RecordId
    act: Act
    at: int | None = None
    size: int | None = None
    played_ms: int = 0
    "report: milliseconds played since the last one"
    stopped: bool = False
    "report: the player says that it stopped"
    log: LogId | None = None
    "adopt: whose place"
    row: int | None = None
    "adopt: which row of its acts, 0 = oldest"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSession:
    """Change what is said of a session. None leaves a thing as it is."""

    session: RecordId
    title: str | None = None
    speed: int | None = None
    aliases_on: tuple[str, ...] = ()
    aliases_off: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolve:
    """Take the value that another log holds in a field instead of the shown one."""

    map: str
    record: RecordId
    field: str
    log: LogId


@dataclass(frozen=True, slots=True, kw_only=True)
class NameDevice:
    """Give this device its name, as the others show it."""

    name: str


Edit: TypeAlias = (
    Follow
    | Unfollow
    | ChangeFollow
    | StartSession
    | SessionAct
    | ChangeSession
    | Resolve
    | NameDevice
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EditResult:
    """What became of one edit."""

    map: str
    record: RecordId
    written: bool
    "False: it was so already, nothing was written"
    overtaken_by: LogId | None = None
    "report: another device took over; the player should pause"
    stale: bool = False
    "report: the player goes on apart from the place offered"
    offered: Offer | None = None
    "open, and report of a stale player: where the others are"
