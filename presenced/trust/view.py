"""What membership says to the replica, at one moment.

Implements `replica.seams.TrustView`. Invariant: answers never change; a statement that arrives
later is not known here, so a new view is made when the members change.
"""

from __future__ import annotations

from collections.abc import Sequence

from presenced.ids import Collection, DeviceId, EpochId, LogId, StatementId
from presenced.trust.dag import StatementDag
from presenced.trust.epochs import Keyring
from presenced.trust.logs import LogOwner, RemovalCut
from presenced.trust.members import Members


class MembershipView:
    """Members, the DAG they were resolved from, and the keys that could be opened."""

    def __init__(self, members: Members, dag: StatementDag, keyring: Keyring) -> None:
        self._members = members
        self._dag = dag
        self._keyring = keyring
        self._writing: dict[Collection, EpochId | None] = {}

    @property
    def heads(self) -> tuple[StatementId, ...]:
        """The heads of what is complete, sorted."""
        return self._members.heads

    def knows(self, heads: Sequence[StatementId]) -> bool:
        """Whether each of them, and so all of their past, was here when the view was made."""
        return all(head in self._members.known for head in heads)

    def log_owner(self, log: LogId) -> LogOwner | None:
        """Whose a log is; None for a log that no admission or incarnation gives."""
        return self._members.logs.get(log)

    def epoch_key(self, epoch: EpochId) -> bytes | None:
        """The 32-byte key of an epoch, void or not, if it could be opened."""
        return self._keyring.key(epoch)

    def writing_epoch(self, collection: Collection) -> EpochId | None:
        """The epoch to seal under; None while a rotation is owed or its key is not here."""
        if collection not in self._writing:
            leaf = self._members.leaf(collection)
            held = leaf is not None and self._keyring.key(leaf) is not None
            self._writing[collection] = leaf if held else None
        return self._writing[collection]

    def alternatives(
        self, device: DeviceId, collection: Collection
    ) -> tuple[tuple[RemovalCut, ...], ...]:
        """What binds a device's content: it must pass every cut of at least one alternative.

        Standing removals, incarnations that end earlier logs, and, where its adds are void, per
        add the removals to blame.
        """
        return self._members.bounds(device, collection)

    def in_past(self, statement: StatementId, heads: Sequence[StatementId]) -> bool:
        """Whether a statement is one of some known heads or in their past."""
        return self._dag.in_past_of(statement, heads)
