"""`POST /v1/edits`: a list of edits, all or nothing, answered when it is on disk."""

from __future__ import annotations

import msgspec

from presenced.errors import InvalidValue
from presenced.ids import RecordId, show_id
from presenced.local import model
from presenced.local.asked import edits_of
from presenced.local.limits import EDITS_MAX
from presenced.local.owner import Owner
from presenced.local.places import place_shown
from presenced.local.routing import Answered, Request, Route
from presenced.presence.progress import Unit
from presenced.presence.sessions import unit_of

_decoder = msgspec.json.Decoder(list[model.Edit])


class TooManyEdits(InvalidValue):
    code = "too-many-edits"
    status = 413
    hint = f"Send at most {EDITS_MAX} edits at once, or use POST /v1/import."


def edit_routes(owner: Owner) -> list[Route]:
    def unit_of_session(record: RecordId) -> Unit | None:
        row = owner.records.session(record)
        return None if row is None else unit_of(row.kind)

    async def post(request: Request) -> Answered:
        asked = await request.decode(_decoder)
        if len(asked) > EDITS_MAX:
            raise TooManyEdits(f"{len(asked)} edits")
        results = await owner.records.edit(edits_of(asked, unit_of_session)) if asked else []
        done = []
        for result in results:
            taker = None
            if result.overtaken_by is not None:
                device = owner.devices.device_of(result.overtaken_by)
                taker = None if device is None else show_id(device)
            position = place = None
            if result.offered is not None:
                unit = unit_of_session(result.record) or Unit.MS
                position, place = place_shown(result.offered.at, unit)
            done.append(
                model.EditDone(
                    map=result.map,
                    id=show_id(result.record),
                    written=result.written,
                    overtaken_by=taker,
                    stale=result.stale,
                    position=position,
                    place=place,
                    approximate=result.offered is not None and result.offered.approximate,
                )
            )
        return Answered(model.EditsDone(results=done))

    return [Route("POST", "/v1/edits", post)]
