"""`presence summary` and `resolve`: what happened apart, and taking the value that lost."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import click

from presenced.clients.cli.commands import Command, session_of
from presenced.clients.cli.failure import Exit, Failure
from presenced.clients.cli.text import bold, clock, cut, moment, safe

_ROWS_SHOWN: Final = 12
"per part, so that a summary stays on one screen; --all shows every row"

_TITLE_CHARS: Final = 48
_ID_CHARS: Final = 8
_PLACE_END: Final = 2**53
"seconds; beyond it nothing is a place"

_RULES: Final = {
    "agree": "both wrote the same",
    "claim": "who took it over last has it",
    "decided": "a decision beats playing on",
    "first": "who named it first",
    "follow-wins": "following wins over unfollowing",
    "furthest": "the furthest place wins",
    "latest": "the latest wins",
    "open-wins": "what is open stays open",
    "tag-wins": "a tag that is on stays on",
    "unreadable": "written by a newer version",
}


_FIELDS: Final = {
    ("follow", "core"): "added",
    ("follow", "state"): "following",
    ("session", "core"): "begun",
}
"fields that have another name for people"

_DEFAULT_STATES: Final = frozenset({"followed", "open"})


@click.command(
    cls=Command,
    examples="""
    presence summary
    presence summary --seen
    presence --json summary | jq '.both[] | select(.asks)'
    """,
)
@click.option("--all", "every", is_flag=True, help="Every row, however many.")
@click.option("--seen", is_flag=True, help="Afterwards forget what changed; questions stay.")
@click.pass_context
def summary(context: click.Context, every: bool, seen: bool) -> None:
    """Show what changed while devices were apart, and where both changed the same."""
    session = session_of(context)
    told = session.connection.get("/v1/summary")
    session.answer(told, lambda: _summary_lines(told, None if every else _ROWS_SHOWN))
    if seen:
        session.connection.post("/v1/summary/seen")


def _summary_lines(told: dict[str, Any], rows_max: int | None) -> Iterator[str]:
    if not (told["both"] or told["elsewhere"] or told["here"]):
        yield "Nothing changed while your devices were apart."
        return
    if told["both"]:
        asks = any(row["asks"] for row in told["both"])
        yield bold("Changed on several devices at once" + ("   (! asks you)" if asks else ""))
        for row in told["both"][:rows_max]:
            yield from _contest_lines(row)
        yield from _rest(told["both"], told["both_more"], rows_max)
    for key, heading in (("elsewhere", "Changed on other devices"), ("here", "Changed here")):
        rows = _telling(told[key], told["both"])
        if rows or told[f"{key}_more"]:
            yield bold(heading)
            for row in rows[:rows_max]:
                yield f"  {_subject(row)}: {_value(row['field'], row['value'])}{_writer(row)}"
            yield from _rest(rows, told[f"{key}_more"], rows_max)


def _telling(rows: list[dict[str, Any]], both: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what was said above, and without a state that goes without saying."""
    said = {(row["map"], row["record"], row["field"]) for row in both}
    fields = Counter((row["map"], row["record"]) for row in rows)
    return [
        row
        for row in rows
        if (row["map"], row["record"], row["field"]) not in said
        and not (
            row["field"] == "state"
            and row["value"] in _DEFAULT_STATES
            and fields[row["map"], row["record"]] > 1
        )
    ]


def _contest_lines(row: dict[str, Any]) -> Iterator[str]:
    rule = _RULES.get(row["rule"], row["rule"])
    mark = "! " if row["asks"] else "  "
    yield f"{mark}{_subject(row)}: {_value(row['field'], row['value'])}{_writer(row)}"
    yield f"      because {safe(rule)}"
    for lost in row["losing"]:
        name = safe(lost["device_name"] or lost["device"] or "another device")
        text = f"      not {_value(row['field'], lost['value'])} ({name}, {moment(lost['time'])})"
        if lost["restorable"]:
            text += f"; take it: {_command(row, lost)}"
        elif (row["map"], row["field"]) == ("session", "holder") and row["asks"]:
            text += f"; on {name}: presence continue {row['record'][:_ID_CHARS]}"
        yield text


def _command(row: dict[str, Any], lost: dict[str, Any]) -> str:
    """What takes a value back, made for a shell: the name of a field may be another device's."""
    name = f"presence resolve {row['record'][:_ID_CHARS]} {shlex.quote(safe(row['field']))}"
    if len(row["losing"]) > 1 and lost["device"]:
        name += f" --from {lost['device'][:_ID_CHARS]}"
    return name


def _subject(row: dict[str, Any]) -> str:
    title = cut(row["title"] or row["record"][:_ID_CHARS], _TITLE_CHARS)
    field = row["field"].partition("/")[0]
    return f"{title}, {_FIELDS.get((row['map'], field), safe(field))}"


def _writer(row: dict[str, Any]) -> str:
    if row["time"] is None:
        return ""
    name = safe(row["device_name"] or row["device"] or "another device")
    return f"   ({name}, {moment(row['time'])})"


def _value(field: str, value: Any) -> str:
    """A value in words."""
    if value is None:
        return "taken off" if "/" in field else "nothing"
    if field == "progress" and _is_progress(value):
        if value["finished"]:
            return "finished"
        if value["place"] is not None:
            return f"at {value['place'] * 100:.0f} %"
        return f"at {clock(value['position'])}"
    if isinstance(value, dict):
        return cut(str(value.get("title") or value.get("uri") or "begun"), _TITLE_CHARS)
    if field == "holder" and isinstance(value, list) and len(value) == 2:
        return safe(str(value[1]))
    return cut(str(value), _TITLE_CHARS)


def _is_progress(value: Any) -> bool:
    """Whether it is a place in the API's units: what a newer version wrote comes as it stands."""
    return (
        isinstance(value, dict)
        and value.keys() == {"position", "place", "finished"}
        and isinstance(value["finished"], bool)
        and all(
            one is None or (isinstance(one, int | float) and 0 <= one < _PLACE_END)
            for one in (value["position"], value["place"])
        )
    )


def _rest(rows: list[Any], more: int, rows_max: int | None) -> Iterator[str]:
    hidden = 0 if rows_max is None else max(0, len(rows) - rows_max)
    if hidden:
        yield f"  and {hidden + more} more; see `presence summary --all`"
    elif more:
        yield f"  and {more} more"


@click.command(
    cls=Command,
    examples="""
    presence summary
    presence resolve mvqwi2hx title
    presence resolve mvqwi2hx progress --from living-room
    """,
)
@click.argument("record")
@click.argument("field", required=False)
@click.option("--from", "device", help="Whose value, if several lost (a name or id).")
@click.pass_context
def resolve(context: click.Context, record: str, field: str | None, device: str | None) -> None:
    """Take the other value where two differ; `presence summary` gives the command.

    RECORD is an id, the beginning of one, or a title.
    """
    session = session_of(context)
    row = _one(
        [
            row
            for row in session.connection.get("/v1/summary")["both"]
            if (row["record"].startswith(record) or row["title"] == record)
            and (field is None or row["field"] == field or row["field"].startswith(f"{field}/"))
            and row["losing"]
        ],
        "field",
        "Name the field too, as `presence summary` shows it.",
    )
    lost = _one(
        [lost for lost in row["losing"] if device is None or _is_of(lost, device)],
        "value",
        "Say whose, with --from DEVICE.",
    )
    session.connection.edit(
        {
            "op": "resolve",
            "map": row["map"],
            "record": row["record"],
            "field": row["field"],
            "log": lost["log"],
        }
    )
    told = {
        "map": row["map"],
        "id": row["record"],
        "field": row["field"],
        "value": lost["value"],
        "instead_of": row["value"],
    }
    session.answer(told, lambda: [f"{_subject(row)}: {_value(row['field'], lost['value'])}"])


def _is_of(lost: dict[str, Any], device: str) -> bool:
    wanted = device.casefold()
    named = (lost["device"] or "", (lost["device_name"] or "").casefold())
    return any(name.startswith(wanted) for name in named)


def _one(found: list[dict[str, Any]], what: str, next_step: str) -> dict[str, Any]:
    if not found:
        raise Failure(
            f"there is no such {what} to resolve",
            Exit.NOT_FOUND,
            next_step="`presence summary` shows what there is.",
            code="nothing-to-resolve",
        )
    if len(found) > 1:
        raise Failure(
            f"more than one {what} is meant", Exit.CONFLICT, next_step=next_step, code="ambiguous"
        )
    return found[0]
