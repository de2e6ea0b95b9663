"""One collection on one device: own edits in, entries out; entries in, changed records out.

Rules of this file: every call that changes something returns an `Outcome`; the caller commits its
rows in one transaction before anything is sent, answered or shown (DESIGN §5 *Order on one
device*). If that transaction fails, or `DocumentLost` is raised, the caller drops the outcome and
calls `drop`: the next use loads again from what is committed. The document is loaded when it is
first needed; `frontier` is known without it.

Invariant: no remote entry is applied while the overlay holds an edit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain as concatenated
from typing import Final, TypeAlias

from presenced.clock import Instant
from presenced.crypto.keys import SigningKey
from presenced.errors import InvalidValue, NotAllowed, PeerError
from presenced.ids import Collection, DeviceId, EntryHash, LogId, RecordId, SpaceId, hash_bytes
from presenced.replica.adopting import adopt_into, follow_up
from presenced.replica.allowance import Allowance
from presenced.replica.arrivals import Arrivals, Parked
from presenced.replica.chain import LogChain
from presenced.replica.cuts import all_stand
from presenced.replica.digest import ContentDigest
from presenced.replica.frontier import Frontier, Point
from presenced.replica.hlc import HybridClock
from presenced.replica.ledger import Ledger, Shrank
from presenced.replica.limits import BASE_TAIL_ENTRIES, OVERLAY_FIELDS_MAX
from presenced.replica.loading import Recent, load_ledger
from presenced.replica.operation import OperationCodec
from presenced.replica.overlay import Overlay
from presenced.replica.own_log import (
    Branch,
    OtherBranch,
    fallen_edits,
    ledger_before,
    made_apart,
    marked,
    own_edits_from,
    own_value_at,
    take_branch,
    without_marks,
)
from presenced.replica.rows import Alert, AlertKind, BaseChunk, ForkProof, Outcome
from presenced.replica.sealing import seal_operations
from presenced.replica.seams import RecordNaming, ReplicaReader, TrustView
from presenced.replica.slot import Operation, RecordSlots
from presenced.replica.snapshot import take_snapshot
from presenced.wire import encode_prepared

_Place: TypeAlias = tuple[str, RecordId, str]
"map, record, field"

POINT_DOMAIN: Final = b"pd/point/1"


@dataclass(frozen=True, slots=True)
class OwnLog:
    """The log that this device writes in a collection, and the key that signs it."""

    log: LogId
    signing: SigningKey


@dataclass(frozen=True, slots=True)
class Pending:
    """What is held and not applied."""

    waiting: int
    "entries that wait for their past, statements or a key"
    quarantined: int
    "entries that the rule of acceptance, or their own content, keeps out"
    unsent: int
    "own fields in the overlay"


class Replica:
    """See the module. `own` is None on a device that only reads."""

    def __init__(
        self,
        *,
        space: SpaceId,
        collection: Collection,
        own: OwnLog | None,
        reader: ReplicaReader,
        naming: RecordNaming,
        trust: TrustView,
        clock: HybridClock,
        taken: bytes | None = None,
    ) -> None:
        """`taken`: the `Outcome.taken` that was committed last."""
        self.space = space
        self.collection = collection
        self._own = own
        self._reader = reader
        self._naming = naming
        self._trust = trust
        self._clock = clock
        self._codec = OperationCodec(naming)
        self._ledger: Ledger | None = None
        self._digest: ContentDigest | None = None
        self._overlay: Overlay | None = None
        self._recent = Recent(reader, collection)
        self._allowance = Allowance(taken)
        self._arrivals = Arrivals(self._allowance)
        self._views_stale = False
        self._recovering = False
        self._other = OtherBranch()

    # --- life ---

    @property
    def loaded(self) -> bool:
        return self._ledger is not None

    def load(self) -> None:
        """Build the document from what is committed, if it is not here yet."""
        self._loaded()

    def drop(self) -> None:
        """Forget everything that is not committed; the next use loads again."""
        self._ledger = self._digest = self._overlay = None
        self._recent = Recent(self._reader, self.collection)
        self._arrivals = Arrivals(self._allowance)
        self._recovering = False
        self._other = OtherBranch()

    def _loaded(self) -> Ledger:
        if self._ledger is None:
            ledger = load_ledger(self._new_ledger(), self._reader, self._recent, use_base=True)
            self._use(ledger)
            # A crash may have parted statements from what follows from them: tell it then.
            self._views_stale = any(
                head.log in ledger.chains
                and ledger.chains[head.log].applied_seq != head.applied_seq
                for head in self._reader.log_heads(self.collection)
            )
        assert self._ledger is not None
        return self._ledger

    def _use(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._digest = ContentDigest(ledger.document)

    def _new_ledger(self) -> Ledger:
        return Ledger(self.space, self.collection, self._naming, self._trust, self._clock)

    def _unsent(self) -> Overlay:
        if self._overlay is None:
            self._overlay = Overlay(self.collection)
            self._overlay.load(self._reader.overlay(self.collection))
        return self._overlay

    def _own_chain(self) -> LogChain | None:
        return None if self._own is None else self._loaded().chain(self._own.log)

    # --- own edits ---

    @property
    def can_seal(self) -> bool:
        """Whether own edits can become entries now: a log that goes on, and a key to write under.

        False while a rotation is owed, or when this device's log was cut, forked or broke a rule,
        or a peer has other entries of it.
        """
        chain = self._own_chain()
        if chain is None or chain.tail or chain.broken_seq or chain.fork_seq:
            return False
        if self._other.branch is not None:
            return False
        epoch = self._trust.writing_epoch(self.collection)
        return epoch is not None and self._loaded().keys(epoch) is not None

    def write(self, operations: Sequence[Operation], *, live: bool) -> Outcome:
        """Own edits, all or none: sealed at once with a live link, else into the overlay.

        1,000 distinct unsent fields are sealed in any case. Of two operations on one field the
        last one counts. Raises `InvalidValue` (nothing was done) for what the document cannot
        hold, `NotAllowed` on a device without a log here.
        """
        edits = self._checked(operations)
        overlay = self._unsent()
        unsent = overlay.operations()
        due = live or len(unsent) + len(edits) > OVERLAY_FIELDS_MAX
        if due and self.can_seal and not self._held_back():
            if unsent:
                edits = {one[:3]: one for one in unsent} | edits
            return self._seal(list(edits.values()), drop=bool(unsent))
        outcome = Outcome()
        outcome.overlay_put = overlay.put(self._marked(edits.values()))
        for root, record, field in edits:
            outcome.touch(root, record, field)
        return outcome

    def check(self, operations: Sequence[Operation]) -> None:
        """Raise what `write` would raise for them; nothing is done."""
        self._checked(operations)

    def _checked(self, operations: Sequence[Operation]) -> dict[_Place, Operation]:
        chain = self._own_chain()
        if chain is None:
            raise NotAllowed("this device does not write this collection")
        edits = {one[:3]: one for one in self._codec.canonical(operations)}
        document = self._loaded().document
        if document.too_wide(chain.writer, [*self._unsent().operations(), *edits.values()]):
            raise InvalidValue("a record would have too many fields")
        return edits

    def seal_overlay(self) -> Outcome:
        """Make entries of all unsent edits. Nothing happens if there are none or none can be."""
        unsent = self._unsent().operations()
        if not unsent or not self.can_seal or self._held_back():
            return Outcome()
        return self._seal(unsent, drop=True)

    def _seal(self, operations: list[Operation], *, drop: bool) -> Outcome:
        chain, ledger = self._own_chain(), self._loaded()
        assert chain is not None
        assert self._own is not None
        outcome = Outcome()
        operations = without_marks(operations, self._own.log)
        seal_operations(ledger, chain, self._own.signing, operations, outcome)
        if drop:
            outcome.overlay_drop = self._unsent().close()
        return self._finished(outcome)

    # --- entries of others ---

    def receive(self, log: LogId, first_seq: int, raws: Sequence[bytes], now: Instant) -> Outcome:
        """Entries of one log with consecutive seqs, from a peer. Seal the overlay first.

        Never raises for what a peer sent: what it broke stands in `Outcome.faults`, and whatever
        was good is kept.
        """
        assert self._recovering or not len(self._unsent()), "seal unsent edits first"
        ledger = self._loaded()
        outcome = Outcome()
        if self._own is not None and log == self._own.log:
            try:
                follow = self._own_entries(first_seq, raws)
            except PeerError as error:
                outcome.faults.append(error)
                return outcome
            first_seq, raws = first_seq + len(raws) - len(follow), follow
            if self._other.branch is not None:
                outcome.alerts.append(self._own_alert(AlertKind.OWN_LOG_DIVERGED))
            ledger = self._loaded()
        if ledger.chain(log) is None:
            self._arrivals.park(log, first_seq, raws, outcome)
            return outcome
        arrived = Parked(log, first_seq, tuple(raws))
        self._arrivals.take(ledger, self._recent, arrived, now, outcome)
        return self._settled(outcome, now.wall_ms)

    def receive_proof(self, proof: ForkProof, now: Instant) -> Outcome:
        """Proof that a log forked, from a peer: what follows the fork no longer counts.

        While the overlay holds an edit only that; then call `settle` after sealing. Never raises.
        """
        outcome = Outcome()
        try:
            self._loaded().prove(proof, outcome)
        except PeerError as error:
            outcome.faults.append(error)
            return outcome
        if not outcome.forks:
            return outcome
        only_shrink = len(self._unsent()) > 0 and not self._recovering
        return self._settled(outcome, now.wall_ms, only_shrink=only_shrink)

    def trust_changed(self, trust: TrustView, now: Instant) -> Outcome:
        """A newer view of membership: what it takes back goes, what waited for it goes on.

        While the overlay holds an edit only the former; then call `settle` after sealing.
        """
        if self._ledger is None:
            heads = self._reader.log_heads(self.collection)
            if all_stand(heads, trust, self.collection):
                self._trust = trust
                return Outcome()
        ledger = self._loaded()  # under the view that what is committed belongs to
        self._trust = trust
        ledger.view(trust)
        if len(self._unsent()) and not self._recovering:
            return self._settled(Outcome(), now.wall_ms, only_shrink=True)
        return self.settle(now)

    def settle(self, now: Instant) -> Outcome:
        """Apply whatever waited and may go on now. Seal the overlay first."""
        assert self._recovering or not len(self._unsent()), "seal unsent edits first"
        ledger = self._loaded()
        outcome = Outcome()
        for arrived in self._arrivals.unpark(ledger):
            self._arrivals.take(ledger, self._recent, arrived, now, outcome)
        return self._settled(outcome, now.wall_ms)

    def _settled(self, outcome: Outcome, wall_ms: int, *, only_shrink: bool = False) -> Outcome:
        ledger = self._loaded()
        if outcome.entries:
            outcome.taken = self._allowance.row()
        self._recent.add(outcome.entries)
        try:
            if only_shrink:
                ledger.judge(outcome)
            else:
                ledger.settle(wall_ms, outcome)
        except Shrank:
            self._rebuild(outcome)
        if self._own is not None:
            self._own_alerts(outcome)
        return self._finished(outcome)

    def _rebuild(self, outcome: Outcome) -> None:
        """Acceptance shrank: the document anew from the log, under the same view."""
        ledger = load_ledger(
            self._new_ledger(), self._reader, self._recent, use_base=False, before=self._ledger
        )
        self._use(ledger)
        outcome.rebuilt = True
        outcome.applied.clear()
        outcome.touched.clear()
        if not any(chain.base_seq for chain in ledger.chains.values()):
            outcome.base = []
        ledger.all_changed()

    def _own_alerts(self, outcome: Outcome) -> None:
        assert self._own is not None
        own = self._own.log
        if any(alert.kind is AlertKind.FORK and alert.log == own for alert in outcome.alerts):
            outcome.alerts.append(self._own_alert(AlertKind.OWN_LOG_DIVERGED))
        if any(entry.log == own for entry in outcome.entries):
            outcome.alerts.append(self._own_alert(AlertKind.OWN_LOG_AHEAD))

    def _own_alert(self, kind: AlertKind) -> Alert:
        chain = self._own_chain()
        assert chain is not None
        return Alert(kind, chain.log, chain.owner.device)

    # --- a restored disk (own_log.py) ---

    @property
    def own_waits(self) -> bool:
        """Whether entries of the own log came back that cannot be applied yet."""
        chain = self._own_chain()
        return chain is not None and bool(chain.tail)

    @property
    def branch(self) -> Branch | None:
        """What a peer has of the own log instead of what we have, as far as it came."""
        return self._other.branch

    @property
    def contested(self) -> bool:
        """Whether an unsent edit was made apart from what came back of the own log."""
        if self._own is None or not len(self._unsent()):
            return False
        log, document = self._own.log, self._loaded().document
        return any(made_apart(edit, log, document) for edit in self._unsent().operations())

    def _held_back(self) -> bool:
        """Whether unsent edits must not go into the own log: it is not whole, or not theirs."""
        return self._recovering or self.contested

    def recover(self) -> Outcome:
        """A peer has more of the own log: nothing is sealed until `recovered`.

        Entries of others are applied meanwhile, or what lost entries saw could never come; the
        unsent edits, which did not see them, are marked first.
        """
        outcome = Outcome()
        if not self._recovering:
            self._recovering = True
            outcome.overlay_put = self._unsent().put(self._marked(self._unsent().operations()))
        return outcome

    def recovered(self) -> None:
        """Nobody has more of the own log than we."""
        self._recovering = False
        self._other = OtherBranch()

    def _marked(self, edits: Iterable[Operation]) -> list[Operation]:
        """Edits with what they saw of the own log, if that is in doubt."""
        if not self._recovering or self._own is None:
            return list(edits)
        ledger = self._loaded()
        ledger.document.flush()
        return [
            marked(self._unsent().with_mark(edit, self._own.log), self._own.log, ledger.document)
            for edit in edits
        ]

    def _own_entries(self, first_seq: int, raws: Sequence[bytes]) -> Sequence[bytes]:
        """Look at entries of the own log that a peer has; those that follow what is held."""
        chain = self._own_chain()
        assert chain is not None
        if chain.base_seq < first_seq <= chain.start_seq:  # our base hides where they may part
            ledger = load_ledger(self._new_ledger(), self._reader, self._recent, use_base=False)
            self._use(ledger)
            chain = self._own_chain()
            assert chain is not None
        return self._other.take(self._loaded(), chain, first_seq, raws)

    def take_over(self, now: Instant) -> Outcome:
        """Take `branch` for the own log; our entries in its place become unsent edits again.

        Only when all that was decided is on disk; afterwards everything is to be loaded again.
        """
        branch, own, outcome = self._other.branch, self._own, Outcome()
        assert branch is not None
        assert own is not None
        ours = own_edits_from(self._loaded(), own.log, branch.first_seq, self._reader)
        fresh = ledger_before(self._loaded(), self._new_ledger(), self._reader, own.log, branch)
        edits = {edit[:3]: edit for edit in [*ours, *self._unsent().operations()]}
        again = [marked(edit, own.log, fresh.document, branch) for edit in edits.values()]
        outcome.overlay_put = self._unsent().put(again)
        take_branch(fresh, own.log, branch, now.wall_ms, outcome)
        self._use(fresh)
        self._recent = Recent(self._reader, self.collection)
        return self._finished(outcome)

    @property
    def fell(self) -> bool:
        """Whether the own log ended for good, or edits of this device's logs no longer count."""
        chain = self._own_chain() if self._own_is_cut() else None
        return chain is not None and (chain.fork_seq > 0 or bool(self._fallen()))

    def take_back(self) -> Outcome:
        """Edits of this device's logs that no longer count become unsent ones again.

        All unsent ones are marked: they will go into another log.
        """
        outcome = Outcome()
        if self._own is None:
            return outcome
        fallen = self._fallen() if self._own_is_cut() else []
        self._recovering = True
        edits = {edit[:3]: edit for edit in [*fallen, *self._unsent().operations()]}
        outcome.overlay_put = self._unsent().put(self._marked(edits.values()))
        for edit in edits.values():
            outcome.touch(edit.map, edit.record, edit.field)
        return outcome

    def begin_log(self, own: OwnLog, trust: TrustView) -> None:
        """Show unsent edits as those of a new log, until everything is loaded again."""
        self._own = own
        self._trust = trust
        self._loaded().view(trust)

    def _own_is_cut(self) -> bool:
        return self._own is not None and self._ledger is not None and self._ledger.cut

    def _fallen(self) -> list[Operation]:
        """Edits of this device's logs that do not count, unless it wrote them again or later."""
        chain, ledger = self._own_chain(), self._loaded()
        assert chain is not None
        device = chain.owner.device
        own_logs = {log for log, one in ledger.chains.items() if one.owner.device == device}
        fallen = []
        for edit in fallen_edits(ledger, own_logs):
            slots = self.record(edit.map, edit.record).get(edit.field, {})
            if all(slots[log].hlc < edit.hlc for log in own_logs & slots.keys()):
                fallen.append(edit)
        return fallen

    def value_before(self, edit: Operation) -> object:
        """What the own log said of a marked edit's field when it was made; None: nothing."""
        chain, ledger = self._own_chain(), self._loaded()
        assert chain is not None
        seq = edit.seen.get(chain.log, 0)
        return None if not seq else own_value_at(ledger, chain, seq, edit, self._reader)

    def ends_of(self, logs: Iterable[LogId]) -> dict[LogId, Point] | None:
        """Where logs of this device end, to be signed; None if one of them is not whole here."""
        points = {}
        for log in logs:
            one = self._loaded().chains.get(log)
            if one is None or one.tail or one.fork_seq or not one.held_seq:
                return None
            points[log] = (one.held_seq, one.held_hash)
        return points

    def _finished(self, outcome: Outcome) -> Outcome:
        ledger = self._loaded()
        ledger.document.flush()
        if self._views_stale:
            self._views_stale = False
            outcome.rebuilt = True
            outcome.applied.clear()
            outcome.touched.clear()
            ledger.all_changed()
        ledger.take_changed(outcome)
        self._recent.add(outcome.entries)
        return outcome

    # --- reading ---

    def record(self, root: str, record: RecordId) -> RecordSlots:
        """The slots of a record by field and log, own unsent edits included; empty: unknown."""
        slots = self._loaded().document.slots(root, record)
        chain = self._own_chain()
        if chain is not None:
            for field, slot in self._unsent().slots(root, record, chain.applied_seq + 1):
                slots.setdefault(field, {})[chain.log] = slot
        return slots

    def records(self, root: str) -> Iterator[RecordId]:
        """Every record of a map once."""
        document, overlay = self._loaded().document, self._unsent()
        unsent = (record for record in overlay.records(root) if not document.knows(root, record))
        return concatenated(document.records(root), unsent)

    def knows_record(self, root: str, record: RecordId) -> bool:
        return self._loaded().document.knows(root, record) or self._unsent().knows(root, record)

    @property
    def slot_count(self) -> int:
        """Slots in the document, of all maps."""
        return self._loaded().document.slot_count

    @property
    def frontier(self) -> Frontier:
        """How far every log has come; from the committed heads while nothing is loaded."""
        if self._ledger is not None:
            return self._ledger.frontier
        return Frontier.of(self._reader.log_heads(self.collection))

    @property
    def pending(self) -> Pending:
        unsent = len(self._unsent())
        if self._ledger is not None:
            quarantined = self._ledger.quarantined()
            return Pending(self._ledger.waiting()[0] - quarantined, quarantined, unsent)
        heads = self._reader.log_heads(self.collection)
        return Pending(sum(head.held_seq - head.applied_seq for head in heads), 0, unsent)

    def digest(self) -> bytes:
        """32 bytes, equal on all devices that applied the same; unsent edits are not in it."""
        self._loaded()
        assert self._digest is not None
        return self._digest.digest(self.collection, self._trust.heads)

    def point(self) -> bytes:
        """32 bytes: what is applied and which statements are known. Equal ones: equal digests."""
        rows = [[log, *point] for log, point in sorted(self.frontier.applied.items())]
        return hash_bytes(POINT_DOMAIN, encode_prepared([rows, sorted(self._trust.heads)]))

    def hash_at(self, log: LogId, seq: int) -> EntryHash | None:
        """The hash of a held entry, for `SyncMachine`; None if it is not held or not known.

        Loads the document unless the committed head answers: only a log that a peer has less of
        than we have asks for more.
        """
        if self._ledger is None:
            for head in self._reader.log_heads(self.collection):
                if head.log == log and head.held_seq == seq:
                    return head.held_hash
                if head.log == log and head.held_seq < seq:
                    return None
        chain = self._loaded().chains.get(log)
        return None if chain is None else chain.hash_at(seq)

    # --- snapshots ---

    def snapshot(self, via: Sequence[DeviceId] = ()) -> list[bytes]:
        """The applied document in sealed chunks, manifest first; empty while there is no key.

        `via`: the devices by whose unconfirmed word this one has its own beginning.
        """
        ledger = self._loaded()
        epoch = self._trust.writing_epoch(self.collection)
        keys = ledger.keys(epoch) if epoch is not None else None
        if epoch is None or keys is None or self._own is None:
            return []
        assert self._digest is not None
        own = self._own
        return take_snapshot(ledger, self._digest, epoch, keys, own.log, own.signing, via)

    @property
    def base_due(self) -> bool:
        """Whether so much lies behind the base that writing one is worth its time. When quiet."""
        chains = self._loaded().chains.values()
        return sum(one.applied_seq - one.based_seq for one in chains) >= BASE_TAIL_ENTRIES

    def write_base(self) -> Outcome:
        """Keep a snapshot of our own, so that the next start replays only what comes after it."""
        outcome = Outcome()
        ledger = self._loaded()
        if any(chain.base_seq for chain in ledger.chains.values()):
            return outcome
        chunks = self.snapshot()
        if chunks:
            outcome.base = _base_rows(self.collection, chunks)
            for chain in ledger.chains.values():
                chain.based_seq = chain.applied_seq
        return outcome

    def adopt(self, chunks: Sequence[bytes]) -> Outcome:
        """Start from another device's snapshot. Only where nothing of others is held yet.

        Own unsent edits stay unsent. Raises `PeerError`s for a snapshot that is not what its
        sponsor signed, `NotAllowed` if there already are entries; nothing was changed then.
        """
        if any(seq for seq, _ in self._loaded().frontier.held.values()):
            raise NotAllowed("a snapshot is adopted by an empty collection only")
        outcome = Outcome()
        ledger = self._new_ledger()
        digest = adopt_into(ledger, chunks, outcome)
        return self._adopted(ledger, digest, outcome)

    def adopt_anew(self, chunks: Sequence[bytes]) -> Outcome:
        """Start from another device's snapshot instead of the one this device started from.

        Only when all that was decided is on disk. What came after the snapshot follows it; what
        is not on disk one by one is asked for again. Raises as `adopt`, and `NotAllowed` for a
        snapshot that cannot take the place of ours; nothing was changed then.
        """
        before = self._loaded()
        outcome = Outcome()
        ledger = self._new_ledger()
        digest = adopt_into(ledger, chunks, outcome)
        own = None if self._own is None else self._own.log
        follow_up(ledger, before, self._reader, own, outcome)
        self._recent = Recent(self._reader, self.collection)
        return self._adopted(ledger, digest, outcome)

    def _adopted(self, ledger: Ledger, digest: ContentDigest, outcome: Outcome) -> Outcome:
        self._ledger, self._digest = ledger, digest
        ledger.all_changed()
        ledger.take_changed(outcome)
        return outcome

    @property
    def base_stale(self) -> bool:
        """Whether a cut reaches below the snapshot this device started from, as far as is known."""
        return self._ledger is not None and self._ledger.base_stale


def _base_rows(collection: Collection, chunks: Sequence[bytes]) -> list[BaseChunk]:
    return [BaseChunk(collection, index, raw) for index, raw in enumerate(chunks)]
