"""SymmetricState (Noise revision 34 §5.2) with BLAKE2b (§12.8) and HKDF (§4.3)."""

from __future__ import annotations

import hmac
from hashlib import blake2b
from typing import Final

from presenced.crypto.noise.cipherstate import CipherState

HASH_BYTES: Final = 64
"HASHLEN of BLAKE2b"


class SymmetricState:
    """Chaining key, handshake hash and the cipher of the handshake."""

    __slots__ = ("_chaining_key", "cipher", "handshake_hash")

    def __init__(self, protocol_name: bytes) -> None:
        if len(protocol_name) <= HASH_BYTES:
            self.handshake_hash = protocol_name.ljust(HASH_BYTES, b"\0")
        else:
            self.handshake_hash = blake2b(protocol_name).digest()
        self._chaining_key = self.handshake_hash
        self.cipher = CipherState()

    def mix_key(self, material: bytes) -> None:
        self._chaining_key, key = hkdf(self._chaining_key, material, 2)
        self.cipher = CipherState(key[:32])

    def mix_hash(self, data: bytes) -> None:
        self.handshake_hash = blake2b(self.handshake_hash + data).digest()

    def mix_key_and_hash(self, material: bytes) -> None:
        self._chaining_key, hashed, key = hkdf(self._chaining_key, material, 3)
        self.mix_hash(hashed)
        self.cipher = CipherState(key[:32])

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        ciphertext = self.cipher.encrypt(self.handshake_hash, plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        plaintext = self.cipher.decrypt(self.handshake_hash, ciphertext)
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[CipherState, CipherState]:
        """Initiator→responder, responder→initiator."""
        first, second = hkdf(self._chaining_key, b"", 2)
        return CipherState(first[:32]), CipherState(second[:32])


def hkdf(chaining_key: bytes, material: bytes, outputs: int) -> list[bytes]:
    """`outputs` (2 or 3) strings of 64 bytes (§4.3)."""
    secret = hmac.new(chaining_key, material, blake2b).digest()
    results: list[bytes] = []
    previous = b""
    for counter in range(1, outputs + 1):
        previous = hmac.new(secret, previous + bytes([counter]), blake2b).digest()
        results.append(previous)
    return results
