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

STRANGERS_MAX: Final = 64
"""static keys that are no sibling's whose counter is remembered: who was removed knows the space
and may come under a new key each time"""

COUNTERS: Final = "link-counters"
"meta row: own counter, then the highest seen per static key"


class PeerDirectory:
    """`trust.link.PeerDirectory` over a membership."""

    def __init__(self, membership: Membership, stored: bytes | None) -> None:
        self._membership = membership
        self._keys_for: Mapping[DeviceId, bytes] = {}
        self._tag_keys: Mapping[DeviceId, bytes] = {}
        self.own_counter, self._seen = _parse(stored)
        self._strangers: dict[bytes, int] = {}
        "the highest counter per static key that is no sibling's; the oldest goes first"
        self.changed = False
        "there is something to keep"

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
        return max(self._seen.get(static, 0), self._strangers.get(static, 0))

    def record_counter(self, static: bytes, counter: int) -> None:
        if static in self._membership.siblings.values():
            self._seen[static] = counter
            self.changed = True
            return
        self._strangers.pop(static, None)
        if len(self._strangers) >= STRANGERS_MAX:
            del self._strangers[next(iter(self._strangers))]
        self._strangers[static] = counter

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
