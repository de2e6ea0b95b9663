"""The collections of one device: a replica each, how far each is on disk, and views of records.

Invariant: `durable` is what the last finished commit says, whatever the replicas have in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from presenced.device.commit import StoreReader
from presenced.device.editing import COLLECTION_OF_MAP
from presenced.device.membership import Membership
from presenced.device.projection import TAKEN
from presenced.errors import NotAllowed
from presenced.ids import Collection, DeviceId, LogId, RecordId, StatementId
from presenced.presence.naming import ContentNaming
from presenced.replica.frontier import Frontier
from presenced.replica.hlc import HybridClock
from presenced.replica.replica import OwnLog, Replica
from presenced.replica.rows import LogHead
from presenced.replica.slot import RecordSlots
from presenced.wire import decode, encode

DIGESTS: Final = "digests"
"meta row: per collection the point and the digest that were last worked out"


class Shelf:
    """Replicas by collection. `RecordSource` for the editor."""

    def __init__(self, *, membership: Membership, reader: StoreReader, clock: HybridClock) -> None:
        self._membership = membership
        self._reader = reader
        self._clock = clock
        self._naming = ContentNaming()
        self._digests = _parse_digests(reader.meta(DIGESTS))
        "per collection a point and the digest of what is applied there"
        self._digests_are_new = False
        self._heads: dict[Collection, dict[LogId, LogHead]] = {}
        self.replicas: dict[Collection, Replica] = {}
        self.open_new()

    def open_new(self) -> None:
        """Open a replica for every collection this device may have by now."""
        for collection in self._membership.collections:
            if collection in self.replicas:
                continue
            secrets = self._membership.secrets
            self.replicas[collection] = Replica(
                space=self._membership.space,
                collection=collection,
                own=OwnLog(secrets.log(collection), secrets.signing),
                reader=self._reader,
                naming=self._naming,
                trust=self._membership.view,
                clock=self._clock,
                taken=self._reader.meta(TAKEN + collection),
            )

    def forget(self, membership: Membership) -> None:
        """After a failed commit: nothing in memory holds; load again when needed."""
        self._membership = membership
        self._heads.clear()
        self.replicas.clear()
        self.open_new()

    @property
    def siblings(self) -> Mapping[DeviceId, bytes]:
        """The other active devices, with their link keys."""
        return self._membership.siblings

    @property
    def heads(self) -> tuple[StatementId, ...]:
        """The membership heads under which the replicas judge."""
        return self._membership.view.heads

    # --- RecordSource ---

    def has(self, map_name: str) -> bool:
        """Whether this device may have the map's collection."""
        return COLLECTION_OF_MAP.get(map_name) in self.replicas

    def record(self, map_name: str, record: RecordId) -> RecordSlots:
        return self._of_map(map_name).record(map_name, record)

    def wrote(self, map_name: str) -> bool:
        """Whether this device ever wrote in the map's collection, without loading it."""
        replica = self._of_map(map_name)
        return self.own_seq(replica.collection) > 0 or replica.pending.unsent > 0

    @property
    def superseded(self) -> bool:
        """Whether the own logs were ended by an incarnation that this device does not remember."""
        return self._membership.active and self._membership.superseded

    def own_log(self, collection: Collection) -> LogId:
        """This incarnation's log of a collection."""
        return self._membership.secrets.log(collection)

    def log_of(self, map_name: str) -> LogId:
        return self._membership.secrets.log(self._of_map(map_name).collection)

    def _of_map(self, map_name: str) -> Replica:
        collection = COLLECTION_OF_MAP.get(map_name)
        replica = None if collection is None else self.replicas.get(collection)
        if replica is None:
            raise NotAllowed(
                "this device may not have that collection",
                hint="Ask for it on the device that added this one.",
            )
        return replica

    # --- digests ---

    def digest(self, collection: Collection) -> bytes:
        """The replica's digest, without loading it if it is known for where the replica stands."""
        replica = self.replicas[collection]
        known = self._digests.get(collection)
        if not replica.loaded and known is not None and known[0] == replica.point():
            return known[1]
        found = (replica.point(), replica.digest())
        if found != known:
            self._digests[collection] = found
            self._digests_are_new = True
        return found[1]

    def take_digests_row(self) -> bytes | None:
        """The meta row, if it is not what is on disk; then it counts so."""
        if not self._digests_are_new:
            return None
        self._digests_are_new = False
        return encode([[name, *found] for name, found in sorted(self._digests.items())])

    # --- what is on disk ---

    def durable(self, collection: Collection) -> Frontier:
        """The frontier that is on disk: the only one others may hear of."""
        heads = self._durable_heads(collection).values()
        return Frontier(
            {head.log: (head.held_seq, head.held_hash) for head in heads if head.held_seq},
            {head.log: (head.applied_seq, head.applied_hash) for head in heads if head.applied_seq},
        )

    @property
    def is_new(self) -> bool:
        """Whether nothing of other devices is on disk."""
        secrets = self._membership.secrets
        return not any(
            head.held_seq and head.log != secrets.log(collection)
            for collection in self.replicas
            for head in self._durable_heads(collection).values()
        )

    def own_seq(self, collection: Collection) -> int:
        """How far this device's own log is on disk."""
        head = self._durable_heads(collection).get(self._membership.secrets.log(collection))
        return 0 if head is None else head.held_seq

    def slots(self, collection: Collection) -> int:
        """At least as many slots as the document has, without loading it."""
        return sum(head.clock_end for head in self._durable_heads(collection).values())

    def landed(self, heads: Iterable[LogHead]) -> None:
        """These heads are on disk now."""
        for head in heads:
            self._durable_heads(head.collection)[head.log] = head

    def _durable_heads(self, collection: Collection) -> dict[LogId, LogHead]:
        known = self._heads.get(collection)
        if known is None:
            known = {head.log: head for head in self._reader.log_heads(collection)}
            self._heads[collection] = known
        return known


def _parse_digests(stored: bytes | None) -> dict[Collection, tuple[bytes, bytes]]:
    rows = [] if stored is None else decode(stored)
    return {name: (point, digest) for name, point, digest in rows}
