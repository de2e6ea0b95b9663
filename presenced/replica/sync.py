"""Sync one collection with one peer: exchange frontiers, send what is not held, push, acknowledge.

Rules of this file: every message that may come in a state stands in TRANSITIONS (sync_terms.py), an
absent pair ends the link; nothing here knows which side dialled; nothing is sent that is not
committed. What we send is kept by outgoing.py, what comes by incoming.py; this machine decides.

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
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from presenced.clock import Instant
from presenced.errors import Malformed
from presenced.ids import Collection, EntryHash, LogId
from presenced.replica.comparison import Comparison
from presenced.replica.frontier import Frontier, Point
from presenced.replica.incoming import Incoming
from presenced.replica.limits import QUIET_MS, SNAPSHOT_SLOTS_MIN
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
from presenced.replica.outgoing import Outgoing
from presenced.replica.rows import ForkProof, StoredEntry
from presenced.replica.seams import ReplicaReader
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
from presenced.replica.sync_terms import TRANSITIONS, State

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
        self._outgoing = Outgoing(collection, reader, hash_at, own)
        self._incoming = Incoming()
        self._comparison = Comparison()
        self.said_unsent = False
        "whether the peer waits for edits of ours that were not sealed yet"
        self._peer_unsent = False
        self._slots = 0
        self._adopts = False
        self._in_sync = False
        "whether `InSync` was told and still is so"
        self._resumes = False
        "the frontier is to be said again, once the peer has its snapshot"
        self._quiet_at: int | None = None

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
            self._outgoing.frontier, self._slots, self._resumes = frontier, slots, True
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
        if self._outgoing.committed(entries, frontier, forks):
            self._quiet_at = now.mono_ms + QUIET_MS
        return self._decide()

    def send_snapshot(self, chunks: Sequence[bytes], now: Instant) -> list[Effect]:
        """Answer `SnapshotWanted`. No chunks: the peer is told to take entries instead."""
        if self.state is not State.SPONSORING:
            return []
        if not chunks:
            self.state = State.LIVE
            effects = self._greet(self._outgoing.frontier, now, 0, self._adopts)
            return [*effects, *self._decide()]
        self._outgoing.offer_snapshot(chunks)
        return self._decide()

    def ask_snapshot(self) -> list[Effect]:
        """Ask a peer that is level for a snapshot, to start from anew. Nothing while busy."""
        if self.state is not State.LIVE:
            return []
        self.state = State.ADOPTING
        self._incoming.begin_snapshot()
        return [self._message(SnapshotRequested())]

    def digest_taken(
        self, point: bytes, digest: bytes, now: Instant, *, vouched: bool
    ) -> list[Effect]:
        """Answer `DigestWanted`. `vouched`: as `DigestReceived` says."""
        digest_now = DigestReceived(point=point, digest=digest, vouched=vouched)
        if self.state is not State.LIVE or not self._comparison.say(digest_now):
            return []
        return [self._message(digest_now), *self._comparison.compare()]

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
        return self._outgoing.ahead

    @property
    def behind(self) -> int:
        """Entries that the peer lacks and we can send."""
        return self._outgoing.behind

    @property
    def unacknowledged_bytes(self) -> int:
        """Of entries and chunks on their way to the peer; bounded by the window."""
        return self._outgoing.unacknowledged_bytes

    @property
    def frontiers_heard(self) -> int:
        """How often the peer has said its frontier."""
        return self._outgoing.round

    @property
    def greeted(self) -> bool:
        """Whether the peer has said its frontier."""
        return self._outgoing.round > 0

    def peer_point(self, log: LogId) -> Point | None:
        """Where a log ended in the peer's last frontier; None if it had nothing of it."""
        return self._outgoing.peer_points.get(log)

    def ask_anew(self, log: LogId, now: Instant) -> list[Effect]:
        """Say the frontier again without a log, so that the peer sends all of it."""
        assert self.state is State.LIVE
        frontier = self._outgoing.frontier
        held = {name: point for name, point in frontier.held.items() if name != log}
        applied = {name: point for name, point in frontier.applied.items() if name != log}
        effects = self._greet(Frontier(held, applied), now, self._slots, adopts=False)
        self._outgoing.frontier = frontier
        return [*effects, *self._decide()]

    def peer_holds(self, log: LogId) -> int:
        """How far the peer has said that it holds a log: by its frontier, or acknowledging."""
        return self._outgoing.peer_held.get(log, 0)

    @property
    def in_sync(self) -> bool:
        """Whether, as far as is known now, each side holds all that the other holds."""
        return self.state is State.LIVE and not self._peer_unsent and self._outgoing.is_level

    @property
    def adopting(self) -> tuple[int, int] | None:
        """Chunks of a snapshot that are here, and how many it has, while one is on its way."""
        return self._incoming.snapshot_progress

    # --- messages ---

    def _handle(self, message: Message, now: Instant) -> list[Effect]:
        match message:
            case FrontierReceived():
                return self._frontier_received(message, now)
            case EntriesArrived():
                return self._entries_arrived(message)
            case Acknowledged():
                self._outgoing.acknowledged(message)
                return []
            case DigestReceived():
                self._comparison.hear(message)
                return [*self._comparison.compare()]
            case ForkShown():
                return self._fork_shown(message)
            case SnapshotRequested() if self.state is State.ADOPTING:
                # Both asked: neither has what the other wants.
                self.state = State.LIVE
                self._incoming.forget_snapshot()
                return self._greet(self._outgoing.frontier, now, 0, adopts=False)
            case SnapshotRequested():
                self.state = State.SPONSORING
                return [SnapshotWanted()]
            case ChunkArrived():
                return self._chunk_arrived(message)

    def _frontier_received(self, message: FrontierReceived, now: Instant) -> list[Effect]:
        self._outgoing.begin_round(message.frontier)
        self._in_sync = False
        self._peer_unsent = message.unsent
        ours = self._outgoing.frontier
        was = self.state
        self.state = State.LIVE
        if was is State.ADOPTING:
            # There is none for us; or the peer had not heard that we asked, and will answer: what
            # comes of that belongs to an older round then.
            self._incoming.forget_snapshot()
            return self._greet(ours, now, self._slots, adopts=False)
        if self._resumes:
            return self._greet(ours, now, self._slots, adopts=False)
        if self._adopts and message.slots >= SNAPSHOT_SLOTS_MIN:
            if ours.held:
                # Entries came over another link meanwhile: the peer, who holds its own back for
                # us to ask, learns that we do not.
                return self._greet(ours, now, self._slots, adopts=False)
            self.state = State.ADOPTING
            self._incoming.begin_snapshot()
            return [self._message(SnapshotRequested())]
        if message.adopts and not message.frontier.held and self._slots >= SNAPSHOT_SLOTS_MIN:
            self.state = State.SPONSORING
        return []

    def _entries_arrived(self, message: EntriesArrived) -> list[Effect]:
        last_seq = message.first_seq + len(message.raws) - 1
        self._outgoing.peer_sent(
            message.log, message.first_seq, last_seq, is_proof=self._incoming.is_said(message)
        )
        self._incoming.entries(message, last_seq)
        return [EntriesReceived(message.log, message.first_seq, message.raws)]

    def _fork_shown(self, message: ForkShown) -> list[Effect]:
        proof = ForkProof(
            self.collection,
            message.log,
            message.seq,
            message.previous,
            message.first,
            message.second,
        )
        return [ForkReceived(proof)] if self._outgoing.peer_showed(proof) else []

    def _chunk_arrived(self, message: ChunkArrived) -> list[Effect]:
        chunks = self._incoming.chunk(message, is_wanted=self.state is State.ADOPTING)
        return [SnapshotReceived(chunks)] if chunks else []

    # --- deciding what to send: the same whatever happened ---

    def _greet(self, frontier: Frontier, now: Instant, slots: int, adopts: bool) -> list[Effect]:
        self._slots = slots
        self._adopts = adopts and not frontier.held
        self._outgoing.say(frontier)
        self._incoming.begin_round(frontier)
        self._resumes = False
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
        if self.state in (State.NEW, State.GREETING):
            return []
        outgoing = self._outgoing
        messages: list[Message] = [*outgoing.forks_to_show()]
        done = self._incoming.acknowledge(outgoing.frontier.held, outgoing.is_forked)
        if done is not None:
            messages.append(done)
        bulk: Sequence[Message] = ()
        if self.state is State.SPONSORING:
            bulk = outgoing.chunks()
        elif self.state is State.LIVE:
            bulk = outgoing.entries()
        if bulk:
            self._in_sync = False
            messages += bulk
        effects: list[Effect] = [self._message(one) for one in messages]
        if not self._in_sync and self.in_sync:
            self._in_sync = True
            effects.append(InSync())
        return effects

    def _message(self, message: Message) -> SendMessage:
        return SendMessage(encode_message(self.collection, message))
