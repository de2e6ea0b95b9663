"""`resolve` against the text read word for word, in random worlds of two to six devices."""

from __future__ import annotations

import importlib.util
import random
from itertools import permutations
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from presenced.ids import COLLECTIONS
from presenced.testing.draw import Drawing, draw
from presenced.testing.membership_fixtures import answer
from presenced.trust.dag import StatementDag
from presenced.trust.debts import ShareOwed
from presenced.trust.members import Members, resolve, resolve_dag


def _beside(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Reference = _beside("membership_reference").Reference
random_world = _beside("membership_worlds").random_world


def seen(members: Members) -> dict[str, Any]:
    """The implementation's answer in the reference's form."""
    return {
        "active": list(members.active),
        "void": {
            id_: (str(verdict.reason), verdict.blame)
            for id_, verdict in members.verdicts.items()
            if not verdict.counts
        },
        "waiting": sorted(members.waiting),
        "undone": list(members.undone),
        "collections": {one: members.collections(one) for one in members.active},
        "owed": {name: debt(members, name) for name in sorted(COLLECTIONS)},
        "removals": {
            (device, removal.id, name): sorted(map(repr, cuts)) or "open"
            for device in members.removed
            for removal in members.removals(device)
            for name, cuts in removal.cuts.items()
        },
        "sealing": {one: members.sealing_statement(one) for one in members.active},
    }


def debt(members: Members, name: str) -> tuple[Any, ...] | None:
    owed = members.owed(name)  # type: ignore[arg-type]
    if owed is None:
        return None
    if isinstance(owed, ShareOwed):
        return ("share", owed.epoch, owed.missing)
    return ("rotate", owed.parents, owed.readers)


def show(seed: int, drawing: Drawing) -> str:
    return f"seed {seed}:\n" + "\n".join(random_world(seed))


@pytest.mark.parametrize("start", range(0, 1500, 250))
def test_resolve_gives_what_the_text_says(start: int) -> None:
    for seed in range(start, start + 250):
        drawing = draw(random_world(seed))
        reference = Reference(drawing.statements)
        expected = reference.answer(reference.iterated())
        found = seen(resolve(drawing.statements))
        for key, value in expected.items():
            assert found[key] == value, (key, show(seed, drawing))


def test_the_text_has_exactly_one_solution_and_it_is_ours() -> None:
    for seed in range(3000, 3150):
        drawing = draw(random_world(seed, statements=9))
        reference = Reference(drawing.statements)
        (solution,) = reference.solutions()
        assert solution == reference.iterated(), show(seed, drawing)
        expected = reference.answer(solution)
        assert seen(resolve(drawing.statements)) == expected, show(seed, drawing)


def test_every_order_of_delivery_gives_one_answer() -> None:
    for seed in range(5000, 5060):
        drawing = draw(random_world(seed, statements=5))
        first = answer(drawing, drawing.statements)
        for order in permutations(drawing.statements):
            assert answer(drawing, order) == first, show(seed, drawing)
    for seed in range(6000, 6100):
        drawing = draw(random_world(seed, statements=20))
        rng = random.Random(seed)
        first = answer(drawing, drawing.statements)
        for _ in range(10):
            order = rng.sample(drawing.statements, len(drawing.statements))
            assert answer(drawing, order) == first, show(seed, drawing)


def test_adding_one_by_one_is_resolving_the_set() -> None:
    for seed in range(7000, 7060):
        drawing = draw(random_world(seed, statements=16))
        order = random.Random(seed).sample(drawing.statements, len(drawing.statements))
        dag = StatementDag()
        for count, statement in enumerate(order, 1):
            before = resolve_dag(dag)
            kept = seen(before)
            dag.add(statement)
            assert seen(resolve_dag(dag)) == seen(resolve(order[:count])), show(seed, drawing)
            # What was resolved does not change under a DAG that grows.
            assert seen(before) == kept
            assert before.heads == resolve(order[: count - 1]).heads


def test_what_waits_changes_no_verdict() -> None:
    for seed in range(8000, 8100):
        drawing = draw(random_world(seed))
        dag = StatementDag(drawing.statements)
        complete = seen(resolve(dag.topological()))
        everything = seen(resolve_dag(dag))
        assert complete.pop("waiting") == []
        everything.pop("waiting")
        assert complete == everything


def test_nothing_said_after_a_removal_from_above_by_those_outside_it_changes_a_verdict() -> None:
    """MEMBERSHIP §5: once a removal by the root stands, the thief can do nothing more."""
    for seed in range(9000, 9150):
        lines = random_world(seed, statements=10)
        drawing = draw(lines)
        names = sorted(drawing.names.values())
        if "A" not in names:
            continue
        heads = " ".join(drawing.words[head] for head in StatementDag(drawing.statements).heads)
        root = f"r0: root recover N removes {','.join(names)} after {heads}"
        before = draw([*lines, root])
        rng = random.Random(seed)
        attack = [
            f"x{n}: {rng.choice(names)} {act} after {rng.choice([*drawing.ids, 'r0'])}"
            for n, act in enumerate(
                rng.choices(["add Z", "remove N", "remove A", "add N", "rotate follows to A"], k=6)
            )
        ]
        after = draw([*lines, root, *attack])
        old, new = answer(before, before.statements), answer(after, after.statements)
        kept = set(drawing.ids) | {"r0"}
        assert new["active"] == old["active"] == ["N"]
        assert {k: v for k, v in new["void"].items() if k in kept} == old["void"], lines + attack
