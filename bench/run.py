"""`make bench`: all figures beside their yardsticks, in one run.

    python bench/run.py [--quick] [--only w1,w3]

Prints a table as it goes and writes `bench/out/TIME.json`; the column *change* compares with the
run before.
"""

from __future__ import annotations

import argparse
import compileall
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import crdt_websocket
import workloads
from figures import HEADING, Figure, line, previous, save

import presenced

ALL = ("w1", "w2", "w3", "w4", "w5")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small counts, a minute in all")
    parser.add_argument("--only", default=",".join(ALL), help="some of w1,w2,w3,w4,w5")
    arguments = parser.parse_args()
    asked = arguments.only.split(",")
    quick: bool = arguments.quick
    counts = (1_000, 5_000) if quick else (1_000, 10_000, 100_000)
    before = {} if quick else previous()
    figures: list[Figure] = []
    # An installed program is compiled; a checkout need not be, and starts a third slower then.
    compileall.compile_dir(Path(presenced.__file__).parent, quiet=2)

    def report(some: Iterator[Figure]) -> None:
        for figure in some:
            figures.append(figure)
            print(line(figure, before), flush=True)

    print(HEADING)
    echo = bare_echo()
    report(echo_figures(echo))
    websocket: dict[str, Any] = {}
    if "w1" in asked or "w2" in asked:
        websocket = crdt_websocket.measure(counts, workloads.FEW_FIELDS)
        report(websocket_figures(websocket))
    runs: dict[str, Callable[[], Iterator[Figure]]] = {
        "w1": lambda: workloads.w1(
            echo["p50_ms"], edits=100 if quick else 1_000, sustained=5_000 if quick else 50_000
        ),
        "w2": lambda: workloads.w2(counts, websocket),
        "w3": lambda: workloads.w3(rounds=2 if quick else 7),
        "w4": lambda: workloads.w4(seconds=5 if quick else 60),
        "w5": lambda: workloads.w5(singles=100 if quick else 1_000, bulk=max(counts)),
    }
    for name in ALL:
        if name in asked:
            report(runs[name]())
    if not quick:
        print(f"\nwritten: {save(figures).relative_to(Path.cwd())}")
    missed = [figure.name.strip() for figure in figures if figure.met is False]
    if missed:
        print(f"missed: {len(missed)}: " + "; ".join(missed))
    return 0


def bare_echo() -> dict[str, float]:
    script = Path(__file__).with_name("aioquic_echo.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def echo_figures(echo: dict[str, float]) -> Iterator[Figure]:
    yield Figure(name="yardstick: bare aioquic echo, p50", value=echo["p50_ms"], unit="ms")
    yield Figure(name="yardstick: bare aioquic echo, p99", value=echo["p99_ms"], unit="ms")


def websocket_figures(websocket: dict[str, Any]) -> Iterator[Figure]:
    live = websocket["live"]
    name = "yardstick: pycrdt-websocket"
    yield Figure(name=f"{name}, edit to event, p50", value=live["p50"] * 1000, unit="ms")
    yield Figure(name=f"{name}, in batches", value=live["edits_per_second"], unit="edits/s")
    for count, figure in websocket["catch_up"].items():
        yield Figure(name=f"{name}, {int(count):,} edits, time", value=figure["seconds"], unit="s")
        yield Figure(name=f"{name}, {int(count):,} edits, bytes", value=figure["bytes"], unit="B")
    few = websocket["few_fields"]
    yield Figure(name=f"{name}, few fields, time", value=few["seconds"], unit="s")
    yield Figure(name=f"{name}, few fields, bytes", value=few["bytes"], unit="B")


if __name__ == "__main__":
    sys.exit(main())
