"""CipherState (Noise revision 34 §5.1) over ChaCha20-Poly1305 (§12.3).

Invariant: a nonce is used for at most one successful encryption; it grows by one and never wraps.
A failed decryption leaves the nonce as it was; whoever owns the session ends it.
"""

from __future__ import annotations

from typing import Final

from nacl.bindings import (
    crypto_aead_chacha20poly1305_ietf_decrypt,
    crypto_aead_chacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from presenced.crypto.noise.errors import NoiseMisuse
from presenced.errors import Unauthorized
from presenced.limits import FRAME_BYTES_MAX

NONCE_MAX: Final = 2**64 - 1
"reserved for rekey; never used for a message (§5.1)"

TAG_BYTES: Final = 16
KEY_BYTES: Final = 32

_ENCRYPT = crypto_aead_chacha20poly1305_ietf_encrypt
_DECRYPT = crypto_aead_chacha20poly1305_ietf_decrypt


class CipherState:
    """One direction's key and nonce. Without a key it passes bytes through (§5.1)."""

    __slots__ = ("_key", "_nonce", "_unusable")

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key
        self._nonce = 0
        self._unusable = ""

    def __repr__(self) -> str:
        return f"CipherState(has_key={self.has_key}, nonce={self._nonce})"

    @property
    def has_key(self) -> bool:
        return self._key is not None

    @property
    def nonce(self) -> int:
        """The nonce of the next message."""
        return self._nonce

    def set_nonce(self, nonce: int) -> None:
        """For transports that carry the nonce themselves (§11.4)."""
        if not 0 <= nonce <= NONCE_MAX:
            raise NoiseMisuse("a nonce has 64 bits")
        self._nonce = nonce

    def refuse(self, reason: str) -> None:
        """From now on every use raises `NoiseMisuse` with this reason, and the key is gone."""
        self._unusable, self._key = reason, None

    def encrypt(self, ad: bytes, plaintext: bytes) -> bytes:
        """Ciphertext with its 16-byte tag; `NoiseMisuse` beyond 65,535 bytes or the last nonce."""
        key = self._usable_key()
        if key is None:
            return plaintext
        if len(plaintext) + TAG_BYTES > FRAME_BYTES_MAX:
            raise NoiseMisuse(f"a Noise message has at most {FRAME_BYTES_MAX} bytes")
        nonce = self._next_nonce()
        ciphertext = _ENCRYPT(plaintext, ad, nonce, key)
        self._nonce += 1
        return ciphertext

    def decrypt(self, ad: bytes, ciphertext: bytes) -> bytes:
        """The plaintext. Raises `Unauthorized`, the nonce unchanged, for any other bytes."""
        key = self._usable_key()
        if key is None:
            return ciphertext
        if not TAG_BYTES <= len(ciphertext) <= FRAME_BYTES_MAX:
            raise Unauthorized("a Noise message of impossible length")
        nonce = self._next_nonce()
        try:
            plaintext = _DECRYPT(ciphertext, ad, nonce, key)
        except CryptoError:
            raise Unauthorized("a Noise message does not decrypt") from None
        self._nonce += 1
        return plaintext

    def rekey(self) -> None:
        """A new key that does not lead back to the old one (§4.2); the nonce goes on."""
        key = self._usable_key()
        if key is None:
            raise NoiseMisuse("there is no key to renew")
        self._key = _ENCRYPT(bytes(KEY_BYTES), b"", _nonce_bytes(NONCE_MAX), key)[:KEY_BYTES]

    def _usable_key(self) -> bytes | None:
        if self._unusable:
            raise NoiseMisuse(self._unusable)
        return self._key

    def _next_nonce(self) -> bytes:
        if self._nonce >= NONCE_MAX:
            raise NoiseMisuse("the nonces of this key are used up")
        return _nonce_bytes(self._nonce)


def _nonce_bytes(nonce: int) -> bytes:
    return b"\0\0\0\0" + nonce.to_bytes(8, "little")
