"""Who belongs to the space: the pure answer to a set of statements.

`resolve` gives one answer for one set, in whatever order its statements came. It judges every
statement (shape.py, standing.py, counting.py) and reads the rest from the verdicts: active
devices, collections, epochs and debts (debts.py), logs and where they end (logs.py, cuts.py).
Source: MEMBERSHIP.md; fixtures in vectors/membership.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property

from presenced.ids import COLLECTIONS, Collection, DeviceId, EpochId, LogId, StatementId
from presenced.trust.bodies import NewSealingKey, Remove
from presenced.trust.certificate import Certificate
from presenced.trust.counting import Counting, count
from presenced.trust.cuts import Removal, removals_of
from presenced.trust.dag import StatementDag
from presenced.trust.debts import (
    Debt,
    Epoch,
    RotationOwed,
    debt_of,
    epochs_given,
    epochs_of,
    leaves_of,
)
from presenced.trust.logs import (
    LogOwner,
    Meant,
    RemovalCut,
    client_collisions,
    could_count,
    log_ends,
    log_owners,
    meant,
)
from presenced.trust.shape import Register
from presenced.trust.standing import Standing, by_seniority, stand
from presenced.trust.statement import Statement
from presenced.trust.verdict import Reason, Verdict

_NOTHING: frozenset[Collection] = frozenset()


def resolve(statements: Iterable[Statement]) -> Members:
    """What a set of statements says, whatever their order."""
    return resolve_dag(StatementDag(statements))


def resolve_dag(dag: StatementDag) -> Members:
    """What the statements of a DAG say now. The answer does not change when the DAG grows."""
    register = Register(dag)
    standing = stand(register)
    return Members(register, standing, count(register, standing), frozenset(dag.waiting))


class Members:
    """The membership of a space at one set of statements. Immutable."""

    def __init__(
        self,
        register: Register,
        standing: Standing,
        counting: Counting,
        waiting: frozenset[StatementId],
    ) -> None:
        self._register = register
        self._standing = standing
        self._counting = counting
        self.waiting = waiting
        "the statements with an unknown head somewhere below them: unjudged"
        self.heads = register.dag.heads
        "the heads of what is complete, sorted"
        self.known = frozenset(one.id for one in register.dag.topological())
        "the complete statements"

    @property
    def verdicts(self) -> Mapping[StatementId, Verdict]:
        """The verdict of every complete statement of a known type."""
        return self._counting.verdicts

    @cached_property
    def active(self) -> tuple[DeviceId, ...]:
        """The devices with an add that counts and no standing removal, most senior first."""
        admitted = {
            admission.admits.device for admission in self._counted() if admission.admits is not None
        }
        seniority = self._standing.seniority
        return tuple(
            sorted(admitted - self._standing.removals.keys(), key=lambda one: seniority[one])
        )

    def certificate(self, device: DeviceId) -> Certificate | None:
        """A device's certificate: of its most senior admission that counts, else of any.

        An admission that never could count (shape) gives none.
        """
        verdicts = self._counting.verdicts
        usable = [
            one for one in self._by_seniority.get(device, ()) if could_count(verdicts[one.id])
        ]
        usable.sort(key=lambda one: not verdicts[one.id].counts)
        return usable[0].admits if usable else None

    def collections(self, device: DeviceId) -> frozenset[Collection]:
        """What an active device may read and write; nothing for another."""
        return self._collections.get(device, _NOTHING)

    def readers(self, collection: Collection) -> frozenset[DeviceId]:
        """The active devices that have a collection."""
        return frozenset(one for one in self.active if collection in self._collections[one])

    def removals(self, device: DeviceId) -> tuple[Removal, ...]:
        """The standing removals of a device with the cuts that bind, by id."""
        return self._removals.get(device, ())

    @property
    def removed(self) -> frozenset[DeviceId]:
        """Every device that a standing removal ends."""
        return frozenset(self._standing.removals)

    @cached_property
    def undone(self) -> tuple[StatementId, ...]:
        """The removals that fell with their author: a person is asked whether to sign them anew."""
        fallen = (Reason.REMOVED, Reason.HANGS)
        return tuple(
            sorted(
                one.id
                for one in self._register.known
                if isinstance(one.body, Remove) and self.verdicts[one.id].reason in fallen
            )
        )

    def owed(self, collection: Collection) -> Debt | None:
        """What the readers of a collection owe before they write (or soon after)."""
        return self._debts[collection]

    def epochs(self, collection: Collection) -> tuple[Epoch, ...]:
        """The counting epochs of a collection, each after its parents."""
        return tuple(one for one in self._epochs.values() if one.collection == collection)

    def epochs_given(self, device: DeviceId) -> frozenset[EpochId]:
        """The epochs, void ones too, whose keys statements that count gave to a device."""
        return self._given.get(device, frozenset())

    def leaf(self, collection: Collection) -> EpochId | None:
        """The epoch to write under; None while a rotation is owed or nobody reads."""
        leaves = leaves_of(self.epochs(collection))
        if isinstance(self._debts[collection], RotationOwed) or len(leaves) != 1:
            return None
        return leaves[0]

    def sealing_key(self, device: DeviceId) -> bytes | None:
        """The X25519 key that epoch keys are sealed to: 32 bytes, None for a stranger."""
        statement = self._sealing.get(device)
        if statement is None:
            certificate = self.certificate(device)
            return None if certificate is None else certificate.sealing
        assert isinstance(statement.body, NewSealingKey)
        return statement.body.sealing

    def sealing_statement(self, device: DeviceId) -> StatementId | None:
        """The `sealing_key` statement that holds for a device; None: the certificate's key."""
        statement = self._sealing.get(device)
        return None if statement is None else statement.id

    @cached_property
    def logs(self) -> Mapping[LogId, LogOwner]:
        """Every log that may hold content, also of devices that were removed."""
        return log_owners(self._register, self._counting, self._meant)

    @cached_property
    def client_collisions(self) -> tuple[tuple[LogId, LogId], ...]:
        """Pairs of logs that would share a Yjs client; admission refuses to make one."""
        return client_collisions(self.logs)

    def bounds(
        self, device: DeviceId, collection: Collection
    ) -> tuple[tuple[RemovalCut, ...], ...]:
        """What binds a device's content: it must be inside every cut of at least one of these.

        One alternative for a device that an add gives the collection. Else each add that would
        give it but for removals is an alternative, with an empty cut for each of those. No
        alternative: this device was never admitted to the collection.
        """
        binding = (
            *self._removal_cuts(device, collection),
            *self._log_ends.get((device, collection), ()),
        )
        admissions = [
            self._meant[one.id]
            for one in self._by_seniority.get(device, ())
            if one.id in self._meant and collection in self._meant[one.id].collections
        ]
        if any(collection not in one.blame for one in admissions):
            return (binding,)
        return tuple(
            (
                *binding,
                *(
                    RemovalCut(id=id_, cut={}, given_by=id_)
                    for id_ in sorted(one.blame[collection])
                ),
            )
            for one in admissions
        )

    def _removal_cuts(self, device: DeviceId, collection: Collection) -> list[RemovalCut]:
        found: list[RemovalCut] = []
        for removal in self.removals(device):
            cuts = removal.cuts[collection]
            found.extend(
                RemovalCut(id=removal.id, cut=cut, given_by=by)
                for cut, by in zip(cuts, removal.given_by[collection], strict=True)
            )
            if not cuts:
                found.append(RemovalCut(id=removal.id, cut=None, given_by=removal.id))
        return found

    def _counted(self) -> list[Statement]:
        return [one for one in self._register.known if self.verdicts[one.id].counts]

    @cached_property
    def _by_seniority(self) -> Mapping[DeviceId, list[Statement]]:
        found: dict[DeviceId, list[Statement]] = defaultdict(list)
        for admission in by_seniority(self._register):
            assert admission.admits is not None
            found[admission.admits.device].append(admission)
        return found

    @cached_property
    def _collections(self) -> Mapping[DeviceId, frozenset[Collection]]:
        given = self._counting.given
        return {
            device: _NOTHING.union(
                *(given[one.id] for one in self._by_seniority[device] if one.id in given)
            )
            for device in self.active
        }

    @cached_property
    def _meant(self) -> Mapping[StatementId, Meant]:
        return meant(self._register, self._counting)

    @cached_property
    def _removals(self) -> Mapping[DeviceId, tuple[Removal, ...]]:
        return removals_of(self._register, self._standing, self._counting)

    @cached_property
    def _epochs(self) -> Mapping[EpochId, Epoch]:
        return epochs_of(self._counted())

    @cached_property
    def _given(self) -> Mapping[DeviceId, frozenset[EpochId]]:
        return epochs_given(self._counted())

    @cached_property
    def _debts(self) -> Mapping[Collection, Debt | None]:
        return {name: debt_of(name, self.epochs(name), self.readers(name)) for name in COLLECTIONS}

    @cached_property
    def _sealing(self) -> Mapping[DeviceId, Statement]:
        """The highest counting `sealing_key` of each device, then the lowest hash."""
        dag = self._register.dag
        found: dict[DeviceId, Statement] = {}
        keys = [one for one in self._counted() if isinstance(one.body, NewSealingKey)]
        for statement in sorted(keys, key=lambda one: (-dag.height(one.id), one.id)):
            assert statement.author is not None
            found.setdefault(statement.author, statement)
        return found

    @cached_property
    def _log_ends(self) -> Mapping[tuple[DeviceId, Collection], tuple[RemovalCut, ...]]:
        return log_ends(self._register, self._counting, self.logs)
