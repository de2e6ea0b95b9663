"""What the statements say: one frozen class per type, and its canonical value.

Rules of this file: `value` and `read` are inverse; whatever `read` does not know it refuses, so
one meaning has one byte string. Whether a body *may* say what it says is judged by `resolve`.
Source: DESIGN §3, MEMBERSHIP §1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final, Literal, TypeAlias

from presenced.crypto.keys import KEY_BYTES
from presenced.errors import LimitExceeded, Malformed
from presenced.ids import (
    HASH_BYTES,
    ID_BYTES,
    Collection,
    DeviceId,
    EntryHash,
    EpochId,
    LogId,
    SpaceId,
    StatementId,
)
from presenced.trust.certificate import (
    INCARNATION_BYTES,
    Certificate,
    agreement_key_of,
    read_certificate,
)
from presenced.trust.limits import (
    CUT_LOGS_MAX,
    REASON_BYTES_MAX,
    SEALED_KEY_BYTES_MAX,
    STATEMENT_DEVICES_MAX,
    STATEMENT_EPOCHS_MAX,
)
from presenced.trust.reading import (
    ascending,
    bytes_of,
    collection_of,
    count_of,
    fields_of,
    items_of,
    list_of,
    some_bytes_of,
    text_of,
)

Cut: TypeAlias = Mapping[LogId, tuple[int, EntryHash]]
"per log the last (seq, hash) that stands; a log that is not named ends before its first entry"

Cuts: TypeAlias = Mapping[Collection, Cut]
"a collection that is absent is open"


class StatementType(StrEnum):
    """The types of version 1. Others are kept without a verdict."""

    GENESIS = "genesis"
    ADD = "add"
    SHARE = "share"
    REMOVE = "remove"
    CUT = "cut"
    ROTATE = "rotate"
    SEALING_KEY = "sealing_key"
    INCARNATION = "incarnation"
    RECOVER = "recover"


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """The root founds a space with its first device, which may have everything."""

    type: ClassVar[str] = StatementType.GENESIS
    certificate: Certificate
    kind: Literal["personal"] = "personal"

    @property
    def value(self) -> Any:
        return {"kind": self.kind, "certificate": self.certificate.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """A device admits another, which may have at most what the adder has of `collections`."""

    type: ClassVar[str] = StatementType.ADD
    certificate: Certificate
    collections: frozenset[Collection]

    @property
    def value(self) -> Any:
        return {"certificate": self.certificate.value, "collections": sorted(self.collections)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Epoch keys, each sealed to one device."""

    type: ClassVar[str] = StatementType.SHARE
    device: DeviceId
    sealed: Mapping[EpochId, bytes]

    @property
    def value(self) -> Any:
        return {
            "device": self.device,
            "sealed": [[epoch, self.sealed[epoch]] for epoch in sorted(self.sealed)],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """A device ends another, or itself."""

    type: ClassVar[str] = StatementType.REMOVE
    device: DeviceId
    reason: str
    "for people; no rule reads it"
    cuts: Cuts

    @property
    def value(self) -> Any:
        return {"device": self.device, "reason": self.reason, "cuts": cuts_value(self.cuts)}


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOff:
    """The cut of a collection that a removal left open for a device."""

    type: ClassVar[str] = StatementType.CUT
    removal: StatementId
    device: DeviceId
    collection: Collection
    cut: Cut

    @property
    def value(self) -> Any:
        return {
            "removal": self.removal,
            "device": self.device,
            "collection": self.collection,
            "cut": _cut_value(self.cut),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotate:
    """An epoch record: a fresh key of a collection, sealed to each recipient."""

    type: ClassVar[str] = StatementType.ROTATE
    collection: Collection
    parents: tuple[EpochId, ...]
    "sorted, unique"
    sealed: Mapping[DeviceId, bytes]
    commitment: bytes
    "32 bytes that fix the key, so that all recipients hold the same"

    @property
    def value(self) -> Any:
        return {
            "collection": self.collection,
            "parents": list(self.parents),
            "sealed": [[device, self.sealed[device]] for device in sorted(self.sealed)],
            "commitment": self.commitment,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSealingKey:
    """The author's sealing key from now on."""

    type: ClassVar[str] = StatementType.SEALING_KEY
    sealing: bytes
    "X25519 public key, 32 bytes"

    @property
    def value(self) -> Any:
        return {"sealing": self.sealing}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewIncarnation:
    """The author's logs from now on, and where its logs so far end."""

    type: ClassVar[str] = StatementType.INCARNATION
    incarnation: bytes
    "16 random bytes"
    ends: Cuts

    @property
    def value(self) -> Any:
        return {"incarnation": self.incarnation, "ends": cuts_value(self.ends)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recover:
    """The root removes devices and admits a new first one."""

    type: ClassVar[str] = StatementType.RECOVER
    certificate: Certificate
    removed: Mapping[DeviceId, Cuts]

    @property
    def value(self) -> Any:
        return {
            "certificate": self.certificate.value,
            "removed": [
                [device, cuts_value(self.removed[device])] for device in sorted(self.removed)
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownBody:
    """A body of a type that this version does not know: kept, no verdict."""

    type: str
    value: Any


Body: TypeAlias = (
    Genesis
    | Add
    | Share
    | Remove
    | CutOff
    | Rotate
    | NewSealingKey
    | NewIncarnation
    | Recover
    | UnknownBody
)


def read_body(type_: str, value: Any, space: SpaceId) -> Body:
    """The body of a decoded statement. Raises `Malformed`, `LimitExceeded` or `Unauthorized`."""
    reader = _READERS.get(type_)
    return UnknownBody(type=type_, value=value) if reader is None else reader(value, space)


def cuts_value(cuts: Cuts) -> Any:
    return {name: _cut_value(cut) for name, cut in cuts.items()}


def _cut_value(cut: Cut) -> Any:
    return [[log, *cut[log]] for log in sorted(cut)]


def _read_genesis(value: Any, space: SpaceId) -> Genesis:
    certificate, kind = fields_of(value, ("certificate", "kind"))
    if kind != "personal":
        raise Malformed("unknown kind of space")
    return Genesis(certificate=read_certificate(certificate, space))


def _read_add(value: Any, space: SpaceId) -> Add:
    certificate, collections = fields_of(value, ("certificate", "collections"))
    names = [collection_of(name) for name in list_of(collections, "collections", 3)]
    ascending(names)
    return Add(certificate=read_certificate(certificate, space), collections=frozenset(names))


def _read_share(value: Any, space: SpaceId) -> Share:
    device, sealed = fields_of(value, ("device", "sealed"))
    pairs = _pairs(sealed, "STATEMENT_EPOCHS_MAX", STATEMENT_EPOCHS_MAX)
    return Share(
        device=DeviceId(bytes_of(device, ID_BYTES)),
        sealed={EpochId(epoch): some_bytes_of(box, SEALED_KEY_BYTES_MAX) for epoch, box in pairs},
    )


def _read_remove(value: Any, space: SpaceId) -> Remove:
    device, reason, cuts = fields_of(value, ("device", "reason", "cuts"))
    return Remove(
        device=DeviceId(bytes_of(device, ID_BYTES)),
        reason=text_of(reason, REASON_BYTES_MAX),
        cuts=_read_cuts(cuts),
    )


def _read_cut_off(value: Any, space: SpaceId) -> CutOff:
    removal, device, collection, cut = fields_of(value, ("removal", "device", "collection", "cut"))
    return CutOff(
        removal=StatementId(bytes_of(removal, HASH_BYTES)),
        device=DeviceId(bytes_of(device, ID_BYTES)),
        collection=collection_of(collection),
        cut=_read_cut(cut),
    )


def _read_rotate(value: Any, space: SpaceId) -> Rotate:
    collection, parents, sealed, commitment = fields_of(
        value, ("collection", "parents", "sealed", "commitment")
    )
    epochs = [
        bytes_of(parent, ID_BYTES)
        for parent in list_of(parents, "STATEMENT_EPOCHS_MAX", STATEMENT_EPOCHS_MAX)
    ]
    ascending(epochs)
    pairs = _pairs(sealed, "STATEMENT_DEVICES_MAX", STATEMENT_DEVICES_MAX)
    return Rotate(
        collection=collection_of(collection),
        parents=tuple(EpochId(epoch) for epoch in epochs),
        sealed={
            DeviceId(device): some_bytes_of(box, SEALED_KEY_BYTES_MAX) for device, box in pairs
        },
        commitment=bytes_of(commitment, KEY_BYTES),
    )


def _read_sealing_key(value: Any, space: SpaceId) -> NewSealingKey:
    (sealing,) = fields_of(value, ("sealing",))
    return NewSealingKey(sealing=agreement_key_of(sealing))


def _read_incarnation(value: Any, space: SpaceId) -> NewIncarnation:
    incarnation, ends = fields_of(value, ("incarnation", "ends"))
    return NewIncarnation(
        incarnation=bytes_of(incarnation, INCARNATION_BYTES), ends=_read_cuts(ends)
    )


def _read_recover(value: Any, space: SpaceId) -> Recover:
    certificate, removed = fields_of(value, ("certificate", "removed"))
    pairs = _pairs(removed, "STATEMENT_DEVICES_MAX", STATEMENT_DEVICES_MAX)
    cuts = {DeviceId(device): _read_cuts(item) for device, item in pairs}
    if sum(len(cut) for item in cuts.values() for cut in item.values()) > CUT_LOGS_MAX:
        raise LimitExceeded("CUT_LOGS_MAX")
    return Recover(certificate=read_certificate(certificate, space), removed=cuts)


def _read_cuts(value: Any) -> Cuts:
    if type(value) is not dict:
        raise Malformed("cuts are not a map")
    cuts = {collection_of(name): _read_cut(cut) for name, cut in value.items()}
    if sum(len(cut) for cut in cuts.values()) > CUT_LOGS_MAX:
        raise LimitExceeded("CUT_LOGS_MAX")
    return cuts


def _read_cut(value: Any) -> Cut:
    cut: dict[LogId, tuple[int, EntryHash]] = {}
    for item in list_of(value, "CUT_LOGS_MAX", CUT_LOGS_MAX):
        log, seq, hash_ = items_of(item, 3)
        cut[LogId(bytes_of(log, ID_BYTES))] = count_of(seq), EntryHash(bytes_of(hash_, HASH_BYTES))
    if len(cut) != len(value):
        raise Malformed("a log twice in a cut")
    ascending(list(cut))
    return cut


def _pairs(value: Any, limit: str, count_max: int) -> Sequence[tuple[bytes, Any]]:
    """[[16-byte id, something], …], ids sorted and unique."""
    pairs = []
    for item in list_of(value, limit, count_max):
        key, rest = items_of(item, 2)
        pairs.append((bytes_of(key, ID_BYTES), rest))
    ascending([key for key, _ in pairs])
    return pairs


_READERS: Final[Mapping[str, Callable[[Any, SpaceId], Body]]] = {
    StatementType.GENESIS: _read_genesis,
    StatementType.ADD: _read_add,
    StatementType.SHARE: _read_share,
    StatementType.REMOVE: _read_remove,
    StatementType.CUT: _read_cut_off,
    StatementType.ROTATE: _read_rotate,
    StatementType.SEALING_KEY: _read_sealing_key,
    StatementType.INCARNATION: _read_incarnation,
    StatementType.RECOVER: _read_recover,
}
