"""Step 2: which grants count. *Grants fall from anywhere.*

Rules of this file: the standing removals are fixed; statements are taken each after its past, and
a verdict needs only those of admissions in the past. Source: MEMBERSHIP §3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from presenced.ids import COLLECTIONS, Collection, DeviceId, StatementId
from presenced.trust.bodies import Add, CutOff, Remove, Rotate, Share
from presenced.trust.shape import Register
from presenced.trust.standing import Standing
from presenced.trust.statement import Statement
from presenced.trust.verdict import COUNTS, Reason, Verdict

T = TypeVar("T")

EVERYTHING: frozenset[Collection] = frozenset(COLLECTIONS)


@dataclass(frozen=True, slots=True)
class Counting:
    """The outcome of both steps."""

    verdicts: Mapping[StatementId, Verdict]
    "of every complete statement of a known type"
    given: Mapping[StatementId, frozenset[Collection]]
    "what each counting admission gives its device"


def count(register: Register, standing: Standing) -> Counting:
    """Judge every statement of the DAG, given which removals stand."""
    verdicts: dict[StatementId, Verdict] = {}
    given: dict[StatementId, frozenset[Collection]] = {}
    for statement in register.known:
        if statement.author is None:
            verdicts[statement.id] = COUNTS
            if statement.admits is not None:
                given[statement.id] = EVERYTHING
        elif isinstance(statement.body, Remove):
            verdicts[statement.id] = standing.verdicts[statement.id]
        else:
            below = register.admissions_below(statement.author, statement)
            has = _union(given.get(one.id, frozenset()) for one in below)
            verdict = _grant(register, standing, verdicts, statement, below, has)
            verdicts[statement.id] = verdict
            if isinstance(statement.body, Add) and verdict.counts:
                given[statement.id] = statement.body.collections & has
    return Counting(verdicts, given)


def _grant(
    register: Register,
    standing: Standing,
    verdicts: Mapping[StatementId, Verdict],
    statement: Statement,
    below: list[Statement],
    has: frozenset[Collection],
) -> Verdict:
    """The verdict of a grant, its author's admissions in its past and what they give it known."""
    dag = register.dag
    assert statement.author is not None
    fault = register.fault(statement)
    if fault is not None:
        return Verdict(fault)
    if not any(verdicts[one.id].counts for one in below):
        return Verdict(Reason.HANGS, _union(verdicts[one.id].blame for one in below))
    removed = frozenset(
        removal
        for removal in standing.removals.get(statement.author, ())
        if not dag.in_past(statement.id, removal)
    )
    if removed:
        return Verdict(Reason.REMOVED, removed)
    dead = frozenset(
        removal
        for device in _receivers(statement)
        for removal in standing.removals.get(device, ())
        if dag.in_past(removal, statement.id)
    )
    if dead:
        return Verdict(Reason.DEAD, dead)
    return COUNTS if _touched(register, statement) <= has else Verdict(Reason.READER)


def _receivers(statement: Statement) -> Iterable[DeviceId]:
    match statement.body:
        case Add(certificate=certificate):
            return (certificate.device,)
        case Share(device=device):
            return (device,)
        case Rotate(sealed=sealed):
            return sealed.keys()
        case _:
            return ()


def _touched(register: Register, statement: Statement) -> frozenset[Collection]:
    """The collections that the author must have."""
    match statement.body:
        case Rotate(collection=collection) | CutOff(collection=collection):
            return frozenset((collection,))
        case Share(sealed=sealed):
            records = (register.rotates[epoch].body for epoch in sealed)
            return frozenset(one.collection for one in records if isinstance(one, Rotate))
        case _:
            return frozenset()


def _union(sets: Iterable[frozenset[T]]) -> frozenset[T]:
    return frozenset().union(*sets)
