"""A signed statement of membership or keys: canonical bytes, strictly parsed.

Rules of this file: what does not verify is never made into a `Statement`; the id is the hash of
all bytes, signature included; the author's id is the hash of the key that signed. The root signs
`genesis` and `recover` and nothing else. Only genesis has no heads and no space: its hash is the
space. Judging what a statement may do is `resolve`'s task.
Canonical form, version 1: [1, type, space, signing key, heads, body, signature].
Source: DESIGN §3, §13; MEMBERSHIP §1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from presenced import wire
from presenced.crypto import derive
from presenced.crypto.keys import KEY_BYTES, SIGNATURE_BYTES, SigningKey, verify_hash
from presenced.errors import LimitExceeded, Malformed, Unauthorized, VersionMismatch
from presenced.ids import HASH_BYTES, ID_BYTES, DeviceId, EpochId, SpaceId, StatementId, hash_bytes
from presenced.trust.bodies import (
    Add,
    Body,
    Cuts,
    Genesis,
    Recover,
    Remove,
    Rotate,
    StatementType,
    read_body,
)
from presenced.trust.certificate import GENESIS_SPACE, Certificate
from presenced.trust.limits import (
    STATEMENT_BYTES_MAX,
    STATEMENT_HEADS_MAX,
    STATEMENT_TYPE_BYTES_MAX,
)
from presenced.trust.reading import ascending, bytes_of, items_of, list_of, text_of

STATEMENT_VERSION: Final = 1
STATEMENT_DOMAIN: Final = b"pd/statement/1"
STATEMENT_ID_DOMAIN: Final = b"pd/st-id/1"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Statement:
    """A statement whose bytes, space, version and signature are right."""

    id: StatementId
    type: str
    "a `StatementType`, or the name of a type that this version does not know"
    author: DeviceId | None
    "None: the root"
    heads: tuple[StatementId, ...]
    "the statements that the author saw last; sorted, unique"
    body: Body
    raw: bytes
    "the canonical bytes"
    signer: bytes
    "the author's Ed25519 public key, 32 bytes"
    epoch: EpochId | None
    "of a `rotate`: the epoch that it begins"

    @property
    def admits(self) -> Certificate | None:
        """The certificate that an admission (genesis, add, recover) admits, void or not."""
        return self.body.certificate if isinstance(self.body, Genesis | Add | Recover) else None

    @property
    def removes(self) -> Mapping[DeviceId, Cuts]:
        """The devices that a removal (remove, recover) ends, void or not, with its own cuts."""
        if isinstance(self.body, Remove):
            return {self.body.device: self.body.cuts}
        return self.body.removed if isinstance(self.body, Recover) else {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Statement) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Statement({self.type}, {self.id.hex()[:12]})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """What fixes a space: its id and its root key, both of genesis."""

    space: SpaceId
    root: bytes
    "Ed25519 public key, 32 bytes"


def anchor_of(genesis: Statement) -> Anchor:
    """The anchor that the genesis statement of a space gives."""
    assert genesis.type == StatementType.GENESIS
    return Anchor(space=derive.space_id(genesis.raw), root=genesis.signer)


def statement_id(raw: bytes) -> StatementId:
    """The id of canonical statement bytes (32 bytes)."""
    return StatementId(hash_bytes(STATEMENT_ID_DOMAIN, raw))


def parse_statement(raw: bytes, anchor: Anchor | None) -> Statement:
    """The statement in canonical bytes. `anchor` is None only for genesis.

    Raises `Malformed`, `LimitExceeded` or `VersionMismatch` for other bytes, `Unauthorized` for
    another space, a signature that does not verify, or a root that signs what it may not.
    """
    if len(raw) > STATEMENT_BYTES_MAX:
        raise LimitExceeded("STATEMENT_BYTES_MAX")
    value = wire.decode(raw)
    if type(value) is list and value and type(value[0]) is int and value[0] > STATEMENT_VERSION:
        raise VersionMismatch("a statement of a newer version")
    version, type_, space, signer, heads, body, signature = items_of(value, 7)
    if type(version) is not int or version != STATEMENT_VERSION:
        raise Malformed("unknown version of a statement")
    type_ = text_of(type_, STATEMENT_TYPE_BYTES_MAX)
    cited = _read_heads(heads, type_)
    _check_space(raw, space, type_, anchor)
    unsigned = wire.encode(value[:-1])
    bytes_of(signer, KEY_BYTES)
    verify_hash(signer, _digest(type_, unsigned), bytes_of(signature, SIGNATURE_BYTES))
    parsed = read_body(type_, body, SpaceId(space))
    author = _author(type_, signer, anchor)
    _check_adder(parsed, author)
    return _statement(raw, type_, author, cited, parsed, signer)


def sign_statement(
    key: SigningKey, anchor: Anchor | None, heads: Iterable[StatementId], body: Body
) -> Statement:
    """A new statement by a key: a device's, or the root's for `genesis` and `recover`.

    `anchor` is None only for genesis. Raises what `parse_statement` would raise for the result.
    """
    space = GENESIS_SPACE if anchor is None else anchor.space
    unsigned = [
        STATEMENT_VERSION,
        str(body.type),
        space,
        key.public,
        sorted(set(heads)),
        body.value,
    ]
    signature = key.sign_hash(_digest(body.type, wire.encode(unsigned)))
    return parse_statement(wire.encode([*unsigned, signature]), anchor)


def _digest(type_: str, unsigned: bytes) -> bytes:
    return hash_bytes(STATEMENT_DOMAIN, type_.encode("utf-8"), unsigned)


def _read_heads(value: Any, type_: str) -> tuple[StatementId, ...]:
    heads = list_of(value, "STATEMENT_HEADS_MAX", STATEMENT_HEADS_MAX)
    for head in heads:
        bytes_of(head, HASH_BYTES)
    ascending(heads)
    if (type_ == StatementType.GENESIS) == bool(heads):
        raise Malformed("only genesis has no heads")
    return tuple(StatementId(head) for head in heads)


def _check_space(raw: bytes, space: Any, type_: str, anchor: Anchor | None) -> None:
    if type_ == StatementType.GENESIS:
        bytes_of(space, 0)
        if anchor is not None and derive.space_id(raw) != anchor.space:
            raise Unauthorized("the genesis of another space")
        return
    bytes_of(space, ID_BYTES)
    if anchor is None or space != anchor.space:
        raise Unauthorized("a statement of another space")


def _author(type_: str, signer: bytes, anchor: Anchor | None) -> DeviceId | None:
    if type_ == StatementType.GENESIS:
        return None
    assert anchor is not None
    if signer != anchor.root:
        return derive.device_id(signer)
    if type_ != StatementType.RECOVER:
        raise Unauthorized("the root signs genesis and recover only")
    return None


def _check_adder(body: Body, author: DeviceId | None) -> None:
    if isinstance(body, Genesis | Add | Recover) and body.certificate.adder != author:
        raise Unauthorized("a certificate for another adder")


def _statement(
    raw: bytes,
    type_: str,
    author: DeviceId | None,
    heads: tuple[StatementId, ...],
    body: Body,
    signer: bytes,
) -> Statement:
    return Statement(
        id=statement_id(raw),
        type=type_,
        author=author,
        heads=heads,
        body=body,
        raw=raw,
        signer=signer,
        epoch=derive.epoch_id(raw) if isinstance(body, Rotate) else None,
    )
