"""`GET /v1/events`: what happens, as server-sent events (WHATWG HTML §9.2)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

import trio

from presenced.local.events import EventReader
from presenced.local.limits import COMMENT_SECONDS
from presenced.local.owner import Owner
from presenced.local.routing import EVENT_STREAM, Request, Route, Streamed

_RETRY_MS: Final = 1_000
"after which a client comes back when the stream broke"


def event_routes(owner: Owner) -> list[Route]:
    async def get(request: Request) -> Streamed:
        after = request.header(b"last-event-id") or request.query.get("after")
        first_id = owner.events.last_id
        reader = owner.events.subscribe(after)
        return Streamed(_frames(reader, first_id if after is None else None), EVENT_STREAM)

    return [Route("GET", "/v1/events", get)]


async def _frames(reader: EventReader, first_id: str | None) -> AsyncGenerator[bytes, None]:
    """`first_id`: tells a new reader where it begins, so that it can come back to there."""
    try:
        id_line = b"" if first_id is None else b"id: %s\n" % first_id.encode("ascii")
        yield b"%sretry: %d\n\n" % (id_line, _RETRY_MS)
        while True:
            frames = b":\n\n"  # a comment: still there
            with trio.move_on_after(COMMENT_SECONDS):
                frames = await reader.read()
            yield frames
    finally:
        reader.close()
