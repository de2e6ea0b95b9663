"""The Makefile offers what the documents promise."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TARGETS = ["help", "demo", "test", "lint", "bench", "sim", "fuzz", "clean"]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    return subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_lists_every_target() -> None:
    listed = [line.split()[0] for line in make("help").stdout.splitlines()]
    assert listed == TARGETS


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["SEEDS=1000"], "--seeds 1000 --first 0"),
        (["SEEDS=20", "FIRST=500"], "--seeds 20 --first 500"),
        (["SEED=7"], "--seed 7"),
    ],
)
def test_sim_runs_many_seeds_or_replays_one(arguments: list[str], expected: str) -> None:
    planned = make("--dry-run", "sim", *arguments).stdout
    assert f"presenced.testing.simulate {expected}" in planned


def test_ci_can_be_run() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
