"""`presence follow`, `unfollow`, `follows`: add and remove, never a whole list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import click

from presenced.clients.cli.commands import Command, session_of
from presenced.clients.cli.connection import path_part
from presenced.clients.cli.iri import uri_of
from presenced.clients.cli.text import safe, table

KINDS: Final = ("feed", "podcast", "channel", "person", "stream")
NOTIFY: Final = ("default", "all", "none")


@click.command(
    cls=Command,
    examples="""
    presence follow https://example.org/feed.xml --title "An example"
    presence follow https://example.org/pod.xml --kind podcast --tag news --notify all
    """,
)
@click.argument("uri")
@click.option("--title", help="What you call it; empty: its own title again.")
@click.option("--kind", type=click.Choice(KINDS), help="What it is; a feed if not given.")
@click.option("--tag", "tags", multiple=True, help="Put a tag on (repeatable).")
@click.option("--untag", "untags", multiple=True, help="Take a tag off (repeatable).")
@click.option("--notify", type=click.Choice(NOTIFY), help="Which news you want to be told.")
@click.pass_context
def follow(
    context: click.Context,
    uri: str,
    title: str | None,
    kind: str | None,
    tags: tuple[str, ...],
    untags: tuple[str, ...],
    notify: str | None,
) -> None:
    """Follow a URI, or change what you call it and how it is tagged."""
    session = session_of(context)
    uri = uri_of(uri)
    edits: list[dict[str, object]] = [
        {
            "op": "follow",
            "uri": uri,
            "title": title,
            "kind": kind or "feed",
            "tags": list(tags),
            "notify": notify,
        }
    ]
    if untags or title == "":
        edits.append({"op": "change_follow", "uri": uri, "title": title, "tags_off": list(untags)})
    results = session.connection.edit(*edits)
    row = session.connection.get(f"/v1/follows/{path_part(results[0]['id'])}")
    session.answer(row, lambda: [f"following {safe(row['title'] or row['uri'])}"])
    if kind is not None and row["kind"] != kind:
        session.say(f"It stays a {row['kind']}: its kind was named when it was first followed.")


@click.command(cls=Command, examples="presence unfollow https://example.org/feed.xml")
@click.argument("uri")
@click.pass_context
def unfollow(context: click.Context, uri: str) -> None:
    """Stop following a URI."""
    session = session_of(context)
    (result,) = session.connection.edit({"op": "unfollow", "uri": uri_of(uri)})
    row = session.connection.get(f"/v1/follows/{path_part(result['id'])}")
    session.answer(row, lambda: [f"no longer following {safe(row['title'] or row['uri'])}"])


@click.command(
    cls=Command,
    examples="""
    presence follows
    presence follows --tag news --limit 20
    presence --json follows | jq -r '.[].uri'
    """,
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@click.option("--state", type=click.Choice(["followed", "unfollowed", "all"]), default="followed")
@click.option("--kind", type=click.Choice(KINDS), help="Only this kind.")
@click.option("--tag", help="Only with this tag.")
@click.option("--text", help="Only with this in the title or URI.")
@click.pass_context
def follows(
    context: click.Context,
    limit: int | None,
    state: str,
    kind: str | None,
    tag: str | None,
    text: str | None,
) -> None:
    """List what you follow."""
    session = session_of(context)
    rows = session.connection.rows(
        "/v1/follows", "follows", limit, state=state, kind=kind, tag=tag, text=text
    )
    session.answer(rows, lambda: _follow_lines(rows))


def _follow_lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    cells = [
        (
            ("! " if row["conflicts"] else "") + (row["title"] or row["uri"]),
            row["kind"] if row["state"] == "followed" else row["state"],
            row["uri"],
            " ".join(f"#{tag}" for tag in row["tags"]),
        )
        for row in rows
    ]
    yield from table(cells, (44, 10, 80, 40))
