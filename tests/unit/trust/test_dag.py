"""The DAG answers from the set of statements, never from their order."""

from __future__ import annotations

import random

import pytest

from presenced.ids import StatementId
from presenced.testing.draw import draw
from presenced.trust.dag import StatementDag

DRAWN = [
    "a: root genesis A",
    "b: A add B after a",
    "c: B add C after a",
    "d: A add D after b c",
    "e: A sealing_key after d",
    "y: A sealing_key after x",
    "z: A sealing_key after y e",
]


def words(ids: object) -> str:
    return "".join(sorted(id_.decode() for id_ in ids))  # type: ignore[attr-defined]


def id_(word: str) -> StatementId:
    return StatementId(word.encode())


@pytest.mark.parametrize("seed", range(20))
def test_every_order_gives_the_same_dag(seed: int) -> None:
    statements = draw(DRAWN).statements
    dag = StatementDag(random.Random(seed).sample(statements, len(statements)))
    assert words(one.id for one in dag.topological()) == "abcde"
    assert "".join(one.id.decode() for one in dag.topological()) == "abcde"
    assert words(dag.heads) == "e"
    assert words(dag.waiting) == "yz"
    assert words(dag.missing) == "x"
    assert [dag.height(id_(word)) for word in "abcde"] == [0, 1, 1, 2, 3]
    assert words(dag.past([id_("d")])) == "abcd"
    assert words(one.id for one in dag.beyond([id_("c")])) == "bde"
    assert words(one.id for one in dag.beyond([])) == "abcde"


def test_what_a_statement_completes_comes_out_in_order() -> None:
    drawing = draw(DRAWN)
    dag = StatementDag()
    assert dag.add(drawing["e"]) == []
    assert dag.add(drawing["d"]) == []
    assert dag.add(drawing["c"]) == []
    assert words(one.id for one in dag.add(drawing["a"])) == "ac"
    assert [one.id for one in dag.add(drawing["b"])] == [id_("b"), id_("d"), id_("e")]
    assert dag.add(drawing["b"]) == []
    assert dag.add(drawing["z"]) == []
    assert dag.add(drawing["z"]) == []


def test_past_is_strict_and_knows_only_what_is_complete() -> None:
    dag = StatementDag(draw(DRAWN).statements)
    assert dag.in_past(id_("a"), id_("e"))
    assert not dag.in_past(id_("e"), id_("e"))
    assert not dag.in_past(id_("e"), id_("a"))
    assert not dag.in_past(id_("b"), id_("c"))
    assert not dag.in_past(id_("y"), id_("e"))
    assert dag.in_past_of(id_("e"), [id_("e")])
    assert dag.in_past_of(id_("b"), [id_("c"), id_("d")])
    assert not dag.in_past_of(id_("e"), [id_("d"), id_("c")])
    assert dag.knows([id_("a"), id_("e")])
    assert not dag.knows([id_("a"), id_("y")])
    assert id_("y") not in dag
    assert dag[id_("b")].id == id_("b")
    with pytest.raises(KeyError):
        dag[id_("y")]


def test_statements_that_cite_each_other_wait_for_ever() -> None:
    """Hashes make this impossible; a drawing can still say it."""
    dag = StatementDag(
        draw(["a: root genesis A", "b: A add B after c", "c: A add C after b"]).statements
    )
    assert words(dag.waiting) == "bc"
    assert words(dag.heads) == "a"


def test_a_new_statement_cites_the_highest_heads_when_there_are_too_many() -> None:
    lines = ["a: root genesis A"]
    lines += [f"b{n:02d}: A sealing_key after a" for n in range(70)]
    lines += ["c: A sealing_key after b69"]
    dag = StatementDag(draw(lines).statements)
    assert len(dag.heads) == 70
    cited = dag.citable_heads
    assert len(cited) == 64
    assert id_("c") in cited
    assert id_("b62") in cited
    assert id_("b63") not in cited
    assert list(cited) == sorted(cited)
