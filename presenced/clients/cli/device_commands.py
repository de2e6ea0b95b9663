"""`presence devices` and `join`: which devices are yours, and adding one by a short code."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

import click

from presenced.clients.cli.asking import input_descriptor, read_line
from presenced.clients.cli.commands import (
    NAME,
    Command,
    LazyGroup,
    Session,
    print_json,
    session_of,
)
from presenced.clients.cli.connection import Lines, path_part
from presenced.clients.cli.failure import Exit, Failure
from presenced.clients.cli.text import moment, safe, table

_HERE: Final = "presenced.clients.cli.device_commands:"
_PAIR_URI: Final = "presenced:pair?"
_OTHER_VERSION: Final = "other-version"
_FAILED_UNASKED: Final = {"malformed-code": "wrong_code", _OTHER_VERSION: "version"}
"what is refused before another device is looked for, as the event that it is"
_FAILURES: Final = {
    "wrong_code": (Exit.FAILED, "Type the code again; three wrong tries end it."),
    "expired": (Exit.NO_ANSWER, "A code lives five minutes and three tries; show a new one."),
    "refused": (Exit.NOT_ALLOWED, "Approve it on both devices if the words are the same."),
    "unreachable": (
        Exit.NO_ANSWER,
        "Are both devices on one network? Else name the other one: --peer HOST:PORT.",
    ),
    "version": (Exit.FAILED, "Update presenced on the older device."),
    "interrupted": (Exit.FAILED, "Begin again on both devices."),
}
_NOT_THERE: Final = (
    "Check that presenced runs there, that `presence status` there shows this port, and that no "
    "firewall on the way blocks UDP."
)


@click.group(
    cls=LazyGroup,
    lazy={
        "list": (_HERE + "list_", "List your devices."),
        "show": (_HERE + "show", "Show one device and what it proved of itself."),
        "add": (_HERE + "add", "Add a device, by a short code."),
    },
    examples="""
    presence devices list
    presence devices add
    presence devices show living-room
    """,
)
def devices() -> None:
    """List, show and add devices."""


@click.command("list", cls=Command, examples="presence devices list")
@click.pass_context
def list_(context: click.Context) -> None:
    """List your devices, this one first."""
    session = session_of(context)
    found = session.connection.get("/v1/devices")["devices"]
    session.answer(found, lambda: _device_lines(found))


def _device_lines(found: list[dict[str, Any]]) -> list[str]:
    rows = [(device["name"], _whereabouts(device), device["id"]) for device in found]
    return table(rows, (40, 40, 26))


def _whereabouts(device: dict[str, Any]) -> str:
    if device["own"]:
        return "this device"
    if not device["active"]:
        return "removed"
    if device["linked"]:
        return "linked"
    return f"last seen {moment(device['last_seen'])}" if device["last_seen"] else "not seen yet"


@click.command(cls=Command, examples="presence devices show living")
@click.argument("device")
@click.pass_context
def show(context: click.Context, device: str) -> None:
    """Show one device: name it by its name or id, or the beginning of either."""
    session = session_of(context)
    found = session.connection.get(f"/v1/devices/{path_part(device)}")
    session.answer(found, lambda: _detail_lines(found))


def _detail_lines(device: dict[str, Any]) -> Iterator[str]:
    yield f"{safe(device['name'])}   {device['id']}"
    yield f"state        {_whereabouts(device)}"
    yield f"fingerprint  {safe(device['fingerprint'])}"
    yield f"collections  {', '.join(map(safe, device['collections'])) or 'none'}"
    yield f"added by     {device['added_by'] or 'your recovery phrase'}"
    evidence = device["evidence"]
    if evidence is None:
        return
    reason = f" ({safe(evidence['reason'])})" if evidence["reason"] else ""
    yield f"evidence     {safe(evidence['status'])}{reason}"
    for claim in evidence["claims"]:
        basis = f"   {safe(claim['basis'])}" if claim["basis"] else ""
        yield f"  {safe(claim['name'])}: {safe(claim['value'])}{basis}"


@click.command(
    cls=Command,
    examples="""
    presence devices add
    presence devices add 123-apple-zebra
    """,
)
@click.argument("code", required=False)
@click.option("--yes", is_flag=True, help="Approve without asking.")
@click.option("--peer", metavar="HOST:PORT", multiple=True, help="Where the new device is.")
@click.pass_context
def add(context: click.Context, code: str | None, yes: bool, peer: tuple[str, ...]) -> int:
    """Add a device to yours.

    Without a CODE this device shows one, for `presence join` on the new device. Or enter the CODE
    that the new device shows (`-` reads it from standard input).
    """
    session = session_of(context)
    return _pair(session, "sponsor", _code(code), peers=peer, approved=yes, name=None)


@click.command(
    cls=Command,
    examples="""
    presence join 123-apple-zebra
    presence join 123-apple-zebra --peer 192.0.2.7:4711
    presence join --show
    """,
)
@click.argument("code", required=False)
@click.option("--yes", is_flag=True, help="Approve without asking.")
@click.option("--peer", metavar="HOST:PORT", multiple=True, help="Where the other device is.")
@click.option(
    "--name", type=NAME, help="What your devices call this one; its host name if not given."
)
@click.option("--show", "shows", is_flag=True, help="Show a code here instead of entering one.")
@click.pass_context
def join(
    context: click.Context,
    code: str | None,
    yes: bool,
    peer: tuple[str, ...],
    name: str | None,
    shows: bool,
) -> int:
    """Make this device one of your devices.

    Enter the CODE that `presence devices add` shows on one of them (`-` reads it from standard
    input), or show one here and enter it there.
    """
    session = session_of(context)
    if code is None and not shows and session.interactive:
        asked = click.prompt(
            "Code on your other device (empty: show one here)",
            default="",
            show_default=False,
            err=True,
        )
        code = asked.strip() or None
    return _pair(session, "joiner", _code(code), peers=peer, approved=yes, name=name)


def _code(code: str | None) -> str | None:
    if code != "-":
        return code
    line = read_line()
    if not line:
        raise Failure(
            "no code on standard input",
            Exit.USAGE,
            next_step="Give it as a line of its own, as the other device shows it.",
            code="usage",
        )
    return line


def _pair(
    session: Session,
    role: str,
    code: str | None,
    *,
    peers: tuple[str, ...],
    approved: bool,
    name: str | None,
) -> int:
    try:
        if code is not None and code.startswith(_PAIR_URI):
            code, found = _scanned(code)
            peers = (*peers, *found)
        body = {"role": role, "code": code, "peers": list(peers), "name": name}
        with closing(session.connection.stream("/v1/pairing", body)) as stream:
            if code is not None:
                session.say("Looking for the other device ...")
            return _follow(session, stream, role, peers, approved=approved)
    except Failure as failure:
        if (kind := _FAILED_UNASKED.get(failure.code)) is not None:
            _tell(session, {"event": "failed", "type": kind, "detail": failure.detail})
        raise
    except (KeyboardInterrupt, click.Abort):
        _tell(session, {"event": "failed", "type": "interrupted", "detail": "interrupted here"})
        raise


def _follow(
    session: Session, stream: Lines, role: str, peers: tuple[str, ...], *, approved: bool
) -> int:
    """Tell what happens until it is over; ask when there is a candidate."""
    for line in stream:
        if not line:
            continue
        event = json.loads(line)
        match event["event"]:
            case "code":
                _tell(session, {"event": "code", "code": event["code"]})
                _show_code(session, role, event)
            case "candidate":
                told = {key: event[key] for key in ("event", "name", "fingerprint", "words")}
                _tell(session, told)
                _decide(session, stream, role, event, approved=approved)
            case "added":
                _tell(session, {"event": "added", "device": event["device"]})
                session.say("Done: they are one identity's devices now.")
                if role == "joiner":
                    _first_sync(session)
                return Exit.OK
            case "failed":
                return _failed(session, event, peers)
    raise Failure("presenced ended the enrolment", Exit.FAILED, next_step="Begin again.")


def _tell(session: Session, event: dict[str, Any]) -> None:
    if session.json:
        print_json(event)
        sys.stdout.flush()


def _scanned(uri: str) -> tuple[str, tuple[str, ...]]:
    """Code and addresses of what a QR code says. Raises `Failure`."""
    values = parse_qs(uri.removeprefix(_PAIR_URI))
    if values.get("v") != ["1"]:
        raise Failure(
            "this QR code is of another version of presenced",
            Exit.USAGE,
            next_step="Update presenced on the older device.",
            code=_OTHER_VERSION,
        )
    return values.get("code", [""])[0], tuple(values.get("addr", ()))


def _show_code(session: Session, role: str, event: dict[str, Any]) -> None:
    if session.json:
        return
    other = "presence join" if role == "sponsor" else "presence devices add"
    click.echo(event["code"])
    sys.stdout.flush()
    session.say(f"On the other device: {other} {event['code']}   (within five minutes)")
    if sys.stderr.isatty():
        import segno

        uri = _PAIR_URI + urlencode(
            [("v", "1"), ("code", event["code"]), *(("addr", it) for it in event["addresses"])]
        )
        segno.make(uri, error="m").terminal(out=sys.stderr, compact=True)


def _decide(
    session: Session, stream: Lines, role: str, event: dict[str, Any], *, approved: bool
) -> None:
    if not session.json:
        session.say(f"The other device: {event['name']}")
        session.say(f"  fingerprint  {event['fingerprint']}")
        session.say(f"  words        {event['words']}   (the same on both screens?)")
        if role == "sponsor":
            session.say(f"  it will receive: {', '.join(event['receives']) or 'nothing'}")
    yes = approved or _ask(session, stream)
    if yes is None:
        return
    try:
        session.connection.post("/v1/pairing/approve" if yes else "/v1/pairing/refuse")
    except Failure as failure:
        if failure.exit_code not in (Exit.CONFLICT, Exit.NOT_FOUND):
            raise
        return  # it was over before the answer came; the stream says how
    if yes and not approved:
        session.say("Waiting for the yes on the other device ...")


def _ask(session: Session, stream: Lines) -> bool | None:
    """The person's yes or no; None if it was over before there was one."""
    session.say("Are these the same words, and is it yours? [y/N] ")
    descriptor = input_descriptor()
    if descriptor is not None and stream.come_before(descriptor):
        return None
    line = read_line()
    if not line:
        session.say("That is no yes. Type y, or use --yes to approve without asking.")
    return line.lower() in ("y", "yes")


def _failed(session: Session, event: dict[str, Any], peers: tuple[str, ...]) -> int:
    kind, detail = event["type"], event.get("detail", "")
    exit_code, step = _FAILURES.get(kind, (Exit.FAILED, ""))
    if kind == "unreachable" and peers:
        step = _NOT_THERE
    _tell(session, {"event": "failed", "type": kind, "detail": detail})
    if not session.json:
        session.say(f"presence: {kind.replace('_', ' ')}" + (f": {detail}" if detail else ""))
        session.say(step)
    return exit_code


def _first_sync(session: Session) -> None:
    if session.interactive:
        from presenced.clients.cli.progress import show_coming_work

        show_coming_work(session.connection, ("first-sync",))
