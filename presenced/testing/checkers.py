"""The invariants of a simulated world, one class each.

Rules of this file: a checker only looks. Cheap ones are asked after every step, expensive ones at
rest; each keeps what it must remember over all time. Source: DESIGN §10.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from presenced import wire
from presenced.clock import Instant
from presenced.device.alerts import WORDS
from presenced.device.commit import Commit
from presenced.device.edits import EditResult
from presenced.device.effects import Answer, CloseLink, Event
from presenced.device.limits import ALERTS_MAX, EARLY_MESSAGES_MAX
from presenced.device.machine import DeviceMachine
from presenced.device.projection import keep_rows
from presenced.ids import COLLECTIONS, Collection, LogId, RecordId, hash_bytes
from presenced.presence.fields import FOLLOW_MAP, HOLDER, SESSION_MAP
from presenced.presence.naming import ContentNaming
from presenced.presence.views import follow_row, session_row
from presenced.replica.hlc import HybridClock
from presenced.replica.limits import (
    BATCH_ENTRIES_MAX,
    MESSAGE_BYTES_MAX,
    UNACKNOWLEDGED_BYTES_MAX,
    WAITING_ENTRIES_MAX,
)
from presenced.replica.messages import (
    FIRST_TYPE,
    ChunkArrived,
    EntriesArrived,
    FrontierReceived,
    collection_of,
)
from presenced.replica.messages import parse_message as parse_content
from presenced.replica.replica import Replica
from presenced.replica.rows import AlertKind, ForkProof, LogHead, Outcome, OverlayRow
from presenced.replica.slot import RecordSlots
from presenced.replica.snapshot import parse_manifest
from presenced.testing.link_doubles import SeededEntropy
from presenced.testing.sim_disk import SimDisk
from presenced.testing.sim_journal import Place, Written
from presenced.testing.sim_links import SealedEnd
from presenced.trust.statement import statement_id
from presenced.trust.statement_messages import Heads, Statements
from presenced.trust.statement_messages import parse_message as parse_trust

if TYPE_CHECKING:
    from presenced.testing.sim_device import Request, SimDevice
    from presenced.testing.sim_world import SimWorld


class Violation(AssertionError):
    """An invariant does not hold. `invariant` is the name of its checker."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant


class Checker:
    """Hears of what happens. A subclass has the hooks that it needs; the others cost nothing."""

    def landed(self, world: SimWorld, device: SimDevice, commit: Commit) -> None:
        """A commit is on a device's disk."""

    def started(self, world: SimWorld, device: SimDevice) -> None:
        """A machine was built from what is on disk."""

    def sends(self, world: SimWorld, device: SimDevice, messages: Sequence[bytes]) -> None:
        """A device sends messages on a link."""

    def closes(self, world: SimWorld, device: SimDevice, effect: CloseLink) -> None:
        """A device ends a link."""

    def answered(
        self, world: SimWorld, device: SimDevice, request: Request, answer: Answer
    ) -> None:
        """A device answers a request."""

    def alerted(self, world: SimWorld, device: SimDevice, event: Event) -> None:
        """A device tells its owner that something is wrong."""

    def after_step(self, world: SimWorld) -> None:
        """A step is over."""

    def at_rest(self, world: SimWorld) -> None:
        """Everything is healed, delivered and quiet."""

    def require(self, condition: bool, *words: object) -> None:
        """Raises `Violation` unless the condition holds."""
        if not condition:
            raise Violation(type(self).__name__, " ".join(map(str, words)))


class EqualEntriesEqualDigest(Checker):
    """Whoever has applied the same entries and statements has the same digest, for all time."""

    def __init__(self) -> None:
        self._digests: dict[tuple[Collection, bytes], bytes] = {}
        self._last: dict[tuple[int, Collection], bytes] = {}

    def after_step(self, world: SimWorld) -> None:
        if world.lots.random() < 0.3:
            self.at_rest(world)

    def at_rest(self, world: SimWorld) -> None:
        for device, replica in _loaded_replicas(world):
            point = replica.point()
            place = (device.index, replica.collection)
            if self._last.get(place) == point:
                continue
            self._last[place] = point
            digest = replica.digest()
            known = self._digests.setdefault((replica.collection, point), digest)
            self.require(known == digest, device.name, replica.collection, "differs at one point")


class AcknowledgedEditsStay(Checker):
    """What is written and was answered is there after every start, and at last everywhere."""

    def answered(
        self, world: SimWorld, device: SimDevice, request: Request, answer: Answer
    ) -> None:
        if answer.error is not None:
            return
        for result in answer.value:
            self._check_written(world, device, request, result)

    def _check_written(
        self, world: SimWorld, device: SimDevice, request: Request, result: EditResult
    ) -> None:
        if not result.written:
            return
        record = (result.map, result.record)
        newest = max(world.journal.own(log).newest.get(record, 0) for log in device.own.values())
        self.require(newest > request.hlc_before, device.name, "answered what is not on disk")

    def started(self, world: SimWorld, device: SimDevice) -> None:
        if world.lots.random() < 0.5:  # else the document stays unloaded, as it mostly does
            self._check_own(world, device)

    def at_rest(self, world: SimWorld) -> None:
        expected: dict[Collection, dict[tuple[str, RecordId], dict[tuple[str, LogId], Written]]]
        expected = {name: {} for name in COLLECTIONS}
        for log, place, written in world.journal.all_writes():
            fields = expected[place.collection].setdefault((place.map, place.record), {})
            fields[place.field, log] = written
        for device, replica in _replicas(world):
            found = 0
            for (map_name, record), slots in expected[replica.collection].items():
                shown = replica.record(map_name, record)
                found += sum(map(len, shown.values()))
                for (field, log), written in slots.items():
                    self._check_slot(device, shown, log, field, written)
            wanted = sum(map(len, expected[replica.collection].values()))
            self.require(found == wanted, device.name, "has slots that nobody wrote")
            sealed = replica.slot_count == wanted or replica.pending.unsent > 0
            self.require(sealed, device.name, "has records that nobody wrote")

    def _check_own(self, world: SimWorld, device: SimDevice) -> None:
        assert device.machine is not None
        for collection, log in device.own.items():
            replica = device.machine.shelf.replicas.get(collection)
            records: dict[tuple[str, RecordId], RecordSlots] = {}
            for place, written in world.journal.own(log).places.items():
                self.require(replica is not None, device.name, "lost a collection")
                assert replica is not None
                record = (place.map, place.record)
                if record not in records:
                    records[record] = replica.record(*record)
                self._check_slot(device, records[record], log, place.field, written)

    def _check_slot(
        self, device: SimDevice, shown: RecordSlots, log: LogId, field: str, written: Written
    ) -> None:
        slot = shown.get(field, {}).get(log)
        self.require(slot is not None, device.name, "lost", field, "of", log.hex())
        assert slot is not None
        same = slot.hlc == written.hlc and _same(slot.value, written.value)
        self.require(same, device.name, "holds another write of", field, "of", log.hex())


class OwnWritesGrow(Checker):
    """A log's writes of one field go forward: its HLC, and the number of its claim."""

    def __init__(self) -> None:
        self._last: dict[tuple[LogId, Place], Written] = {}

    def after_step(self, world: SimWorld) -> None:
        for log, place, written in world.journal.take_new():
            before = self._last.get((log, place))
            self._last[log, place] = written
            if before is None:
                continue
            self.require(written.hlc >= before.hlc, "a log's HLC went back at", place.field)
            if place.map == SESSION_MAP and place.field == HOLDER:
                self.require(written.value[0] >= before.value[0], "a claim's number went back")


class NothingUncommittedLeaves(Checker):
    """What is sent is on the sender's disk: entries, statements, frontiers, snapshots."""

    def sends(self, world: SimWorld, device: SimDevice, messages: Sequence[bytes]) -> None:
        for message in messages:
            if message[0] < FIRST_TYPE:
                self._check_trust(device, message)
            else:
                self._check_content(device, message)

    def _check_trust(self, device: SimDevice, message: bytes) -> None:
        match parse_trust(message):
            case Statements(raws=raws):
                ids: Iterable[bytes] = map(statement_id, raws)
            case Heads(heads=heads, markers=markers):
                ids = (*heads, *markers)
            case _:
                return
        for id_ in ids:
            self.require(device.disk.has_statement(id_), device.name, "sent an unsaved statement")

    def _check_content(self, device: SimDevice, message: bytes) -> None:
        collection = collection_of(message)
        match parse_content(message):
            case EntriesArrived(log=log, first_seq=first_seq, raws=raws):
                for seq, raw in enumerate(raws, start=first_seq):
                    entry = device.disk.entry_at(collection, log, seq)
                    saved = entry is not None and entry.raw == raw
                    self.require(saved, device.name, "sent an unsaved entry", seq)
            case FrontierReceived(frontier=frontier):
                points = {(log, *point) for log, point in frontier.held.items()}
                heads = device.disk.log_heads(collection)
                saved_points = {(head.log, head.held_seq, head.held_hash) for head in heads}
                self.require(points <= saved_points, device.name, "told an unsaved frontier")
            case ChunkArrived(index=0, raw=raw):
                manifest = parse_manifest(raw)
                held = {head.log: head.held_seq for head in device.disk.log_heads(collection)}
                for point in manifest.logs:
                    saved = held.get(point.log, 0) >= point.seq
                    self.require(saved, device.name, "gave a snapshot of unsaved entries")


class HonestDevicesAreNotBlamed(Checker):
    """No honest device breaks the protocol, forks, or differs where it should be equal."""

    EXPECTED: Final = frozenset({"duplicate", "host-error", "document-lost"})

    def closes(self, world: SimWorld, device: SimDevice, effect: CloseLink) -> None:
        expected = effect.code in self.EXPECTED
        self.require(expected, device.name, "blames a peer:", effect.code, effect.detail)

    def alerted(self, world: SimWorld, device: SimDevice, event: Event) -> None:
        words = event.data["detail"]
        fine = words == WORDS[AlertKind.CLOCK_AHEAD] or words.endswith("cannot be sent yet")
        self.require(fine, device.name, "raises an alert:", words)


class QueuesAreBounded(Checker):
    """Whatever waits, waits within its bound."""

    def after_step(self, world: SimWorld) -> None:
        window = UNACKNOWLEDGED_BYTES_MAX + MESSAGE_BYTES_MAX
        for device in world.running:
            machine = device.machine
            assert machine is not None
            self.require(len(machine.alerts) <= ALERTS_MAX, device.name, "keeps too many alerts")
            for peer in machine.links.values():
                for early in peer.early.values():
                    self.require(len(early) <= EARLY_MESSAGES_MAX, device.name, "early messages")
                for one in peer.syncs.values():
                    unacknowledged = one.unacknowledged_bytes
                    self.require(unacknowledged <= window, device.name, "window passed")
        for device, replica in _loaded_replicas(world):
            waiting = replica.pending.waiting
            bound = WAITING_ENTRIES_MAX + BATCH_ENTRIES_MAX
            self.require(waiting <= bound, device.name, waiting, "entries wait")


class ViewsAreResolvedRecords(Checker):
    """When nothing is in flight, the rows on disk are what the slots resolve to."""

    def after_step(self, world: SimWorld) -> None:
        for device in world.running:
            if device.batch is None and world.lots.random() < 0.02:
                self._check(device)

    def at_rest(self, world: SimWorld) -> None:
        self._check(world.lots.choice(world.members))

    def _check(self, device: SimDevice) -> None:
        assert device.machine is not None
        shelf = device.machine.shelf
        follows, sessions = shelf.replicas.get("follows"), shelf.replicas.get("sessions")
        if follows is not None:
            rows: Mapping[RecordId, object] = {
                record: follow_row(record, follows.record(FOLLOW_MAP, record))
                for record in follows.records(FOLLOW_MAP)
            }
            self._compare(device, rows, device.disk.follow_rows)
        if sessions is not None:
            rows = {
                record: session_row(record, sessions.record(SESSION_MAP, record))
                for record in sessions.records(SESSION_MAP)
            }
            self._compare(device, rows, device.disk.session_rows)

    def _compare(
        self,
        device: SimDevice,
        rows: Mapping[RecordId, object],
        on_disk: Mapping[RecordId, object],
    ) -> None:
        if rows == on_disk:
            return
        for record in rows.keys() | on_disk.keys():
            row, stored = rows.get(record), on_disk.get(record)
            self.require(row == stored, device.name, "shows", stored, "instead of", row)


class RestartsAreFaithful(Checker):
    """A document built from disk is the running one: log, base, and any order of arrival agree."""

    def after_step(self, world: SimWorld) -> None:
        for device in world.running:
            if device.batch is None and world.lots.random() < 0.005:
                self._check_rebuilt(device)

    def at_rest(self, world: SimWorld) -> None:
        self._check_rebuilt(world.lots.choice(world.members))
        whole = [device for device in world.members if _is_whole(device.disk)]
        if whole:
            device = world.lots.choice(whole)
            collection = world.lots.choice(COLLECTIONS)
            self._check_any_order(world, device, collection)
            self._check_base(device, collection)

    def _check_rebuilt(self, device: SimDevice) -> None:
        machine = device.machine
        assert machine is not None
        again = _rebuilt(device)
        for collection, replica in machine.shelf.replicas.items():
            other = again.shelf.replicas[collection]
            self._same(device, replica, other, "a restart")
            self._check_clocks(device, other)
            self._check_clocks(device, replica)

    def _check_clocks(self, device: SimDevice, replica: Replica) -> None:
        """No orphan: yrs has integrated exactly as many items as were applied."""
        ledger = replica._copy.ledger
        ends = {one.owner.client: one.clock_end for one in ledger.chains.values() if one.clock_end}
        clocks = _state_vector(ledger.document._doc.get_state())
        self.require(clocks == ends, device.name, "has orphans in", replica.collection)

    def _check_any_order(self, world: SimWorld, device: SimDevice, collection: Collection) -> None:
        """Acceptance is a function of the set of entries: feed them in an order drawn by lot."""
        assert device.machine is not None
        membership = device.machine.membership
        disk = SimDisk()
        fresh = Replica(
            space=membership.space,
            collection=collection,
            own=None,
            reader=disk,
            naming=ContentNaming(),
            trust=membership.view,
            clock=HybridClock(),
        )
        streams = {
            head.log: list(device.disk.entries(collection, head.log, 1, bytes_max=1 << 40))
            for head in device.disk.log_heads(collection)
        }
        places = {log: 0 for log, raws in streams.items() if raws}
        while places:
            log = world.lots.choice(sorted(places))
            start = places[log]
            end = start + world.lots.randint(1, 20)
            outcome = fresh.receive(log, start + 1, streams[log][start:end], Instant(0, 0))
            self.require(not outcome.faults, device.name, "has entries that a peer refuses")
            if outcome.paused:
                return  # a narrow bound on what waits; then order is the sender's concern
            commit = Commit()
            keep_rows(commit, collection, outcome)
            disk.apply(commit)
            places[log] = end
            if end >= len(streams[log]):
                del places[log]
        self._same(device, device.machine.shelf.replicas[collection], fresh, "another order")

    def _check_base(self, device: SimDevice, collection: Collection) -> None:
        replica = _rebuilt(device).shelf.replicas[collection]
        outcome: Outcome = replica.write_base()
        if outcome.base is None:
            return
        assert device.machine is not None
        membership = device.machine.membership
        based = Replica(
            space=membership.space,
            collection=collection,
            own=None,
            reader=_WithBase(device.disk, collection, [chunk.raw for chunk in outcome.base]),
            naming=ContentNaming(),
            trust=membership.view,
            clock=HybridClock(),
        )
        self._same(device, replica, based, "a start from a snapshot")

    def _same(self, device: SimDevice, one: Replica, other: Replica, what: str) -> None:
        collection = one.collection
        same = one.frontier == other.frontier
        self.require(same, device.name, what, "gives another frontier of", collection)
        same = one.digest() == other.digest()
        self.require(same, device.name, what, "gives another digest of", collection)


class LinksDeliverWhatWasSent(Checker):
    """Over damaged bytes a link delivers a beginning of what was sent, or ends."""

    def after_step(self, world: SimWorld) -> None:
        for dialler, answerer in world.link_pairs:
            for sender, hearer in ((dialler, answerer), (answerer, dialler)):
                assert isinstance(sender, SealedEnd)
                assert isinstance(hearer, SealedEnd)
                same = hearer.heard == sender.sent[: len(hearer.heard)]
                self.require(same, "a link delivered what was not sent")
        world.link_pairs = [pair for pair in world.link_pairs if pair[0].wire.alive]


class AllDevicesAgree(Checker):
    """At rest every device knows, holds, applies and shows the same, and nothing waits."""

    def at_rest(self, world: SimWorld) -> None:
        first, *others = world.members
        assert first.machine is not None
        statements = sorted(first.disk.statements())
        for device in others:
            assert device.machine is not None
            same = sorted(device.disk.statements()) == statements
            self.require(same, device.name, "knows other statements than", first.name)
            for collection, replica in device.machine.shelf.replicas.items():
                other = first.machine.shelf.replicas[collection]
                same = replica.frontier == other.frontier
                self.require(same, device.name, "has another frontier of", collection)
                self.require(replica.digest() == other.digest(), device.name, "digest differs")
            same = device.disk.follow_rows == first.disk.follow_rows
            self.require(same, device.name, "shows other follows than", first.name)
            same = device.disk.session_rows == first.disk.session_rows
            self.require(same, device.name, "shows other sessions than", first.name)
        for device, replica in _replicas(world):
            pending = replica.pending
            nothing = pending.waiting == pending.quarantined == 0
            self.require(nothing, device.name, "still waits:", replica.collection, pending)
            unsent = pending.unsent == 0 or len(world.members) == 1
            self.require(unsent, device.name, "has unsent edits of", replica.collection)


class _WithBase:
    """A disk whose collection has these base chunks."""

    def __init__(self, disk: SimDisk, collection: Collection, chunks: list[bytes]) -> None:
        self._disk = disk
        self._collection = collection
        self._chunks = chunks

    def log_heads(self, collection: Collection) -> Sequence[LogHead]:
        return self._disk.log_heads(collection)

    def forks(self) -> Iterable[ForkProof]:
        return self._disk.forks()

    def entries(
        self, collection: Collection, log: LogId, first_seq: int, *, bytes_max: int
    ) -> Sequence[bytes]:
        return self._disk.entries(collection, log, first_seq, bytes_max=bytes_max)

    def overlay(self, collection: Collection) -> Sequence[OverlayRow]:
        return self._disk.overlay(collection)

    def base(self, collection: Collection) -> Sequence[bytes]:
        return self._chunks if collection == self._collection else ()


def all_checkers() -> list[Checker]:
    """One of each."""
    return [
        EqualEntriesEqualDigest(),
        AcknowledgedEditsStay(),
        OwnWritesGrow(),
        NothingUncommittedLeaves(),
        HonestDevicesAreNotBlamed(),
        QueuesAreBounded(),
        ViewsAreResolvedRecords(),
        RestartsAreFaithful(),
        LinksDeliverWhatWasSent(),
        AllDevicesAgree(),
    ]


def state_hash(world: SimWorld) -> bytes:
    """32 bytes over all disks' entries and all traces: equal for equal runs."""
    parts = [repr(line).encode() for line in world.trace]
    for device in world.devices:
        parts += device.disk.statements()
        for collection in COLLECTIONS:
            for head in device.disk.log_heads(collection):
                parts.append(head.log + head.held_hash)
    return hash_bytes(b"pd/sim/1", *parts)


def _replicas(world: SimWorld) -> Iterator[tuple[SimDevice, Replica]]:
    for device in world.running:
        assert device.machine is not None
        for replica in device.machine.shelf.replicas.values():
            yield device, replica


def _loaded_replicas(world: SimWorld) -> Iterator[tuple[SimDevice, Replica]]:
    return ((device, replica) for device, replica in _replicas(world) if replica.loaded)


def _rebuilt(device: SimDevice) -> DeviceMachine:
    """A second machine on the same disk."""
    assert device.machine is not None
    assert device.secrets is not None
    return DeviceMachine(
        space=device.machine.membership.space,
        secrets=device.secrets,
        reader=device.disk,
        entropy=SeededEntropy("never used"),
    )


def _state_vector(raw: bytes) -> dict[int, int]:
    """Per client the clock up to which yrs has integrated its items (lib0 encoding)."""
    numbers = []
    number = shift = 0
    for byte in raw:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number)
            number = shift = 0
    return dict(zip(numbers[1::2], numbers[2::2], strict=True))


def _is_whole(disk: SimDisk) -> bool:
    """Whether every entry is on this disk one by one."""
    return not any(head.base_seq for name in COLLECTIONS for head in disk.log_heads(name))


def _same(one: Any, other: Any) -> bool:
    """Equal as values of the wire: 1, 1.0 and True differ."""
    return type(one) is type(other) and wire.encode(one) == wire.encode(other)
