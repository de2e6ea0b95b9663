"""The content digest: equal on all devices that applied the same entries, and only then.

It covers the live slots (key and stored bytes) and the membership heads, never resolved values,
which may differ between versions. Slots fall into 256 buckets by the first byte of their record;
only buckets that changed since the last time are hashed again. Equal state vectors can hide
different content (DESIGN §5), so nothing less will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from presenced.ids import HASH_BYTES, Collection, RecordId, StatementId, hash_bytes
from presenced.replica.document import Document

BUCKET_DOMAIN: Final = b"pd/bucket/1"
DIGEST_DOMAIN: Final = b"pd/digest/1"
BUCKETS: Final = 256


class ContentDigest:
    """Keeps the bucket hashes of one document between digests."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._buckets = [bytes(HASH_BYTES)] * BUCKETS
        self._last: tuple[tuple[Collection, list[StatementId]], bytes] | None = None

    def digest(self, collection: Collection, heads: Sequence[StatementId]) -> bytes:
        """32 bytes over the document as flushed and these membership heads."""
        sorted_heads = sorted(heads)
        over = (collection, sorted_heads)
        dirty = self._document.dirty
        if dirty:
            self._hash_again(dirty)
            dirty.clear()
        elif self._last is not None and self._last[0] == over:
            return self._last[1]
        digest = hash_bytes(
            DIGEST_DOMAIN,
            collection.encode("ascii"),
            b"".join(sorted_heads),
            b"".join(self._buckets),
        )
        self._last = (over, digest)
        return digest

    def _hash_again(self, dirty: set[int]) -> None:
        pieces: dict[int, list[bytes]] = {bucket: [] for bucket in dirty}
        for root in self._document.roots():
            records: list[RecordId] = [
                record for record in self._document.records(root) if record[0] in dirty
            ]
            for piece in self._document.live_rows(root, records):
                pieces[piece[0]].append(piece)  # it begins with its record
        for bucket, rows in pieces.items():
            rows.sort()
            self._buckets[bucket] = (
                hash_bytes(BUCKET_DOMAIN, b"".join(rows)) if rows else bytes(HASH_BYTES)
            )
