"""Making the statements that admit a device and end one, checked before they are signed.

`resolve` would judge a bad one void; a person is told here, before anything is signed.
Source: DESIGN §3, §13 *Yjs client*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from presenced.crypto import derive
from presenced.errors import Conflict, NotAllowed
from presenced.ids import COLLECTIONS, Collection, DeviceId, LogId
from presenced.trust.bodies import Add, Cut, NewIncarnation, Remove
from presenced.trust.certificate import Certificate
from presenced.trust.limits import CUT_LOGS_MAX
from presenced.trust.members import Members


class KeyRemoved(NotAllowed):
    """The key of a device that was removed; it never returns."""

    code = "key-removed"
    hint = "Make new keys on that device (`presence join` in a fresh home) and add it again."


class ClientCollision(Conflict):
    """Two logs would write under one Yjs client."""

    code = "client-collision"
    hint = "Try again: the new device draws another incarnation."


def add_body(
    members: Members, adder: DeviceId, certificate: Certificate, collections: Iterable[Collection]
) -> Add:
    """An add by an active device, of at most the collections that it has.

    Raises `NotAllowed` when the adder may not add or the certificate names another adder,
    `KeyRemoved` for the key of a removed device, `ClientCollision` when a log of the new device
    would share its Yjs client with a log of the same collection.
    """
    if adder not in members.active:
        raise NotAllowed("this device is not a member")
    if certificate.adder != adder:
        raise NotAllowed("the certificate names another adder")
    if certificate.device in members.removed:
        raise KeyRemoved("a removed key")
    if collides(members, certificate):
        raise ClientCollision("a Yjs client that is taken")
    return Add(
        certificate=certificate,
        collections=frozenset(collections) & members.collections(adder),
    )


def collides(members: Members, certificate: Certificate) -> bool:
    """Whether a log of the certificate has the Yjs client of another log of its collection."""
    return _collide(members, certificate.logs)


def _collide(members: Members, logs: Mapping[Collection, LogId]) -> bool:
    taken = {(one.collection, one.client): log for log, one in members.logs.items()}
    return any(
        taken.get((collection, derive.client_id(log)), log) != log
        for collection, log in logs.items()
    )


def incarnation_body(
    members: Members,
    device: DeviceId,
    incarnation: bytes,
    ends: Mapping[Collection, Cut],
) -> NewIncarnation:
    """New logs for a device, and where its logs so far end, as far as the device can say.

    A collection that is not in `ends` leaves its logs open; one that is must name each of them,
    for a log that is not named ends before its first entry. Raises `ClientCollision` as for an
    add: draw again.
    """
    logs = {name: derive.log_id(device, incarnation, name) for name in COLLECTIONS}
    if _collide(members, logs):
        raise ClientCollision("a Yjs client that is taken")
    kept: dict[Collection, Cut] = {}
    for collection, cut in ends.items():
        if sum(map(len, kept.values())) + len(cut) <= CUT_LOGS_MAX:
            kept[collection] = cut
    return NewIncarnation(incarnation=incarnation, ends=kept)


def remove_body(
    device: DeviceId, cuts: Iterable[tuple[Collection, Cut]], reason: str = ""
) -> Remove:
    """A removal with as many of its cuts as one statement holds, the small ones first.

    A collection whose cut does not fit is left open for a `cut` statement, so that no bound can
    block the removal.
    """
    kept: dict[Collection, Cut] = {}
    room = CUT_LOGS_MAX
    for collection, cut in sorted(cuts, key=lambda one: len(one[1])):
        if len(cut) <= room:
            kept[collection] = cut
            room -= len(cut)
    return Remove(device=device, reason=reason, cuts=kept)
