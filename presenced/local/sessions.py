"""`/v1/sessions`: in pages; one by id, by the beginning of its id, or by URI; its history."""

from __future__ import annotations

import trio

from presenced.errors import Conflict, NotFound
from presenced.ids import MalformedId, RecordId, parse_id, show_id
from presenced.local import model
from presenced.local.limits import PAGE_ROWS_MAX, REFERENCE_CHARS_MAX
from presenced.local.owner import Owner, Records, SessionQuery
from presenced.local.paging import limit_of, state_of
from presenced.local.problems import BadBody
from presenced.local.routing import Answered, Request, Route
from presenced.local.shown import Names, history_shown, session_shown
from presenced.presence.fields import ENDED, OPEN
from presenced.presence.naming import CONTENT_KINDS, session_id
from presenced.presence.sessions import unit_of
from presenced.presence.views import SessionRow


class NoSuchSession(NotFound):
    code = "no-such-session"
    hint = "`presence session list` lists them."


class AmbiguousReference(Conflict):
    code = "ambiguous"
    hint = "Give more of its id; `presence session list` shows them."


def session_routes(owner: Owner) -> list[Route]:
    async def get_page(request: Request) -> Answered:
        query = request.query
        page = owner.records.sessions(
            SessionQuery(
                limit=limit_of(query),
                after=query.get("after"),
                state=state_of(query, OPEN, ENDED, default=None),
                text=query.get("text"),
            )
        )
        names = Names(owner.devices)
        return Answered(
            model.SessionList(
                sessions=[session_shown(row, names) for row in page.rows], next=page.next
            )
        )

    async def get_one(request: Request) -> Answered:
        row = await find_session(owner.records, request.path["reference"])
        return Answered(session_shown(row, Names(owner.devices)))

    async def get_history(request: Request) -> Answered:
        row = await find_session(owner.records, request.path["reference"])
        names, unit = Names(owner.devices), unit_of(row.kind)
        acts = await owner.records.history(row.record)
        return Answered(
            model.HistoryList(
                session=show_id(row.record), acts=[history_shown(act, unit, names) for act in acts]
            )
        )

    return [
        Route("GET", "/v1/sessions", get_page),
        Route("GET", "/v1/sessions/{reference}", get_one),
        Route("GET", "/v1/sessions/{reference}/history", get_history),
    ]


async def find_session(records: Records, reference: str) -> SessionRow:
    """The session of an id, of the beginning of an id, or of a URI (one of its own or an alias).

    Raises `NoSuchSession`, `AmbiguousReference`.
    """
    if not reference or len(reference) > REFERENCE_CHARS_MAX:
        raise BadBody("no session named", hint="Name it by its id or URI.")
    row = _session_named(records, reference)
    if row is not None:
        return row
    by_uri = ":" in reference
    found: list[SessionRow] = []
    after: str | None = None
    while True:
        page = records.sessions(SessionQuery(limit=PAGE_ROWS_MAX, after=after, state=None))
        for row in page.rows:
            named = (row.uri, *row.aliases) if by_uri else ()
            if reference in named or (not by_uri and show_id(row.record).startswith(reference)):
                found.append(row)
        if len(found) > 1:
            raise AmbiguousReference("more than one session is meant")
        if page.next is None:
            break
        after = page.next
        await trio.lowlevel.checkpoint()
    if not found:
        raise NoSuchSession("no such session")
    return found[0]


def _session_named(records: Records, reference: str) -> SessionRow | None:
    """The one that an id or URI names by itself, without a search."""
    if ":" in reference:
        rows = [records.session(session_id(kind, reference)) for kind in sorted(CONTENT_KINDS)]
        known = [row for row in rows if row is not None]
        return known[0] if len(known) == 1 else None
    try:
        return records.session(RecordId(parse_id(reference)))
    except MalformedId:
        return None
