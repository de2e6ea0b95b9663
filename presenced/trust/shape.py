"""Whether a statement's body names only what it may, judged on its own past alone.

Rules of this file: nothing here looks at a verdict, so shape never changes once a statement is
complete. Source: MEMBERSHIP §1 *Shape*.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from presenced.ids import DeviceId, EpochId
from presenced.trust.bodies import (
    CutOff,
    Genesis,
    Recover,
    Remove,
    Rotate,
    Share,
    StatementType,
)
from presenced.trust.dag import StatementDag
from presenced.trust.statement import Statement
from presenced.trust.verdict import Reason

KNOWN_TYPES = frozenset(StatementType)


class Register:
    """The complete statements of a DAG by what they say, void or not."""

    def __init__(self, dag: StatementDag) -> None:
        self.dag = dag
        self.known: list[Statement] = []
        "statements of known types, each after its past"
        self.admissions: dict[DeviceId, list[Statement]] = defaultdict(list)
        self.by_author: dict[DeviceId, list[Statement]] = defaultdict(list)
        self.rotates: dict[EpochId, Statement] = {}
        for statement in dag.topological():
            if statement.type not in KNOWN_TYPES:
                continue
            self.known.append(statement)
            if statement.author is not None:
                self.by_author[statement.author].append(statement)
            if statement.admits is not None:
                self.admissions[statement.admits.device].append(statement)
            if statement.epoch is not None:
                self.rotates[statement.epoch] = statement

    def admissions_below(self, device: DeviceId, statement: Statement) -> list[Statement]:
        """The admissions of a device in the past of a statement."""
        return [
            admission
            for admission in self.admissions.get(device, ())
            if self.dag.in_past(admission.id, statement.id)
        ]

    def fault(self, statement: Statement) -> Reason | None:
        """`UNADMITTED` or `SHAPE`, or None for a statement of right shape."""
        author = statement.author
        if author is None:
            return None
        if not self._admitted(author, statement):
            return Reason.UNADMITTED
        return None if self._well_shaped(statement) else Reason.SHAPE

    def _well_shaped(self, statement: Statement) -> bool:
        match statement.body:
            case Genesis() | Recover():
                return False
            case Remove(device=device):
                return self._admitted(device, statement)
            case Share(device=device, sealed=sealed):
                return self._admitted(device, statement) and self._began(sealed, statement)
            case Rotate(sealed=sealed, parents=parents, collection=collection):
                return all(self._admitted(device, statement) for device in sealed) and (
                    self._began(parents, statement, collection)
                )
            case CutOff():
                return self._leaves_open(statement.body, statement)
            case _:
                return True

    def _admitted(self, device: DeviceId, statement: Statement) -> bool:
        return bool(self.admissions_below(device, statement))

    def _began(
        self, epochs: Iterable[EpochId], statement: Statement, collection: str | None = None
    ) -> bool:
        """Whether all these epochs are `rotate` statements in the past, of the collection."""
        for epoch in epochs:
            record = self.rotates.get(epoch)
            if record is None or not self.dag.in_past(record.id, statement.id):
                return False
            assert isinstance(record.body, Rotate)
            if collection is not None and record.body.collection != collection:
                return False
        return True

    def _leaves_open(self, body: CutOff, statement: Statement) -> bool:
        """Whether the removal named leaves this collection open for this device."""
        if body.device == statement.author or not self.dag.in_past(body.removal, statement.id):
            return False
        own = self.dag[body.removal].removes.get(body.device)
        return own is not None and body.collection not in own
