"""What two devices say to each other inside the pairing channel, as canonical lists.

Rules of this file: parsing gives a typed value or raises; nobody checks again. A name is text
that a terminal can show: no control characters, no line breaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

from presenced.crypto.keys import KEY_BYTES, SIGNATURE_BYTES, SigningKey, verify
from presenced.errors import Malformed
from presenced.ids import COLLECTIONS, ID_BYTES, Collection, SpaceId
from presenced.trust.link_limits import NAME_CHARS_MAX
from presenced.wire import decode, encode

INTRODUCTION_DOMAIN: Final = b"pd/intro/1"

NO_SPACE: Final = SpaceId(b"")
"a joiner has none yet"


class Party(Enum):
    """Who is who in an enrolment."""

    SPONSOR = "sponsor"
    JOINER = "joiner"


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """Who a device is and what it wants. `space` and `receives` are the sponsor's offer."""

    party: Party
    name: str
    signing: bytes
    space: SpaceId = NO_SPACE
    receives: tuple[Collection, ...] = ()


@dataclass(frozen=True, slots=True)
class Approval:
    """The person said yes; the joiner's carries its certificate."""

    certificate: bytes = b""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The person said no."""


@dataclass(frozen=True, slots=True)
class Statements:
    """A part of the membership, oldest first; `last` ends it."""

    statements: tuple[bytes, ...]
    last: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """The joiner has the membership on disk."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The sponsor knows that it has."""


PairingMessage: TypeAlias = Introduction | Approval | Refusal | Statements | Stored | Finished


def name_to_show(name: str) -> str:
    """Of a name what another device's screen takes: no invisible characters, not too long."""
    seen = "".join(char for char in name if char.isprintable())[:NAME_CHARS_MAX]
    return seen.strip() or "device"


def introduce(introduction: Introduction, key: SigningKey, handshake_hash: bytes) -> bytes:
    """The message, signed over the handshake so that nobody introduces another's key."""
    fields = _fields(introduction)
    signature = key.sign(INTRODUCTION_DOMAIN, encode([handshake_hash, *fields]))
    return encode(["introduction", *fields, signature])


def encode_message(message: Approval | Refusal | Statements | Stored | Finished) -> bytes:
    """The canonical bytes of every other message."""
    match message:
        case Approval(certificate):
            return encode(["approval", certificate])
        case Refusal():
            return encode(["refusal"])
        case Statements(statements, last):
            return encode(["statements", statements, last])
        case Stored():
            return encode(["stored"])
        case Finished():
            return encode(["finished"])


def parse_message(raw: bytes, handshake_hash: bytes) -> PairingMessage:
    """Raises `Malformed`, or `Unauthorized` for an introduction that is not signed here."""
    value = decode(raw)
    match value:
        case ["introduction", *fields, bytes(signature)]:
            return _introduction(fields, signature, handshake_hash)
        case ["approval", bytes(certificate)]:
            return Approval(certificate)
        case ["refusal"]:
            return Refusal()
        case ["statements", list(statements), bool(last)]:
            if not all(type(statement) is bytes for statement in statements):
                raise Malformed("a statement that is not bytes")
            return Statements(tuple(statements), last)
        case ["stored"]:
            return Stored()
        case ["finished"]:
            return Finished()
        case _:
            raise Malformed("unknown pairing message")


def _fields(introduction: Introduction) -> list[Any]:
    return [
        introduction.party.value,
        introduction.name,
        introduction.signing,
        introduction.space,
        introduction.receives,
    ]


def _introduction(fields: list[Any], signature: bytes, handshake_hash: bytes) -> Introduction:
    match fields:
        case [str(party), str(name), bytes(signing), bytes(space), list(receives)]:
            pass
        case _:
            raise Malformed("introduction of another shape")
    if len(signing) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        raise Malformed("introduction with an odd key")
    if not 0 < len(name) <= NAME_CHARS_MAX or not name.isprintable():
        raise Malformed("introduction with an odd name")
    if party not in (Party.SPONSOR.value, Party.JOINER.value):
        raise Malformed("introduction of an unknown party")
    offers = party == Party.SPONSOR.value
    if len(space) != (ID_BYTES if offers else 0) or (receives and not offers):
        raise Malformed("introduction with an odd offer")
    if receives != [name for name in COLLECTIONS if name in receives]:
        raise Malformed("introduction with odd collections")
    verify(signing, INTRODUCTION_DOMAIN, encode([handshake_hash, *fields]), signature)
    return Introduction(
        party=Party(party),
        name=name,
        signing=signing,
        space=SpaceId(space),
        receives=tuple(receives),
    )
