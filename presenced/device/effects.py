"""What a device machine asks of the edge that drives it. Order is law: commit, send, emit.

The driver performs a list of effects in order. A `CommitBatch` must be on disk before
`DeviceMachine.committed` is called with its token; everything that depends on it (answers, sends,
events) comes back as the effects of that call, so nothing is sent or answered that a crash could
take back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NewType, TypeAlias

from presenced.device.commit import Commit
from presenced.errors import PresenceError

LinkNumber = NewType("LinkNumber", int)
"names a link inside one process life; never reused"

RequestNumber = NewType("RequestNumber", int)
"names a caller's request that waits for its `Answer`"


@dataclass(frozen=True, slots=True)
class CommitBatch:
    """Write it in one transaction, then call `committed(token)` or `commit_failed(token)`."""

    token: int
    commit: Commit


@dataclass(frozen=True, slots=True)
class SendMessages:
    """Send on a link, in order. A link that is gone is ignored."""

    link: LinkNumber
    messages: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class CloseLink:
    """End a link: the peer learns the code only, `detail` is for our log."""

    link: LinkNumber
    code: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request asked for is on disk (`value`), or cannot be done (`error`)."""

    request: RequestNumber
    value: Any = None
    error: PresenceError | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something a person's client may show. `data` is JSON-able and goes to the owner only."""

    kind: str
    "dotted: `follow.changed`, `session.changed`, `link.up`, `sync.caught-up`, `alert`, …"
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Emit:
    """Tell the owner's clients, in order."""

    events: Sequence[Event]


Effect: TypeAlias = CommitBatch | SendMessages | CloseLink | Answer | Emit
