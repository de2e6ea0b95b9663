"""Snapshots for other devices: made once, given a few times.

Making one costs seconds (100,000 records: about two), and any sibling may ask at any time. So one
that was made is given to others for a while, whatever was written since: what came after it follows
as entries. Who had it gets a newer one. And a device gets only so many in an hour; then it is told
to take entries instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from presenced.clock import Instant
from presenced.device.limits import SNAPSHOT_KEPT_MS, SNAPSHOTS_GIVEN_MAX, SNAPSHOTS_GIVEN_MS
from presenced.ids import Collection, DeviceId, StatementId
from presenced.replica.replica import Replica


@dataclass(slots=True)
class _Made:
    under: object
    "membership, and by whose word"
    point: bytes
    at_ms: int
    chunks: list[bytes]
    given_to: set[DeviceId] = field(default_factory=set)


class Sponsoring:
    """What was made, and to whom it was given."""

    def __init__(self) -> None:
        self._made: dict[Collection, _Made] = {}
        self._given: dict[DeviceId, deque[int]] = {}

    def chunks(
        self,
        replica: Replica,
        device: DeviceId,
        now: Instant,
        *,
        heads: Sequence[StatementId],
        via: Sequence[DeviceId],
    ) -> list[bytes]:
        """A snapshot for a device; none if it had too many, or there is no key to seal it with."""
        given = self._given.setdefault(device, deque())
        while given and given[0] <= now.mono_ms - SNAPSHOTS_GIVEN_MS:
            given.popleft()
        if len(given) >= SNAPSHOTS_GIVEN_MAX:
            return []
        given.append(now.mono_ms)
        under = (tuple(heads), tuple(via))
        self.tick(now)
        made = self._made.get(replica.collection)
        point = replica.point()
        if made is None or made.under != under or (device in made.given_to and made.point != point):
            made = _Made(under, point, now.mono_ms, replica.snapshot(via))
            self._made[replica.collection] = made
        made.given_to.add(device)
        return made.chunks

    def tick(self, now: Instant) -> None:
        """Give back the memory of what nobody asked for any more."""
        self._made = {
            name: made
            for name, made in self._made.items()
            if made.at_ms > now.mono_ms - SNAPSHOT_KEPT_MS
        }

    def forget(self, collection: Collection | None = None) -> None:
        """What was made of a collection (None: of all) no longer holds."""
        for name in [collection] if collection is not None else list(self._made):
            self._made.pop(name, None)
