"""The standing removals of a device with the cuts that bind its content.

A removal's cut for a collection is its own, else every counting `cut` statement for it, else it
is open. Source: MEMBERSHIP §4 *Cuts*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from presenced.ids import COLLECTIONS, Collection, DeviceId, StatementId
from presenced.trust.bodies import Cut, CutOff
from presenced.trust.counting import Counting
from presenced.trust.shape import Register
from presenced.trust.standing import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A removal that stands, as it concerns one device."""

    id: StatementId
    cuts: Mapping[Collection, tuple[Cut, ...]]
    "per collection the cuts that all bind; empty: open"
    given_by: Mapping[Collection, tuple[StatementId, ...]]
    "the statement that gives each of them"


def removals_of(
    register: Register, standing: Standing, counting: Counting
) -> dict[DeviceId, tuple[Removal, ...]]:
    """Per removed device its standing removals, by id."""
    later: dict[tuple[StatementId, DeviceId, Collection], dict[StatementId, Cut]] = {}
    for statement in register.known:
        body = statement.body
        if isinstance(body, CutOff) and counting.verdicts[statement.id].counts:
            place = (body.removal, body.device, body.collection)
            later.setdefault(place, {})[statement.id] = body.cut
    found: dict[DeviceId, tuple[Removal, ...]] = {}
    for device, removals in standing.removals.items():
        found[device] = tuple(_removal(register, device, id_, later) for id_ in removals)
    return found


def _removal(
    register: Register,
    device: DeviceId,
    id_: StatementId,
    later: Mapping[tuple[StatementId, DeviceId, Collection], Mapping[StatementId, Cut]],
) -> Removal:
    own = register.dag[id_].removes[device]
    cuts: dict[Collection, Mapping[StatementId, Cut]] = {
        name: {id_: own[name]} if name in own else later.get((id_, device, name), {})
        for name in COLLECTIONS
    }
    return Removal(
        id=id_,
        cuts={name: tuple(some.values()) for name, some in cuts.items()},
        given_by={name: tuple(some) for name, some in cuts.items()},
    )
