"""Sync one collection with one peer: exchange frontiers, send what is not held, push, acknowledge.

Rules of this file: every message that may come in a state stands in TRANSITIONS, an absent pair
ends the link; nothing here knows which side dialled; nothing is sent that is not committed.

Theory of operation. Each side says how far it holds every log; from then on the other keeps one
*stream* per log, from there to its own end, filled from the store and from what is committed
while the link lives. Bulk messages (entries, chunks) count against a window of 4 MiB until they
are acknowledged, which happens when they are committed on the other side, or were there already.
Saying a frontier again begins a new round: streams start over from it, and acknowledgements of
older rounds are void. That is the one way out of everything that went wrong on the way (entries
not taken for lack of room, a snapshot that could not be used), so there are no special cases.

A device that has nothing may ask for a snapshot; its peer holds its streams back until then.
So may later a device whose own beginning, a snapshot, no longer holds (`ask_snapshot`).
After a second without news both sides tell their digest; equal points must have equal digests.

Invariants: 1. streams never go back within a round; 2. bytes sent and not acknowledged stay within
the window, but for one message; 3. entries that came over this link are not sent back over it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import Final

from presenced.clock import Instant
from presenced.errors import LimitExceeded, Malformed
from presenced.ids import Collection, EntryHash, LogId
from presenced.replica.entry import peek_hlc
from presenced.replica.frontier import Frontier, Point
from presenced.replica.limits import (
    FRONTIER_LOGS_MAX,
    MESSAGE_BYTES_MAX,
    QUIET_MS,
    SNAPSHOT_BYTES_MAX,
    SNAPSHOT_SLOTS_MIN,
    UNACKNOWLEDGED_BYTES_MAX,
)
from presenced.replica.messages import (
    Acknowledged,
    ChunkArrived,
    DigestReceived,
    EntriesArrived,
    ForkShown,
    FrontierReceived,
    Message,
    SnapshotRequested,
    encode_message,
    parse_message,
)
from presenced.replica.rows import ForkProof, StoredEntry
from presenced.replica.seams import ReplicaReader
from presenced.replica.stream import Stream
from presenced.replica.sync_effects import (
    DigestAgreed,
    DigestMismatch,
    DigestWanted,
    Effect,
    EntriesReceived,
    ForkReceived,
    InSync,
    SendMessage,
    SnapshotReceived,
    SnapshotWanted,
)

__all__ = [
    "TRANSITIONS",
    "DigestAgreed",
    "DigestMismatch",
    "DigestWanted",
    "Effect",
    "EntriesReceived",
    "ForkReceived",
    "InSync",
    "SendMessage",
    "SnapshotReceived",
    "SnapshotWanted",
    "State",
    "SyncMachine",
]


class State(Enum):
    """Where a link's sync of one collection stands."""

    NEW = auto()
    GREETING = auto()
    "our frontier is sent, the peer's has not come"
    LIVE = auto()
    ADOPTING = auto()
    "we asked for a snapshot"
    SPONSORING = auto()
    "the peer asked for one, or will"


TRANSITIONS: Final[dict[tuple[State, type], frozenset[State]]] = {
    (State.GREETING, FrontierReceived): frozenset({State.LIVE, State.ADOPTING, State.SPONSORING}),
    (State.LIVE, FrontierReceived): frozenset({State.LIVE, State.ADOPTING, State.SPONSORING}),
    (State.LIVE, EntriesArrived): frozenset({State.LIVE}),
    (State.LIVE, Acknowledged): frozenset({State.LIVE}),
    (State.LIVE, DigestReceived): frozenset({State.LIVE}),
    (State.LIVE, SnapshotRequested): frozenset({State.SPONSORING}),
    (State.LIVE, ChunkArrived): frozenset({State.LIVE}),
    (State.LIVE, ForkShown): frozenset({State.LIVE}),
    (State.ADOPTING, FrontierReceived): frozenset({State.LIVE}),
    (State.ADOPTING, ChunkArrived): frozenset({State.ADOPTING}),
    (State.ADOPTING, EntriesArrived): frozenset({State.ADOPTING}),
    (State.ADOPTING, Acknowledged): frozenset({State.ADOPTING}),
    (State.ADOPTING, DigestReceived): frozenset({State.ADOPTING}),
    (State.ADOPTING, SnapshotRequested): frozenset({State.LIVE}),
    (State.ADOPTING, ForkShown): frozenset({State.ADOPTING}),
    (State.SPONSORING, ForkShown): frozenset({State.SPONSORING}),
    (State.SPONSORING, SnapshotRequested): frozenset({State.SPONSORING}),
    (State.SPONSORING, FrontierReceived): frozenset({State.LIVE, State.SPONSORING}),
    (State.SPONSORING, EntriesArrived): frozenset({State.SPONSORING}),
    (State.SPONSORING, Acknowledged): frozenset({State.SPONSORING}),
    (State.SPONSORING, DigestReceived): frozenset({State.SPONSORING}),
}
"Which messages may come when, and where they can lead. An absent pair is a `PeerError`."


class SyncMachine:
    """See the module. Every input method returns its effects, in order."""

    def __init__(
        self,
        collection: Collection,
        reader: ReplicaReader,
        *,
        hash_at: Callable[[LogId, int], EntryHash | None] | None = None,
        own: LogId | None = None,
    ) -> None:
        """`hash_at`: the hash of a held entry if known (Replica.hash_at), to notice forks.

        `own`: the log that this device writes. Where a peer has another branch of it, ours is
        not shown: the device gives it up (own_log.py).
        """
        self.collection: Collection = collection
        self.state = State.NEW
        self._reader = reader
        self._hash_at = hash_at
        self._own = own
        self.said_unsent = False
        "whether the peer waits for edits of ours that were not sealed yet"
        self._peer_unsent = False
        self._peer_points: Mapping[LogId, Point] = {}
        self._peer_applied: Mapping[LogId, Point] = {}
        self._named_sent: dict[LogId, int] = {}
        "of forked logs, how far the branch that cuts name went out in this round"
        "what the peer's last frontier said that it holds"
        self._streams: dict[LogId, Stream] = {}
        self._ends: dict[LogId, int] = {}
        self._frontier = Frontier()
        self._peer_held: dict[LogId, int] = {}
        self._said: dict[LogId, int] = {}
        self._forked: set[LogId] = set()
        self._forks = {one.log: one for one in reader.forks() if one.collection == collection}
        self._shown: dict[LogId, int] = {}
        "the forks that the peer was shown, or has shown, on this link"
        self._slots = 0
        self._adopts = False
        # sending
        self._round = 0
        self._sent = 0
        self._unacknowledged: deque[tuple[tuple[LogId, int] | None, int]] = deque()
        "per bulk message the (log, seq) of its last entry, if it has entries, and its bytes"
        self._unacknowledged_bytes = 0
        self._chunks: deque[tuple[int, int, bytes]] = deque()
        # receiving
        self._own_round = 0
        self._arrived: deque[tuple[tuple[LogId, int] | None, int]] = deque()
        self._arrived_bytes = 0
        self._dealt_with = 0
        self._snapshot: list[bytes] = []
        self._snapshot_bytes = 0
        self._snapshot_count = 0
        # telling
        self._in_sync = False
        self._resumes = False
        "the frontier is to be said again, once the peer has its snapshot"
        self._quiet_at: int | None = None
        self._own_digest: tuple[bytes, bytes, bool] | None = None
        self._peer_digest: tuple[bytes, bytes, bool] | None = None
        "point, digest, vouched"

    # --- inputs ---

    def start(
        self,
        frontier: Frontier,
        now: Instant,
        *,
        slots: int = 0,
        adopts: bool = False,
        unsent: bool = False,
    ) -> list[Effect]:
        """The link is up and statements are level. `slots` in our document (0: no snapshots).

        `adopts`: this device would start from a snapshot if it has nothing. `unsent`: it has
        edits to seal once it knows what the peer has of its log; `resume` follows then.
        """
        assert self.state is State.NEW
        self.state = State.GREETING
        self.said_unsent = unsent
        return self._greet(frontier, now, slots, adopts)

    def resume(self, frontier: Frontier, now: Instant, *, slots: int = 0) -> list[Effect]:
        """Say the frontier again: after a snapshot, or when there is room again."""
        assert self.state is not State.NEW
        self.said_unsent = False
        if self.state is State.SPONSORING:
            # The peer would take it for a refusal, with chunks on their way: it waits.
            self._frontier, self._slots, self._resumes = frontier, slots, True
            return []
        if self.state is State.ADOPTING:
            self.state = State.LIVE
        effects = self._greet(frontier, now, slots, adopts=False)
        return [*effects, *self._decide()]

    def receive(self, message: bytes, now: Instant) -> list[Effect]:
        """Raises a `PeerError` if the peer broke the protocol; the link is to be closed then."""
        parsed = parse_message(message)
        allowed = TRANSITIONS.get((self.state, type(parsed)))
        if allowed is None:
            raise Malformed(f"{type(parsed).__name__} while {self.state.name}")
        effects = self._handle(parsed, now)
        assert self.state in allowed
        if not isinstance(parsed, DigestReceived):
            self._quiet_at = now.mono_ms + QUIET_MS
        return [*effects, *self._decide()]

    def committed(
        self,
        entries: Iterable[StoredEntry],
        frontier: Frontier,
        now: Instant,
        *,
        forks: Iterable[ForkProof] = (),
    ) -> list[Effect]:
        """Entries and forks of this collection, own or from any link, are on disk."""
        self._frontier = frontier
        for fork in forks:
            self._forks[fork.log] = fork
            self._quiet_at = now.mono_ms + QUIET_MS
        for log in self._forks:
            if self._round:
                self._offer_forked(log)
        for entry in entries:
            self._ends[entry.log] = max(self._ends.get(entry.log, 0), entry.seq)
            if self._round and not (entry.log == self._own and entry.log in self._forked):
                self._stream(entry.log).offer(entry.seq, entry.raw)
            self._quiet_at = now.mono_ms + QUIET_MS
        return self._decide()

    def send_snapshot(self, chunks: Sequence[bytes], now: Instant) -> list[Effect]:
        """Answer `SnapshotWanted`. No chunks: the peer is told to take entries instead."""
        if self.state is not State.SPONSORING:
            return []
        if not chunks:
            self.state = State.LIVE
            effects = self._greet(self._frontier, now, 0, self._adopts)
            return [*effects, *self._decide()]
        self._chunks = deque((index, len(chunks), raw) for index, raw in enumerate(chunks))
        return self._decide()

    def ask_snapshot(self) -> list[Effect]:
        """Ask a peer that is level for a snapshot, to start from anew. Nothing while busy."""
        if self.state is not State.LIVE:
            return []
        self.state = State.ADOPTING
        self._snapshot, self._snapshot_bytes = [], 0
        return [self._message(SnapshotRequested())]

    def digest_taken(
        self, point: bytes, digest: bytes, now: Instant, *, vouched: bool
    ) -> list[Effect]:
        """Answer `DigestWanted`. `vouched`: as `DigestReceived` says."""
        if self.state is not State.LIVE or self._own_digest == (point, digest, vouched):
            return []
        self._own_digest = (point, digest, vouched)
        return [
            self._message(DigestReceived(point=point, digest=digest, vouched=vouched)),
            *self._compare_digests(),
        ]

    def tick(self, now: Instant) -> list[Effect]:
        """Time has passed; nothing happens before `next_wakeup`."""
        if self._quiet_at is None or now.mono_ms < self._quiet_at:
            return []
        self._quiet_at = None
        return [DigestWanted()] if self.state is State.LIVE and self._in_sync else []

    @property
    def next_wakeup(self) -> int | None:
        """The `mono_ms` at which `tick` has something to do."""
        return self._quiet_at

    @property
    def ahead(self) -> int:
        """Entries that the peer has announced and we do not hold."""
        held = self._frontier.held
        return sum(
            max(0, min(seq, self._last(log, seq)) - (held[log][0] if log in held else 0))
            for log, seq in self._peer_held.items()
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
    def frontiers_heard(self) -> int:
        """How often the peer has said its frontier."""
        return self._round

    @property
    def greeted(self) -> bool:
        """Whether the peer has said its frontier."""
        return self._round > 0

    def peer_point(self, log: LogId) -> Point | None:
        """Where a log ended in the peer's last frontier; None if it had nothing of it."""
        return self._peer_points.get(log)

    def ask_anew(self, log: LogId, now: Instant) -> list[Effect]:
        """Say the frontier again without a log, so that the peer sends all of it."""
        assert self.state is State.LIVE
        frontier = self._frontier
        held = {name: point for name, point in frontier.held.items() if name != log}
        applied = {name: point for name, point in frontier.applied.items() if name != log}
        effects = self._greet(Frontier(held, applied), now, self._slots, adopts=False)
        self._frontier = frontier
        return [*effects, *self._decide()]

    def peer_holds(self, log: LogId) -> int:
        """How far the peer has said that it holds a log: by its frontier, or acknowledging."""
        return self._peer_held.get(log, 0)

    @property
    def in_sync(self) -> bool:
        """Whether, as far as is known now, each side holds all that the other holds."""
        return self.state is State.LIVE and self._is_in_sync()

    @property
    def adopting(self) -> tuple[int, int] | None:
        """Chunks of a snapshot that are here, and how many it has, while one is on its way."""
        return (len(self._snapshot), self._snapshot_count) if self._snapshot else None

    # --- messages ---

    def _handle(self, message: Message, now: Instant) -> list[Effect]:
        match message:
            case FrontierReceived():
                return self._frontier_received(message, now)
            case EntriesArrived():
                return self._entries_arrived(message)
            case Acknowledged():
                return self._acknowledged(message)
            case DigestReceived():
                self._peer_digest = (message.point, message.digest, message.vouched)
                return self._compare_digests()
            case ForkShown():
                return self._fork_shown(message)
            case SnapshotRequested() if self.state is State.ADOPTING:
                # Both asked: neither has what the other wants.
                self.state, self._snapshot = State.LIVE, []
                return self._greet(self._frontier, now, 0, adopts=False)
            case SnapshotRequested():
                self.state = State.SPONSORING
                return [SnapshotWanted()]
            case ChunkArrived():
                return self._chunk_arrived(message)

    def _frontier_received(self, message: FrontierReceived, now: Instant) -> list[Effect]:
        self._round += 1
        self._sent = 0
        self._unacknowledged.clear()
        self._unacknowledged_bytes = 0
        self._chunks.clear()
        self._in_sync = False
        self._streams = {}
        self._forked = set()
        self._named_sent = {}
        held = message.frontier.held
        self._peer_held = {log: seq for log, (seq, _) in held.items()}
        self._peer_points = held
        self._peer_applied = message.frontier.applied
        self._peer_unsent = message.unsent
        for log in self._ends:
            if log in self._forks:
                self._offer_forked(log)
            elif log in held and not self._agrees(log, *held[log]):
                self._show_branch(log)
            else:
                self._stream(log)
        was = self.state
        self.state = State.LIVE
        if was is State.ADOPTING:
            # There is none for us; or the peer had not heard that we asked, and will answer: what
            # comes of that belongs to an older round then.
            self._snapshot = []
            return self._greet(self._frontier, now, self._slots, adopts=False)
        if self._resumes:
            return self._greet(self._frontier, now, self._slots, adopts=False)
        if self._adopts and message.slots >= SNAPSHOT_SLOTS_MIN:
            if self._frontier.held:
                # Entries came over another link meanwhile: the peer, who holds its own back for
                # us to ask, learns that we do not.
                return self._greet(self._frontier, now, self._slots, adopts=False)
            self.state = State.ADOPTING
            self._snapshot, self._snapshot_bytes = [], 0
            return [self._message(SnapshotRequested())]
        if message.adopts and not held and self._slots >= SNAPSHOT_SLOTS_MIN:
            self.state = State.SPONSORING
        return []

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
        if last > before and self._peer_held.get(log, 0) > before and not self._counts(log, last):
            if self._named_sent.get(log, 0) < last:
                self._named_sent[log] = last
                self._show_branch(log)
        elif log not in self._streams or self._streams[log].end_seq < last:
            self._streams[log] = Stream(self._peer_held.get(log, 0) + 1, last)

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
        applied = self._frontier.applied.get(log)
        return min(seq, max(self._before_fork(log), applied[0] if applied else 0))

    def _entries_arrived(self, message: EntriesArrived) -> list[Effect]:
        log, last_seq = message.log, message.first_seq + len(message.raws) - 1
        self._peer_held[log] = max(self._peer_held.get(log, 0), last_seq)
        if len(self._peer_held) > FRONTIER_LOGS_MAX:
            raise LimitExceeded("frontier-logs", str(len(self._peer_held)))
        stream = self._streams.get(log)
        if message.round == self._own_round and message.first_seq <= self._said.get(log, 0):
            # Nobody sends what we said we hold, but as proof of a fork: show ours, too.
            if log not in self._forked and log not in self._forks:
                self._show_branch(log)
        elif stream is not None and stream.next_seq >= message.first_seq:
            stream.skip_to(last_seq + 1)
        self._count_arrival(message.round, (log, last_seq), sum(map(len, message.raws)))
        return [EntriesReceived(log, message.first_seq, message.raws)]

    def _fork_shown(self, message: ForkShown) -> list[Effect]:
        proof = ForkProof(
            self.collection,
            message.log,
            message.seq,
            message.previous,
            message.first,
            message.second,
        )
        known, shown = self._forks.get(proof.log), self._shown.get(proof.log)
        if shown is not None and shown <= proof.seq:
            return []
        self._shown[proof.log] = proof.seq
        return [] if known is not None and known.seq <= proof.seq else [ForkReceived(proof)]

    def _count_arrival(self, round_: int, last: tuple[LogId, int] | None, size: int) -> None:
        if round_ > self._own_round:
            raise Malformed("a round to come")
        if round_ < self._own_round:
            return
        self._arrived.append((last, size))
        self._arrived_bytes += size
        if self._arrived_bytes > UNACKNOWLEDGED_BYTES_MAX + MESSAGE_BYTES_MAX:
            raise LimitExceeded("unacknowledged-bytes", str(self._arrived_bytes))

    def _acknowledged(self, message: Acknowledged) -> list[Effect]:
        if message.round > self._round:
            raise Malformed("acknowledgement of a round to come")
        if message.round == self._round:
            done = message.count - (self._sent - len(self._unacknowledged))
            if not 0 <= done <= len(self._unacknowledged):
                raise Malformed("acknowledgement of what was not sent")
            for _ in range(done):
                last, size = self._unacknowledged.popleft()
                self._unacknowledged_bytes -= size
                if last is not None:
                    self._peer_held[last[0]] = max(self._peer_held.get(last[0], 0), last[1])
        return []

    def _chunk_arrived(self, message: ChunkArrived) -> list[Effect]:
        self._count_arrival(message.round, None, len(message.raw))
        if message.round < self._own_round:
            return []
        if self.state is not State.ADOPTING or message.index != len(self._snapshot):
            raise Malformed("a chunk that is not the next one")
        self._snapshot_bytes += len(message.raw)
        if self._snapshot_bytes > SNAPSHOT_BYTES_MAX:
            raise LimitExceeded("snapshot-bytes", str(self._snapshot_bytes))
        self._snapshot.append(message.raw)
        self._snapshot_count = message.count
        if len(self._snapshot) < message.count:
            return []
        chunks, self._snapshot = tuple(self._snapshot), []
        return [SnapshotReceived(chunks)]

    def _compare_digests(self) -> list[Effect]:
        ours, theirs = self._own_digest, self._peer_digest
        if ours is None or theirs is None or ours[0] != theirs[0]:
            return []
        self._peer_digest = None
        if ours[1] == theirs[1]:
            return [DigestAgreed(ours[0], theirs[2])]
        return [DigestMismatch(ours[0], ours[1], theirs[1], theirs[2])]

    # --- deciding what to send: the same whatever happened ---

    def _greet(self, frontier: Frontier, now: Instant, slots: int, adopts: bool) -> list[Effect]:
        self._frontier = frontier
        self._slots = slots
        self._said = {log: seq for log, (seq, _) in frontier.held.items()}
        self._adopts = adopts and not frontier.held
        for log in [log for log, seq in self._ends.items() if seq > self._said.get(log, 0)]:
            # A snapshot taken anew holds less of a log: what is gone cannot be sent.
            self._streams.pop(log, None)
            del self._ends[log]
        for log, seq in self._said.items():
            self._ends[log] = seq
            if self._round and not (log == self._own and log in self._forked):
                self._stream(log)
        self._own_round += 1
        self._resumes = False
        self._arrived.clear()
        self._arrived_bytes = self._dealt_with = 0
        self._in_sync = False
        self._quiet_at = now.mono_ms + QUIET_MS
        return [
            self._message(
                FrontierReceived(
                    frontier=frontier, slots=slots, adopts=self._adopts, unsent=self.said_unsent
                )
            )
        ]

    def _decide(self) -> list[Effect]:
        effects: list[Effect] = []
        if self.state in (State.NEW, State.GREETING):
            return effects
        effects += self._show_forks()
        effects += self._acknowledge()
        if self.state is State.SPONSORING:
            effects += self._send_chunks()
        elif self.state is State.LIVE:
            effects += self._send_entries()
            if self._is_in_sync() and not self._in_sync:
                self._in_sync = True
                effects.append(InSync())
        return effects

    def _show_forks(self) -> list[Effect]:
        """Let the peer know of every fork that is known here, each once."""
        effects: list[Effect] = []
        for log, fork in self._forks.items():
            shown = self._shown.get(log)
            if shown is None or shown > fork.seq:
                self._shown[log] = fork.seq
                effects.append(
                    self._message(
                        ForkShown(
                            log=log,
                            seq=fork.seq,
                            previous=fork.previous,
                            first=fork.first,
                            second=fork.second,
                        )
                    )
                )
        return effects

    def _acknowledge(self) -> list[Effect]:
        before = self._dealt_with
        held = self._frontier.held
        while self._arrived:
            last, size = self._arrived[0]
            if (
                last is not None
                and held.get(last[0], (0, b""))[0] < last[1]
                and last[0] not in self._forked
                and last[0] not in self._forks
            ):
                break
            self._arrived.popleft()
            self._arrived_bytes -= size
            self._dealt_with += 1
        if self._dealt_with == before:
            return []
        return [self._message(Acknowledged(round=self._own_round, count=self._dealt_with))]

    def _send_entries(self) -> list[Effect]:
        effects: list[Effect] = []
        while self._unacknowledged_bytes < UNACKNOWLEDGED_BYTES_MAX:
            ready = [
                (peek_hlc(stream.buffer[0]), log, stream)
                for log, stream in self._streams.items()
                if stream.pending and stream.fill(self._reader, self.collection, log)
            ]
            if not ready:
                break
            # Lowest HLC first: an entry's past has lower ones, so little has to wait over there.
            # Who begins a round anew may have had no room for what came first, if a clock was
            # wrong: let each round begin with another log, so that one comes that can be applied.
            ready.sort(key=lambda one: one[:2])
            _, log, stream = ready[0 if self._sent else (self._round - 1) % len(ready)]
            first_seq = stream.next_seq
            raws = stream.take()
            message = EntriesArrived(round=self._round, log=log, first_seq=first_seq, raws=raws)
            last = (log, first_seq + len(raws) - 1)
            effects.append(self._bulk(message, last, sum(map(len, raws))))
        return effects

    def _send_chunks(self) -> list[Effect]:
        effects: list[Effect] = []
        while self._chunks and self._unacknowledged_bytes < UNACKNOWLEDGED_BYTES_MAX:
            index, count, raw = self._chunks.popleft()
            message = ChunkArrived(round=self._round, index=index, count=count, raw=raw)
            effects.append(self._bulk(message, None, len(raw)))
        return effects

    def _is_in_sync(self) -> bool:
        return (
            not self._unacknowledged
            and not self._peer_unsent
            and not any(stream.pending for stream in self._streams.values())
            and self.ahead == 0
        )

    def _bulk(self, message: Message, last: tuple[LogId, int] | None, size: int) -> SendMessage:
        self._in_sync = False
        self._sent += 1
        self._unacknowledged.append((last, size))
        self._unacknowledged_bytes += size
        return self._message(message)

    def _message(self, message: Message) -> SendMessage:
        return SendMessage(encode_message(self.collection, message))

    def _stream(self, log: LogId) -> Stream:
        """The stream of a log of ours, from what the peer is known to hold."""
        stream = self._streams.get(log)
        if stream is None:
            stream = Stream(self._peer_held.get(log, 0) + 1, self._last(log, self._ends[log]))
            self._streams[log] = stream
        return stream
