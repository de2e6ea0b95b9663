"""A person's identity and a device's secrets.

Rules of this file: the root key exists only between `found_identity` (or the phrase typed again)
and the statement that it signs; what stays on the device is `DeviceSecrets`. Randomness is passed
in. Source: DESIGN §2, §3, §13; did:key method 0.7.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from presenced import wire
from presenced.clock import Entropy
from presenced.crypto import derive
from presenced.crypto.keys import KEY_BYTES, DhKey, SigningKey
from presenced.crypto.phrase import ENTROPY_BYTES, entropy_from_phrase, phrase_from_entropy
from presenced.errors import Malformed
from presenced.ids import Collection, DeviceId, LogId, SpaceId
from presenced.trust.bodies import Genesis
from presenced.trust.certificate import (
    GENESIS_SPACE,
    INCARNATION_BYTES,
    Certificate,
    issue_certificate,
)
from presenced.trust.limits import SEALING_KEYS_KEPT_MAX
from presenced.trust.reading import bytes_of, items_of, list_of
from presenced.trust.statement import Statement, anchor_of, sign_statement

SECRETS_VERSION: Final = 1
_ED25519_MULTICODEC: Final = b"\xed\x01"
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSecrets:
    """The private keys of this device. Shown as the device's id only."""

    signing: SigningKey = field(repr=False)
    static: DhKey = field(repr=False)
    "of the links"
    sealing: tuple[DhKey, ...] = field(repr=False)
    "that epoch keys were sealed to, newest first; never empty"
    incarnation: bytes = field(repr=False)
    "16 bytes: this life of the database"

    @property
    def device(self) -> DeviceId:
        return derive.device_id(self.signing.public)

    def log(self, collection: Collection) -> LogId:
        """This incarnation's log of a collection."""
        return derive.log_id(self.device, self.incarnation, collection)

    def certificate(self, space: SpaceId, adder: DeviceId | None) -> Certificate:
        """This device's certificate for one adder (None: the root) and one space."""
        return issue_certificate(
            self.signing,
            static=self.static.public,
            sealing=self.sealing[0].public,
            incarnation=self.incarnation,
            space=space,
            adder=adder,
        )

    def reborn(self, entropy: Entropy) -> DeviceSecrets:
        """The same device in a new incarnation: the same keys, other logs."""
        return replace(self, incarnation=entropy(INCARNATION_BYTES))

    def to_bytes(self) -> bytes:
        """For the encrypted store, and for nothing else."""
        return wire.encode(
            [
                SECRETS_VERSION,
                self.signing.seed,
                self.static.private,
                [key.private for key in self.sealing],
                self.incarnation,
            ]
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> DeviceSecrets:
        """What `to_bytes` gave. Raises `Malformed`."""
        version, signing, static, sealing, incarnation = items_of(wire.decode(data), 5)
        if type(version) is not int or version != SECRETS_VERSION:
            raise Malformed("unknown version of device secrets")
        keys = list_of(sealing, "SEALING_KEYS_KEPT_MAX", SEALING_KEYS_KEPT_MAX)
        if not keys:
            raise Malformed("no sealing key")
        return cls(
            signing=SigningKey(bytes_of(signing, KEY_BYTES)),
            static=DhKey(bytes_of(static, KEY_BYTES)),
            sealing=tuple(DhKey(bytes_of(key, KEY_BYTES)) for key in keys),
            incarnation=bytes_of(incarnation, INCARNATION_BYTES),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """A new identity, before its phrase is written down."""

    phrase: str = field(repr=False)
    "24 words of BIP-39 English"
    root_entropy: bytes = field(repr=False)
    "the 32 bytes that the phrase encodes; erased once the person has the phrase"
    genesis: Statement
    secrets: DeviceSecrets
    space: SpaceId
    identity: str
    "did:key of the root key"


def new_device_secrets(entropy: Entropy) -> DeviceSecrets:
    """Fresh keys and a fresh incarnation."""
    return DeviceSecrets(
        signing=SigningKey(entropy(KEY_BYTES)),
        static=DhKey(entropy(KEY_BYTES)),
        sealing=(DhKey(entropy(KEY_BYTES)),),
        incarnation=entropy(INCARNATION_BYTES),
    )


def found_identity(entropy: Entropy) -> Founding:
    """A new root key, its personal space and its first device."""
    root_entropy = entropy(ENTROPY_BYTES)
    root = SigningKey(derive.root_seed(root_entropy))
    secrets = new_device_secrets(entropy)
    certificate = secrets.certificate(GENESIS_SPACE, None)
    genesis = sign_statement(root, None, (), Genesis(certificate=certificate))
    return Founding(
        phrase=phrase_from_entropy(root_entropy),
        root_entropy=root_entropy,
        genesis=genesis,
        secrets=secrets,
        space=anchor_of(genesis).space,
        identity=did_key(root.public),
    )


def root_key(phrase: str) -> SigningKey:
    """The root key of a recovery phrase. Raises `MalformedPhrase`."""
    return SigningKey(derive.root_seed(entropy_from_phrase(phrase)))


def did_key(signing_public: bytes) -> str:
    """`did:key:z…` of an Ed25519 public key: base58btc of multicodec 0xed and the 32 bytes."""
    return "did:key:z" + _base58(_ED25519_MULTICODEC + signing_public)


def _base58(data: bytes) -> str:
    number = int.from_bytes(data, "big")
    digits: list[str] = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_BASE58[digit])
    digits.extend("1" for _ in range(len(data) - len(data.lstrip(b"\0"))))
    return "".join(reversed(digits))
