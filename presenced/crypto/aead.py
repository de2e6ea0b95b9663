"""Sealing content: XChaCha20-Poly1305 with a nonce that follows from what is sealed.

Invariant: one (key, nonce) is never used for two plaintexts. The nonce is a keyed hash of header
and plaintext, so a restored disk or a repeated draw cannot reuse one; sealing the same thing
again gives the same bytes, which tells an observer nothing that is not already stored.
Source: draft-irtf-cfrg-xchacha-03; DESIGN §13 *entry nonce*.
"""

from __future__ import annotations

from typing import Final

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from presenced.errors import Unauthorized
from presenced.ids import hash_bytes

NONCE_BYTES: Final = 24
TAG_BYTES: Final = 16

NONCE_DOMAIN: Final = b"pd/nonce/1"
COMMITMENT_DOMAIN: Final = b"pd/commit/1"


def seal(key: bytes, header: bytes, plaintext: bytes, *, nonce_key: bytes) -> bytes:
    """nonce (24 bytes) ‖ ciphertext ‖ tag (16 bytes) under a 32-byte key; the header is bound."""
    nonce = hash_bytes(NONCE_DOMAIN, header, plaintext, size=NONCE_BYTES, key=nonce_key)
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, header, nonce, key)


def open_(key: bytes, header: bytes, sealed: bytes) -> bytes:
    """The plaintext of `seal`. Raises `Unauthorized` for any other key, header or bytes."""
    if len(sealed) < NONCE_BYTES + TAG_BYTES:
        raise Unauthorized("sealed bytes are too short")
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(
            sealed[NONCE_BYTES:], header, sealed[:NONCE_BYTES], key
        )
    except CryptoError:
        raise Unauthorized("sealed bytes do not open") from None


def commitment(key: bytes) -> bytes:
    """32 bytes that fix a key without showing it (an AEAD alone does not commit to its key)."""
    return hash_bytes(COMMITMENT_DOMAIN, key=key)
