"""`presence import` and `export`: OPML 2.0, as feed readers and podcast players write it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from presenced.clients.cli.commands import Command, Session, session_of
from presenced.clients.cli.failure import Exit, Failure, failure_of
from presenced.clients.cli.text import safe


@click.command(
    "import",
    cls=Command,
    examples="""
    presence import subscriptions.opml
    curl -s https://example.org/list.opml | presence import -
    """,
)
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.pass_context
def import_(context: click.Context, file: str) -> int:
    """Follow what an OPML FILE lists (`-`: standard input). What you follow is left alone.

    Exit code 8 if some of it was skipped.
    """
    from presenced.clients.cli import opml

    session = session_of(context)
    found = opml.read(_content(file, opml.FILE_BYTES_MAX))
    done = _send(session, found.follows)
    skipped = [
        {"uri": found.follows[item["line"] - 1].uri, "reason": item["reason"]}
        for item in done["skipped"]
    ]
    told = {
        "imported": done["imported"],
        "already_followed": done["already_followed"],
        "skipped": [*found.skipped, *skipped],
        "skipped_more": done["skipped_more"],
    }
    session.answer(told, lambda: _import_lines(told))
    return Exit.FINDINGS if told["skipped"] else Exit.OK


def _send(session: Session, follows: list[Any]) -> dict[str, Any]:
    from presenced.clients.cli.progress import Bar

    bar = Bar("import")
    lines = (json.dumps(follow.to_json()).encode() + b"\n" for follow in follows)
    try:
        with closing(session.connection.stream("/v1/import", lines)) as answers:
            for answer in answers:
                event = json.loads(answer)
                match event["event"]:
                    case "progress":
                        bar.update(event["done"], len(follows), "follows")
                    case "done":
                        done: dict[str, Any] = event
                        return done
                    case "failed":
                        raise failure_of(event["problem"])
    finally:
        bar.close()
    raise Failure("the import was cut", Exit.FAILED, next_step="Run it again; nothing is doubled.")


def _import_lines(told: dict[str, Any]) -> Iterator[str]:
    yield f"{told['imported']} imported, {told['already_followed']} were followed already"
    for item in told["skipped"]:
        yield f"skipped {safe(item['uri'])}: {safe(item['reason'])}"
    if told["skipped_more"]:
        yield f"and {told['skipped_more']} more were skipped"


@click.command(
    cls=Command,
    examples="""
    presence export subscriptions.opml
    presence export | xmllint --format -
    """,
)
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), default="-")
@click.pass_context
def export(context: click.Context, file: str) -> None:
    """Write what you follow to an OPML FILE (default: standard output)."""
    from presenced.clients.cli import opml

    session = session_of(context)
    rows = session.connection.rows("/v1/follows", "follows", None)
    document = opml.write(rows)
    if file == "-":
        told = {"follows": len(rows), "opml": document}
        session.answer(told, lambda: [document.rstrip("\n")])
        return
    try:
        Path(file).write_text(document, encoding="utf-8")
    except OSError as error:
        raise Failure(f"cannot write {file}: {error.strerror}", Exit.FAILED) from error
    session.answer(
        {"follows": len(rows), "file": file}, lambda: [f"{len(rows)} follows in {safe(file)}"]
    )


def _content(file: str, bytes_max: int) -> bytes:
    try:
        if file == "-":
            content = sys.stdin.buffer.read(bytes_max + 1)
        else:
            with Path(file).open("rb") as stream:
                content = stream.read(bytes_max + 1)
    except FileNotFoundError as error:
        raise Failure(f"there is no file {file}", Exit.NOT_FOUND, code="no-such-file") from error
    except OSError as error:
        raise Failure(f"cannot read {file}: {error.strerror}", Exit.FAILED) from error
    if len(content) > bytes_max:
        raise Failure(
            f"the file has more than {bytes_max} bytes",
            Exit.USAGE,
            next_step="Split it into several files.",
            code="too-large",
        )
    return content
