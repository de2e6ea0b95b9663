"""The messages of the sync machine: typed values, and the bytes they travel as.

A message is one byte of type (16–47 are the replica's) and a canonical list whose first item is
the collection's number. Parsing gives a value or raises `Malformed` or `LimitExceeded`; entries
and chunks inside stay raw, for those who judge them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from presenced.errors import LimitExceeded, Malformed
from presenced.ids import COLLECTIONS, HASH_BYTES, ID_BYTES, Collection, EntryHash, LogId
from presenced.limits import ENTRY_SEALED_BYTES_MAX
from presenced.replica.frontier import Frontier
from presenced.replica.limits import (
    BASE_CHUNKS_MAX,
    BATCH_ENTRIES_MAX,
    MESSAGE_BYTES_MAX,
    SEQ_MAX,
)
from presenced.wire import decode, encode_prepared

FIRST_TYPE: Final = 16
LAST_TYPE: Final = 47


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontierReceived:
    """What the sender has. Begins a new round: what it lacks is sent from here."""

    frontier: Frontier
    slots: int
    "slots in the sender's document; 0: none, or it cannot give a snapshot"
    adopts: bool
    unsent: bool = False
    "the sender seals edits next and says its frontier again: it is not all yet"
    "the sender has nothing and would start from a snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntriesArrived:
    """Consecutive entries of one log. `round` counts the receiver's frontiers."""

    round: int
    log: LogId
    first_seq: int
    raws: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """So many bulk messages (entries, chunks) of this round are dealt with."""

    round: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestReceived:
    """The sender's content digest at a point (Replica.point)."""

    point: bytes
    digest: bytes
    vouched: bool
    "the sender read it from the logs, or another device has confirmed the snapshot it began with"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRequested:
    """The sender would start from a snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkArrived:
    """One of `count` chunks of a snapshot, in order from 0."""

    round: int
    index: int
    count: int
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkShown:
    """Two entries that were signed for one place of a log."""

    log: LogId
    seq: int
    previous: EntryHash
    first: bytes
    second: bytes


Message: TypeAlias = (
    FrontierReceived
    | EntriesArrived
    | Acknowledged
    | DigestReceived
    | SnapshotRequested
    | ChunkArrived
    | ForkShown
)

_TYPES: Final[dict[type, int]] = {
    FrontierReceived: 16,
    EntriesArrived: 17,
    Acknowledged: 18,
    DigestReceived: 19,
    SnapshotRequested: 20,
    ChunkArrived: 21,
    ForkShown: 22,
}
_ROUND_MAX: Final = (1 << 32) - 1
_COUNT_MAX: Final = (1 << 53) - 1


def encode_message(collection: Collection, message: Message) -> bytes:
    """The bytes of a message about a collection."""
    body: list[Any] = [COLLECTIONS.index(collection)]
    match message:
        case FrontierReceived():
            body += [message.frontier.to_value(), message.slots, message.adopts, message.unsent]
        case EntriesArrived():
            body += [message.round, message.log, message.first_seq, message.raws]
        case Acknowledged():
            body += [message.round, message.count]
        case DigestReceived():
            body += [message.point, message.digest, message.vouched]
        case SnapshotRequested():
            pass
        case ChunkArrived():
            body += [message.round, message.index, message.count, message.raw]
        case ForkShown():
            body += [message.log, message.seq, message.previous, message.first, message.second]
    return bytes((_TYPES[type(message)],)) + encode_prepared(body)


def collection_of(message: bytes) -> Collection:
    """The collection that a replica message is about, without parsing the rest."""
    if len(message) < 3 or message[1] & 0xF0 != 0x90 or message[2] >= len(COLLECTIONS):
        raise Malformed("message of no collection")
    return COLLECTIONS[message[2]]


def parse_message(message: bytes) -> Message:
    """Raises `Malformed` or `LimitExceeded`."""
    if len(message) > MESSAGE_BYTES_MAX:
        raise LimitExceeded("message-bytes", str(len(message)))
    collection_of(message)
    body = decode(message[1:])
    if type(body) is not list:
        raise Malformed("message without a body")
    parse = _PARSERS.get((message[0], len(body)))
    if parse is None:
        raise Malformed("unknown message")
    return parse(*body[1:])


def _frontier(frontier: Any, slots: Any, adopts: Any, unsent: Any) -> Message:
    if type(adopts) is not bool or type(unsent) is not bool:
        raise Malformed("frontier: adopts or unsent")
    return FrontierReceived(
        frontier=Frontier.from_value(frontier),
        slots=_number(slots, _COUNT_MAX),
        adopts=adopts,
        unsent=unsent,
    )


def _entries(round_: Any, log: Any, first_seq: Any, raws: Any) -> Message:
    if type(log) is not bytes or len(log) != ID_BYTES or type(raws) is not list or not raws:
        raise Malformed("entries: log or entries")
    if len(raws) > BATCH_ENTRIES_MAX:
        raise LimitExceeded("batch-entries", str(len(raws)))
    for raw in raws:
        if type(raw) is not bytes:
            raise Malformed("entries: not bytes")
        if len(raw) > ENTRY_SEALED_BYTES_MAX:
            raise LimitExceeded("entry-sealed-bytes", str(len(raw)))
    first_seq = _number(first_seq, SEQ_MAX)
    if not 0 < first_seq <= SEQ_MAX - len(raws):
        raise Malformed("entries: seq")
    return EntriesArrived(
        round=_number(round_, _ROUND_MAX), log=LogId(log), first_seq=first_seq, raws=tuple(raws)
    )


def _acknowledged(round_: Any, count: Any) -> Message:
    return Acknowledged(round=_number(round_, _ROUND_MAX), count=_number(count, _COUNT_MAX))


def _digest(point: Any, digest: Any, vouched: Any) -> Message:
    for value in (point, digest):
        if type(value) is not bytes or len(value) != HASH_BYTES:
            raise Malformed("digest: not 32 bytes")
    if type(vouched) is not bool:
        raise Malformed("digest: vouched")
    return DigestReceived(point=point, digest=digest, vouched=vouched)


def _snapshot() -> Message:
    return SnapshotRequested()


def _chunk(round_: Any, index: Any, count: Any, raw: Any) -> Message:
    count = _number(count, BASE_CHUNKS_MAX + 1)
    index = _number(index, BASE_CHUNKS_MAX)
    if index >= count or type(raw) is not bytes:
        raise Malformed("chunk: index or bytes")
    return ChunkArrived(round=_number(round_, _ROUND_MAX), index=index, count=count, raw=raw)


def _fork(log: Any, seq: Any, previous: Any, first: Any, second: Any) -> Message:
    for value, size in ((log, ID_BYTES), (previous, HASH_BYTES)):
        if type(value) is not bytes or len(value) != size:
            raise Malformed("fork: log or hash")
    for raw in (first, second):
        if type(raw) is not bytes:
            raise Malformed("fork: not bytes")
        if len(raw) > ENTRY_SEALED_BYTES_MAX:
            raise LimitExceeded("entry-sealed-bytes", str(len(raw)))
    if _number(seq, SEQ_MAX) == 0:
        raise Malformed("fork: seq")
    return ForkShown(
        log=LogId(log), seq=seq, previous=EntryHash(previous), first=first, second=second
    )


def _number(value: Any, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise Malformed("a number out of range")
    return value


_PARSERS: Final[dict[tuple[int, int], Callable[..., Message]]] = {
    (16, 5): _frontier,
    (17, 5): _entries,
    (18, 3): _acknowledged,
    (19, 4): _digest,
    (20, 1): _snapshot,
    (21, 5): _chunk,
    (22, 6): _fork,
}
