"""What a peer sends in bulk, entries and chunks: counted, bounded, acknowledged once dealt with.

Rules of this file: our frontier begins a round, and what comes of an older one is not counted. An
acknowledgement says how many messages of the round are dealt with, in the order in which they
came: entries when they are committed, or were there already, or will never be, because their log
forked; chunks as they come.

Invariant: what is not acknowledged stays within the peer's window, but for one message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from presenced.errors import LimitExceeded, Malformed
from presenced.ids import LogId
from presenced.replica.frontier import Frontier, Point
from presenced.replica.limits import (
    MESSAGE_BYTES_MAX,
    SNAPSHOT_BYTES_MAX,
    UNACKNOWLEDGED_BYTES_MAX,
)
from presenced.replica.messages import Acknowledged, ChunkArrived, EntriesArrived


class Incoming:
    """Of one peer and collection. Raises a `PeerError` for what breaks the protocol."""

    def __init__(self) -> None:
        self._round = 0
        self._said: Mapping[LogId, Point] = {}
        "what our frontier of this round said that we hold"
        self._arrived: deque[tuple[tuple[LogId, int] | None, int]] = deque()
        "per bulk message the (log, seq) of its last entry, if it has entries, and its bytes"
        self._arrived_bytes = 0
        self._dealt_with = 0
        self._chunks: list[bytes] = []
        self._chunks_bytes = 0
        self._chunks_count = 0

    def begin_round(self, said: Frontier) -> None:
        """We say our frontier."""
        self._round += 1
        self._said = said.held
        self._arrived.clear()
        self._arrived_bytes = self._dealt_with = 0

    def is_said(self, message: EntriesArrived) -> bool:
        """Whether entries begin with one that we said we hold: sent as proof of a fork only."""
        said = self._said.get(message.log)
        return message.round == self._round and said is not None and message.first_seq <= said[0]

    def entries(self, message: EntriesArrived, last_seq: int) -> None:
        """Count entries that came."""
        self._count(message.round, (message.log, last_seq), sum(map(len, message.raws)))

    def _count(self, round_: int, last: tuple[LogId, int] | None, size: int) -> None:
        if round_ > self._round:
            raise Malformed("a round to come")
        if round_ < self._round:
            return
        self._arrived.append((last, size))
        self._arrived_bytes += size
        if self._arrived_bytes > UNACKNOWLEDGED_BYTES_MAX + MESSAGE_BYTES_MAX:
            raise LimitExceeded("unacknowledged-bytes", str(self._arrived_bytes))

    def acknowledge(
        self, held: Mapping[LogId, Point], is_forked: Callable[[LogId], bool]
    ) -> Acknowledged | None:
        """How much is dealt with, given what is committed; None: no more than was said."""
        before = self._dealt_with
        while self._arrived:
            last, size = self._arrived[0]
            if (
                last is not None
                and held.get(last[0], (0, b""))[0] < last[1]
                and not is_forked(last[0])
            ):
                break
            self._arrived.popleft()
            self._arrived_bytes -= size
            self._dealt_with += 1
        if self._dealt_with == before:
            return None
        return Acknowledged(round=self._round, count=self._dealt_with)

    # --- a snapshot ---

    def begin_snapshot(self) -> None:
        """We ask for one."""
        self._chunks, self._chunks_bytes = [], 0

    def forget_snapshot(self) -> None:
        """None is coming any more."""
        self._chunks = []

    def chunk(self, message: ChunkArrived, *, is_wanted: bool) -> tuple[bytes, ...]:
        """Count and keep a chunk. All of them, when it is the last one; else nothing."""
        self._count(message.round, None, len(message.raw))
        if message.round < self._round:
            return ()
        if not is_wanted or message.index != len(self._chunks):
            raise Malformed("a chunk that is not the next one")
        self._chunks_bytes += len(message.raw)
        if self._chunks_bytes > SNAPSHOT_BYTES_MAX:
            raise LimitExceeded("snapshot-bytes", str(self._chunks_bytes))
        self._chunks.append(message.raw)
        self._chunks_count = message.count
        if len(self._chunks) < message.count:
            return ()
        chunks, self._chunks = tuple(self._chunks), []
        return chunks

    @property
    def snapshot_progress(self) -> tuple[int, int] | None:
        """Chunks that are here, and how many there are, while a snapshot is on its way."""
        return (len(self._chunks), self._chunks_count) if self._chunks else None
