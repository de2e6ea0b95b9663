"""Every identifier and derived key, version 1, frozen (DESIGN §13).

Rules of this file: one domain per kind and version, named here and nowhere else; the secret of a
derivation is the BLAKE2b key, what is public is the message. A change is a new domain with a new
version; these never change. Checked against docs/spec/vectors/derivations.json.
"""

from __future__ import annotations

from base64 import b32encode
from functools import lru_cache
from typing import Final

from presenced.crypto.phrase import WORD_BITS, word_list
from presenced.ids import (
    ID_BYTES,
    Collection,
    DeviceId,
    EpochId,
    LogId,
    SpaceId,
    hash_bytes,
    identifier,
)

DEVICE_DOMAIN: Final = b"pd/device/1"
SPACE_DOMAIN: Final = b"pd/space/1"
EPOCH_DOMAIN: Final = b"pd/epoch/1"
LOG_DOMAIN: Final = b"pd/log/1"
PAIR_PSK_DOMAIN: Final = b"pd/pair-psk/1"
ROOT_SEED_DOMAIN: Final = b"pd/root-seed/1"
ENTRY_KEY_DOMAIN: Final = b"pd/entry-key/1"
ENTRY_NONCE_KEY_DOMAIN: Final = b"pd/nonce-key/1"
FINGERPRINT_DOMAIN: Final = b"pd/fingerprint/1"
CONFIRMATION_DOMAIN: Final = b"pd/confirm/1"
TAG_KEY_DOMAIN: Final = b"pd/tag-key/1"
TAG_DOMAIN: Final = b"pd/tag/1"
HELLO_TAG_DOMAIN: Final = b"pd/hello-tag/1"
DECOY_DOMAIN: Final = b"pd/decoy/1"
CODE_PSK_DOMAIN: Final = b"pd/code-psk/1"

CLIENT_BITS: Final = 53
"Yjs keeps client numbers in a JavaScript number"

TAG_BYTES: Final = 8
FINGERPRINT_BYTES: Final = 20
FINGERPRINT_GROUP_CHARS: Final = 4
CONFIRMATION_WORDS: Final = 4


@lru_cache(maxsize=256)
def device_id(signing_public: bytes) -> DeviceId:
    """16 bytes of the device's Ed25519 public key."""
    return DeviceId(identifier(DEVICE_DOMAIN, signing_public))


def space_id(genesis: bytes) -> SpaceId:
    """16 bytes of the genesis statement's canonical bytes."""
    return SpaceId(identifier(SPACE_DOMAIN, genesis))


def epoch_id(record: bytes) -> EpochId:
    """16 bytes of the epoch record (the `rotate` statement's canonical bytes)."""
    return EpochId(identifier(EPOCH_DOMAIN, record))


@lru_cache(maxsize=256)
def log_id(device: DeviceId, incarnation: bytes, collection: Collection) -> LogId:
    """16 bytes of the device, its incarnation nonce (16 bytes) and the collection's name."""
    return LogId(identifier(LOG_DOMAIN, device, incarnation, collection.encode("ascii")))


def client_id(log: LogId) -> int:
    """The Yjs client of a log: the low 53 bits of its id, read as a big-endian integer."""
    return int.from_bytes(log, "big") & ((1 << CLIENT_BITS) - 1)


def pair_psk(dh_secret: bytes, space: SpaceId) -> bytes:
    """The 32-byte psk of `IKpsk2` from the pair's static X25519 secret and the space."""
    return hash_bytes(PAIR_PSK_DOMAIN, space, key=dh_secret)


def root_seed(entropy: bytes) -> bytes:
    """The root key's 32-byte Ed25519 seed from the 32 bytes that the phrase encodes."""
    return hash_bytes(ROOT_SEED_DOMAIN, key=entropy)


def entry_key(epoch_key: bytes) -> bytes:
    """The 32-byte AEAD key of the entries of an epoch."""
    return hash_bytes(ENTRY_KEY_DOMAIN, key=epoch_key)


def entry_nonce_key(epoch_key: bytes) -> bytes:
    """The 32-byte key of the hash that makes an entry's nonce."""
    return hash_bytes(ENTRY_NONCE_KEY_DOMAIN, key=epoch_key)


def fingerprint(signing_public: bytes) -> str:
    """What a person compares: 8 groups of 4 characters (160 bits) of the device key."""
    shown = b32encode(
        hash_bytes(FINGERPRINT_DOMAIN, signing_public, size=FINGERPRINT_BYTES)
    ).decode("ascii")
    step = FINGERPRINT_GROUP_CHARS
    return " ".join(shown[at : at + step].lower() for at in range(0, len(shown), step))


def confirmation_words(handshake_hash: bytes) -> tuple[str, str, str, str]:
    """Four BIP-39 English words (44 bits) of a handshake hash; equal on both screens."""
    bits = int.from_bytes(hash_bytes(CONFIRMATION_DOMAIN, handshake_hash, size=ID_BYTES), "big")
    words = word_list()
    mask = (1 << WORD_BITS) - 1
    first, second, third, fourth = (
        words[(bits >> (WORD_BITS * place)) & mask] for place in range(CONFIRMATION_WORDS)
    )
    return first, second, third, fourth


def tag_key(dh_secret: bytes) -> bytes:
    """The 32-byte key of a pair's mDNS tags, from its static X25519 secret."""
    return hash_bytes(TAG_KEY_DOMAIN, key=dh_secret)


def pair_tag(key: bytes, hour: int, from_: DeviceId) -> bytes:
    """The 8-byte tag that `from_` shows its pair partner in an hour (hours since 1970, UTC)."""
    return hash_bytes(TAG_DOMAIN, hour.to_bytes(8, "big"), from_, size=TAG_BYTES, key=key)


def hello_tag(key: bytes, nonces: bytes, from_: DeviceId) -> bytes:
    """The 8-byte tag by which a pair partner knows who answers a dial.

    `key` is the pair's `tag_key`, `nonces` those of both hellos (dialler's first).
    """
    return hash_bytes(HELLO_TAG_DOMAIN, nonces, from_, size=TAG_BYTES, key=key)


def decoy_key(static_private: bytes) -> bytes:
    """The 32-byte key from which a device makes its decoy tags."""
    return hash_bytes(DECOY_DOMAIN, key=static_private)


def decoy_tag(key: bytes, hour: int, place: int) -> bytes:
    """An 8-byte tag that matches nobody; the same for a whole hour."""
    return hash_bytes(
        DECOY_DOMAIN, hour.to_bytes(8, "big"), place.to_bytes(8, "big"), size=TAG_BYTES, key=key
    )


def code_psk(pake_key: bytes, prologue: bytes) -> bytes:
    """The 32-byte psk of `XXpsk0` from the PAKE's key and the handshake's prologue."""
    return hash_bytes(CODE_PSK_DOMAIN, prologue, key=pake_key)
