"""Signing and agreement keys over libsodium.

Rules of this file: a private key never leaves its object through `repr`, a message or an error;
a signature is always over a hash that carries the domain of what is signed, so that no signature
can be taken for another kind; lengths are checked before libsodium sees a byte.
Sources: RFC 8032 (Ed25519), RFC 7748 (X25519), libsodium `crypto_box_seal`.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from nacl.bindings import (
    crypto_box,
    crypto_box_NONCEBYTES,
    crypto_box_seal,
    crypto_box_seal_open,
    crypto_scalarmult,
    crypto_scalarmult_base,
    crypto_sign,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import CryptoError

from presenced.errors import Malformed, Unauthorized
from presenced.ids import hash_bytes

KEY_BYTES: Final = 32
"every key of this room, public or private"

SIGNATURE_BYTES: Final = 64
"an Ed25519 signature"


class SigningKey:
    """An Ed25519 key pair. `seed` is the 32-byte private half, `public` the 32-byte public one."""

    __slots__ = ("_expanded", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY_BYTES:
            raise ValueError("an Ed25519 seed has 32 bytes")
        self.seed = bytes(seed)
        self.public, self._expanded = crypto_sign_seed_keypair(self.seed)

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.hex()})"

    def sign(self, domain: bytes, message: bytes) -> bytes:
        """64 bytes: the signature over BLAKE2b-256 of the message under the domain."""
        return self.sign_hash(hash_bytes(domain, message))

    def sign_hash(self, digest: bytes) -> bytes:
        """The signature over a 32-byte hash that already carries its domain (entries)."""
        signed = crypto_sign(digest, self._expanded)
        return signed[:SIGNATURE_BYTES]


def verify(public: bytes, domain: bytes, message: bytes, signature: bytes) -> None:
    """Raises `Unauthorized` unless `SigningKey.sign` of this public key made the signature."""
    verify_hash(public, hash_bytes(domain, message), signature)


def verify_hash(public: bytes, digest: bytes, signature: bytes) -> None:
    """Raises `Unauthorized` unless `SigningKey.sign_hash` of this public key made it."""
    if len(signature) != SIGNATURE_BYTES or len(public) != KEY_BYTES:
        raise Unauthorized("signature or key has a wrong length")
    try:
        crypto_sign_open(signature + digest, public)
    except CryptoError:
        raise Unauthorized("signature does not verify") from None


class DhKey:
    """An X25519 key pair from 32 raw private bytes."""

    __slots__ = ("private", "public")

    def __init__(self, private: bytes) -> None:
        if len(private) != KEY_BYTES:
            raise ValueError("an X25519 private key has 32 bytes")
        self.private = bytes(private)
        self.public = crypto_scalarmult_base(self.private)

    def __repr__(self) -> str:
        return f"DhKey(public={self.public.hex()})"

    def exchange(self, public: bytes) -> bytes:
        """The 32-byte shared secret. Raises `Malformed` for a key of small order or length."""
        if len(public) != KEY_BYTES:
            raise Malformed("an X25519 public key has 32 bytes")
        try:
            return crypto_scalarmult(self.private, public)
        except (RuntimeError, CryptoError):
            # libsodium refuses an all-zero result: whoever sent it wants a secret known to all.
            raise Malformed("public key of small order") from None


def seal_to(public: bytes, plaintext: bytes, *, ephemeral: DhKey | None = None) -> bytes:
    """An anonymous sealed box (48 bytes longer): only the holder of the key can open it.

    `ephemeral` is the box's one-time key, for machines that get their randomness passed in; it
    is never used twice. Without it libsodium draws one from the system.
    """
    if ephemeral is None:
        return crypto_box_seal(plaintext, public)
    nonce = blake2b(ephemeral.public + public, digest_size=crypto_box_NONCEBYTES).digest()
    return ephemeral.public + crypto_box(plaintext, nonce, public, ephemeral.private)


def open_sealed(key: DhKey, sealed: bytes) -> bytes:
    """The plaintext of `seal_to`. Raises `Unauthorized` when it was not made for this key."""
    try:
        return crypto_box_seal_open(sealed, key.public, key.private)
    except (CryptoError, ValueError, TypeError):
        raise Unauthorized("sealed box does not open with this key") from None
