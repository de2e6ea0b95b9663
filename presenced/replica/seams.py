"""What the replica needs from other rooms, as Protocols (defined where they are needed).

In-memory versions and the suites that every version must pass: `presenced.testing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from presenced.ids import Collection, DeviceId, EntryHash, EpochId, LogId, RecordId, StatementId
from presenced.replica.rows import ForkProof, LogHead, OverlayRow


class ReplicaReader(Protocol):
    """Committed state of one device, read synchronously."""

    def log_heads(self, collection: Collection) -> Sequence[LogHead]: ...

    def entries(
        self, collection: Collection, log: LogId, first_seq: int, *, bytes_max: int
    ) -> Sequence[bytes]:
        """Raw entries with consecutive seqs from `first_seq` on, at most `bytes_max` together.

        The first one is given whatever its size; none if `first_seq` is not stored.
        """
        ...

    def overlay(self, collection: Collection) -> Sequence[OverlayRow]: ...

    def forks(self) -> Iterable[ForkProof]:
        """Of each forked log the proof with the lowest seq."""
        ...

    def base(self, collection: Collection) -> Sequence[bytes]:
        """The chunks of the collection's base by index; empty if there is none."""
        ...


class LogOwner(Protocol):
    """Whose a log is (trust/members.py has the class)."""

    @property
    def device(self) -> DeviceId: ...
    @property
    def collection(self) -> Collection: ...
    @property
    def signing(self) -> bytes: ...
    @property
    def client(self) -> int: ...


class RemovalCut(Protocol):
    """A standing removal of a device, and where it cuts the device's logs of one collection."""

    @property
    def id(self) -> StatementId: ...
    @property
    def cut(self) -> Mapping[LogId, tuple[int, EntryHash]] | None:
        """Last (seq, hash) inside, per log; a log not named is cut at 0; None: open."""
        ...

    @property
    def given_by(self) -> StatementId:
        """The statement that gives the cut: the removal itself, or a `cut`."""
        ...


class TrustView(Protocol):
    """What membership says, at one moment. Immutable: a change is a new view."""

    @property
    def heads(self) -> tuple[StatementId, ...]: ...

    def knows(self, heads: Sequence[StatementId]) -> bool:
        """Whether each of them and all of their past is here."""
        ...

    def log_owner(self, log: LogId) -> LogOwner | None: ...

    def epoch_key(self, epoch: EpochId) -> bytes | None: ...

    def writing_epoch(self, collection: Collection) -> EpochId | None:
        """The epoch to seal under; None while a rotation or share is owed first."""
        ...

    def alternatives(
        self, device: DeviceId, collection: Collection
    ) -> Sequence[Sequence[RemovalCut]]:
        """What binds a device's content: every removal of at least one of these.

        One empty alternative for a device that nothing binds; none for a stranger.
        """
        ...

    def in_past(self, statement: StatementId, heads: Sequence[StatementId]) -> bool:
        """Whether `statement` is one of `heads` or in their past."""
        ...


class RecordNaming(Protocol):
    """Ids that come from content (presence/naming.py has the class)."""

    def derive_all(self, root: str, cores: Sequence[Any], /) -> Sequence[RecordId | None]:
        """`derive` of each: entries have hundreds."""
        ...

    def derive(self, root: str, core: Any, /) -> RecordId | None:
        """The id of the record of map `root` that this `core` value names.

        None if such a record's id is random, or the value is not of a shape that names one.
        Never raises, whatever value a peer made up.
        """
        ...
