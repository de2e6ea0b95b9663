"""What we send a peer in bulk: a stream per log from where the peer stands, chunks, a window.

Theory of operation. The peer's frontier begins a round: streams start over from it. A stream runs
to the end of the log here and grows with what is committed. Entries and chunks count against the
window until they are acknowledged.

Of a forked log (`presenced.replica.cuts`) the peer gets what is before the fork, and what counts
here beyond it. Where the two sides hold different branches, known as such or not yet, each sends
its own whole, and nobody waits for the other's: what comes of it is a proof of the fork, or the
branch that a cut names. Proofs are shown once each.

Rules of this file: what is said of the peer here is what it said itself, by its frontier, by
acknowledging, or by sending; no message is encoded here.

Invariants: 1. streams never go back within a round; 2. bytes sent and not acknowledged stay within
the window, but for one message; 3. entries that came over this link are not sent back over it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from presenced.errors import LimitExceeded, Malformed
from presenced.ids import Collection, EntryHash, LogId
from presenced.replica.entry import peek_hlc
from presenced.replica.frontier import Frontier, Point
from presenced.replica.limits import FRONTIER_LOGS_MAX, UNACKNOWLEDGED_BYTES_MAX
from presenced.replica.messages import Acknowledged, ChunkArrived, EntriesArrived, ForkShown
from presenced.replica.rows import ForkProof, StoredEntry
from presenced.replica.seams import ReplicaReader
from presenced.replica.stream import Stream


class Outgoing:
    """To one peer, of one collection. Arguments as those of `SyncMachine`."""

    def __init__(
        self,
        collection: Collection,
        reader: ReplicaReader,
        hash_at: Callable[[LogId, int], EntryHash | None] | None,
        own: LogId | None,
    ) -> None:
        self._collection = collection
        self._reader = reader
        self._hash_at = hash_at
        self._own = own
        self.frontier = Frontier()
        "ours, as it was committed or said last"
        self._ends: dict[LogId, int] = {}
        "how far our logs can be sent"
        self._streams: dict[LogId, Stream] = {}
        # the peer
        self.round = 0
        "how often the peer has said its frontier"
        self.peer_held: dict[LogId, int] = {}
        self.peer_points: Mapping[LogId, Point] = {}
        "where the logs ended in the peer's last frontier"
        self._peer_applied: Mapping[LogId, Point] = {}
        # forks
        self._forked: set[LogId] = set()
        "logs of which the peer holds another branch, as was found in this round"
        self._named_sent: dict[LogId, int] = {}
        "of forked logs, how far the branch that cuts name went out in this round"
        self._forks = {one.log: one for one in reader.forks() if one.collection == collection}
        self._shown: dict[LogId, int] = {}
        "the forks that the peer was shown, or has shown, on this link"
        # the window
        self._sent = 0
        self._unacknowledged: deque[tuple[tuple[LogId, int] | None, int]] = deque()
        "per bulk message the (log, seq) of its last entry, if it has entries, and its bytes"
        self.unacknowledged_bytes = 0
        self._chunks: deque[tuple[int, int, bytes]] = deque()

    # --- what is to be sent ---

    def begin_round(self, theirs: Frontier) -> None:
        """The peer says its frontier."""
        self.round += 1
        self._sent = 0
        self._unacknowledged.clear()
        self.unacknowledged_bytes = 0
        self._chunks.clear()
        self._streams = {}
        self._forked = set()
        self._named_sent = {}
        held = theirs.held
        self.peer_held = {log: seq for log, (seq, _) in held.items()}
        self.peer_points = held
        self._peer_applied = theirs.applied
        for log in self._ends:
            if log in self._forks:
                self._offer_forked(log)
            elif log in held and not self._agrees(log, *held[log]):
                self._show_branch(log)
            else:
                self._stream(log)

    def say(self, ours: Frontier) -> None:
        """We say our frontier: what it names can be sent, and nothing else."""
        self.frontier = ours
        for log in [log for log, seq in self._ends.items() if seq > _seq(ours.held, log)]:
            # A snapshot taken anew holds less of a log: what is gone cannot be sent.
            self._streams.pop(log, None)
            del self._ends[log]
        for log, (seq, _) in ours.held.items():
            self._ends[log] = seq
            if self.round and not (log == self._own and log in self._forked):
                self._stream(log)

    def committed(
        self, entries: Iterable[StoredEntry], ours: Frontier, forks: Iterable[ForkProof]
    ) -> bool:
        """As `SyncMachine.committed`; whether there was anything."""
        anything = False
        self.frontier = ours
        for fork in forks:
            self._forks[fork.log] = fork
            anything = True
        for log in self._forks:
            if self.round:
                self._offer_forked(log)
        for entry in entries:
            self._ends[entry.log] = max(self._ends.get(entry.log, 0), entry.seq)
            if self.round and not (entry.log == self._own and entry.log in self._forked):
                self._stream(entry.log).offer(entry.seq, entry.raw)
            anything = True
        return anything

    def peer_sent(self, log: LogId, first_seq: int, last_seq: int, *, is_proof: bool) -> None:
        """The peer has sent entries: it holds them. `is_proof`: they lie where we hold others."""
        self.peer_held[log] = max(self.peer_held.get(log, 0), last_seq)
        if len(self.peer_held) > FRONTIER_LOGS_MAX:
            raise LimitExceeded("frontier-logs", str(len(self.peer_held)))
        stream = self._streams.get(log)
        if is_proof:
            if not self.is_forked(log):
                self._show_branch(log)
        elif stream is not None and stream.next_seq >= first_seq:
            stream.skip_to(last_seq + 1)

    def offer_snapshot(self, chunks: Sequence[bytes]) -> None:
        self._chunks = deque((index, len(chunks), raw) for index, raw in enumerate(chunks))

    def _stream(self, log: LogId) -> Stream:
        """The stream of a log of ours, from what the peer is known to hold."""
        stream = self._streams.get(log)
        if stream is None:
            stream = Stream(self.peer_held.get(log, 0) + 1, self._last(log, self._ends[log]))
            self._streams[log] = stream
        return stream

    # --- forks ---

    def is_forked(self, log: LogId) -> bool:
        """Whether a log has two branches, known as such or not yet."""
        return log in self._forked or log in self._forks

    def _agrees(self, log: LogId, seq: int, digest: EntryHash) -> bool:
        """False if the peer holds another branch of the log than we do."""
        known = self._hash_at(log, seq) if self._hash_at is not None else None
        return known is None or known == digest

    def _show_branch(self, log: LogId) -> None:
        """The peer holds another branch than we: it gets ours whole. Neither waits for the other's.

        What comes of it is a proof of the fork; or, if it is known and a cut names ours, our
        branch instead of the peer's.
        """
        self._forked.add(log)
        if log == self._own:
            self._streams.pop(log, None)
        else:
            first_seq = self._before_fork(log) + 1 if log in self._forks else 1
            self._streams[log] = Stream(first_seq, self._last(log, self._ends[log]))

    def _offer_forked(self, log: LogId) -> None:
        """Of a forked log the peer gets what is before the fork, and what counts here beyond it.

        If more counts here (a cut has named our branch) and the peer holds something there that
        does not count yet, it may be another branch: it gets ours from the fork on, once.
        """
        if log not in self._ends:
            return
        last, before = self._last(log, self._ends[log]), self._before_fork(log)
        if last > before and self.peer_held.get(log, 0) > before and not self._counts(log, last):
            if self._named_sent.get(log, 0) < last:
                self._named_sent[log] = last
                self._show_branch(log)
        elif log not in self._streams or self._streams[log].end_seq < last:
            self._streams[log] = Stream(self.peer_held.get(log, 0) + 1, last)

    def _counts(self, log: LogId, last: int) -> bool:
        """Whether the peer has said that our branch of a forked log counts there, too."""
        seq, digest = self._peer_applied.get(log, (0, None))
        known = self._hash_at(log, seq) if self._hash_at is not None and seq >= last else None
        return known is not None and known == digest

    def _before_fork(self, log: LogId) -> int:
        """The last entry before a fork that is known; -1: none is."""
        fork = self._forks.get(log)
        return -1 if fork is None else fork.seq - 1

    def _last(self, log: LogId, seq: int) -> int:
        """How far a log is worth sending or waiting for: beyond a fork only what counts here."""
        if log not in self._forks:
            return seq
        return min(seq, max(self._before_fork(log), _seq(self.frontier.applied, log)))

    def peer_showed(self, proof: ForkProof) -> bool:
        """The peer has shown a fork; whether that is news."""
        known, shown = self._forks.get(proof.log), self._shown.get(proof.log)
        if shown is not None and shown <= proof.seq:
            return False
        self._shown[proof.log] = proof.seq
        return known is None or known.seq > proof.seq

    def forks_to_show(self) -> list[ForkShown]:
        """Let the peer know of every fork that is known here, each once."""
        messages = []
        for log, fork in self._forks.items():
            shown = self._shown.get(log)
            if shown is None or shown > fork.seq:
                self._shown[log] = fork.seq
                messages.append(
                    ForkShown(
                        log=log,
                        seq=fork.seq,
                        previous=fork.previous,
                        first=fork.first,
                        second=fork.second,
                    )
                )
        return messages

    # --- sending ---

    def entries(self) -> list[EntriesArrived]:
        """The messages that the window has room for now."""
        messages: list[EntriesArrived] = []
        while self.unacknowledged_bytes < UNACKNOWLEDGED_BYTES_MAX:
            ready = [
                (peek_hlc(stream.buffer[0]), log, stream)
                for log, stream in self._streams.items()
                if stream.pending and stream.fill(self._reader, self._collection, log)
            ]
            if not ready:
                break
            # Lowest HLC first: an entry's past has lower ones, so little has to wait over there.
            # Who begins a round anew may have had no room for what came first, if a clock was
            # wrong: let each round begin with another log, so that one comes that can be applied.
            ready.sort(key=lambda one: one[:2])
            _, log, stream = ready[0 if self._sent else (self.round - 1) % len(ready)]
            first_seq = stream.next_seq
            raws = stream.take()
            messages.append(
                EntriesArrived(round=self.round, log=log, first_seq=first_seq, raws=raws)
            )
            self._count((log, first_seq + len(raws) - 1), sum(map(len, raws)))
        return messages

    def chunks(self) -> list[ChunkArrived]:
        """The messages that the window has room for now."""
        messages: list[ChunkArrived] = []
        while self._chunks and self.unacknowledged_bytes < UNACKNOWLEDGED_BYTES_MAX:
            index, count, raw = self._chunks.popleft()
            messages.append(ChunkArrived(round=self.round, index=index, count=count, raw=raw))
            self._count(None, len(raw))
        return messages

    def _count(self, last: tuple[LogId, int] | None, size: int) -> None:
        self._sent += 1
        self._unacknowledged.append((last, size))
        self.unacknowledged_bytes += size

    def acknowledged(self, message: Acknowledged) -> None:
        """Raises `Malformed` for what was not sent. One of an older round is void."""
        if message.round > self.round:
            raise Malformed("acknowledgement of a round to come")
        if message.round < self.round:
            return
        done = message.count - (self._sent - len(self._unacknowledged))
        if not 0 <= done <= len(self._unacknowledged):
            raise Malformed("acknowledgement of what was not sent")
        for _ in range(done):
            last, size = self._unacknowledged.popleft()
            self.unacknowledged_bytes -= size
            if last is not None:
                self.peer_held[last[0]] = max(self.peer_held.get(last[0], 0), last[1])

    # --- how far it is ---

    @property
    def ahead(self) -> int:
        """Entries that the peer has announced and we do not hold."""
        held = self.frontier.held
        return sum(
            max(0, min(seq, self._last(log, seq)) - _seq(held, log))
            for log, seq in self.peer_held.items()
            if log not in self._forked
        )

    @property
    def behind(self) -> int:
        """Entries that the peer lacks and we can send."""
        return sum(
            stream.end_seq - stream.next_seq + 1
            for stream in self._streams.values()
            if stream.pending
        )

    @property
    def is_level(self) -> bool:
        """Whether nothing is on its way, nothing is left to send and nothing is announced."""
        return (
            not self._unacknowledged
            and not any(stream.pending for stream in self._streams.values())
            and self.ahead == 0
        )


def _seq(points: Mapping[LogId, Point], log: LogId) -> int:
    point = points.get(log)
    return 0 if point is None else point[0]
