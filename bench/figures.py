"""Measured figures: their units and targets, a table, and JSON to compare with the next run."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent / "out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number. `target` is what it must reach; None for what is only told."""

    name: str
    value: float
    unit: str
    target: float | None = None
    at_least: bool = False
    "the target is a least, not a most"

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


def previous() -> dict[str, float]:
    """Figures of the last run by name, empty without one."""
    runs = sorted(OUT.glob("*.json"))
    if not runs:
        return {}
    document = json.loads(runs[-1].read_text())
    return {figure["name"]: figure["value"] for figure in document["figures"]}


def save(figures: Iterable[Figure]) -> Path:
    """Write `bench/out/TIME.json`."""
    OUT.mkdir(exist_ok=True)
    path = OUT / time.strftime("%Y%m%d-%H%M%S.json")
    document: dict[str, Any] = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "figures": [
            {
                "name": figure.name,
                "value": figure.value,
                "unit": figure.unit,
                "target": figure.target,
                "met": figure.met,
            }
            for figure in figures
        ],
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def line(figure: Figure, before: dict[str, float]) -> str:
    """One row of the table."""
    target = ""
    if figure.target is not None:
        sign = "≥" if figure.at_least else "≤"
        target = f"{sign} {_shown(figure.target)}"
    mark = {True: "ok", False: "MISSED", None: ""}[figure.met]
    change = ""
    if (last := before.get(figure.name)) and last > 0:
        change = f"{(figure.value / last - 1) * 100:+.0f} %"
    value = f"{_shown(figure.value)} {figure.unit}"
    return f"{figure.name:<58} {value:>16}  {target:>10}  {mark:<7}{change:>8}"


HEADING = f"{'':<58} {'measured':>16}  {'target':>10}  {'':<7}{'change':>8}"


def _shown(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
