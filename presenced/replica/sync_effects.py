"""What a sync machine asks of the device that drives it, in the order in which it is to be done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from presenced.ids import LogId
from presenced.replica.rows import ForkProof


@dataclass(frozen=True, slots=True)
class SendMessage:
    message: bytes


@dataclass(frozen=True, slots=True)
class EntriesReceived:
    """Give these to `Replica.receive`; after the commit call `committed`."""

    log: LogId
    first_seq: int
    raws: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ForkReceived:
    """Give this to `Replica.receive_proof`."""

    proof: ForkProof


@dataclass(frozen=True, slots=True)
class SnapshotWanted:
    """The peer starts from nothing: answer with `send_snapshot` (no chunks: there is none)."""


@dataclass(frozen=True, slots=True)
class SnapshotReceived:
    """Give these to `Replica.adopt`, commit, then call `resume`, also when it was not usable."""

    chunks: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class InSync:
    """Each side holds all that the other holds. Said again after each time it was not so."""


@dataclass(frozen=True, slots=True)
class DigestWanted:
    """It is quiet: call `digest_taken` with the replica's point and digest."""


@dataclass(frozen=True, slots=True)
class DigestAgreed:
    point: bytes
    vouched: bool
    "the peer's digest stands on more than another device's unconfirmed word"


@dataclass(frozen=True, slots=True)
class DigestMismatch:
    """Same entries and statements, different content: an alert with a report."""

    point: bytes
    ours: bytes
    theirs: bytes
    vouched: bool
    "as in `DigestAgreed`"


Effect: TypeAlias = (
    SendMessage
    | EntriesReceived
    | ForkReceived
    | SnapshotWanted
    | SnapshotReceived
    | InSync
    | DigestWanted
    | DigestAgreed
    | DigestMismatch
)
