"""One log as this replica knows it: its head, its hashes, what it declared, what waits.

Rules of this file: entries enter at the end and leave the tail only by being applied, so
`applied_seq <= held_seq` and the tail is exactly what lies between. Hashes are kept as one byte
array (32 bytes an entry) because pasts name them; declared pasts only where they say something.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from presenced.ids import HASH_BYTES, Collection, EntryHash, LogId, StatementId
from presenced.replica.acceptance import PastLink
from presenced.replica.document import Writer
from presenced.replica.entry import NO_ENTRY, Entry, Reference
from presenced.replica.operation import Decoded
from presenced.replica.rows import LogHead
from presenced.replica.seams import LogOwner


@dataclass(slots=True)
class HeldEntry:
    """An entry that is stored and not applied: it waits, or is quarantined."""

    seq: int
    hash: EntryHash
    header: bytes
    entry: Entry
    decoded: Decoded | None = None
    size: int = 0
    "raw bytes"


@dataclass(slots=True)
class DeclaredPast:
    """An entry that names entries of other logs, or membership heads."""

    seq: int
    references: tuple[Reference, ...]
    heads: tuple[StatementId, ...]


@dataclass(slots=True)
class LogChain:
    """State of one log. `owner` is who may write it."""

    log: LogId
    owner: LogOwner
    writer: Writer
    held_seq: int = 0
    held_hash: EntryHash = NO_ENTRY
    applied_seq: int = 0
    applied_hash: EntryHash = NO_ENTRY
    clock_end: int = 0
    base_seq: int = 0
    fork_seq: int = 0
    start_seq: int = 0
    "entries up to here came out of a base: their hashes and pasts are not in memory"
    start_hash: EntryHash = NO_ENTRY
    based_seq: int = 0
    "entries up to here are in the base on disk"
    hashes: bytearray = field(default_factory=bytearray)
    "32 bytes per entry from `start_seq` + 1 on"
    declared: dict[LogId, int] = field(default_factory=dict)
    "per other log the highest seq in the past of the applied head"
    heads: tuple[StatementId, ...] = ()
    "membership heads last declared by an applied entry"
    pasts: list[DeclaredPast] = field(default_factory=list)
    "of held entries, by seq"
    tail: deque[HeldEntry] = field(default_factory=deque)
    allowed_seq: int = 0
    "entries up to here were accepted by the full rule"
    broken_seq: int = 0
    "an entry whose content breaks the rules: nothing from there on is ever applied; 0: none"

    def hash_at(self, seq: int) -> EntryHash | None:
        """The hash of a held entry; None if it is not in memory or not held."""
        if seq == self.start_seq:
            return self.start_hash
        at = (seq - self.start_seq - 1) * HASH_BYTES
        if at < 0 or at >= len(self.hashes):
            return None
        return EntryHash(bytes(self.hashes[at : at + HASH_BYTES]))

    def forked_before(self, seq: int) -> bool:
        """Whether an entry at `seq` may belong to a branch that is not held: nobody's fault."""
        return 0 < self.fork_seq < seq

    def hold(self, held: HeldEntry) -> None:
        """The next entry of the log is stored."""
        assert held.seq == self.held_seq + 1
        self.held_seq, self.held_hash = held.seq, held.hash
        self.hashes += held.hash
        entry = held.entry
        if entry.past or entry.heads:
            self.pasts.append(DeclaredPast(held.seq, entry.past, entry.heads))
        self.tail.append(held)

    def has_applied(self, held: HeldEntry, operations: int) -> None:
        """The first entry of the tail was put into the document."""
        assert self.tail[0] is held
        self.tail.popleft()
        self.applied_seq, self.applied_hash = held.seq, held.hash
        self.clock_end += operations
        self.declared.update((one.log, one.seq) for one in held.entry.past)
        if held.entry.heads:
            self.heads = held.entry.heads

    def past_with(self, entry: Entry) -> Mapping[LogId, int]:
        """Per other log the highest seq in the past of the entry that follows the applied head."""
        if not entry.past:
            return self.declared
        return {**self.declared, **{one.log: one.seq for one in entry.past}}

    def past_grows(self, held: HeldEntry) -> bool:
        """Whether an entry names other logs only, and each further than its log did before."""
        if not held.entry.past:
            return True
        before = dict(self.declared)
        for earlier in self.tail:
            if earlier is held:
                break
            before.update((one.log, one.seq) for one in earlier.entry.past)
        return all(
            one.log != self.log and one.seq > before.get(one.log, 0) for one in held.entry.past
        )

    def readable_seq(self) -> int:
        """The last entry that is applied or at least decoded, without a gap."""
        seq = self.applied_seq
        for held in self.tail:
            if held.decoded is None:
                break
            seq = held.seq
        return seq

    def links(
        self,
        removals_in: Mapping[tuple[StatementId, ...], frozenset[StatementId]],
        reach: Callable[[Reference], int],
    ) -> list[PastLink]:
        """What the rule of acceptance looks at. `reach`: how far a reference needs its log."""
        return [
            PastLink(
                past.seq,
                tuple((one.log, reach(one)) for one in past.references),
                removals_in.get(past.heads, frozenset()),
            )
            for past in self.pasts
        ]

    def give_up_from(self, seq: int) -> None:
        """Nothing of the log is held from `seq` on any more; none of that is applied."""
        assert self.applied_seq < seq <= self.held_seq
        before = self.hash_at(seq - 1)
        assert before is not None
        self.held_seq, self.held_hash = seq - 1, before
        del self.hashes[(seq - 1 - self.start_seq) * HASH_BYTES :]
        while self.tail and self.tail[-1].seq >= seq:
            self.tail.pop()
        self.pasts = [past for past in self.pasts if past.seq < seq]
        if self.broken_seq >= seq:
            self.broken_seq = 0
        self.allowed_seq = min(self.allowed_seq, seq - 1)

    def head(self, collection: Collection) -> LogHead:
        return LogHead(
            collection,
            self.log,
            self.held_seq,
            self.held_hash,
            self.applied_seq,
            self.applied_hash,
            self.clock_end,
            self.base_seq,
            self.fork_seq,
        )
