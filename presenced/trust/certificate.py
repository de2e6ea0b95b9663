"""A device's certificate: its keys, signed by itself, naming who may add it.

Rules of this file: the signature covers the space and the adder, so nobody adds another's key
and no certificate is good for a second space; the incarnation nonce fixes the ids of the
device's first logs. Source: DESIGN §3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from presenced import wire
from presenced.crypto import derive
from presenced.crypto.keys import KEY_BYTES, SIGNATURE_BYTES, DhKey, SigningKey, verify_hash
from presenced.errors import Malformed
from presenced.ids import (
    COLLECTIONS,
    ID_BYTES,
    Collection,
    DeviceId,
    LogId,
    SpaceId,
    hash_bytes,
)
from presenced.trust.reading import bytes_of, items_of

CERTIFICATE_DOMAIN: Final = b"pd/certificate/1"
INCARNATION_BYTES: Final = 16

GENESIS_SPACE: Final = SpaceId(b"")
"stands for the space in genesis, whose hash is the space"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The keys of a device, signed by the device."""

    signing: bytes
    "Ed25519 public key, 32 bytes; the device id is its hash"
    static: bytes
    "X25519 public key of its links, 32 bytes"
    sealing: bytes
    "X25519 public key that epoch keys are sealed to, until a `sealing_key` replaces it, 32 bytes"
    incarnation: bytes
    "16 random bytes: the first life of the device's database"
    adder: DeviceId | None
    "the only device that may add this one; None: the root"
    signature: bytes
    "64 bytes by `signing` over the space and all of the above"

    @property
    def device(self) -> DeviceId:
        return derive.device_id(self.signing)

    @property
    def logs(self) -> Mapping[Collection, LogId]:
        """The logs of the first incarnation."""
        device = self.device
        return {name: derive.log_id(device, self.incarnation, name) for name in COLLECTIONS}

    @property
    def value(self) -> list[Any]:
        """What stands in a statement."""
        return [
            self.signing,
            self.static,
            self.sealing,
            self.incarnation,
            self.adder,
            self.signature,
        ]


def issue_certificate(
    signing: SigningKey,
    *,
    static: bytes,
    sealing: bytes,
    incarnation: bytes,
    space: SpaceId,
    adder: DeviceId | None,
) -> Certificate:
    """This device's certificate for one adder and one space (`GENESIS_SPACE` in genesis)."""
    digest = _digest(space, [signing.public, static, sealing, incarnation, adder])
    return Certificate(
        signing=signing.public,
        static=static,
        sealing=sealing,
        incarnation=incarnation,
        adder=adder,
        signature=signing.sign_hash(digest),
    )


def read_certificate(value: Any, space: SpaceId) -> Certificate:
    """The certificate in a decoded statement.

    Raises `Malformed` for another shape and `Unauthorized` when its device did not sign it for
    this space.
    """
    signing, static, sealing, incarnation, adder, signature = items_of(value, 6)
    certificate = Certificate(
        signing=bytes_of(signing, KEY_BYTES),
        static=agreement_key_of(static),
        sealing=agreement_key_of(sealing),
        incarnation=bytes_of(incarnation, INCARNATION_BYTES),
        adder=None if adder is None else DeviceId(bytes_of(adder, ID_BYTES)),
        signature=bytes_of(signature, SIGNATURE_BYTES),
    )
    verify_hash(signing, _digest(space, [signing, static, sealing, incarnation, adder]), signature)
    return certificate


def parse_certificate(data: bytes, space: SpaceId) -> Certificate:
    """`read_certificate` of canonical bytes, as pairing carries them."""
    if len(data) > _CERTIFICATE_BYTES_MAX:
        raise Malformed("too long for a certificate")
    return read_certificate(wire.decode(data), space)


def certificate_bytes(certificate: Certificate) -> bytes:
    """The canonical bytes that `parse_certificate` reads."""
    return wire.encode(certificate.value)


def agreement_key_of(value: Any) -> bytes:
    """An X25519 public key of 32 bytes that secrets can be agreed on with.

    Raises `Malformed` for a key of small order: sealing to it fails, so one such key in a
    certificate would stop every rotation to its device.
    """
    public = bytes_of(value, KEY_BYTES)
    _PROBE.exchange(public)
    return public


_PROBE: Final = DhKey(bytes(KEY_BYTES))
"any scalar will do: clamped, it is a multiple of the cofactor"

_CERTIFICATE_BYTES_MAX: Final = 512


def _digest(space: SpaceId, keys: list[Any]) -> bytes:
    return hash_bytes(CERTIFICATE_DOMAIN, space, wire.encode(keys))
