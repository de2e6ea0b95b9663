"""The ledger of one collection: entries in, document out.

Theory of operation. An entry is first *held*: parsed, its signature checked for the place where
it stands, stored. A held entry is *applied* when all of this is true: its log is applied up to
it; the past it declares is applied; the membership heads it names are known; its key is here; its
content keeps the rules; and it counts. What is held and not applied lies in its log's tail and is
tried again when anything moves. So the applied set is always causally closed, and the same
whatever the order of arrival.

What removals and forks cut away does not count: cuts.py says where that is, and asks the full
rule. This file says when the rule is to be asked, and what follows from its answer.

Who is to blame: bytes that are not a signed entry are the sending peer's fault. An entry whose
author signed content that breaks the rules is its author's: it is kept, its log ends there for
everyone alike, and whoever passed it on did nothing wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from presenced.crypto import derive
from presenced.errors import Malformed, PeerError
from presenced.ids import Collection, EntryHash, EpochId, LogId, SpaceId, StatementId
from presenced.limits import CLOCK_AHEAD_ALERT_MS, ENTRY_EXPANDED_BYTES_MAX
from presenced.replica.chain import HeldEntry, LogChain
from presenced.replica.compression import Compression
from presenced.replica.cuts import Cuts, any_is_cut
from presenced.replica.document import Document
from presenced.replica.entry import (
    Entry,
    EntryKeys,
    Position,
    entry_hash,
    open_entry,
    parse_entry,
    verify_entry,
)
from presenced.replica.frontier import Frontier
from presenced.replica.hlc import Hlc, HybridClock
from presenced.replica.limits import SEQ_MAX
from presenced.replica.operation import Decoded, OperationCodec
from presenced.replica.rows import (
    Alert,
    AlertKind,
    AppliedEntry,
    ForkProof,
    LogCut,
    LogHead,
    Outcome,
    StoredEntry,
)
from presenced.replica.seams import RecordNaming, TrustView
from presenced.replica.slot import Operation


class Shrank(Exception):
    """Acceptance took back what was applied: the document must be built anew."""


class Ledger:
    """Chains and document of one collection, under one view of membership."""

    def __init__(
        self,
        space: SpaceId,
        collection: Collection,
        naming: RecordNaming,
        trust: TrustView,
        clock: HybridClock,
    ) -> None:
        self.space = space
        self.collection = collection
        self.trust = trust
        self.clock = clock
        self._naming = naming
        self.codec = OperationCodec(naming)
        self.compression = Compression()
        self.document = Document()
        self.chains: dict[LogId, LogChain] = {}
        self._keys: dict[EpochId, EntryKeys] = {}
        self._cuts = Cuts(collection, self.chains)
        self.base_heads: tuple[StatementId, ...] = ()
        "the statements under which the base was taken"
        self._judge_due = False
        self._changed: set[LogId] = set()

    # --- chains ---

    def chain(self, log: LogId) -> LogChain | None:
        """The chain of a log; None if membership does not know whose it is."""
        chain = self.chains.get(log)
        if chain is not None:
            return chain
        owner = self.trust.log_owner(log)
        if owner is None or owner.collection != self.collection:
            return None
        chain = LogChain(log, owner, self.document.writer(log, owner.client))
        self.chains[log] = chain
        self.find_bounds()
        return chain

    def position(self, chain: LogChain, seq: int, previous: EntryHash) -> Position:
        return Position(self.space, self.collection, chain.log, seq, previous)

    def keys(self, epoch: EpochId) -> EntryKeys | None:
        keys = self._keys.get(epoch)
        if keys is None:
            key = self.trust.epoch_key(epoch)
            if key is None:
                return None
            keys = EntryKeys(derive.entry_key(key), derive.entry_nonce_key(key))
            self._keys[epoch] = keys
        return keys

    @property
    def frontier(self) -> Frontier:
        return Frontier.of(self.chains.values())

    def waiting(self, *, but_ended: bool = False) -> tuple[int, int]:
        """Entries and bytes that are held and not applied; `but_ended`: not beyond a fork."""
        tails = [
            chain.tail
            for log, chain in self.chains.items()
            if chain.tail
            and not (but_ended and chain.tail[0].seq > self._cuts.ends.get(log, SEQ_MAX))
        ]
        return sum(map(len, tails)), sum(held.size for tail in tails for held in tail)

    def quarantined(self) -> int:
        """Entries that could be applied but for the rule of acceptance or their content."""
        return sum(
            len(chain.tail)
            for log, chain in self.chains.items()
            if chain.tail
            and (
                chain.broken_seq
                or chain.tail[0].decoded is not None
                or chain.tail[0].seq > self._cuts.ends.get(log, SEQ_MAX)
            )
        )

    def take_changed(self, outcome: Outcome) -> None:
        """Put the heads of all chains that moved into the outcome."""
        outcome.heads += [self.chains[log].head(self.collection) for log in sorted(self._changed)]
        self._changed.clear()
        outcome.quarantined = self.quarantined()

    def all_changed(self) -> None:
        """Every head is to be written again."""
        self._changed.update(self.chains)

    def forget_changed(self) -> None:
        """Nothing is to be written: all of this came from disk."""
        self._changed.clear()

    def empty(self) -> Ledger:
        """A new ledger of the same collection under the same view."""
        return Ledger(self.space, self.collection, self._naming, self.trust, self.clock)

    # --- holding ---

    def take(self, chain: LogChain, raw: bytes, wall_ms: int, outcome: Outcome) -> None:
        """Hold the entry that follows the chain's last one, and apply it if it may be.

        Raises `Malformed`, `LimitExceeded` or `Unauthorized` if it is not that entry.
        """
        entry = parse_entry(raw)
        seq = chain.held_seq + 1
        position = self.position(chain, seq, chain.held_hash)
        digest, header = verify_entry(position, entry, chain.owner.signing)
        outcome.entries.append(StoredEntry(self.collection, chain.log, seq, digest, raw))
        self._observe(chain, entry.hlc, wall_ms, outcome)
        self._hold(chain, HeldEntry(seq, digest, header, entry, size=len(raw)))
        self._advance(chain, wall_ms, outcome)

    def take_stored(self, chain: LogChain, raws: Iterable[bytes]) -> None:
        """Hold entries read back from our own store, which were verified when they came."""
        for raw in raws:
            entry = parse_entry(raw)
            seq = chain.held_seq + 1
            digest, header = entry_hash(self.position(chain, seq, chain.held_hash), entry)
            self._hold(chain, HeldEntry(seq, digest, header, entry, size=len(raw)))

    def take_own(
        self, chain: LogChain, held: HeldEntry, raw: bytes, decoded: Decoded, outcome: Outcome
    ) -> None:
        """Hold and apply an entry that was just sealed here."""
        outcome.entries.append(StoredEntry(self.collection, chain.log, held.seq, held.hash, raw))
        self._hold(chain, held)
        self._apply(chain, held, decoded, outcome)

    def read_own(self, entry: Entry, header: bytes) -> list[Operation]:
        """What an own entry says, whether it is held or not; nothing if its key is not here."""
        keys = self.keys(entry.epoch)
        if keys is None:
            return []
        plaintext = self.compression.expand(
            open_entry(entry, header, keys), ENTRY_EXPANDED_BYTES_MAX
        )
        return self.codec.read_own(plaintext)

    def compare(
        self, chain: LogChain, seq: int, raw: bytes, first: bytes | None, outcome: Outcome
    ) -> bool:
        """An entry came for a place that is taken: the same one, or proof of a fork (True).

        `first` is the entry held there, if it could be read. Raises what `take` raises.
        """
        known, previous = chain.hash_at(seq), chain.hash_at(seq - 1)
        if known is None or previous is None or raw == first:
            return False
        entry = parse_entry(raw)
        position = self.position(chain, seq, previous)
        if entry_hash(position, entry)[0] == known:
            return False
        verify_entry(position, entry, chain.owner.signing)
        if first is not None:
            self._forked(
                chain, ForkProof(self.collection, chain.log, seq, previous, first, raw), outcome
            )
        return True

    def prove(self, proof: ForkProof, outcome: Outcome) -> None:
        """Two entries, signed for one place of a log, came as proof. Raises what `take` raises."""
        chain = self.chain(proof.log)
        if chain is None or 0 < chain.fork_seq <= proof.seq:
            return
        position = self.position(chain, proof.seq, proof.previous)
        first, second = (
            verify_entry(position, parse_entry(raw), chain.owner.signing)[0]
            for raw in (proof.first, proof.second)
        )
        if first == second:
            raise Malformed("one entry twice is no fork")
        self._forked(chain, proof, outcome)

    def _forked(self, chain: LogChain, proof: ForkProof, outcome: Outcome) -> None:
        if 0 < chain.fork_seq <= proof.seq:
            return
        chain.fork_seq = proof.seq
        self._changed.add(chain.log)
        outcome.forks.append(proof)
        outcome.alerts.append(
            Alert(AlertKind.FORK, chain.log, chain.owner.device, f"two entries at {proof.seq}")
        )
        self.find_bounds()

    def takes(self, chain: LogChain, seq: int) -> bool:
        """Whether entries of a log are still taken there: of a forked one what a cut names."""
        return self._cuts.takes(chain.log, seq)

    def give_way(self, chain: LogChain, seq: int, outcome: Outcome) -> bool:
        """Give up what is held of a forked log from `seq` on, if cuts name another branch."""
        if not self._cuts.gives_way(chain, seq):
            return False
        chain.give_up_from(seq)
        outcome.cuts.append(LogCut(self.collection, chain.log, seq))
        self._changed.add(chain.log)
        self.find_bounds()
        return True

    def _hold(self, chain: LogChain, held: HeldEntry) -> None:
        chain.hold(held)
        self._changed.add(chain.log)
        cuts = self._cuts
        if not cuts.bounds:
            return
        if cuts.moves_with(chain, held):
            self.find_bounds()
        if not cuts.counts_at_once(chain, held):
            self._judge_due = True

    def _observe(self, chain: LogChain, hlc: int, wall_ms: int, outcome: Outcome) -> None:
        ahead_ms = self.clock.observe(Hlc(hlc), wall_ms)
        if ahead_ms >= CLOCK_AHEAD_ALERT_MS and not any(
            alert.kind is AlertKind.CLOCK_AHEAD and alert.log == chain.log
            for alert in outcome.alerts
        ):
            outcome.alerts.append(
                Alert(AlertKind.CLOCK_AHEAD, chain.log, chain.owner.device, f"{ahead_ms} ms")
            )

    # --- applying ---

    def settle(self, wall_ms: int, outcome: Outcome) -> None:
        """Apply all that may be. Raises `Shrank` when something applied no longer counts."""
        self._check_ends(outcome)
        moved = self._advance_all(wall_ms, outcome) or bool(outcome.applied)
        while self._cuts.bounds and (self._judge_due or (moved and self._someone_waits())):
            self._judge_due = False
            self._judge(outcome)
            moved = self._advance_all(wall_ms, outcome)

    def judge(self, outcome: Outcome) -> None:
        """Only find out whether what is applied still counts. Raises `Shrank` if not all does."""
        self._check_ends(outcome)
        if self._judge_due:
            self._judge_due = False
            self._judge(outcome)
            self._judge_due = True

    def apply_tail(self, chain: LogChain, outcome: Outcome) -> bool:
        """Apply what may be of one log; whether anything was."""
        return self._advance(chain, 0, outcome)

    def _someone_waits(self) -> bool:
        """Whether a log that nothing cuts has a tail: what it waits for may be for the rule."""
        return any(chain.tail for log, chain in self.chains.items() if log not in self._cuts.bounds)

    def _advance_all(self, wall_ms: int, outcome: Outcome) -> bool:
        ever, moved = False, True
        while moved:
            moved = False
            for chain in self.chains.values():
                if chain.tail and self._advance(chain, wall_ms, outcome):
                    moved = ever = True
        return ever

    def _advance(self, chain: LogChain, wall_ms: int, outcome: Outcome) -> bool:
        before, cuts = chain.applied_seq, self._cuts
        while chain.tail and not chain.broken_seq:
            held = chain.tail[0]
            if cuts.ends and held.seq > cuts.ends.get(chain.log, SEQ_MAX):
                break
            if not cuts.past_is_applied(held):
                break
            if held.decoded is None and not self._read(
                chain, held, chain.past_with(held.entry), outcome
            ):
                break
            decoded = held.decoded
            assert decoded is not None
            if held.seq > chain.allowed_seq and not cuts.counts_at_once(chain, held):
                break
            if self.document.too_wide(chain.writer, decoded.operations):
                self._broken(chain, held, "a record has too many fields", outcome)
                break
            self._observe(chain, decoded.hlc_max, wall_ms, outcome)
            self._apply(chain, held, decoded, outcome)
        return chain.applied_seq > before

    def _read(
        self, chain: LogChain, held: HeldEntry, past: Mapping[LogId, int], outcome: Outcome
    ) -> bool:
        """Decode an entry's content. False: it waits for statements or a key, or is broken."""
        entry = held.entry
        if entry.heads and not self.trust.knows(entry.heads):
            return False
        keys = self.keys(entry.epoch)
        if keys is None:
            return False
        if not chain.past_grows(held):
            self._broken(chain, held, "its past goes back", outcome)
            return False
        try:
            plaintext = self.compression.expand(
                open_entry(entry, held.header, keys), ENTRY_EXPANDED_BYTES_MAX
            )
            held.decoded = self.codec.decode(plaintext, held.seq, chain.log, past)
        except PeerError as error:
            self._broken(chain, held, error.detail, outcome)
            return False
        return True

    def _broken(self, chain: LogChain, held: HeldEntry, why: str, outcome: Outcome) -> None:
        chain.broken_seq = held.seq
        held.decoded = None
        if self._cuts.bounds:
            self._judge_due = True
        outcome.alerts.append(
            Alert(AlertKind.BROKEN_CONTENT, chain.log, chain.owner.device, f"{held.seq}: {why}")
        )

    def _apply(self, chain: LogChain, held: HeldEntry, decoded: Decoded, outcome: Outcome) -> None:
        operations = decoded.operations
        self.document.put(
            chain.writer,
            chain.clock_end,
            held.seq,
            operations,
            decoded.stored,
            outcome.touched,
        )
        chain.has_applied(held, len(operations))
        self._changed.add(chain.log)
        outcome.applied.append(AppliedEntry(chain.log, chain.owner.device, held.seq, operations))

    # --- judging ---

    def view(self, trust: TrustView) -> None:
        """Take a newer view of membership; `settle` then does what follows from it."""
        self.trust = trust
        for chain in self.chains.values():
            owner = trust.log_owner(chain.log)
            if owner is not None:
                chain.owner = owner
        self.find_bounds()
        self._judge_due = bool(self._cuts.bounds)

    @property
    def cut(self) -> bool:
        """Whether a removal or a fork cuts any log here."""
        return bool(self._cuts.bounds or self._cuts.ends)

    def cuts(self, log: LogId) -> bool:
        """Whether a removal or a fork cuts this log."""
        return log in self._cuts.bounds or log in self._cuts.ends

    def is_cut(self, heads: Iterable[LogHead]) -> bool:
        """Whether any of these logs is cut, before it has a chain."""
        return any_is_cut(heads, self.trust, self.collection)

    def find_bounds(self) -> None:
        """Where standing removals and forks cut the logs of this collection."""
        if self._cuts.find(self.trust, self.base_heads):
            self._judge_due = True

    def _check_ends(self, outcome: Outcome) -> None:
        """Raises `Shrank` if more of a forked log is applied than counts."""
        for log, end in self._cuts.ends.items():
            chain = self.chains[log]
            if chain.base_seq > end:
                outcome.alerts.append(Alert(AlertKind.BASE_STALE, log, chain.owner.device))
            elif chain.applied_seq > end:
                raise Shrank

    @property
    def base_stale(self) -> bool:
        """Whether the base may hold what no longer counts: a cut that it was taken without."""
        return self._cuts.base_stale

    def _judge(self, outcome: Outcome) -> None:
        """Ask the full rule about every log."""
        if any(chain.start_seq > chain.base_seq for chain in self.chains.values()):
            raise Shrank  # what our own base left out of memory is needed now
        self._read_tails(outcome)
        lengths = self._cuts.accepted(self.trust)
        for log, chain in self.chains.items():
            chain.allowed_seq = lengths[log]
        for log in self._cuts.stale_logs():
            outcome.alerts.append(Alert(AlertKind.BASE_STALE, log, self.chains[log].owner.device))
        if any(lengths[log] < chain.applied_seq for log, chain in self.chains.items()):
            raise Shrank

    def _read_tails(self, outcome: Outcome) -> None:
        """Decode what is held, as far as it can be: only what can be read can count."""
        for chain in self.chains.values():
            past = dict(chain.declared)
            for held in chain.tail:
                past.update((one.log, one.seq) for one in held.entry.past)
                if held.decoded is not None:
                    continue
                if chain.broken_seq or not self._cuts.past_is_held(held):
                    break
                if not self._read(chain, held, past, outcome):
                    break
