"""The messages of the statement sync: a type byte and a canonical body.

Types 1–15 of a link's messages belong to the trust room; 4–15 are not used yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

from presenced import wire
from presenced.errors import LimitExceeded, Malformed
from presenced.ids import HASH_BYTES, StatementId
from presenced.trust.limits import (
    STATEMENT_BYTES_MAX,
    SYNC_BATCH_STATEMENTS_MAX,
    SYNC_HEADS_MAX,
    SYNC_MARKERS_MAX,
    SYNC_MESSAGE_BYTES_MAX,
    SYNC_WANTED_MAX,
)
from presenced.trust.reading import ascending, bytes_of, count_of, items_of, list_of, some_bytes_of


class MessageType(IntEnum):
    """The first byte."""

    HEADS = 1
    STATEMENTS = 2
    WANT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """What the sender has, and how many `Statements` messages it took from the receiver."""

    heads: tuple[StatementId, ...]
    "sorted, unique"
    markers: tuple[StatementId, ...]
    "some earlier statements, sorted, unique; only in the first message"
    batches: int

    def encode(self) -> bytes:
        body = [list(self.heads), list(self.markers), self.batches]
        return bytes([MessageType.HEADS]) + wire.encode(body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """Statements as canonical bytes, each after its heads as far as the sender can tell."""

    raws: tuple[bytes, ...]

    def encode(self) -> bytes:
        return bytes([MessageType.STATEMENTS]) + wire.encode(list(self.raws))


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """Statements that something of the receiver's rests on and that the sender lacks."""

    ids: tuple[StatementId, ...]
    "sorted, unique"

    def encode(self) -> bytes:
        return bytes([MessageType.WANT]) + wire.encode(list(self.ids))


Message: TypeAlias = Heads | Statements | Want


def parse_message(message: bytes) -> Message:
    """The typed message. Raises `Malformed` or `LimitExceeded`."""
    if len(message) > SYNC_MESSAGE_BYTES_MAX:
        raise LimitExceeded("SYNC_MESSAGE_BYTES_MAX")
    if not message or message[0] not in MessageType.__members__.values():
        raise Malformed("not a message of the statement sync", offset=0)
    body = wire.decode(message[1:])
    match MessageType(message[0]):
        case MessageType.HEADS:
            heads, markers, batches = items_of(body, 3)
            return Heads(
                heads=_ids(heads, "SYNC_HEADS_MAX", SYNC_HEADS_MAX),
                markers=_ids(markers, "SYNC_MARKERS_MAX", SYNC_MARKERS_MAX),
                batches=count_of(batches),
            )
        case MessageType.STATEMENTS:
            raws = list_of(body, "SYNC_BATCH_STATEMENTS_MAX", SYNC_BATCH_STATEMENTS_MAX)
            return Statements(raws=tuple(some_bytes_of(one, STATEMENT_BYTES_MAX) for one in raws))
        case MessageType.WANT:
            return Want(ids=_ids(body, "SYNC_WANTED_MAX", SYNC_WANTED_MAX))


def _ids(value: Any, limit: str, count_max: int) -> tuple[StatementId, ...]:
    ids = [StatementId(bytes_of(one, HASH_BYTES)) for one in list_of(value, limit, count_max)]
    ascending(ids)
    return tuple(ids)
