"""The key of the encrypted database: made and kept by `host`, used by `store`.

Rules of this file: nothing here shows the key; its marker may be seen by anyone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from presenced.ids import hash_bytes

DATABASE_KEY_BYTES: Final = 32
"XChaCha20/ChaCha20 key"

MARKER_BYTES: Final = 16

MARKER_DOMAIN: Final = b"pd/db-marker/1"


@dataclass(frozen=True, slots=True)
class DatabaseKey:
    """32 random bytes. Compare markers, not keys."""

    raw: bytes = field(repr=False)

    def __post_init__(self) -> None:
        assert len(self.raw) == DATABASE_KEY_BYTES

    @property
    def marker(self) -> bytes:
        """16 bytes that tell this key from others and say nothing about it.

        A database carries it in clear, so that a wrong key is told from a damaged file.
        """
        return hash_bytes(MARKER_DOMAIN, self.raw, size=MARKER_BYTES)
