"""`/v1/status`, `/v1/doctor`, `/v1/net`: the daemon itself."""

from __future__ import annotations

import msgspec

import presenced
from presenced.local import model
from presenced.local.owner import Owner
from presenced.local.routing import Answered, Request, Route
from presenced.local.shown import Names, status_shown

_net_decoder = msgspec.json.Decoder(model.NetRequest)


def machine_routes(owner: Owner) -> list[Route]:
    async def get_status(_request: Request) -> Answered:
        facts = await owner.machine.status()
        return Answered(status_shown(facts, Names(owner.devices), presenced.__version__))

    async def get_doctor(_request: Request) -> Answered:
        checks = [
            model.CheckShown(
                name=check.name,
                status=check.status,
                detail=check.detail,
                next_step=check.next_step,
            )
            for check in await owner.machine.doctor()
        ]
        return Answered(model.DoctorShown(version=presenced.__version__, checks=checks))

    async def put_net(request: Request) -> Answered:
        asked = await request.decode(_net_decoder)
        await owner.machine.hold_links(down=asked.state == "down")
        return Answered(model.NetShown(net=asked.state))

    return [
        Route("GET", "/v1/status", get_status),
        Route("GET", "/v1/doctor", get_doctor),
        Route("PUT", "/v1/net", put_net),
    ]
