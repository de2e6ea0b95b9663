"""`presence status`, `net`, `doctor`: the daemon itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import click

from presenced.clients.cli.commands import Command, session_of
from presenced.clients.cli.failure import Exit, Failure
from presenced.clients.cli.text import moment, safe, table

_NET_TOLD = {"down": "links are held down", "up": "links may come back"}
_KEPT_IN = {
    "key-file": "in a file that only you can read (key-file)",
    "passphrase": "in a file, wrapped by your passphrase (passphrase)",
    "os-keyring": "in the keyring of your system (os-keyring)",
}
"where the database key is, by what `key_protection` says"

_SET_UP = "Run `presence init --name NAME`, or `presence join CODE` to join your other devices."


@click.command(
    cls=Command,
    examples="""
    presence status
    presence --json status | jq .links
    """,
)
@click.pass_context
def status(context: click.Context) -> int:
    """Show this device, its links, and what is pending."""
    session = session_of(context)
    facts = session.connection.get("/v1/status")
    session.answer(facts, lambda: _status_lines(facts))
    if facts["identity"] is None:
        raise Failure("nothing is set up yet", Exit.NOT_READY, next_step=_SET_UP, code="not-set-up")
    return Exit.OK


def _status_lines(facts: dict[str, Any]) -> Iterator[str]:
    if facts["identity"] is None:
        yield f"presenced {safe(facts['version'])} runs, without an identity"
        return
    yield f"{safe(facts['name'] or 'this device')}   {facts['device']}"
    yield f"identity   {safe(facts['identity'])}"
    yield f"contents   follows: {facts['follows']}, sessions: {facts['sessions']}"
    yield f"listening  port {facts['port']}" + (
        "   (links are held down; `presence net up` lets them come back)"
        if facts["net"] == "down"
        else ""
    )
    kept = facts["key_protection"]
    yield f"key        {safe(_KEPT_IN.get(kept, kept))}"
    if not facts["links"]:
        yield "links      none"
    for link in facts["links"]:
        level = "in sync" if link["in_sync"] else "catching up"
        yield (
            f"link       {safe(link['name'])}, {level}, {safe(link['address'])}, "
            f"since {moment(link['since'])}"
        )
    for work in facts["work"]:
        total = "" if work["total"] is None else f" of {work['total']}"
        yield f"working    {safe(work['kind'])}: {work['done']}{total} {safe(work['unit'])}"
    yield from _attention(facts)


_SNAPSHOTS: Final = {
    "provisional": "no second device has confirmed it yet",
    "disputed": "another device has other content",
    "stale": "a removal reaches below it; a new one is needed",
}
"what to say of a snapshot by its state; of others nothing"


def _attention(facts: dict[str, Any]) -> Iterator[str]:
    pending = facts["pending"]
    if pending["unsent"]:
        yield f"pending    not on any other device yet: {_changes(pending['unsent'])}"
    if pending["waiting"]:
        yield f"pending    waiting for what they build on: {_changes(pending['waiting'])}"
    if pending["quarantined"]:
        yield f"pending    of removed devices, set apart: {_changes(pending['quarantined'])}"
    for one in facts.get("snapshots", ()):
        if (words := _SNAPSHOTS.get(one["state"])) is not None:
            sponsor = safe(one["sponsor_name"] or one["sponsor"])
            yield f"snapshot   {safe(one['collection'])} came from {sponsor}: {words}"
    if facts["conflicts"]:
        records = "1 record" if facts["conflicts"] == 1 else f"{facts['conflicts']} records"
        yield f"asks       values differ in {records}; see `presence summary`"
    if facts["phrase_unconfirmed"]:
        yield "asks       the recovery phrase is not written down; see `presence phrase`"
    for alert in facts["alerts"]:
        yield f"alert      {safe(alert)}"


def _changes(count: int) -> str:
    return "1 change" if count == 1 else f"{count} changes"


@click.command(
    cls=Command,
    examples="""
    presence net down
    presence net up
    """,
)
@click.argument("state", type=click.Choice(["up", "down"]))
@click.pass_context
def net(context: click.Context, state: str) -> None:
    """Hold all links down, or let them come back. Edits go on here meanwhile."""
    session = session_of(context)
    told = session.connection.put("/v1/net", {"state": state})
    session.answer(told, lambda: [_NET_TOLD[state]])


@click.command(
    cls=Command,
    examples="""
    presence doctor
    presence --json doctor | jq '.checks[] | select(.status != "ok")'
    """,
)
@click.pass_context
def doctor(context: click.Context) -> int:
    """Check this device and say what to do. Exit code 8 if something needs attention."""
    session = session_of(context)
    told = session.connection.get("/v1/doctor")
    checks = [_version_check(told.get("version", "of an older version")), *told["checks"]]
    session.answer({"checks": checks}, lambda: _check_lines(checks))
    fine = all(check["status"] == "ok" for check in checks)
    return Exit.OK if fine else Exit.FINDINGS


def _version_check(running: str) -> dict[str, str]:
    """Whether the daemon that answers is of this version: an upgrade may have left the old one."""
    from presenced import __version__

    if running == __version__:
        return {"name": "version", "status": "ok", "detail": __version__, "next_step": ""}
    return {
        "name": "version",
        "status": "warn",
        "detail": f"presenced {running} runs, presence is {__version__}",
        "next_step": "Run `systemctl --user restart presenced`.",
    }


def _check_lines(checks: list[dict[str, str]]) -> Iterator[str]:
    rows = [(check["status"], check["name"], check["detail"]) for check in checks]
    for line, check in zip(table(rows, (4, 24, 120)), checks, strict=True):
        yield line
        if check["next_step"]:
            yield f"      {safe(check['next_step'])}"
