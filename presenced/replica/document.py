"""A collection's state: a Yjs document that this device encodes itself, and an index of its keys.

Rules of this file: nothing is judged here; what is put in was accepted. Items gather in one
section per writer and reach yrs in one update per `flush`. yrs holds the values; the index holds,
per record, only what the encoder and the readers need, packed into one integer per slot, because
there are hundreds of thousands of them (about 200 bytes a record beside yrs).

Theory of operation. Every slot has one writer: the key is `record/field/client`, and its items
form a chain in the writer's own client. So where an item belongs follows from the writer's log
alone (first item of its key, or the clock of the last one), and the order in which logs are
applied does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final

from presenced.errors import HostError
from presenced.ids import LogId, RecordId
from presenced.limits import RECORD_FIELDS_MAX
from presenced.replica.operation import CORE, decode_slot
from presenced.replica.slot import Operation, Slot
from presenced.replica.yjs_update import (
    VAR_UINTS,
    KeyShape,
    Section,
    encode_update,
    shown_records,
    var_uint,
)
from presenced.wire import encode_prepared

if TYPE_CHECKING:
    from pycrdt import Doc, Map

Change = frozenset[str] | Operation
Touched = dict[tuple[str, RecordId], Change]
"see rows.Outcome"

# One slot in an integer, from the low end: clock (40 bits), seq (40), field (24), writer.
_SEQ_SHIFT: Final = 40
_KEY_SHIFT: Final = 80
_FIELD_BITS: Final = 24
_CLOCK_MASK: Final = (1 << _SEQ_SHIFT) - 1
_FIELD_MASK: Final = (1 << _FIELD_BITS) - 1

_BUCKETS: Final = 256

_CORE_ONLY: Final = frozenset({CORE})
_ABSENT: Final = frozenset({""})


class DocumentLost(HostError):
    """yrs panicked: the document must be dropped and loaded again from the log."""

    code = "document-lost"


class Lane:
    """What one writer's slots of one (root map, field) share."""

    __slots__ = (
        "field",
        "field_bytes",
        "key",
        "key_bytes",
        "one",
        "read",
        "records",
        "row_head",
        "shape",
        "writer",
    )

    def __init__(
        self,
        writer: Writer,
        key: int,
        root: str,
        field: str,
        records: dict[RecordId, Any],
        read: Callable[[Any, str], Any],
    ) -> None:
        self.writer = writer
        self.key = key
        self.field = field
        self.shape = KeyShape(root, field, writer.client)
        self.records = records
        self.read = read
        "yrs's own map: (transaction, key) -> stored bytes; pycrdt's Map is ten times slower"
        self.one = frozenset({field})
        self.key_bytes = encode_prepared((root, field, writer.client))
        self.row_head = b"\x95" + encode_prepared(root) + b"\xc4\x10"
        self.field_bytes = encode_prepared(field)


class Writer:
    """A log as the document knows it."""

    __slots__ = ("client", "index", "lanes", "log")

    def __init__(self, index: int, log: LogId, client: int) -> None:
        self.index = index
        self.log = log
        self.client = client
        self.lanes: dict[tuple[str, str], Lane] = {}


class Document:
    """The document of one collection. Not thread-safe; readers see what was flushed."""

    def __init__(self) -> None:
        from pycrdt import Doc, Map  # here: 60 ms that a device which only shows lists never needs

        self._doc: Doc[Any] = Doc(client_id=1)
        self._map_type = Map
        self._maps: dict[str, Map[Any]] = {}
        self._roots: dict[str, dict[RecordId, Any]] = {}
        self._lanes: dict[str, dict[int, Lane]] = {}
        "by root and the upper bits of a slot's integer"
        self._fields: list[str] = []
        self._field_numbers: dict[str, int] = {}
        self._writers: list[Writer] = []
        self._sections: dict[int, Section] = {}
        self._widest = 1
        self.slot_count = 0
        self.dirty: set[int] = set(range(256))
        "first bytes of the records that changed since the digest was taken"

    # --- writing ---

    def writer(self, log: LogId, client: int) -> Writer:
        """A new writer. One per log."""
        writer = Writer(len(self._writers), log, client)
        self._writers.append(writer)
        return writer

    def put(
        self,
        writer: Writer,
        clock: int,
        seq: int,
        operations: Sequence[Operation],
        stored: Sequence[bytes],
        touched: Touched,
        shown: Sequence[bytes] | None = None,
    ) -> None:
        """Add the operations of the writer's entry `seq`, whose first item has `clock`.

        `stored` are the bytes their slots store, `shown` the base32 of their records if known.
        """
        section = self._section(writer, clock)
        section.structs += len(operations)
        records = [operation[1] for operation in operations]
        if len(self.dirty) < _BUCKETS:
            self.dirty.update([record[0] for record in records])
        texts = shown or shown_records(records)
        stamp = (seq << _SEQ_SHIFT) | clock
        lane = self._lane_of_new(writer, operations, records)
        if lane is None:
            for operation, text, raw in zip(operations, texts, stored, strict=True):
                self._put_one(writer, section, stamp, operation, text, raw, touched)
                stamp += 1
            return
        head, tail, packed = lane.shape.first_head, lane.shape.tail, lane.key << _KEY_SHIFT | stamp
        lengths = [VAR_UINTS[size] if size < 1024 else var_uint(size) for size in map(len, stored)]
        section.pieces += chain.from_iterable(
            zip(repeat(head), texts, repeat(tail), lengths, stored, strict=False)
        )
        lane.records.update(zip(records, range(packed, packed + len(records)), strict=True))
        self.slot_count += len(records)
        changes: Iterable[Change] = operations if lane.field == CORE else repeat(lane.one)
        places = zip(repeat(operations[0].map), records, strict=False)
        touched.update(zip(places, changes, strict=False))

    def _lane_of_new(
        self, writer: Writer, operations: Sequence[Operation], records: Sequence[RecordId]
    ) -> Lane | None:
        """The lane of operations of one map and field, if each is the first of its record."""
        named = {(one[0], one[2]) for one in operations}
        if len(named) > 1:
            return None
        root, field = named.pop()
        lane = writer.lanes.get((root, field)) or self._lane(writer, root, field)
        distinct = set(records)
        is_new = len(distinct) == len(records) and lane.records.keys().isdisjoint(distinct)
        return lane if is_new else None

    def _put_one(
        self,
        writer: Writer,
        section: Section,
        stamp: int,
        operation: Operation,
        text: bytes,
        raw: bytes,
        touched: Touched,
    ) -> None:
        """Add an operation. `stamp`: its seq and clock, packed; `text`: the record in base32."""
        root, record, field = operation[:3]
        lane = writer.lanes.get((root, field)) or self._lane(writer, root, field)
        packed = lane.key << _KEY_SHIFT | stamp
        slots = lane.records.get(record)
        if slots is None:
            lane.records[record] = packed
            self.slot_count += 1
            section.pieces += lane.shape.first(text, raw)
            touched[root, record] = operation if field == CORE else lane.one
            return
        origin = self._replace(lane, record, slots, packed)
        if origin is None:
            self.slot_count += 1
            section.pieces += lane.shape.first(text, raw)
        else:
            section.pieces += lane.shape.overwriting(origin, raw)
        fields = touched.get((root, record), _ABSENT)
        if fields is _ABSENT:
            touched[root, record] = lane.one
        else:
            before = fields if isinstance(fields, frozenset) else _CORE_ONLY
            touched[root, record] = before | lane.one

    def put_gap(self, writer: Writer, clock: int, length: int) -> None:
        """Clocks of the writer whose items a snapshot left out."""
        self._section(writer, clock).gap(length)

    def flush(self) -> None:
        """Give yrs everything put since the last flush. Raises `DocumentLost`."""
        if not self._sections:
            return
        update = encode_update(self._sections.values())
        self._sections = {}
        try:
            self._doc.apply_update(update)
        except BaseException as error:
            # yrs panics reach Python as pyo3's PanicException, which is no Exception.
            if type(error).__name__ != "PanicException" and not isinstance(error, ValueError):
                raise
            raise DocumentLost("yrs refused an update of our own") from error

    def too_wide(self, writer: Writer, operations: Sequence[Operation]) -> bool:
        """Whether these operations would give a record more fields by this writer than allowed.

        A function of the writer's log alone, so that all devices judge an entry alike.
        """
        spare = RECORD_FIELDS_MAX - self._widest
        if len(operations) <= spare:
            return False
        if len(operations) - len({operation[1] for operation in operations}) + 1 <= spare:
            return False
        fields: dict[tuple[str, RecordId], set[str]] = {}
        for operation in operations:
            at = (operation.map, operation.record)
            if at not in fields:
                fields[at] = {
                    self._fields[packed >> _KEY_SHIFT & _FIELD_MASK]
                    for packed in self._packed(*at)
                    if packed >> (_KEY_SHIFT + _FIELD_BITS) == writer.index
                }
            fields[at].add(operation.field)
        return any(len(names) > RECORD_FIELDS_MAX for names in fields.values())

    def _section(self, writer: Writer, clock: int) -> Section:
        section = self._sections.get(writer.index)
        if section is None:
            section = self._sections[writer.index] = Section(writer.client, clock)
        return section

    def _lane(self, writer: Writer, root: str, field: str) -> Lane:
        number = self._field_numbers.get(field)
        if number is None:
            number = self._field_numbers[field] = len(self._fields)
            assert number <= _FIELD_MASK
            self._fields.append(field)
        records = self._roots.get(root)
        if records is None:
            records = self._roots[root] = {}
            self._maps[root] = self._doc.get(root, type=self._map_type)
        key = writer.index << _FIELD_BITS | number
        lane = Lane(writer, key, root, field, records, self._maps[root].integrated.get)
        writer.lanes[root, field] = self._lanes.setdefault(root, {})[key] = lane
        return lane

    def _replace(self, lane: Lane, record: RecordId, slots: Any, packed: int) -> int | None:
        """Set the slot in the index; the clock of the item it overwrites, None if it is new."""
        if type(slots) is int:
            if slots >> _KEY_SHIFT == lane.key:
                lane.records[record] = packed
                return slots & _CLOCK_MASK
            lane.records[record] = (slots, packed)
        else:
            for at, slot in enumerate(slots):
                if slot >> _KEY_SHIFT == lane.key:
                    lane.records[record] = (*slots[:at], packed, *slots[at + 1 :])
                    return int(slot & _CLOCK_MASK)
            lane.records[record] = (*slots, packed)
        self._widest = max(self._widest, len(lane.records[record]))
        return None

    # --- reading ---

    def roots(self) -> list[str]:
        return sorted(self._roots)

    def records(self, root: str) -> Iterator[RecordId]:
        return iter(self._roots.get(root, {}))

    def knows(self, root: str, record: RecordId) -> bool:
        return record in self._roots.get(root, {})

    def slots(self, root: str, record: RecordId) -> dict[str, dict[LogId, Slot]]:
        """All slots of a record: by field, then by log. Empty if there are none."""
        fields: dict[str, dict[LogId, Slot]] = {}
        if self.knows(root, record):
            for lane, _, raw in self._stored(root, [record]):
                fields.setdefault(lane.field, {})[lane.writer.log] = decode_slot(raw)
        return fields

    def rows_by_writer(self) -> Iterator[tuple[Writer, list[bytes]]]:
        """Per writer that has any, its latest slots by clock, each as a row of a snapshot.

        A row: `[map, record, field, clock, [seq, hlc, value, seen]]`, canonical.
        """
        places: list[list[tuple[int, int, RecordId, str]]] = [[] for _ in self._writers]
        for root, records in self._roots.items():
            for record, slots in records.items():
                if type(slots) is int:
                    place = (slots & _CLOCK_MASK, slots, record, root)
                    places[slots >> (_KEY_SHIFT + _FIELD_BITS)].append(place)
                    continue
                for packed in slots:
                    place = (packed & _CLOCK_MASK, packed, record, root)
                    places[packed >> (_KEY_SHIFT + _FIELD_BITS)].append(place)
        for writer, at in zip(self._writers, places, strict=True):
            if at:
                at.sort()
                yield writer, self._rows(at)
                at.clear()

    def _rows(self, places: Sequence[tuple[int, int, RecordId, str]]) -> list[bytes]:
        texts = shown_records([place[2] for place in places])
        lanes, pack = self._lanes, encode_prepared
        rows = []
        with self._doc.transaction() as transaction:
            held = transaction._txn
            for (clock, packed, record, root), text in zip(places, texts, strict=True):
                lane = lanes[root][packed >> _KEY_SHIFT]
                raw = lane.read(held, text.decode("ascii") + lane.shape.suffix)
                rows.append(b"".join((lane.row_head, record, lane.field_bytes, pack(clock), raw)))
        return rows

    def live_rows(self, root: str, records: Sequence[RecordId]) -> list[bytes]:
        """All live slots of these records, in no order: each the record, map, field, client (the
        latter three canonical) and what is stored.
        """
        index, lanes = self._roots[root], self._lanes[root]
        live: list[bytes] = []
        shared: list[RecordId] = []
        with self._doc.transaction() as transaction:
            held = transaction._txn
            for record, text in zip(records, shown_records(records), strict=True):
                packed = index[record]
                if type(packed) is not int:
                    shared.append(record)
                    continue
                lane = lanes[packed >> _KEY_SHIFT]
                raw = lane.read(held, text.decode("ascii") + lane.shape.suffix)
                live.append(record + lane.key_bytes + raw)
        fields: dict[tuple[RecordId, str], list[tuple[Lane, bytes]]] = {}
        for lane, record, raw in self._stored(root, shared):
            fields.setdefault((record, lane.field), []).append((lane, raw))
        for (record, _), slots in fields.items():
            live += [record + lane.key_bytes + raw for lane, raw in _live(slots)]
        return live

    def _packed(self, root: str, record: RecordId) -> tuple[int, ...]:
        slots = self._roots.get(root, {}).get(record, ())
        return (slots,) if type(slots) is int else slots

    def _stored(self, root: str, records: Sequence[RecordId]) -> list[tuple[Lane, RecordId, bytes]]:
        """Every slot of the records, with the bytes it stores."""
        index, lanes = self._roots[root], self._lanes[root]
        found = []
        with self._doc.transaction() as transaction:
            held = transaction._txn
            for record, text in zip(records, shown_records(records), strict=True):
                slots = index.get(record, ())
                shown = text.decode("ascii")
                for packed in (slots,) if type(slots) is int else slots:
                    lane = lanes[packed >> _KEY_SHIFT]
                    found.append((lane, record, lane.read(held, shown + lane.shape.suffix)))
        return found


def _live(slots: Sequence[tuple[Lane, bytes]]) -> list[tuple[Lane, bytes]]:
    """The slots of one field that no other one has in its `seen`."""
    if len(slots) == 1:
        return [*slots]
    read = [(lane.writer.log, lane, raw, decode_slot(raw)) for lane, raw in slots]
    return [
        (lane, raw)
        for log, lane, raw, slot in read
        if not any(other.seen.get(log, 0) >= slot.seq for name, _, _, other in read if name != log)
    ]
