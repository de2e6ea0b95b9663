"""`/v1/summary`: what happened apart, and `seen` once a person has read it."""

from __future__ import annotations

from presenced.local.owner import Owner
from presenced.local.routing import Answered, Request, Route
from presenced.local.shown import Names, summary_shown
from presenced.presence.fields import SESSION_MAP
from presenced.presence.sessions import unit_of


def recap_routes(owner: Owner) -> list[Route]:
    async def get(_request: Request) -> Answered:
        summary = await owner.recaps.summary()
        units = {}
        for record in {row.record for row in summary.rows if row.map == SESSION_MAP}:
            if (session := owner.records.session(record)) is not None:
                units[record] = unit_of(session.kind)
        return Answered(summary_shown(summary, Names(owner.devices), units))

    async def post_seen(_request: Request) -> Answered:
        await owner.recaps.seen()
        return Answered(status=204)

    return [
        Route("GET", "/v1/summary", get),
        Route("POST", "/v1/summary/seen", post_seen),
    ]
