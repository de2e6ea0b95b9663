"""Run seeded worlds: `python -m presenced.testing.simulate --seeds 1000`, or `--seed 7` for one.

Prints how many seeds ran per second. A seed that fails prints the invariant, the last steps and
the command that replays it, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from presenced.testing.checkers import Violation
from presenced.testing.sim_clock import SECOND
from presenced.testing.weather import StormyWorld

FAILURES_SHOWN: Final = 3
PROCESSES: Final = 2


@dataclass(frozen=True, slots=True)
class Failure:
    """One seed that did not pass."""

    seed: int
    invariant: str
    report: str


def run_seed(seed: int, steps: int | None = None) -> Failure | None:
    """One world, from its beginning to its rest."""
    stormy = StormyWorld(seed, steps)
    try:
        stormy.run()
    except Exception as error:  # whatever it is, it is this seed's finding
        invariant = error.invariant if isinstance(error, Violation) else type(error).__name__
        return Failure(seed, invariant, _report(stormy, error))
    return None


def _report(stormy: StormyWorld, error: Exception) -> str:
    lines = [
        f"  {at / SECOND:12.6f}  " + " ".join(map(str, words))
        for at, *words in stormy.world.trace
        if isinstance(at, int)
    ]
    trail = "" if isinstance(error, Violation) else "".join(traceback.format_exception(error))
    return "\n".join(["last steps:", *lines, f"{error}", trail]).rstrip()


def _run(job: tuple[int, int | None]) -> Failure | None:
    return run_seed(*job)


def run_seeds(first: int, count: int, steps: int | None, processes: int) -> list[Failure]:
    """Run seeds `first`, `first + 1`, …; those that failed, by seed."""
    jobs = [(seed, steps) for seed in range(first, first + count)]
    if processes == 1 or count == 1:
        return [failure for job in jobs if (failure := _run(job)) is not None]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        outcomes = pool.imap_unordered(_run, jobs, chunksize=5)
        return sorted(
            (failure for failure in outcomes if failure is not None), key=lambda one: one.seed
        )


def show_failures(failures: Sequence[Failure]) -> str:
    """What a person needs to replay them."""
    shown = [
        f"seed {one.seed} breaks {one.invariant}\n{one.report}\nreplay: make sim SEED={one.seed}"
        for one in failures[:FAILURES_SHOWN]
    ]
    if len(failures) > FAILURES_SHOWN:
        rest = ", ".join(f"{one.seed} ({one.invariant})" for one in failures[FAILURES_SHOWN:])
        shown.append(f"also: {rest}")
    return "\n\n".join(shown)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m presenced.testing.simulate", description="Run seeded worlds of devices."
    )
    parser.add_argument("--seeds", type=int, default=1_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="run this one alone")
    parser.add_argument("--steps", type=int, help="steps of each world; by lot if not given")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    options = parser.parse_args(arguments)
    first, count = (options.first, options.seeds)
    if options.seed is not None:
        first, count = options.seed, 1
    began = time.perf_counter()
    failures = run_seeds(first, count, options.steps, options.processes)
    took = time.perf_counter() - began
    print(
        f"{count} seeds from {first}: {count - len(failures)} passed, {len(failures)} failed, "
        f"{took:.1f} s, {count / took:.1f} seeds per second"
    )
    if failures:
        print(show_failures(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
