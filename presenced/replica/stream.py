"""One log on its way to one peer: what the peer still lacks of it, and what of that is at hand."""

from __future__ import annotations

from collections import deque

from presenced.ids import Collection, LogId
from presenced.replica.limits import BATCH_BYTES_MAX, BATCH_ENTRIES_MAX
from presenced.replica.seams import ReplicaReader


class Stream:
    """What the peer still lacks of one log: entries from `next_seq` to `end_seq`."""

    __slots__ = ("buffer", "buffered_bytes", "end_seq", "next_seq", "stuck")

    def __init__(self, next_seq: int, end_seq: int) -> None:
        self.next_seq = next_seq
        self.end_seq = end_seq
        self.buffer: deque[bytes] = deque()
        self.buffered_bytes = 0
        self.stuck = False
        "the store does not have the next entry (it lies behind a snapshot)"

    @property
    def pending(self) -> bool:
        return not self.stuck and self.next_seq <= self.end_seq

    def skip_to(self, next_seq: int) -> None:
        """The peer has everything below `next_seq`."""
        for _ in range(min(next_seq - self.next_seq, len(self.buffer))):
            self.buffered_bytes -= len(self.buffer.popleft())
        self.next_seq = max(self.next_seq, next_seq)
        self.stuck = False

    def offer(self, seq: int, raw: bytes) -> None:
        """A newly committed entry: keep it if it continues the buffer and there is room."""
        self.end_seq = max(self.end_seq, seq)
        if (
            seq == self.next_seq + len(self.buffer)
            and self.buffered_bytes + len(raw) <= BATCH_BYTES_MAX
        ):
            self.buffer.append(raw)
            self.buffered_bytes += len(raw)

    def fill(self, reader: ReplicaReader, collection: Collection, log: LogId) -> bool:
        """Have the next entry at hand; False if the store does not have it."""
        if not self.buffer:
            page = reader.entries(collection, log, self.next_seq, bytes_max=BATCH_BYTES_MAX)
            self.buffer.extend(page)
            self.buffered_bytes = sum(map(len, page))
            self.stuck = not page
        return bool(self.buffer)

    def take(self) -> tuple[bytes, ...]:
        """The entries of one message."""
        raws: list[bytes] = []
        size = 0
        while (
            self.buffer
            and len(raws) < BATCH_ENTRIES_MAX
            and (not raws or size + len(self.buffer[0]) <= BATCH_BYTES_MAX)
        ):
            raw = self.buffer.popleft()
            size += len(raw)
            raws.append(raw)
        self.buffered_bytes -= size
        self.next_seq += len(raws)
        return tuple(raws)
