"""The clear hello that each side of a connection sends first, and what both agree on from it.

The initiator's hello names what it wants (`link`, `enrol`); the responder's answers with the same
mode, or `none` when it does not do that now. A responder's hello for a link also carries 32 tags,
one per peer under a key that only the pair can derive, so that a dialler who knows no more than
an address learns which sibling answers and a stranger learns nothing. The tags depend on both
nonces (no clock is needed and two connections have nothing in common); decoys fill the count.
Both hellos enter the Noise prologue as they travelled, so changing one ends the handshake.

Invariant (frozen for all versions): a hello is a canonical list that begins with the protocol
name and the versions; later versions only append.
Source: DESIGN §4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from presenced.clock import Entropy
from presenced.crypto import derive
from presenced.errors import LimitExceeded, Malformed, VersionMismatch
from presenced.ids import DeviceId
from presenced.trust.link_limits import HELLO_BYTES_MAX, HELLO_VERSIONS_MAX, TAGS
from presenced.wire import decode, encode

PROTOCOL: Final = "presenced"
PROTOCOL_VERSIONS: Final = (1,)
"versions of the link protocol that this build speaks"

NONCE_BYTES: Final = 16


class Mode(Enum):
    """What a connection is for."""

    LINK = "link"
    ENROL = "enrol"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """One side's hello. `mode` is kept as text: an unknown one is answered, not an error."""

    versions: tuple[int, ...]
    mode: str
    nonce: bytes
    tags: bytes = b""

    def encode(self) -> bytes:
        return encode([PROTOCOL, self.versions, self.mode, self.nonce, self.tags])


def parse_hello(raw: bytes) -> Hello:
    """Raises `Malformed` or `LimitExceeded` for what is no hello of any version."""
    if len(raw) > HELLO_BYTES_MAX:
        raise LimitExceeded("hello-bytes")
    value = decode(raw)
    if not isinstance(value, list) or len(value) < 5 or value[0] != PROTOCOL:
        raise Malformed("not a hello")
    versions, mode, nonce, tags = value[1:5]
    if not isinstance(versions, list) or not 0 < len(versions) <= HELLO_VERSIONS_MAX:
        raise Malformed("hello without versions")
    if any(type(version) is not int or not 0 < version < 2**32 for version in versions):
        raise Malformed("hello with an odd version")
    if type(mode) is not str or type(nonce) is not bytes or type(tags) is not bytes:
        raise Malformed("hello with a field of another type")
    if len(nonce) != NONCE_BYTES or len(tags) not in (0, TAGS * derive.TAG_BYTES):
        raise Malformed("hello with a field of another size")
    return Hello(versions=tuple(versions), mode=mode, nonce=nonce, tags=tags)


def choose_version(own: Iterable[int], other: Iterable[int]) -> int:
    """The highest version in common. Raises `VersionMismatch`, which says who is older."""
    ours, theirs = set(own), set(other)
    if common := ours & theirs:
        return max(common)
    who = "this device is older" if max(ours) < max(theirs) else "the other device is older"
    raise VersionMismatch(
        f"{who}: here versions {_shown(ours)}, there {_shown(theirs)}",
        hint="Update presenced on the older device.",
    )


def prologue(
    *, version: int, mode: Mode, initiator_hello: bytes, responder_hello: bytes, space: bytes
) -> bytes:
    """The Noise prologue: protocol, version, mode, both hellos in the order of roles, space."""
    return encode([PROTOCOL, version, mode.value, initiator_hello, responder_hello, space])


def answering_tags(
    own: DeviceId, tag_keys: Mapping[DeviceId, bytes], nonces: bytes, entropy: Entropy
) -> bytes:
    """The responder's 256 bytes of tags for its peers; above 32 peers a random 32 of them."""
    tags = [derive.hello_tag(key, nonces, own) for key in tag_keys.values()]
    if len(tags) > TAGS:
        chosen = sorted(tags, key=lambda _: entropy(8))
        tags = chosen[:TAGS]
    while len(tags) < TAGS:
        tags.append(entropy(derive.TAG_BYTES))
    return b"".join(sorted(tags))  # tags look random: their order says nothing


def answering_peer(
    tags: bytes, tag_keys: Mapping[DeviceId, bytes], nonces: bytes
) -> DeviceId | None:
    """Which of the peers made these tags, if any."""
    shown = {tags[at : at + derive.TAG_BYTES] for at in range(0, len(tags), derive.TAG_BYTES)}
    for device, key in tag_keys.items():
        if derive.hello_tag(key, nonces, device) in shown:
            return device
    return None


def _shown(versions: Iterable[int]) -> str:
    return ", ".join(str(version) for version in sorted(versions))
