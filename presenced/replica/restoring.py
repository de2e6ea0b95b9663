"""One replica takes back its own log: after a restored disk, or when a cut took edits from it.

Theory of operation. `presenced.replica.own_log` says how a database can lack the end of its own
log, or have another. Here is what the replica does meanwhile: from `recover` on nothing is sealed,
and unsent edits are marked with what they saw. Then the log is whole again (`recovered`), or a
peer's branch takes its place (`take_over`), or it has ended and its edits go into another log
(`take_back`).

Rules of this file: no edit of this device is lost; what does not count any more becomes unsent
again, unless the device wrote the field again or later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from presenced.clock import Instant
from presenced.ids import LogId, RecordId
from presenced.replica.frontier import Point
from presenced.replica.loading import Recent, load_ledger
from presenced.replica.local_copy import LocalCopy
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
)
from presenced.replica.rows import Outcome
from presenced.replica.slot import Operation, RecordSlots


class Restoring:
    """Of one replica."""

    def __init__(self, copy: LocalCopy) -> None:
        self._copy = copy
        self.recovering = False
        "a peer has more of the own log"
        self._other = OtherBranch()

    def drop(self) -> None:
        """Forget what is not committed; also when nobody has more of the own log than we."""
        self.recovering = False
        self._other = OtherBranch()

    @property
    def branch(self) -> Branch | None:
        """As `Replica.branch`."""
        return self._other.branch

    @property
    def own_waits(self) -> bool:
        """As `Replica.own_waits`."""
        chain = self._copy.own_chain()
        return chain is not None and bool(chain.tail)

    @property
    def contested(self) -> bool:
        """As `Replica.contested`."""
        own, unsent = self._copy.own, self._copy.unsent
        if own is None or not len(unsent):
            return False
        document = self._copy.ledger.document
        return any(made_apart(edit, own.log, document) for edit in unsent.operations())

    @property
    def holds_back(self) -> bool:
        """Whether unsent edits must not go into the own log: it is not whole, or not theirs."""
        return self.recovering or self.contested

    # --- a peer has more, or other ---

    def recover(self) -> Outcome:
        """As `Replica.recover`."""
        outcome = Outcome()
        if not self.recovering:
            self.recovering = True
            unsent = self._copy.unsent
            outcome.overlay_put = unsent.put(self.marked(unsent.operations()))
        return outcome

    def marked(self, edits: Iterable[Operation]) -> list[Operation]:
        """Edits with what they saw of the own log, if that is in doubt."""
        own = self._copy.own
        if not self.recovering or own is None:
            return list(edits)
        document, unsent = self._copy.ledger.document, self._copy.unsent
        document.flush()
        return [marked(unsent.with_mark(edit, own.log), own.log, document) for edit in edits]

    def entries_came(self, first_seq: int, raws: Sequence[bytes]) -> Sequence[bytes]:
        """Look at entries of the own log that a peer has; those that follow what is held.

        Raises a `PeerError` for one that this device did not sign for its place.
        """
        copy = self._copy
        chain = copy.own_chain()
        assert chain is not None
        if chain.base_seq < first_seq <= chain.start_seq:  # our base hides where they may part
            copy.use(load_ledger(copy.new_ledger(), copy.reader, copy.recent, use_base=False))
            chain = copy.own_chain()
            assert chain is not None
        return self._other.take(copy.ledger, chain, first_seq, raws)

    def take_over(self, now: Instant) -> Outcome:
        """As `Replica.take_over`."""
        copy, branch, outcome = self._copy, self._other.branch, Outcome()
        own = copy.own
        assert branch is not None
        assert own is not None
        ours = own_edits_from(copy.ledger, own.log, branch.first_seq, copy.reader)
        fresh = ledger_before(copy.ledger, copy.new_ledger(), copy.reader, own.log, branch)
        edits = {edit[:3]: edit for edit in [*ours, *copy.unsent.operations()]}
        again = [marked(edit, own.log, fresh.document, branch) for edit in edits.values()]
        outcome.overlay_put = copy.unsent.put(again)
        take_branch(fresh, own.log, branch, now.wall_ms, outcome)
        copy.use(fresh)
        copy.recent = Recent(copy.reader, copy.collection)
        return copy.finished(outcome)

    # --- edits that no longer count ---

    def fell(self, record: Callable[[str, RecordId], RecordSlots]) -> bool:
        """As `Replica.fell`. `record` is `Replica.record`."""
        chain = self._copy.own_chain() if self._own_is_cut() else None
        return chain is not None and (chain.fork_seq > 0 or bool(self._fallen(record)))

    def take_back(self, record: Callable[[str, RecordId], RecordSlots]) -> Outcome:
        """As `Replica.take_back`. `record` is `Replica.record`."""
        outcome = Outcome()
        if self._copy.own is None:
            return outcome
        fallen = self._fallen(record) if self._own_is_cut() else []
        self.recovering = True
        unsent = self._copy.unsent
        edits = {edit[:3]: edit for edit in [*fallen, *unsent.operations()]}
        outcome.overlay_put = unsent.put(self.marked(edits.values()))
        for edit in edits.values():
            outcome.touch(edit.map, edit.record, edit.field)
        return outcome

    def _own_is_cut(self) -> bool:
        copy = self._copy
        return copy.own is not None and copy.loaded is not None and copy.loaded.cut

    def _fallen(self, record: Callable[[str, RecordId], RecordSlots]) -> list[Operation]:
        """Edits of this device's logs that do not count, unless it wrote them again or later."""
        chain, ledger = self._copy.own_chain(), self._copy.ledger
        assert chain is not None
        device = chain.owner.device
        own_logs = {log for log, one in ledger.chains.items() if one.owner.device == device}
        fallen = []
        for edit in fallen_edits(ledger, own_logs):
            slots = record(edit.map, edit.record).get(edit.field, {})
            if all(slots[log].hlc < edit.hlc for log in own_logs & slots.keys()):
                fallen.append(edit)
        return fallen

    # --- another log ---

    def value_before(self, edit: Operation) -> object:
        """As `Replica.value_before`."""
        chain = self._copy.own_chain()
        assert chain is not None
        seq = edit.seen.get(chain.log, 0)
        if not seq:
            return None
        return own_value_at(self._copy.ledger, chain, seq, edit, self._copy.reader)

    def ends_of(self, logs: Iterable[LogId]) -> dict[LogId, Point] | None:
        """As `Replica.ends_of`."""
        points = {}
        for log in logs:
            one = self._copy.ledger.chains.get(log)
            if one is None or one.tail or one.fork_seq or not one.held_seq:
                return None
            points[log] = (one.held_seq, one.held_hash)
        return points
