"""Run one case of the membership fixture format against `resolve`.

The format: `draw` is a list of drawn statements (draw.py), `expect` what resolving them gives.
Only the keys present in `expect` are asserted. Each case must give one answer in every delivery
order: all orders of a few statements, many seeded ones of more.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from math import factorial
from typing import Any, Final

from presenced.ids import COLLECTIONS
from presenced.testing.draw import Drawing, cut_word, draw
from presenced.trust.bodies import StatementType
from presenced.trust.dag import StatementDag
from presenced.trust.debts import Debt, ShareOwed
from presenced.trust.members import Members, resolve_dag
from presenced.trust.statement import Statement

ORDERS_MAX: Final = 120
"delivery orders tried of one case; 5! is all of five statements"


def run(case: Mapping[str, Any]) -> list[str]:
    """What is wrong with a case, a line each; nothing when it passes."""
    drawing = draw(case["draw"])
    expected = case["expect"]
    collections = case["expect"].get("owed_collections", list(COLLECTIONS))
    kept = [one for one in drawing.statements if not _refused(one)]
    first = answer(drawing, kept, collections)
    problems = [
        f"{key}: expected {expected[key]!r}, got {first.get(key)!r}"
        for key in sorted(expected.keys() - {"owed_collections"})
        if key not in first or first[key] != expected[key]
    ]
    for order in delivery_orders(kept):
        if answer(drawing, order, collections) != first:
            problems.append(
                "another answer in order " + " ".join(drawing.words[one.id] for one in order)
            )
            break
    return problems


def answer(
    drawing: Drawing, statements: Sequence[Statement], owed_collections: Sequence[str] = COLLECTIONS
) -> dict[str, Any]:
    """What resolving drawn statements gives, in the words of the drawing."""
    members = resolve_dag(StatementDag(statements))
    words, names = drawing.words, drawing.names
    return {
        "active": [names[device] for device in members.active],
        "void": {
            words[id_]: {
                "reason": str(verdict.reason),
                "by": sorted(words[blamed] for blamed in verdict.blame),
            }
            for id_, verdict in sorted(members.verdicts.items())
            if not verdict.counts
        },
        "owed": {
            name: _debt(debt, drawing)
            for name in COLLECTIONS
            if name in owed_collections and (debt := members.owed(name)) is not None
        },
        "removals": _removals(members, drawing),
        "undone": [words[id_] for id_ in members.undone],
        "waiting": sorted(words[id_] for id_ in members.waiting),
        "collections": {names[one]: sorted(members.collections(one)) for one in members.active},
        "sealing_keys": {
            names[one]: None if (id_ := members.sealing_statement(one)) is None else words[id_]
            for one in members.active
        },
    }


def delivery_orders(statements: Sequence[Statement]) -> Iterator[Sequence[Statement]]:
    """Every order of a few statements, else a fixed number of seeded ones and the reverse."""
    if factorial(len(statements)) <= ORDERS_MAX:
        yield from permutations(statements)
        return
    yield statements[::-1]
    shuffling = random.Random(len(statements))
    for _ in range(ORDERS_MAX):
        yield shuffling.sample(statements, len(statements))


def _refused(statement: Statement) -> bool:
    """Whether parsing would have refused the statement, so that it is not kept."""
    if statement.author is None and statement.type == StatementType.GENESIS:
        return bool(statement.heads)
    return not statement.heads or (
        statement.author is None and statement.type != StatementType.RECOVER
    )


def _debt(debt: Debt, drawing: Drawing) -> dict[str, Any]:
    if isinstance(debt, ShareOwed):
        missing = sorted(drawing.names[device] for device in debt.missing)
        return {"share": missing, "epoch": debt.epoch.decode()}
    return {
        "rotate": sorted(drawing.names[device] for device in debt.readers),
        "parents": sorted(epoch.decode() for epoch in debt.parents),
    }


def _removals(members: Members, drawing: Drawing) -> dict[str, Any]:
    return {
        drawing.names[device]: {
            drawing.words[removal.id]: {
                name: sorted({cut_word(cut) for cut in cuts}) or "open"
                for name, cuts in removal.cuts.items()
            }
            for removal in members.removals(device)
        }
        for device in members.removed
    }
