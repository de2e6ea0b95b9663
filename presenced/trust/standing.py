"""Step 1: which adds and removals stand. *Removals fall only from above.*

Rules of this file: admissions are taken most senior first, and what a device signed is judged at
its most senior standing admission that the statement has seen, against the standing removals
found so far. All of those are more senior, so each verdict needs only earlier ones and there is
exactly one solution. Seniority depends on no verdict. Source: MEMBERSHIP §2, §3.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from presenced.ids import DeviceId, StatementId
from presenced.trust.shape import Register
from presenced.trust.statement import Statement
from presenced.trust.verdict import COUNTS, Reason, Verdict


@dataclass(frozen=True, slots=True)
class Standing:
    """The outcome of step 1."""

    verdicts: Mapping[StatementId, Verdict]
    "of every add and removal, this step's verdict"
    removals: Mapping[DeviceId, tuple[StatementId, ...]]
    "the standing removals of each device, sorted"
    seniority: Mapping[DeviceId, int]
    "the place (0: most senior) of each device's most senior standing admission"


def stand(register: Register) -> Standing:
    """Judge every add and removal of the DAG."""
    verdicts: dict[StatementId, Verdict] = {}
    removals: dict[DeviceId, list[Statement]] = defaultdict(list)
    seniority: dict[DeviceId, int] = {}
    judged = [one for one in register.known if one.admits is not None or one.removes]
    for statement in judged:
        if statement.author is None:
            verdicts[statement.id] = COUNTS
            _note(statement, removals)
    for place, admission in enumerate(by_seniority(register)):
        verdict = verdicts.get(admission.id)
        if verdict is None or not verdict.counts:
            continue
        assert admission.admits is not None
        device = admission.admits.device
        seniority.setdefault(device, place)
        _place(register, admission, device, verdicts, removals)
    for statement in judged:
        if statement.id not in verdicts:
            verdicts[statement.id] = _unplaced(register, statement, verdicts)
    return Standing(
        verdicts,
        {device: tuple(sorted(one.id for one in noted)) for device, noted in removals.items()},
        seniority,
    )


def by_seniority(register: Register) -> list[Statement]:
    """All admissions, void or not, most senior first."""

    def key(admission: Statement) -> tuple[bool, int, StatementId]:
        height = register.dag.height(admission.id)
        by_root = admission.author is None
        return (not by_root, -height if by_root else height, admission.id)

    return sorted((one for some in register.admissions.values() for one in some), key=key)


def _place(
    register: Register,
    admission: Statement,
    device: DeviceId,
    verdicts: dict[StatementId, Verdict],
    removals: dict[DeviceId, list[Statement]],
) -> None:
    """Judge, all together, what the device signed after this admission and after no senior one."""
    dag = register.dag
    above = tuple(removals.get(device, ()))
    placed = [
        one
        for one in register.by_author[device]
        if (one.admits is not None or one.removes)
        and one.id not in verdicts
        and dag.in_past(admission.id, one.id)
    ]
    for statement in placed:
        fault = register.fault(statement)
        blame = frozenset(one.id for one in above if not dag.in_past(statement.id, one.id))
        if fault is not None:
            verdicts[statement.id] = Verdict(fault)
        elif blame:
            verdicts[statement.id] = Verdict(Reason.REMOVED, blame)
        else:
            verdicts[statement.id] = COUNTS
    for statement in placed:
        if verdicts[statement.id].counts:
            _note(statement, removals)


def _unplaced(
    register: Register, statement: Statement, verdicts: Mapping[StatementId, Verdict]
) -> Verdict:
    """The verdict of what no standing admission of its author is below of."""
    fault = register.fault(statement)
    if fault is not None:
        return Verdict(fault)
    assert statement.author is not None
    below = register.admissions_below(statement.author, statement)
    return Verdict(Reason.HANGS, frozenset().union(*(verdicts[one.id].blame for one in below)))


def _note(statement: Statement, removals: dict[DeviceId, list[Statement]]) -> None:
    for device in statement.removes:
        removals[device].append(statement)
