"""Identifiers: every one comes from a key or a hash, never from what a peer says of itself.

An identifier is 16 bytes of BLAKE2b under a domain of its type (DESIGN §13) and is shown as
26 characters of lower-case base32. Hashes of statements and entries are 32 bytes.
"""

from __future__ import annotations

from base64 import b32decode, b32encode
from hashlib import blake2b
from typing import Final, Literal, NewType

from presenced.errors import CallerError

DeviceId = NewType("DeviceId", bytes)
SpaceId = NewType("SpaceId", bytes)
LogId = NewType("LogId", bytes)
EpochId = NewType("EpochId", bytes)
RecordId = NewType("RecordId", bytes)
StatementId = NewType("StatementId", bytes)
EntryHash = NewType("EntryHash", bytes)

Collection = Literal["directory", "follows", "sessions"]
COLLECTIONS: Final[tuple[Collection, ...]] = ("directory", "follows", "sessions")

ID_BYTES: Final = 16
HASH_BYTES: Final = 32
_SHOWN_CHARS: Final = 26
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_SHIFTS: Final = tuple(range(120, -1, -10))
"""ten bits give two characters: four times as fast as `base64`, which is written in Python"""


class MalformedId(CallerError):
    """Text that is not an identifier."""

    code = "malformed-id"
    hint = "An id has 26 characters a-z and 2-7; copy it from a list command."


def hash_bytes(domain: bytes, *parts: bytes, size: int = HASH_BYTES, key: bytes = b"") -> bytes:
    """BLAKE2b of the parts under a domain (at most 16 bytes, the `person` of RFC 7693).

    Each part but the last is prefixed with its length (8 bytes, little endian), so that no two
    lists of parts hash alike.
    """
    state = blake2b(digest_size=size, person=domain, key=key)
    for part in parts[:-1]:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    if parts:
        state.update(parts[-1])
    return state.digest()


def identifier(domain: bytes, *parts: bytes) -> bytes:
    """The 16-byte identifier of the parts under the domain of its type."""
    return hash_bytes(domain, *parts, size=ID_BYTES)


def show_id(value: bytes) -> str:
    """26 characters of lower-case base32 for a 16-byte identifier (longer for a hash)."""
    if len(value) != ID_BYTES:
        return b32encode(value).decode("ascii").rstrip("=").lower()
    bits = int.from_bytes(value, "big") << 2
    return "".join([_PAIRS[bits >> shift & 1023] for shift in _SHIFTS])


def parse_id(text: str) -> bytes:
    """The 16 bytes that `show_id` showed. Raises `MalformedId` for anything else."""
    if len(text) != _SHOWN_CHARS or text != text.lower():
        raise MalformedId("not an id")
    try:
        value = b32decode(text.upper() + "======")
    except ValueError as error:
        raise MalformedId("not an id") from error
    if show_id(value) != text:  # stray low bits in the last character
        raise MalformedId("not an id")
    return value
