"""One collection on one device: own edits in, entries out; entries in, changed records out.

Rules of this file: every call that changes something returns an `Outcome`; the caller commits its
rows in one transaction before anything is sent, answered or shown (DESIGN §5 *Order on one
device*). If that transaction fails, or `DocumentLost` is raised, the caller drops the outcome and
calls `drop`: the next use loads again from what is committed. The document is loaded when it is
first needed; `frontier` is known without it. What is in memory is kept by local_copy.py; the own
log comes back in restoring.py; snapshots come and go in base.py.

Invariant: no remote entry is applied while the overlay holds an edit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain as concatenated
from typing import Final, TypeAlias

from presenced.clock import Instant
from presenced.errors import InvalidValue, NotAllowed, PeerError
from presenced.ids import Collection, DeviceId, EntryHash, LogId, RecordId, SpaceId, hash_bytes
from presenced.replica import base
from presenced.replica.arrivals import Parked
from presenced.replica.cuts import all_stand
from presenced.replica.frontier import Frontier, Point
from presenced.replica.hlc import HybridClock
from presenced.replica.ledger import Shrank
from presenced.replica.limits import OVERLAY_FIELDS_MAX
from presenced.replica.local_copy import LocalCopy
from presenced.replica.operation import OperationCodec
from presenced.replica.own_log import Branch, OwnLog, without_marks
from presenced.replica.restoring import Restoring
from presenced.replica.rows import Alert, AlertKind, ForkProof, Outcome
from presenced.replica.sealing import seal_operations
from presenced.replica.seams import RecordNaming, ReplicaReader, TrustView
from presenced.replica.slot import Operation, RecordSlots
from presenced.wire import encode_prepared

__all__ = ["OwnLog", "Pending", "Replica"]

_Place: TypeAlias = tuple[str, RecordId, str]
"map, record, field"

POINT_DOMAIN: Final = b"pd/point/1"


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
        self._codec = OperationCodec(naming)
        self._copy = LocalCopy(
            space=space,
            collection=collection,
            own=own,
            reader=reader,
            naming=naming,
            trust=trust,
            clock=clock,
            taken=taken,
        )
        self._restoring = Restoring(self._copy)

    # --- life ---

    @property
    def loaded(self) -> bool:
        return self._copy.loaded is not None

    def load(self) -> None:
        """Build the document from what is committed, if it is not here yet."""
        self._copy.load()

    def drop(self) -> None:
        """Forget everything that is not committed; the next use loads again."""
        self._copy.drop()
        self._restoring.drop()

    # --- own edits ---

    @property
    def can_seal(self) -> bool:
        """Whether own edits can become entries now: a log that goes on, and a key to write under.

        False while a rotation is owed, or when this device's log was cut, forked or broke a rule,
        or a peer has other entries of it.
        """
        chain = self._copy.own_chain()
        if chain is None or chain.tail or chain.broken_seq or chain.fork_seq:
            return False
        if self._restoring.branch is not None:
            return False
        epoch = self._copy.trust.writing_epoch(self.collection)
        return epoch is not None and self._copy.ledger.keys(epoch) is not None

    def write(self, operations: Sequence[Operation], *, live: bool) -> Outcome:
        """Own edits, all or none: sealed at once with a live link, else into the overlay.

        1,000 distinct unsent fields are sealed in any case. Of two operations on one field the
        last one counts. Raises `InvalidValue` (nothing was done) for what the document cannot
        hold, `NotAllowed` on a device without a log here.
        """
        edits = self._checked(operations)
        overlay = self._copy.unsent
        unsent = overlay.operations()
        due = live or len(unsent) + len(edits) > OVERLAY_FIELDS_MAX
        if due and self.can_seal and not self._restoring.holds_back:
            if unsent:
                edits = {one[:3]: one for one in unsent} | edits
            return self._seal(list(edits.values()), drop=bool(unsent))
        outcome = Outcome()
        outcome.overlay_put = overlay.put(self._restoring.marked(edits.values()))
        for root, record, field in edits:
            outcome.touch(root, record, field)
        return outcome

    def check(self, operations: Sequence[Operation]) -> None:
        """Raise what `write` would raise for them; nothing is done."""
        self._checked(operations)

    def _checked(self, operations: Sequence[Operation]) -> dict[_Place, Operation]:
        chain = self._copy.own_chain()
        if chain is None:
            raise NotAllowed("this device does not write this collection")
        edits = {one[:3]: one for one in self._codec.canonical(operations)}
        document = self._copy.ledger.document
        if document.too_wide(chain.writer, [*self._copy.unsent.operations(), *edits.values()]):
            raise InvalidValue("a record would have too many fields")
        return edits

    def seal_overlay(self) -> Outcome:
        """Make entries of all unsent edits. Nothing happens if there are none or none can be."""
        unsent = self._copy.unsent.operations()
        if not unsent or not self.can_seal or self._restoring.holds_back:
            return Outcome()
        return self._seal(unsent, drop=True)

    def _seal(self, operations: list[Operation], *, drop: bool) -> Outcome:
        chain, ledger = self._copy.own_chain(), self._copy.ledger
        assert chain is not None
        own = self._copy.own
        assert own is not None
        outcome = Outcome()
        operations = without_marks(operations, own.log)
        seal_operations(ledger, chain, own.signing, operations, outcome)
        if drop:
            outcome.overlay_drop = self._copy.unsent.close()
        return self._copy.finished(outcome)

    # --- entries of others ---

    def receive(self, log: LogId, first_seq: int, raws: Sequence[bytes], now: Instant) -> Outcome:
        """Entries of one log with consecutive seqs, from a peer. Seal the overlay first.

        Never raises for what a peer sent: what it broke stands in `Outcome.faults`, and whatever
        was good is kept.
        """
        assert self._restoring.recovering or not len(self._copy.unsent), "seal unsent edits first"
        ledger, own = self._copy.ledger, self._copy.own
        outcome = Outcome()
        if own is not None and log == own.log:
            try:
                follow = self._restoring.entries_came(first_seq, raws)
            except PeerError as error:
                outcome.faults.append(error)
                return outcome
            first_seq, raws = first_seq + len(raws) - len(follow), follow
            if self._restoring.branch is not None:
                outcome.alerts.append(self._own_alert(AlertKind.OWN_LOG_DIVERGED))
            ledger = self._copy.ledger
        if ledger.chain(log) is None:
            self._copy.arrivals.park(log, first_seq, raws, outcome)
            return outcome
        arrived = Parked(log, first_seq, tuple(raws))
        self._copy.arrivals.take(ledger, self._copy.recent, arrived, now, outcome)
        return self._settled(outcome, now.wall_ms)

    def receive_proof(self, proof: ForkProof, now: Instant) -> Outcome:
        """Proof that a log forked, from a peer: what follows the fork no longer counts.

        While the overlay holds an edit only that; then call `settle` after sealing. Never raises.
        """
        outcome = Outcome()
        try:
            self._copy.ledger.prove(proof, outcome)
        except PeerError as error:
            outcome.faults.append(error)
            return outcome
        if not outcome.forks:
            return outcome
        only_shrink = len(self._copy.unsent) > 0 and not self._restoring.recovering
        return self._settled(outcome, now.wall_ms, only_shrink=only_shrink)

    def trust_changed(self, trust: TrustView, now: Instant) -> Outcome:
        """A newer view of membership: what it takes back goes, what waited for it goes on.

        While the overlay holds an edit only the former; then call `settle` after sealing.
        """
        if self._copy.loaded is None:
            heads = self._copy.reader.log_heads(self.collection)
            if all_stand(heads, trust, self.collection):
                self._copy.trust = trust
                return Outcome()
        ledger = self._copy.ledger  # under the view that what is committed belongs to
        self._copy.trust = trust
        ledger.view(trust)
        if len(self._copy.unsent) and not self._restoring.recovering:
            return self._settled(Outcome(), now.wall_ms, only_shrink=True)
        return self.settle(now)

    def settle(self, now: Instant) -> Outcome:
        """Apply whatever waited and may go on now. Seal the overlay first."""
        assert self._restoring.recovering or not len(self._copy.unsent), "seal unsent edits first"
        ledger = self._copy.ledger
        outcome = Outcome()
        for arrived in self._copy.arrivals.unpark(ledger):
            self._copy.arrivals.take(ledger, self._copy.recent, arrived, now, outcome)
        return self._settled(outcome, now.wall_ms)

    def _settled(self, outcome: Outcome, wall_ms: int, *, only_shrink: bool = False) -> Outcome:
        ledger = self._copy.ledger
        if outcome.entries:
            outcome.taken = self._copy.allowance.row()
        self._copy.recent.add(outcome.entries)
        try:
            if only_shrink:
                ledger.judge(outcome)
            else:
                ledger.settle(wall_ms, outcome)
        except Shrank:
            self._copy.rebuild(outcome)
        if self._copy.own is not None:
            self._own_alerts(outcome)
        return self._copy.finished(outcome)

    def _own_alerts(self, outcome: Outcome) -> None:
        assert self._copy.own is not None
        own = self._copy.own.log
        if any(alert.kind is AlertKind.FORK and alert.log == own for alert in outcome.alerts):
            outcome.alerts.append(self._own_alert(AlertKind.OWN_LOG_DIVERGED))
        if any(entry.log == own for entry in outcome.entries):
            outcome.alerts.append(self._own_alert(AlertKind.OWN_LOG_AHEAD))

    def _own_alert(self, kind: AlertKind) -> Alert:
        chain = self._copy.own_chain()
        assert chain is not None
        return Alert(kind, chain.log, chain.owner.device)

    # --- a restored disk (restoring.py) ---

    @property
    def own_waits(self) -> bool:
        """Whether entries of the own log came back that cannot be applied yet."""
        return self._restoring.own_waits

    @property
    def branch(self) -> Branch | None:
        """What a peer has of the own log instead of what we have, as far as it came."""
        return self._restoring.branch

    @property
    def contested(self) -> bool:
        """Whether an unsent edit was made apart from what came back of the own log."""
        return self._restoring.contested

    def recover(self) -> Outcome:
        """A peer has more of the own log: nothing is sealed until `recovered`.

        Entries of others are applied meanwhile, or what lost entries saw could never come; the
        unsent edits, which did not see them, are marked first.
        """
        return self._restoring.recover()

    def recovered(self) -> None:
        """Nobody has more of the own log than we."""
        self._restoring.drop()

    def take_over(self, now: Instant) -> Outcome:
        """Take `branch` for the own log; our entries in its place become unsent edits again.

        Only when all that was decided is on disk; afterwards everything is to be loaded again.
        """
        return self._restoring.take_over(now)

    @property
    def fell(self) -> bool:
        """Whether the own log ended for good, or edits of this device's logs no longer count."""
        return self._restoring.fell(self.record)

    def take_back(self) -> Outcome:
        """Edits of this device's logs that no longer count become unsent ones again.

        All unsent ones are marked: they will go into another log.
        """
        return self._restoring.take_back(self.record)

    def begin_log(self, own: OwnLog, trust: TrustView) -> None:
        """Show unsent edits as those of a new log, until everything is loaded again."""
        self._copy.own = own
        self._copy.trust = trust
        self._copy.ledger.view(trust)

    def value_before(self, edit: Operation) -> object:
        """What the own log said of a marked edit's field when it was made; None: nothing."""
        return self._restoring.value_before(edit)

    def ends_of(self, logs: Iterable[LogId]) -> dict[LogId, Point] | None:
        """Where logs of this device end, to be signed; None if one of them is not whole here."""
        return self._restoring.ends_of(logs)

    # --- reading ---

    def record(self, root: str, record: RecordId) -> RecordSlots:
        """The slots of a record by field and log, own unsent edits included; empty: unknown."""
        slots = self._copy.ledger.document.slots(root, record)
        chain = self._copy.own_chain()
        if chain is not None:
            for field, slot in self._copy.unsent.slots(root, record, chain.applied_seq + 1):
                slots.setdefault(field, {})[chain.log] = slot
        return slots

    def records(self, root: str) -> Iterator[RecordId]:
        """Every record of a map once."""
        document, overlay = self._copy.ledger.document, self._copy.unsent
        unsent = (record for record in overlay.records(root) if not document.knows(root, record))
        return concatenated(document.records(root), unsent)

    def knows_record(self, root: str, record: RecordId) -> bool:
        return self._copy.ledger.document.knows(root, record) or self._copy.unsent.knows(
            root, record
        )

    @property
    def slot_count(self) -> int:
        """Slots in the document, of all maps."""
        return self._copy.ledger.document.slot_count

    @property
    def frontier(self) -> Frontier:
        """How far every log has come; from the committed heads while nothing is loaded."""
        if self._copy.loaded is not None:
            return self._copy.loaded.frontier
        return Frontier.of(self._copy.reader.log_heads(self.collection))

    @property
    def pending(self) -> Pending:
        unsent = len(self._copy.unsent)
        if self._copy.loaded is not None:
            quarantined = self._copy.loaded.quarantined()
            return Pending(self._copy.loaded.waiting()[0] - quarantined, quarantined, unsent)
        heads = self._copy.reader.log_heads(self.collection)
        return Pending(sum(head.held_seq - head.applied_seq for head in heads), 0, unsent)

    def digest(self) -> bytes:
        """32 bytes, equal on all devices that applied the same; unsent edits are not in it."""
        return self._copy.digest.digest(self.collection, self._copy.trust.heads)

    def point(self) -> bytes:
        """32 bytes: what is applied and which statements are known. Equal ones: equal digests."""
        rows = [[log, *point] for log, point in sorted(self.frontier.applied.items())]
        return hash_bytes(POINT_DOMAIN, encode_prepared([rows, sorted(self._copy.trust.heads)]))

    def hash_at(self, log: LogId, seq: int) -> EntryHash | None:
        """The hash of a held entry, for `SyncMachine`; None if it is not held or not known.

        Loads the document unless the committed head answers: only a log that a peer has less of
        than we have asks for more.
        """
        if self._copy.loaded is None:
            for head in self._copy.reader.log_heads(self.collection):
                if head.log == log and head.held_seq == seq:
                    return head.held_hash
                if head.log == log and head.held_seq < seq:
                    return None
        chain = self._copy.ledger.chains.get(log)
        return None if chain is None else chain.hash_at(seq)

    # --- snapshots ---

    def snapshot(self, via: Sequence[DeviceId] = ()) -> list[bytes]:
        """The applied document in sealed chunks, manifest first; empty while there is no key.

        `via`: the devices by whose unconfirmed word this one has its own beginning.
        """
        return base.give_snapshot(self._copy, via)

    @property
    def base_due(self) -> bool:
        """Whether so much lies behind the base that writing one is worth its time. When quiet."""
        return base.is_due(self._copy)

    def write_base(self) -> Outcome:
        """Keep a snapshot of our own, so that the next start replays only what comes after it."""
        return base.write_base(self._copy)

    def adopt(self, chunks: Sequence[bytes]) -> Outcome:
        """Start from another device's snapshot. Only where nothing of others is held yet.

        Own unsent edits stay unsent. Raises `PeerError`s for a snapshot that is not what its
        sponsor signed, `NotAllowed` if there already are entries; nothing was changed then.
        """
        return base.adopt(self._copy, chunks)

    def adopt_anew(self, chunks: Sequence[bytes]) -> Outcome:
        """Start from another device's snapshot instead of the one this device started from.

        Only when all that was decided is on disk. What came after the snapshot follows it; what
        is not on disk one by one is asked for again. Raises as `adopt`, and `NotAllowed` for a
        snapshot that cannot take the place of ours; nothing was changed then.
        """
        return base.adopt_anew(self._copy, chunks)

    @property
    def base_stale(self) -> bool:
        """Whether a cut reaches below the snapshot this device started from, as far as is known."""
        ledger = self._copy.loaded
        return ledger is not None and ledger.base_stale
