"""Two sides that are level compare digests: at equal points they must be equal.

A point says what is applied and which statements are known (`Replica.point`). Digests of different
points say nothing about each other: the next quiet moment brings newer ones.
"""

from __future__ import annotations

from presenced.replica.messages import DigestReceived
from presenced.replica.sync_effects import DigestAgreed, DigestMismatch


class Comparison:
    """Of one peer and collection: the digest said last on each side."""

    def __init__(self) -> None:
        self._ours: DigestReceived | None = None
        self._theirs: DigestReceived | None = None
        "not compared yet"

    def say(self, ours: DigestReceived) -> bool:
        """Our digest was taken; False if the peer was told the same already."""
        if ours == self._ours:
            return False
        self._ours = ours
        return True

    def hear(self, theirs: DigestReceived) -> None:
        self._theirs = theirs

    def compare(self) -> list[DigestAgreed | DigestMismatch]:
        """What follows, once, when both are there and of one point."""
        ours, theirs = self._ours, self._theirs
        if ours is None or theirs is None or ours.point != theirs.point:
            return []
        self._theirs = None
        if ours.digest == theirs.digest:
            return [DigestAgreed(ours.point, theirs.vouched)]
        return [DigestMismatch(ours.point, ours.digest, theirs.digest, theirs.vouched)]
