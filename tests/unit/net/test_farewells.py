"""Farewells are repeated, a few times and for a while."""

from __future__ import annotations

from presenced.net.farewells import Farewells
from presenced.net.limits import (
    CLOSED_REMEMBERED_MAX,
    CLOSED_REMEMBERED_SECONDS,
    FAREWELLS_MAX,
)

GOODBYE = ((b"goodbye", ("192.0.2.1", 4000)),)


def test_a_farewell_is_repeated_a_few_times_for_any_of_its_ids() -> None:
    farewells = Farewells()
    farewells.remember([b"one", b"two"], GOODBYE, 0.0)
    assert b"one" in farewells
    assert b"three" not in farewells
    heard = [farewells.repeat(b"two", 1.0) for _ in range(FAREWELLS_MAX + 2)]
    assert heard == [GOODBYE] * FAREWELLS_MAX + [()] * 2
    assert farewells.repeat(b"one", 1.0) == ()
    assert farewells.repeat(b"three", 1.0) == ()


def test_an_old_farewell_is_not_repeated() -> None:
    farewells = Farewells()
    farewells.remember([b"id"], GOODBYE, 0.0)
    assert farewells.repeat(b"id", CLOSED_REMEMBERED_SECONDS) == ()
    farewells.remember([b"other"], GOODBYE, CLOSED_REMEMBERED_SECONDS)
    assert len(farewells) == 1


def test_only_so_many_are_remembered_and_the_oldest_goes() -> None:
    farewells = Farewells()
    for number in range(CLOSED_REMEMBERED_MAX + 10):
        farewells.remember([b"%d" % number], GOODBYE, 0.0)
    assert len(farewells) == CLOSED_REMEMBERED_MAX
    assert b"9" not in farewells
    assert b"10" in farewells
