"""`/v1/follows`: what is followed, in pages; one follow by id or URI."""

from __future__ import annotations

from presenced.errors import NotFound
from presenced.ids import RecordId, parse_id
from presenced.local import model
from presenced.local.owner import FollowQuery, Owner
from presenced.local.paging import limit_of, state_of
from presenced.local.routing import Answered, Request, Route
from presenced.local.shown import follow_shown
from presenced.presence.fields import FOLLOWED, UNFOLLOWED
from presenced.presence.naming import follow_id


class NoSuchFollow(NotFound):
    code = "no-such-follow"
    hint = "`presence follows` lists what is followed."


def follow_routes(owner: Owner) -> list[Route]:
    async def get_page(request: Request) -> Answered:
        query = request.query
        page = owner.records.follows(
            FollowQuery(
                limit=limit_of(query),
                after=query.get("after"),
                state=state_of(query, FOLLOWED, UNFOLLOWED, default=FOLLOWED),
                kind=query.get("kind"),
                tag=query.get("tag"),
                text=query.get("text"),
            )
        )
        return Answered(
            model.FollowList(follows=[follow_shown(row) for row in page.rows], next=page.next)
        )

    async def get_one(request: Request) -> Answered:
        reference = request.path["reference"]
        record = follow_id(reference) if ":" in reference else RecordId(parse_id(reference))
        row = owner.records.follow(record)
        if row is None:
            raise NoSuchFollow("no such follow")
        return Answered(follow_shown(row))

    return [
        Route("GET", "/v1/follows", get_page),
        Route("GET", "/v1/follows/{reference}", get_one),
    ]
