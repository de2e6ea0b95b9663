"""`/v1/devices`: the devices of the space; one by the beginning of its id or of its name."""

from __future__ import annotations

from collections.abc import Sequence

from presenced.errors import Conflict, NotFound
from presenced.ids import show_id
from presenced.local import model
from presenced.local.owner import DeviceFacts, Owner
from presenced.local.routing import Answered, Request, Route
from presenced.local.shown import device_shown


class NoSuchDevice(NotFound):
    code = "no-such-device"
    hint = "`presence devices list` lists them."


class AmbiguousDevice(Conflict):
    code = "ambiguous"
    hint = "Give more of its name, or its id; `presence devices list` shows them."


def device_routes(owner: Owner) -> list[Route]:
    async def get_all(_request: Request) -> Answered:
        devices = [device_shown(facts) for facts in owner.devices.devices()]
        return Answered(model.DeviceList(devices=devices))

    async def get_one(request: Request) -> Answered:
        facts = find_device(owner.devices.devices(), request.path["reference"])
        return Answered(device_shown(facts))

    return [
        Route("GET", "/v1/devices", get_all),
        Route("GET", "/v1/devices/{reference}", get_one),
    ]


def find_device(devices: Sequence[DeviceFacts], reference: str) -> DeviceFacts:
    """The device meant: exact id or name before a beginning of either.

    Raises `NoSuchDevice`, `AmbiguousDevice`.
    """
    wanted = reference.casefold()
    exact = [facts for facts in devices if wanted in (show_id(facts.device), facts.name.casefold())]
    found = exact or [
        facts
        for facts in devices
        if show_id(facts.device).startswith(wanted) or facts.name.casefold().startswith(wanted)
    ]
    if not found:
        raise NoSuchDevice("no such device")
    if len(found) > 1:
        raise AmbiguousDevice("more than one device is meant")
    return found[0]
