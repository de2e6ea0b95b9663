"""A progress bar on a terminal, fed by the daemon's events; nothing where there is no terminal."""

from __future__ import annotations

import sys
import time
from typing import Final

from presenced.clients.cli.connection import Connection
from presenced.clients.cli.text import safe

WORK_EVENT: Final = "work.progress"
"data: kind, done, total (or null), unit"

WORK_DONE_EVENT: Final = "work.done"
"data: kind"

COMING_SECONDS_MAX: Final = 5.0
"how long `show_coming_work` waits for work to begin: a new link comes up in less than a second"

_LOOK_AGAIN_SECONDS: Final = 0.1
_BAR_CELLS: Final = 30
_REDRAW_SECONDS: Final = 0.1
_SHOW_AFTER_SECONDS: Final = 1.0
"what is done sooner needs no bar"


class Bar:
    """Redraws one line of stderr. Leaves nothing behind."""

    def __init__(self, label: str, *, show_after: float = _SHOW_AFTER_SECONDS) -> None:
        self._label = safe(label)
        self._visible = sys.stderr.isatty()
        self._next_draw = time.monotonic() + show_after
        self._drawn = False

    def update(self, done: int, total: int | None, unit: str = "") -> None:
        now = time.monotonic()
        if not self._visible or now < self._next_draw:
            return
        self._next_draw = now + _REDRAW_SECONDS
        self._drawn = True
        sys.stderr.write("\r\x1b[K" + bar_line(self._label, done, total, unit))
        sys.stderr.flush()

    def close(self) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._drawn = False


def bar_line(label: str, done: int, total: int | None, unit: str = "") -> str:
    """`import [######      ] 50 % 500 of 1000 follows`; without a total only what is done."""
    if not total:
        return f"{label} {done} {safe(unit)}".rstrip()
    share = min(max(done / total, 0.0), 1.0)
    cells = "#" * int(share * _BAR_CELLS)
    return (
        f"{label} [{cells:<{_BAR_CELLS}}] {share * 100:3.0f} % {done} of {total} {safe(unit)}"
    ).rstrip()


def show_work(connection: Connection, kinds: tuple[str, ...]) -> None:
    """Show the daemon's work of some kinds until none of it is left."""
    events = connection.events()
    bars: dict[str, Bar] = {}
    try:
        next(events)  # from here on nothing is missed
        left = {
            work["kind"]: work
            for work in connection.get("/v1/status")["work"]
            if work["kind"] in kinds
        }
        while left:
            _, kind, data = next(events)
            name = data.get("kind")
            if kind == "reset" or (kind == WORK_DONE_EVENT and name in left):
                left.pop(name, None) if kind == WORK_DONE_EVENT else left.clear()
            elif kind == WORK_EVENT and name in kinds:
                left[name] = data
                bar = bars.setdefault(name, Bar(name))
                bar.update(data["done"], data.get("total"), data.get("unit", ""))
    except StopIteration:
        return
    finally:
        events.close()  # type: ignore[attr-defined]  # a generator
        for bar in bars.values():
            bar.close()


def show_coming_work(connection: Connection, kinds: tuple[str, ...]) -> None:
    """Show work that is about to begin: it does once a link is up, or there is none to do."""
    deadline = time.monotonic() + COMING_SECONDS_MAX
    while time.monotonic() < deadline:
        status = connection.get("/v1/status")
        if any(work["kind"] in kinds for work in status["work"]):
            show_work(connection, kinds)
            return
        if any(link["in_sync"] for link in status["links"]):
            return
        time.sleep(_LOOK_AGAIN_SECONDS)
