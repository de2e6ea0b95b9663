"""`presence watch`: what happens, as it happens."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from presenced.clients.cli.commands import Command, print_json, session_of
from presenced.clients.cli.failure import Exit, Failure
from presenced.clients.cli.progress import WORK_DONE_EVENT, WORK_EVENT, Bar
from presenced.clients.cli.text import clock, safe

_GONE: Final = frozenset({"unfollowed", "ended"})
"states that are told: the others are what one expects"


@click.command(
    cls=Command,
    examples="""
    presence watch
    presence --json watch --after 1f00ba4-17
    """,
)
@click.option("--after", metavar="ID", help="Begin after the event with this id.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many events.")
@click.pass_context
def watch(context: click.Context, after: str | None, count: int | None) -> None:
    """Show what happens, as it happens, until interrupted.

    With --json one object per line: `id`, `event`, `data`. An event `reset` says that some were
    missed: read the lists again.
    """
    session = session_of(context)
    names = {} if session.json else _names(session.connection.get("/v1/devices")["devices"])
    bars: dict[str, Bar] = {}
    seen = 0
    for event_id, kind, data in session.connection.events(after):
        if kind == "open":
            session.say("Watching; Ctrl-C ends it.")
            continue
        if session.json:
            print_json({"id": event_id, "event": kind, "data": data})
        elif kind in (WORK_EVENT, WORK_DONE_EVENT) and sys.stderr.isatty():
            _draw(bars, kind, data)
        else:
            click.echo(_line(kind, data, names))
        sys.stdout.flush()
        seen += 1
        if seen == count:
            return
    raise Failure("presenced ended the stream", Exit.NOT_READY, next_step="Is it still running?")


def _names(devices: list[dict[str, Any]]) -> dict[str, str]:
    return {device["id"]: device["name"] for device in devices}


def _line(kind: str, data: dict[str, Any], names: Mapping[str, str]) -> str:
    subject = data.get("title") or data.get("uri") or data.get("id") or ""
    parts = [kind.replace(".", " "), safe(str(subject))]
    if data.get("state") in _GONE:
        parts.append(data["state"])
    if data.get("position") is not None and data.get("phase") is not None:
        parts.append(f"at {clock(data['position'])}")
    if "count" in data:
        parts.append(f"{data['count']} of them")
    if (device := data.get("device")) is not None:
        parts.append(f"({safe(names.get(device, str(device)))})")
    if "detail" in data:
        parts.append(safe(str(data["detail"])))
    return "  ".join(part for part in parts if part)


def _draw(bars: dict[str, Bar], kind: str, data: dict[str, Any]) -> None:
    name = str(data.get("kind", "work"))
    if kind == WORK_DONE_EVENT:
        if (bar := bars.pop(name, None)) is not None:
            bar.close()
        return
    bars.setdefault(name, Bar(name)).update(
        data["done"], data.get("total"), str(data.get("unit", ""))
    )
