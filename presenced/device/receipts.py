"""How far other devices are known to hold this device's own logs.

Theory of operation. A peer says what it holds in its frontier and by acknowledging; both are noted
here, and now and then written to disk, so that after a restart without a link what was received
elsewhere is not called unsent. A note that was lost makes the count too high, never too low.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from presenced.ids import DeviceId, LogId
from presenced.wire import decode, encode

RECEIPTS: Final = "receipts"
"meta row: per device the (log, seq) up to which it holds each own log"


class Receipts:
    """Per device and own log the highest seq that the device is known to hold."""

    def __init__(self, stored: bytes | None) -> None:
        self._held: dict[DeviceId, dict[LogId, int]] = {}
        for device, logs in [] if stored is None else decode(stored):
            self._held[device] = {log: seq for log, seq in logs}  # noqa: C416 (lists)
        self._is_dirty = False

    def note(self, device: DeviceId, log: LogId, seq: int) -> None:
        """The device holds this own log up to `seq`."""
        held = self._held.setdefault(device, {})
        if seq > held.get(log, 0):
            held[log] = seq
            self._is_dirty = True

    def held(self, log: LogId, devices: Iterable[DeviceId]) -> int:
        """The highest seq of an own log that any of the devices is known to hold."""
        return max((self._held.get(device, {}).get(log, 0) for device in devices), default=0)

    def take_row(self, devices: Iterable[DeviceId]) -> bytes | None:
        """The meta row, of these devices only, if it is not what is on disk; then it counts so."""
        if not self._is_dirty:
            return None
        self._is_dirty = False
        return encode(
            [
                [device, [[log, seq] for log, seq in sorted(self._held[device].items())]]
                for device in sorted(devices)
                if device in self._held
            ]
        )
