"""Epochs of a collection, and what its readers owe: computed, never remembered.

Rules of this file: an epoch is a counting `rotate`; a leaf is no counting epoch's parent; the
holders of an epoch are its author, its recipients and the targets of counting shares of it.
Source: MEMBERSHIP §4 *Epochs*.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from presenced.ids import Collection, DeviceId, EpochId, StatementId
from presenced.trust.bodies import Rotate, Share
from presenced.trust.statement import Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One period of a collection's key."""

    id: EpochId
    statement: StatementId
    collection: Collection
    parents: tuple[EpochId, ...]
    holders: frozenset[DeviceId]
    "who was given the key by statements that count"


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationOwed:
    """Any reader must rotate before it writes."""

    collection: Collection
    parents: tuple[EpochId, ...]
    "all leaves, sorted"
    readers: tuple[DeviceId, ...]
    "the recipients, sorted"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareOwed:
    """Any holder must share the leaf with the readers that miss it."""

    collection: Collection
    epoch: EpochId
    missing: tuple[DeviceId, ...]
    "sorted"
    holders: tuple[DeviceId, ...]
    "sorted"


Debt: TypeAlias = RotationOwed | ShareOwed


def epochs_of(statements: Iterable[Statement]) -> dict[EpochId, Epoch]:
    """The epochs that counting statements make, each after its parents if they are in order."""
    statements = list(statements)
    holders: dict[EpochId, set[DeviceId]] = defaultdict(set)
    for device, epochs in epochs_given(statements).items():
        for epoch in epochs:
            holders[epoch].add(device)
    return {
        one.epoch: _epoch(one.epoch, one, holders[one.epoch])
        for one in statements
        if one.epoch is not None
    }


def epochs_given(statements: Iterable[Statement]) -> dict[DeviceId, frozenset[EpochId]]:
    """Per device the epochs that counting statements made it a holder of."""
    given: dict[DeviceId, set[EpochId]] = defaultdict(set)
    for statement in statements:
        match statement.body:
            case Rotate(sealed=sealed):
                assert statement.epoch is not None
                assert statement.author is not None
                for device in (statement.author, *sealed):
                    given[device].add(statement.epoch)
            case Share(device=device, sealed=sealed):
                given[device].update(sealed)
            case _:
                pass
    return {device: frozenset(epochs) for device, epochs in given.items()}


def leaves_of(epochs: Iterable[Epoch]) -> tuple[EpochId, ...]:
    """The epochs of one collection that none of them names as parent, sorted."""
    epochs = list(epochs)
    parents = {parent for epoch in epochs for parent in epoch.parents}
    return tuple(sorted(epoch.id for epoch in epochs if epoch.id not in parents))


def debt_of(
    collection: Collection, epochs: Iterable[Epoch], readers: frozenset[DeviceId]
) -> Debt | None:
    """What is owed in a collection with these epochs and readers."""
    by_id = {epoch.id: epoch for epoch in epochs}
    leaves = leaves_of(by_id.values())
    if len(leaves) == 1:
        holders = by_id[leaves[0]].holders
        if holders == readers:
            return None
        if holders < readers:
            return ShareOwed(
                collection=collection,
                epoch=leaves[0],
                missing=tuple(sorted(readers - holders)),
                holders=tuple(sorted(holders)),
            )
    if not readers:
        return None
    return RotationOwed(collection=collection, parents=leaves, readers=tuple(sorted(readers)))


def _epoch(id_: EpochId, record: Statement, holders: set[DeviceId]) -> Epoch:
    assert isinstance(record.body, Rotate)
    return Epoch(
        id=id_,
        statement=record.id,
        collection=record.body.collection,
        parents=record.body.parents,
        holders=frozenset(holders),
    )
