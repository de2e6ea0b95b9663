"""`presence session` and `continue`: what you play and read, and where you are in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import click

from presenced.clients.cli.commands import Command, LazyGroup, Session, session_of
from presenced.clients.cli.connection import path_part
from presenced.clients.cli.failure import Exit, Failure
from presenced.clients.cli.iri import uri_of
from presenced.clients.cli.text import moment, place_text, safe, seconds_of, table

_HERE: Final = "presenced.clients.cli.session_commands:"
_KINDS: Final = ("media", "reading", "watching-together", "call", "custom")
_REFERENCE: Final = "REFERENCE is an id, the beginning of one, or a URI."

_PHASES: Final = {"pause": "paused", "resume": "active"}
"what a session is after an act that only the device that has it can do"

_OVER: Final = frozenset({"finished", "ended"})

_UNWRITTEN: Final = {"undo": "Nothing changed: there is no decision to take back."}

_ID_CHARS: Final = 8

SECONDS_MAX: Final = 9_007_199_254_740
"of a place or a length: milliseconds in 53 bits"

PAGES_MAX: Final = 2**53 - 1


class Seconds(click.ParamType[float]):
    """`751`, `12:31` or `1:02:03`."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        seconds = value if isinstance(value, float) else seconds_of(str(value))
        if seconds is not None and seconds > SECONDS_MAX:
            self.fail(f"{safe(str(value))!r} is longer than anything lasts", param, ctx)
        if seconds is None:
            self.fail(
                f"{safe(str(value))!r} is not a time; write 751, 12:31 or 1:02:03", param, ctx
            )
        return seconds


class Percent(click.ParamType[float]):
    """`45` or `45%`, as a fraction."""

    name = "percent"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            percent = float(str(value).rstrip(" %"))
        except ValueError:
            percent = -1.0
        if not 0 <= percent <= 100:
            self.fail(f"{safe(str(value))!r} is not between 0 and 100 percent", param, ctx)
        return percent / 100


SECONDS: Final = Seconds()
_PAGES: Final = click.IntRange(min=1, max=PAGES_MAX)
_position = click.option("--position", type=SECONDS, metavar="TIME", help="Where you are.")
_place = click.option("--place", type=Percent(), metavar="PERCENT", help="Where, in a text.")


@click.group(
    cls=LazyGroup,
    lazy={
        "start": (_HERE + "start", "Begin a session here, or go on with the one that is there."),
        "update": (_HERE + "update", "Say where you are, or change what is said of it."),
        "pause": (_HERE + "pause", "Pause."),
        "resume": (_HERE + "resume", "Go on."),
        "finish": (_HERE + "finish", "Mark as finished."),
        "unfinish": (_HERE + "unfinish", "Mark as not finished after all."),
        "restart": (_HERE + "restart", "Begin again at its start."),
        "rewind": (_HERE + "rewind", "Go back to an earlier place."),
        "undo": (_HERE + "undo", "Return to the place before the last decision."),
        "end": (_HERE + "end", "Put away."),
        "list": (_HERE + "list_", "List sessions."),
        "show": (_HERE + "show", "Show one session."),
        "history": (_HERE + "history", "Show what was done to it, and return to any of it."),
    },
    examples="""
    presence session start https://example.org/film.mp4 --title "A film" --duration 1:32:00
    presence session update https://example.org/film.mp4 --position 12:31
    presence session list
    """,
)
def session() -> None:
    """Start, update, list and end sessions."""


@click.command(
    cls=Command,
    examples="""
    presence session start https://example.org/1.mp3 --title "Episode 1" --duration 1:00:00
    presence session start urn:isbn:9780141439518 --kind reading --pages 480 --place 12%
    """,
)
@click.argument("uri")
@click.option("--title", help="What it is called.")
@click.option("--kind", type=click.Choice(_KINDS), default="media", show_default=True)
@click.option("--duration", type=SECONDS, metavar="TIME", help="How long it is.")
@click.option("--pages", type=_PAGES, help="How many pages, for reading.")
@_position
@_place
@click.option("--alias", "aliases", multiple=True, help="Another URI of the same work.")
@click.pass_context
def start(context: click.Context, /, **given: Any) -> None:
    """Begin a session here, or go on with the one that is there."""
    session = session_of(context)
    given |= {"uri": uri_of(given["uri"]), "aliases": list(map(uri_of, given["aliases"]))}
    (result,) = session.connection.edit({"op": "start_session", **given})
    _answer(session, result["id"])


@click.command(
    cls=Command,
    examples="""
    presence session update 3wbe --position 12:31
    presence session update 3wbe --title "Episode 1" --speed 1.5
    """,
)
@click.argument("reference")
@_position
@_place
@click.option("--duration", type=SECONDS, metavar="TIME", help="How long your copy is.")
@click.option("--pages", type=_PAGES, help="How many pages your copy has.")
@click.option("--title", help="What you call it; empty: its own title again.")
@click.option("--speed", type=click.FloatRange(0.05, 16), help="1 is its own speed.")
@click.option("--alias", "aliases", multiple=True, help="Another URI of the same work.")
@click.option("--unalias", "unaliases", multiple=True, help="Not a URI of it after all.")
@click.pass_context
def update(
    context: click.Context,
    reference: str,
    position: float | None,
    place: float | None,
    duration: float | None,
    pages: int | None,
    title: str | None,
    speed: float | None,
    aliases: tuple[str, ...],
    unaliases: tuple[str, ...],
) -> None:
    """Say where you are, or change what is said of a session."""
    session = session_of(context)
    record = _named(session, reference)["id"]
    edits: list[dict[str, object]] = []
    if position is not None or place is not None:
        edits.append(
            {
                "op": "session_act",
                "session": record,
                "act": "seek",
                "position": position,
                "place": place,
                "duration": duration,
                "pages": pages,
            }
        )
    elif duration is not None or pages is not None:
        raise click.UsageError("give --position or --place with the size of your copy", context)
    if title is not None or speed is not None or aliases or unaliases:
        edits.append(
            {
                "op": "change_session",
                "session": record,
                "title": title,
                "speed": speed,
                "aliases_on": list(map(uri_of, aliases)),
                "aliases_off": list(map(uri_of, unaliases)),
            }
        )
    if not edits:
        raise click.UsageError("nothing to update; say where you are with --position", context)
    session.connection.edit(*edits)
    _answer(session, record)


def _act_command(name: str, text: str, *, placed: bool) -> click.Command:
    """The command of one act; `placed`: whether a place may be given with it."""

    def run(
        context: click.Context,
        reference: str,
        position: float | None = None,
        place: float | None = None,
    ) -> None:
        session = session_of(context)
        record = _named(session, reference)["id"]
        written = _act(session, record, name, position=position, place=place)
        row = _row(session, record)
        _check_phase(session, row, name, written=written)
        _show(session, row)
        if not written:
            session.say(_UNWRITTEN.get(name, "Nothing changed: it was so already."))

    example = f"presence session {name} 3wbe" + (" --position 12:31" if placed else "")
    callback = click.pass_context(run)
    callback = click.argument("reference")(callback)
    if placed:
        callback = _position(_place(callback))
    callback.__doc__ = f"{text}\n\n{_REFERENCE}"
    return click.command(name, cls=Command, examples=example)(callback)


pause = _act_command("pause", "Pause, here.", placed=True)
resume = _act_command("resume", "Go on after a pause.", placed=False)
finish = _act_command("finish", "Mark as finished.", placed=True)
unfinish = _act_command("unfinish", "Mark as not finished after all.", placed=True)
restart = _act_command("restart", "Begin again at its start.", placed=False)
rewind = _act_command("rewind", "Go back to an earlier place.", placed=True)
undo = _act_command("undo", "Return to the place before the last decision.", placed=False)
end = _act_command("end", "Put away. It comes back when you play it again.", placed=False)


@click.command(
    "continue",
    cls=Command,
    examples="""
    presence continue 3wbe
    presence continue https://example.org/film.mp4
    """,
)
@click.argument("reference")
@click.pass_context
def continue_(context: click.Context, reference: str) -> None:
    """Take a session over: this device holds it from now on, at the place shown.

    REFERENCE is an id, the beginning of one, or a URI.
    """
    session = session_of(context)
    record = _named(session, reference)["id"]
    if not _act(session, record, "take"):
        session.say("Nothing changed: this device has it already.")
    _answer(session, record)


@click.command(
    "list",
    cls=Command,
    examples="""
    presence session list
    presence --json session list --state open --limit 5
    """,
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@click.option("--state", type=click.Choice(["open", "ended", "all"]), default="all")
@click.option("--text", help="Only with this in the title or URI.")
@click.pass_context
def list_(context: click.Context, limit: int | None, state: str, text: str | None) -> None:
    """List sessions."""
    session = session_of(context)
    rows = session.connection.rows("/v1/sessions", "sessions", limit, state=state, text=text)
    session.answer(rows, lambda: _session_lines(rows))


@click.command(cls=Command, examples="presence session show 3wbe")
@click.argument("reference")
@click.pass_context
def show(context: click.Context, reference: str) -> None:
    """Show one session."""
    session = session_of(context)
    row = _named(session, reference)
    session.answer(row, lambda: _detail_lines(row))


@click.command(
    cls=Command,
    examples="""
    presence session history 3wbe
    presence session history 3wbe --return 2
    """,
)
@click.argument("reference")
@click.option("--return", "number", type=click.IntRange(min=1), help="Return to this row.")
@click.pass_context
def history(context: click.Context, reference: str, number: int | None) -> None:
    """Show what was done to a session, newest first; return to any of it with --return."""
    session = session_of(context)
    row = _named(session, reference)
    acts = session.connection.get(f"/v1/sessions/{row['id']}/history")["acts"]
    if number is None:
        session.answer(acts, lambda: _history_lines(acts))
        return
    if number > len(acts):
        raise Failure(
            f"there is no row {number}",
            Exit.NOT_FOUND,
            next_step="Run `presence session history` without --return for the list.",
            code="no-such-row",
        )
    act = acts[number - 1]
    _act(session, row["id"], "adopt", log=act["log"], row=act["row"])
    _answer(session, row["id"])


def _named(session: Session, reference: str) -> dict[str, Any]:
    if not reference:
        raise Failure(
            "no session is named",
            Exit.USAGE,
            next_step="`presence session list` lists them.",
            code="usage",
        )
    row: dict[str, Any] = session.connection.get(f"/v1/sessions/{path_part(uri_of(reference))}")
    return row


def _act(session: Session, record: str, act: str, **given: object) -> bool:
    """Do it; whether that wrote anything."""
    (result,) = session.connection.edit(
        {"op": "session_act", "session": record, "act": act, **given}
    )
    return bool(result["written"])


def _check_phase(session: Session, row: dict[str, Any], act: str, *, written: bool) -> None:
    """Whether a session plays or pauses is said by the device that has it. Raises `Failure`."""
    wanted = _PHASES.get(act)
    if wanted is None:
        return
    is_own = written or row["holder"] == session.connection.get("/v1/status")["device"]
    if is_own and row["lifecycle"] == wanted:
        return
    if row["lifecycle"] in _OVER:
        detail = f"it is {row['lifecycle']}"
    elif row["holder"]:
        detail = f"{row['holder_name'] or 'another device'} has it"
    else:
        detail = "no device has it"
    raise Failure(
        f"not {act}d: {detail}",
        Exit.CONFLICT,
        next_step=f"`presence continue {row['id'][:_ID_CHARS]}` plays it here.",
        code="not-held",
    )


def _row(session: Session, record: str) -> dict[str, Any]:
    row: dict[str, Any] = session.connection.get(f"/v1/sessions/{record}")
    return row


def _answer(session: Session, record: str) -> None:
    _show(session, _row(session, record))


def _show(session: Session, row: dict[str, Any]) -> None:
    session.answer(row, lambda: _session_lines([row]))


def _session_lines(rows: list[dict[str, Any]]) -> list[str]:
    cells = [
        (
            ("! " if row["conflicts"] else "") + (row["title"] or row["uri"]),
            place_text(row),
            _life(row),
            row["id"],
        )
        for row in rows
    ]
    return table(cells, (50, 20, 40, 26))


def _life(row: dict[str, Any]) -> str:
    """`active on box`; who had it last does not matter once it is over."""
    is_held = row["holder_name"] and row["lifecycle"] not in _OVER
    return f"{row['lifecycle']} on {row['holder_name']}" if is_held else str(row["lifecycle"])


def _detail_lines(row: dict[str, Any]) -> Iterator[str]:
    yield safe(row["title"] or row["uri"])
    yield f"id        {row['id']}"
    yield f"uri       {safe(row['uri'])}"
    for alias in row["aliases"]:
        yield f"also      {safe(alias)}"
    yield f"kind      {safe(row['kind'])}"
    yield f"place     {place_text(row)}"
    yield f"state     {row['lifecycle']}"
    if row["holder_name"]:
        yield f"held by   {safe(row['holder_name'])}"
    if row["speed"] != 1:
        yield f"speed     {row['speed']}"
    yield f"changed   {moment(row['updated'])}"
    if row["conflicts"]:
        yield f"asks      {', '.join(map(safe, row['conflicts']))}; see `presence summary`"


def _history_lines(acts: list[dict[str, Any]]) -> list[str]:
    cells = [
        (
            f"{number}.",
            moment(act["time"]),
            act["kind"],
            place_text(act),
            act["device_name"] or act["device"] or "",
        )
        for number, act in enumerate(acts, 1)
    ]
    return table(cells, (4, 20, 16, 20, 40))
