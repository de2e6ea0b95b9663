"""A thousand seeded worlds. SIM_SEEDS sets how many, SIM_FIRST the first one.

Worlds run in processes of their own, two at a time: they are pure computation, and coverage
would slow them down to no use (the drawn scenarios run the same code in this process).
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from presenced.testing.checkers import state_hash
from presenced.testing.simulate import PROCESSES, run_seed, run_seeds, show_failures
from presenced.testing.weather import StormyWorld

SEEDS = int(os.environ.get("SIM_SEEDS", "1000"))
FIRST = int(os.environ.get("SIM_FIRST", "0"))
PARTS = 4


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_invariant_holds_in_every_world(part: int) -> None:
    begin, end = SEEDS * part // PARTS, SEEDS * (part + 1) // PARTS
    failures = run_seeds(FIRST + begin, end - begin, None, PROCESSES)
    assert not failures, show_failures(failures)


def test_a_seed_replays_exactly_whatever_the_order_of_sets() -> None:
    script = (
        "from presenced.testing.checkers import state_hash;"
        "from presenced.testing.weather import StormyWorld;"
        "worlds = [StormyWorld(seed, 60) for seed in (6, 18)];"
        "[stormy.run() for stormy in worlds];"
        "print([state_hash(stormy.world).hex() for stormy in worlds])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(printed) == 1


def test_seeds_differ() -> None:
    worlds = [StormyWorld(seed, 20) for seed in (1, 2)]
    for stormy in worlds:
        stormy.run()
    assert state_hash(worlds[0].world) != state_hash(worlds[1].world)


def test_a_failure_names_the_invariant_the_steps_and_the_command_that_replays_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unwell(self: StormyWorld) -> None:
        self.world.say("A", "stumbles")
        raise AssertionError("something else than expected")

    monkeypatch.setattr(StormyWorld, "run", unwell)
    failure = run_seed(7)
    assert failure is not None
    shown = show_failures([failure])
    assert "seed 7 breaks AssertionError" in shown
    assert "A stumbles" in shown
    assert "make sim SEED=7" in shown
