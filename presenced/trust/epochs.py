"""The keys of a space's epochs: opening what others sealed, paying what is owed.

Rules of this file: a key counts only if it opens its epoch's commitment, so all recipients of an
epoch hold the same key or know that they do not. Keys of void epochs are opened too: their
entries stay readable. Randomness is passed in. Source: DESIGN §3 *Epochs*, MEMBERSHIP §4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from presenced.clock import Entropy
from presenced.crypto.aead import commitment
from presenced.crypto.keys import KEY_BYTES, DhKey, open_sealed, seal_to
from presenced.errors import Unauthorized
from presenced.ids import Collection, DeviceId, EpochId, StatementId
from presenced.trust.bodies import Rotate, Share
from presenced.trust.dag import StatementDag
from presenced.trust.debts import RotationOwed, ShareOwed, leaves_of
from presenced.trust.identity import DeviceSecrets
from presenced.trust.limits import STATEMENT_DEVICES_MAX, STATEMENT_EPOCHS_MAX
from presenced.trust.members import Members


@dataclass(frozen=True, slots=True)
class Keyring:
    """The epoch keys that this device could open. Shows none of them."""

    _keys: Mapping[EpochId, tuple[Collection, bytes]] = field(default_factory=dict, repr=False)
    _tried: frozenset[StatementId] = field(default=frozenset(), repr=False)

    @classmethod
    def open_from(
        cls,
        members: Members,
        dag: StatementDag,
        secrets: DeviceSecrets,
        before: Keyring | None = None,
    ) -> Keyring:
        """Every key in the DAG that is sealed to this device, void or not.

        `before` is an earlier keyring of the same device: what it tried is not tried again.
        """
        before = cls() if before is None else before
        keys = dict(before._keys)
        tried = set(before._tried)
        records: dict[EpochId, Rotate] = {}
        for statement in dag.topological():
            body = statement.body
            if isinstance(body, Rotate) and statement.epoch is not None:
                records[statement.epoch] = body
                boxes = {statement.epoch: body.sealed.get(secrets.device, b"")}
            elif isinstance(body, Share) and body.device == secrets.device:
                boxes = dict(body.sealed)
            else:
                continue
            if statement.id in tried:
                continue
            tried.add(statement.id)
            for epoch, box in boxes.items():
                record = records.get(epoch)
                if record is None or epoch in keys or not box:
                    continue
                key = _opened(box, record, secrets.sealing)
                if key is not None:
                    keys[epoch] = (record.collection, key)
        return cls(keys, frozenset(tried))

    def key(self, epoch: EpochId) -> bytes | None:
        """The 32-byte key of an epoch, or None if it was not given to this device."""
        found = self._keys.get(epoch)
        return None if found is None else found[1]

    def epochs(self, collection: Collection) -> frozenset[EpochId]:
        """The epochs of a collection whose keys are here, void ones included."""
        return frozenset(one for one, (name, _) in self._keys.items() if name == collection)


def rotate_body(
    members: Members, device: DeviceId, collection: Collection, entropy: Entropy
) -> Rotate:
    """A fresh epoch of a collection, by one of its readers, over all leaves for all readers.

    Beyond `STATEMENT_DEVICES_MAX` readers the most senior get it at once, the rest by shares.
    """
    key = entropy(KEY_BYTES)
    readers = members.readers(collection)
    recipients = [device, *(one for one in members.active if one in readers and one != device)]
    return Rotate(
        collection=collection,
        parents=leaves_of(members.epochs(collection))[:STATEMENT_EPOCHS_MAX],
        sealed={
            one: _sealed(members, one, key, entropy) for one in recipients[:STATEMENT_DEVICES_MAX]
        },
        commitment=commitment(key),
    )


def share_body(
    members: Members,
    keyring: Keyring,
    receiver: DeviceId,
    epochs: Iterable[EpochId],
    entropy: Entropy,
) -> Share:
    """The keys of some epochs, at most `STATEMENT_EPOCHS_MAX`, all of them here, for a device."""
    sealed: dict[EpochId, bytes] = {}
    for epoch in sorted(epochs):
        key = keyring.key(epoch)
        assert key is not None
        sealed[epoch] = _sealed(members, receiver, key, entropy)
    return Share(device=receiver, sealed=sealed)


def pay_debt(
    members: Members,
    keyring: Keyring,
    device: DeviceId,
    collection: Collection,
    entropy: Entropy,
    *,
    linked: Iterable[DeviceId] = (),
) -> Rotate | Share | None:
    """What this device signs next to settle a collection; None when nothing is its to pay.

    Sign it over all heads, take it in and ask again until None: each payment makes the debt
    smaller. Pays the first epoch, rotations, the share for each device that misses the leaf (all
    retained keys of the collection with it), and rotates when it cannot open what it was given.
    `linked` are the devices that have the same statements now: a debt is left to a more senior
    one that can pay it, or two devices would merge each other's epochs without end.
    """
    if device not in members.readers(collection):
        return None
    debt = members.owed(collection)
    seniors = members.active[: members.active.index(device)]
    above = {one for one in linked if one in seniors}
    leaf = members.leaf(collection)
    if isinstance(debt, RotationOwed):
        if above & members.readers(collection):
            return None
        return rotate_body(members, device, collection, entropy)
    assert leaf is not None
    holds = debt is None or device in debt.holders
    if keyring.key(leaf) is None:
        return rotate_body(members, device, collection, entropy) if holds else None
    if debt is None or above & set(debt.holders):
        return None
    return _next_share(members, keyring, debt, entropy)


def _next_share(members: Members, keyring: Keyring, debt: ShareOwed, entropy: Entropy) -> Share:
    """The next share for the first device that misses the leaf; the leaf goes last."""
    receiver = debt.missing[0]
    lacking = keyring.epochs(debt.collection) - members.epochs_given(receiver) - {debt.epoch}
    if len(lacking) < STATEMENT_EPOCHS_MAX:
        chunk = [*lacking, debt.epoch]
    else:
        chunk = sorted(lacking)[:STATEMENT_EPOCHS_MAX]
    return share_body(members, keyring, receiver, chunk, entropy)


def _opened(box: bytes, record: Rotate, sealing: Iterable[DhKey]) -> bytes | None:
    for secret in sealing:
        try:
            key = open_sealed(secret, box)
        except Unauthorized:
            continue
        if len(key) == KEY_BYTES and commitment(key) == record.commitment:
            return key
    return None


def _sealed(members: Members, receiver: DeviceId, key: bytes, entropy: Entropy) -> bytes:
    public = members.sealing_key(receiver)
    assert public is not None
    return seal_to(public, key, ephemeral=DhKey(entropy(KEY_BYTES)))
