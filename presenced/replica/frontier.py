"""How far a device has come in every log of a collection: held, and applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from presenced.errors import LimitExceeded, Malformed
from presenced.ids import HASH_BYTES, ID_BYTES, EntryHash, LogId
from presenced.replica.limits import FRONTIER_LOGS_MAX, SEQ_MAX

Point: TypeAlias = tuple[int, EntryHash]
"(seq, hash) of an entry"


class LogEnds(Protocol):
    """Where what is held of a log ends, and what is applied; seq 0: nothing."""

    @property
    def log(self) -> LogId: ...
    @property
    def held_seq(self) -> int: ...
    @property
    def held_hash(self) -> EntryHash: ...
    @property
    def applied_seq(self) -> int: ...
    @property
    def applied_hash(self) -> EntryHash: ...


@dataclass(frozen=True, slots=True)
class Frontier:
    """Per log the last entry stored, and the last one accepted and applied."""

    held: Mapping[LogId, Point] = field(default_factory=dict)
    "waiting and quarantined entries included; logs of which nothing is here are left out"
    applied: Mapping[LogId, Point] = field(default_factory=dict)

    @classmethod
    def of(cls, logs: Iterable[LogEnds]) -> Frontier:
        logs = list(logs)
        return cls(
            {one.log: (one.held_seq, one.held_hash) for one in logs if one.held_seq},
            {one.log: (one.applied_seq, one.applied_hash) for one in logs if one.applied_seq},
        )

    def to_value(self) -> list[list[Any]]:
        """Canonical: `[log, held seq, held hash, applied seq, applied hash]` sorted by log."""
        none = (0, EntryHash(bytes(HASH_BYTES)))
        return [
            [log, *point, *self.applied.get(log, none)] for log, point in sorted(self.held.items())
        ]

    @classmethod
    def from_value(cls, value: Any) -> Frontier:
        """Raises `Malformed` or `LimitExceeded`."""
        if type(value) is not list:
            raise Malformed("not a frontier")
        if len(value) > FRONTIER_LOGS_MAX:
            raise LimitExceeded("frontier-logs", str(len(value)))
        held: dict[LogId, Point] = {}
        applied: dict[LogId, Point] = {}
        before = b""
        for row in value:
            if type(row) is not list or len(row) != 5:
                raise Malformed("not a frontier")
            log, held_seq, held_hash, applied_seq, applied_hash = row
            if type(log) is not bytes or len(log) != ID_BYTES or log <= before:
                raise Malformed("frontier is not sorted by log")
            before = log
            held[LogId(log)] = _point(held_seq, held_hash, 1)
            point = _point(applied_seq, applied_hash, 0)
            if point[0] > held_seq:
                raise Malformed("frontier applies more than it holds")
            if point[0]:
                applied[LogId(log)] = point
        return cls(held, applied)


def _point(seq: Any, digest: Any, seq_min: int) -> Point:
    if type(seq) is not int or not seq_min <= seq <= SEQ_MAX:
        raise Malformed("frontier seq")
    if type(digest) is not bytes or len(digest) != HASH_BYTES:
        raise Malformed("frontier hash")
    return seq, EntryHash(digest)
