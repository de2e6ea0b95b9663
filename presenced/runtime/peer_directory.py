"""Whom this device may link with, for the link machines: keys from membership, counters kept.

Counters are written with a short delay by whoever owns the store; a lost one only lets one replay
be answered once, which causes no effect (DESIGN §4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from presenced.device.membership import Membership
from presenced.ids import DeviceId
from presenced.trust.tags import tag_keys
from presenced.wire import decode, encode

COUNTERS: Final = "link-counters"
"meta row: own counter, then the highest seen per static key"


class PeerDirectory:
    """`trust.link.PeerDirectory` over a membership."""

    def __init__(self, membership: Membership, stored: bytes | None) -> None:
        self._membership = membership
        self._keys_for: Mapping[DeviceId, bytes] = {}
        self._tag_keys: Mapping[DeviceId, bytes] = {}
        self.own_counter, self._seen = _parse(stored)
        self.changed = False

    def use(self, membership: Membership) -> None:
        """After a reload: the membership that holds now."""
        self._membership = membership

    def statics(self) -> Mapping[DeviceId, bytes]:
        return self._membership.siblings

    def tag_keys(self) -> Mapping[DeviceId, bytes]:
        siblings = self._membership.siblings
        if siblings != self._keys_for:
            self._keys_for = siblings
            self._tag_keys = tag_keys(self._membership.secrets.static, siblings)
        return self._tag_keys

    def last_counter(self, static: bytes) -> int:
        return self._seen.get(static, 0)

    def record_counter(self, static: bytes, counter: int) -> None:
        self._seen[static] = counter
        self.changed = True

    def to_bytes(self) -> bytes:
        """The meta row, of current siblings only."""
        kept = set(self._membership.siblings.values())
        return encode(
            [
                self.own_counter,
                [[key, seen] for key, seen in sorted(self._seen.items()) if key in kept],
            ]
        )


def _parse(stored: bytes | None) -> tuple[int, dict[bytes, int]]:
    if stored is None:
        return 0, {}
    own, seen = decode(stored)
    return own, {key: counter for key, counter in seen}  # noqa: C416 (lists, not tuples)
