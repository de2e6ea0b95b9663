"""Devices with replicas and no network: for tests of the replica and of what stands on it.

`OpenTrust` is a `TrustView` that a test writes by hand; `ReplicaDevice` is a replica over a
`MemoryReader` that commits every outcome before it goes on, as a device must.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from presenced.clock import Instant
from presenced.crypto import derive
from presenced.crypto.keys import SigningKey
from presenced.ids import (
    Collection,
    DeviceId,
    EntryHash,
    EpochId,
    LogId,
    RecordId,
    SpaceId,
    StatementId,
    hash_bytes,
)
from presenced.replica.compression import Compression
from presenced.replica.entry import (
    NO_ENTRY,
    Entry,
    EntryKeys,
    Position,
    Reference,
    entry_hash,
    seal_entry,
)
from presenced.replica.hlc import Hlc, HybridClock
from presenced.replica.operation import NOTHING_SEEN
from presenced.replica.replica import OwnLog, Replica
from presenced.replica.rows import Outcome
from presenced.replica.seams import RecordNaming
from presenced.replica.slot import Operation
from presenced.testing.memory_reader import MemoryReader
from presenced.wire import encode

SPACE = SpaceId(bytes(range(16)))
EPOCH = EpochId(b"epoch-of-a-test!")
EPOCH_KEY = bytes(range(32))


@dataclass(frozen=True, slots=True)
class TestOwner:
    """A log of a test device."""

    __test__ = False
    device: DeviceId
    collection: Collection
    signing: bytes
    client: int


@dataclass(frozen=True, slots=True)
class TestRemoval:
    """A removal of a test device; its statement has no past but what `OpenTrust` says."""

    __test__ = False
    id: StatementId
    cut: Mapping[LogId, tuple[int, EntryHash]] | None

    @property
    def given_by(self) -> StatementId:
        return self.id


@dataclass(frozen=True, slots=True)
class OpenTrust:
    """A membership that is what the test says it is. Statement ids carry their own order."""

    owners: Mapping[LogId, TestOwner] = field(default_factory=dict)
    heads: tuple[StatementId, ...] = ()
    known: frozenset[StatementId] = frozenset()
    pasts: Mapping[StatementId, frozenset[StatementId]] = field(default_factory=dict)
    keys: Mapping[EpochId, bytes] = field(default_factory=lambda: {EPOCH: EPOCH_KEY})
    epoch: EpochId | None = EPOCH
    removed: Mapping[DeviceId, tuple[TestRemoval, ...]] = field(default_factory=dict)
    void: Mapping[DeviceId, tuple[tuple[TestRemoval, ...], ...]] = field(default_factory=dict)
    "per device whose adds are void, per add the removals to blame"

    def knows(self, heads: Sequence[StatementId]) -> bool:
        return self.known.issuperset(heads)

    def log_owner(self, log: LogId) -> TestOwner | None:
        return self.owners.get(log)

    def epoch_key(self, epoch: EpochId) -> bytes | None:
        return self.keys.get(epoch)

    def writing_epoch(self, collection: Collection) -> EpochId | None:
        return self.epoch

    def alternatives(
        self, device: DeviceId, collection: Collection
    ) -> Sequence[Sequence[TestRemoval]]:
        binding = self.removed.get(device, ())
        return [(*binding, *blamed) for blamed in self.void.get(device, ((),))]

    def in_past(self, statement: StatementId, heads: Sequence[StatementId]) -> bool:
        return any(statement == head or statement in self.pasts.get(head, ()) for head in heads)

    def learn(
        self, statement: StatementId, removed: Mapping[DeviceId, TestRemoval] | None = None
    ) -> OpenTrust:
        """The view after one more statement on top of the heads, perhaps a removal."""
        past = frozenset(self.heads).union(*(self.pasts.get(head, ()) for head in self.heads))
        removals = dict(self.removed)
        for device, removal in (removed or {}).items():
            removals[device] = (*removals.get(device, ()), removal)
        return replace(
            self,
            heads=(statement,),
            known=self.known | {statement},
            pasts={**self.pasts, statement: past},
            removed=removals,
        )


class RandomIds:
    """A `RecordNaming` under which nothing is named by its content."""

    def derive_all(self, root: str, cores: Sequence[Any], /) -> Sequence[RecordId | None]:
        return [None] * len(cores)

    def derive(self, root: str, core: Any, /) -> RecordId | None:
        return None


class UriIds:
    """A `RecordNaming` that names `follow` records by the `uri` of their core, as it stands."""

    def derive_all(self, root: str, cores: Sequence[Any], /) -> Sequence[RecordId | None]:
        return [self.derive(root, core) for core in cores]

    def derive(self, root: str, core: Any, /) -> RecordId | None:
        if root != "follow" or type(core) is not dict or type(core.get("uri")) is not str:
            return None
        return RecordId(hash_bytes(b"test-uri", core["uri"].encode(), size=16))


class ReplicaDevice:
    """One device's replica of one collection, its committed state beside it."""

    def __init__(
        self,
        number: int,
        *,
        collection: Collection = "follows",
        naming: RecordNaming | None = None,
        incarnation: int = 0,
    ) -> None:
        self.signing = SigningKey(hash_bytes(b"test-device", number.to_bytes(4, "big")))
        self.device = derive.device_id(self.signing.public)
        self.collection: Collection = collection
        self.log = derive.log_id(self.device, incarnation.to_bytes(16, "big"), collection)
        self.owner = TestOwner(
            self.device, collection, self.signing.public, derive.client_id(self.log)
        )
        self.naming: RecordNaming = naming if naming is not None else UriIds()
        self.reader = MemoryReader()
        self.clock = HybridClock()
        self.wall_ms = 1_700_000_000_000
        self.trust = OpenTrust()
        self.outcomes: list[Outcome] = []
        self.replica = self.new_replica()

    def new_replica(self) -> Replica:
        """A replica as after a start: it knows what is committed."""
        return Replica(
            space=SPACE,
            collection=self.collection,
            own=OwnLog(self.log, self.signing),
            reader=self.reader,
            naming=self.naming,
            trust=self.trust,
            clock=self.clock,
            taken=self.reader.taken.get(self.collection),
        )

    def restart(self) -> None:
        self.replica = self.new_replica()

    @property
    def now(self) -> Instant:
        return Instant(self.wall_ms, self.wall_ms)

    def commit(self, outcome: Outcome) -> Outcome:
        self.reader.commit(self.collection, outcome)
        self.outcomes.append(outcome)
        return outcome

    def trusts(self, trust: OpenTrust) -> Outcome:
        """Take a view of membership, sealing what is unsent in between."""
        self.trust = trust
        outcome = self.commit(self.replica.trust_changed(trust, self.now))
        self.seal()
        return outcome

    def operation(
        self,
        record: bytes,
        value: Any,
        *,
        field: str = "state",
        root: str = "follow",
        seen: Mapping[LogId, int] = NOTHING_SEEN,
    ) -> Operation:
        """An operation dated now."""
        hlc = self.clock.tick(self.wall_ms)
        return Operation(root, RecordId(record), field, hlc, value, seen)

    def write(self, *operations: Operation, live: bool = True) -> Outcome:
        return self.commit(self.replica.write(operations, live=live))

    def put(self, record: bytes, value: Any, *, field: str = "state", live: bool = True) -> Outcome:
        """A person's act: covers every other log's slot of the field that is applied here."""
        slots = self.replica.record("follow", RecordId(record)).get(field, {})
        seen = {log: slot.seq for log, slot in slots.items() if log != self.log}
        return self.write(self.operation(record, value, field=field, seen=seen), live=live)

    def seal(self) -> Outcome:
        return self.commit(self.replica.seal_overlay())

    def raws(self, log: LogId, first_seq: int = 1) -> list[bytes]:
        """Committed raw entries of a log."""
        return list(self.reader.entries(self.collection, log, first_seq, bytes_max=1 << 30))

    def receive(self, log: LogId, first_seq: int, raws: Sequence[bytes]) -> Outcome:
        self.seal()
        return self.commit(self.replica.receive(log, first_seq, raws, self.now))

    def pull(self, other: ReplicaDevice) -> list[Outcome]:
        """Take everything that the other device has committed and this one lacks."""
        outcomes = [
            self.commit(self.replica.receive_proof(fork, self.now)) for fork in other.reader.forks()
        ]
        held = self.replica.frontier.held
        for head in other.reader.log_heads(self.collection):
            first_seq = held.get(head.log, (0, b""))[0] + 1
            if first_seq <= head.held_seq:
                outcomes.append(self.receive(head.log, first_seq, other.raws(head.log, first_seq)))
        return outcomes


class HostileDevice(ReplicaDevice):
    """A member that signs whatever it likes: its chain is kept by hand, beside its replica."""

    def __init__(self, number: int, *, collection: Collection = "follows") -> None:
        super().__init__(number, collection=collection)
        self.seq = 0
        self.previous = NO_ENTRY

    def forge(
        self,
        plaintext: bytes,
        *,
        past: Sequence[Reference] = (),
        heads: Sequence[StatementId] = (),
        hlc: Hlc | None = None,
        sealed_form: bytes | None = None,
        sealed: bytes | None = None,
    ) -> bytes:
        """The next entry of its log, rightly signed, with this plaintext.

        `sealed_form` instead of the plaintext is what is sealed as it stands (compression byte
        included); `sealed` instead of all that stands in the entry as its ciphertext.
        """
        position = self.position()
        hlc = self.clock.tick(self.wall_ms) if hlc is None else hlc
        keys = EntryKeys(derive.entry_key(EPOCH_KEY), derive.entry_nonce_key(EPOCH_KEY))
        content = Compression().compress(plaintext) if sealed_form is None else sealed_form
        if sealed is None:
            self.previous, raw = seal_entry(
                position, EPOCH, hlc, past, heads, content, keys, self.signing
            )
        else:
            entry = Entry(EPOCH, hlc, tuple(past), tuple(heads), sealed, b"")
            self.previous, _ = entry_hash(position, entry)
            signature = self.signing.sign_hash(self.previous)
            raw = encode([1, EPOCH, hlc, [list(past), list(heads)], sealed, signature])
        self.seq += 1
        return raw

    def position(self) -> Position:
        """Where its next entry stands."""
        return Position(SPACE, self.collection, self.log, self.seq + 1, self.previous)

    def row(self, value: Any, **changed: Any) -> list[Any]:
        """One operation as it stands in a plaintext, some of it changed."""
        row = {
            "map": "follow",
            "record": bytes(16),
            "field": "state",
            "hlc": int(self.clock.tick(self.wall_ms)),
            "value": value,
            "seen": [],
        }
        return list((row | changed).values())


def acquaint(devices: Iterable[ReplicaDevice]) -> None:
    """Let all devices know their own logs and all that any of them knows."""
    devices = list(devices)
    owners = {device.log: device.owner for device in devices}
    for device in devices:
        owners |= device.trust.owners
    for device in devices:
        device.trusts(replace(device.trust, owners=owners))


def written_by_two(writes: int) -> ReplicaDevice:
    """A device that holds `writes` of its own and of another one, in turn by lot."""
    device, other = ReplicaDevice(1), ReplicaDevice(2)
    acquaint([device, other])
    chance = random.Random(1)
    for number in range(writes):
        author = chance.choice([device, other])
        author.pull(device if author is other else other)
        author.put(bytes([chance.randint(0, 9)]) * 16, number, field=chance.choice("abc"))
    device.pull(other)
    return device


def newcomer(sponsor: ReplicaDevice) -> ReplicaDevice:
    """A device that has nothing yet and knows what the sponsor knows of membership."""
    device = ReplicaDevice(9)
    acquaint([sponsor, device])
    device.trusts(replace(sponsor.trust, owners=device.trust.owners))
    return device
