"""How much was taken from each device today: the bound on what a device can make others store.

Rules of this file: days are those of UTC, by this device's clock. What is counted is written with
the entries that it counts, one small row a commit, so that a restart does not begin anew.
"""

from __future__ import annotations

from typing import Final

from presenced.ids import DeviceId
from presenced.replica.limits import DEVICE_DAY_BYTES_MAX
from presenced.wire import decode, encode

_DAY_MS: Final = 24 * 60 * 60 * 1000


class Allowance:
    """Sealed bytes by device, of one collection."""

    def __init__(self, stored: bytes | None) -> None:
        """`stored` is a `row` of an earlier life."""
        self._day = 0
        self._taken: dict[DeviceId, int] = {}
        if stored is not None:
            self._day, rows = decode(stored)
            self._taken = {DeviceId(device): size for device, size in rows}

    def take(self, device: DeviceId, size: int, wall_ms: int) -> bool:
        """Count bytes of a device. False, and nothing is counted, if that is too much today."""
        day = wall_ms // _DAY_MS
        if day != self._day:
            self._day, self._taken = day, {}
        taken = self._taken.get(device, 0) + size
        if taken > DEVICE_DAY_BYTES_MAX:
            return False
        self._taken[device] = taken
        return True

    def row(self) -> bytes:
        """Canonical `[day, [[device, bytes], …]]` sorted by device."""
        return encode([self._day, [[device, size] for device, size in sorted(self._taken.items())]])
