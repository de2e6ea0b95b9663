"""Operations as bytes: the plaintext of an entry, and the value that a slot stores.

Rules of this file: an entry's plaintext is the canonical list of `[map, record, field, hlc,
value, seen]`, each field at most once. `record` is nil for a `core` operation whose id comes from
its content: the receiver derives it, so it cannot lie. `seen` is a list of [log, seq] pairs
sorted by log, and never exceeds what the entry's past declares. A slot stores `[seq, hlc, value,
seen]`. Either every operation of an entry is right or none is taken.

Entries have up to 1,000 operations and arrive by the hundred: the loops here are the hot path,
so the common shape (a flat map with sorted keys) is recognised without walking it in Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgpack

from presenced.errors import InvalidValue, LimitExceeded, Malformed
from presenced.ids import ID_BYTES, LogId, RecordId
from presenced.limits import (
    ENTRY_EXPANDED_BYTES_MAX,
    ENTRY_OPERATIONS_MAX,
    NAME_BYTES_MAX,
    VALUE_BYTES_MAX,
)
from presenced.replica.hlc import HLC_MAX
from presenced.replica.limits import PAST_ITEMS_MAX, SEQ_MAX
from presenced.replica.seams import RecordNaming
from presenced.replica.slot import Operation, Slot
from presenced.wire import decode, encode, encode_prepared, pack_big_integer, unpack_extension

CORE: Final = "core"
NOTHING_SEEN: Final[Mapping[LogId, int]] = MappingProxyType({})

_SCALARS: Final = frozenset({str, bytes, bool, int, type(None)})
_SHAPES_MAX: Final = 1_024
"key shapes remembered as sorted; past it they are checked each time"

_operation: Final = partial(tuple.__new__, Operation)


class Decoded(NamedTuple):
    """The operations of one entry, ids derived, and beside each the bytes its slot stores."""

    operations: list[Operation]
    stored: list[bytes]
    hlc_max: int


class SnapshotRow(NamedTuple):
    """One slot of a snapshot: the operation that wrote it, where it stands, what is stored."""

    clock: int
    seq: int
    operation: Operation
    stored: bytes


_snapshot_row: Final = partial(tuple.__new__, SnapshotRow)


class OperationCodec:
    """Encodes and decodes the operations of one collection's entries."""

    def __init__(self, naming: RecordNaming) -> None:
        self._derive = naming.derive
        self._pack = msgpack.Packer(use_bin_type=True, default=pack_big_integer).pack
        self._sorted_shapes: set[tuple[Any, ...]] = set()

    # --- receiving ---

    def decode(self, plaintext: bytes, seq: int, log: LogId, past: Mapping[LogId, int]) -> Decoded:
        """What an entry at `seq` of `log` says. `past`: per log the highest seq it declares.

        Raises `Malformed` or `LimitExceeded`; then nothing of the entry is taken.
        """
        rows = self._rows(plaintext)
        derive, pack = self._derive, self._pack
        shapes, flat = self._sorted_shapes, _SCALARS.issuperset
        lanes: dict[tuple[str, str], set[bytes]] = {}
        operations, stored = [], []
        hlc_max = 0
        try:
            for root, record, field, hlc, value, seen in rows:
                written = lanes.get((root, field))
                if written is None:
                    written = lanes[check_name(root), check_name(field)] = set()
                if record is None:
                    record = derive(root, value) if field == CORE else None
                    if record is None:
                        raise Malformed("operation without a record")
                elif type(record) is not bytes or len(record) != ID_BYTES:
                    raise Malformed("operation: record")
                elif field == CORE and derive(root, value) is not None:
                    raise Malformed("operation: an id that comes from content was stated")
                written.add(record)
                if type(hlc) is not int or not 0 <= hlc <= HLC_MAX:
                    raise Malformed("operation: hlc")
                if hlc > hlc_max:
                    hlc_max = hlc
                if (
                    type(value) is not dict
                    or tuple(value) not in shapes
                    or not flat(map(type, value.values()))
                ) and not self._is_plain(value):
                    decode(pack(value))
                raw = pack((seq, hlc, value, seen))
                if len(raw) > VALUE_BYTES_MAX:
                    self._check_size(value)
                heard = NOTHING_SEEN if seen == [] else _seen_mapping(seen, log, past)
                stored.append(raw)
                operations.append(_operation((root, record, field, hlc, value, heard)))
        except (ValueError, TypeError) as error:
            raise Malformed("not a list of operations") from error
        if sum(map(len, lanes.values())) != len(rows):
            raise Malformed("a field is written twice in one entry")
        return Decoded(operations, stored, hlc_max)

    def decode_rows(
        self, rows: Sequence[Any], log: LogId, frontier: Mapping[LogId, int]
    ) -> list[SnapshotRow]:
        """Slots of a snapshot: `[map, record, field, clock, [seq, hlc, value, seen]]`, one log's.

        By clock, within the log's own `frontier`, ids stated. The rows come out of `canonical`.
        Raises `Malformed` or `LimitExceeded`.
        """
        pack, shapes, flat = self._pack, self._sorted_shapes, _SCALARS.issuperset
        named: set[tuple[str, str]] = set()
        read = []
        before, seq_max = -1, frontier.get(log, 0)
        try:
            for root, record, field, clock, (seq, hlc, value, seen) in rows:
                if (root, field) not in named:
                    named.add((check_name(root), check_name(field)))
                if type(record) is not bytes or len(record) != ID_BYTES:
                    raise Malformed("slot: record")
                if type(clock) is not int or not before < clock <= SEQ_MAX:
                    raise Malformed("slot: clock")
                if type(seq) is not int or not 0 < seq <= seq_max:
                    raise Malformed("slot: seq")
                if type(hlc) is not int or not 0 <= hlc <= HLC_MAX:
                    raise Malformed("slot: hlc")
                before = clock
                if (
                    type(value) is not dict
                    or tuple(value) not in shapes
                    or not flat(map(type, value.values()))
                ) and not self._is_plain(value):
                    decode(pack(value))
                raw = pack((seq, hlc, value, seen))
                if len(raw) > VALUE_BYTES_MAX:
                    self._check_size(value)
                heard = NOTHING_SEEN if seen == [] else _seen_mapping(seen, log, frontier)
                operation = _operation((root, record, field, hlc, value, heard))
                read.append(_snapshot_row((clock, seq, operation, raw)))
        except (ValueError, TypeError) as error:
            raise Malformed("not a list of slots") from error
        return read

    def canonical_rows(self, plaintext: bytes) -> Any:
        """The value of canonical bytes whose leaves `decode` or `decode_rows` will check."""
        try:
            rows = msgpack.unpackb(
                plaintext,
                raw=False,
                strict_map_key=False,
                use_list=True,
                ext_hook=unpack_extension,
                max_array_len=ENTRY_EXPANDED_BYTES_MAX,
            )
            again = self._pack(rows)
        except Malformed:
            raise
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Malformed(f"not canonical msgpack: {type(error).__name__}") from error
        if again != plaintext:
            raise Malformed("not in canonical form")
        return rows

    def _rows(self, plaintext: bytes) -> list[Any]:
        if len(plaintext) > ENTRY_EXPANDED_BYTES_MAX:
            raise LimitExceeded("entry-expanded-bytes", str(len(plaintext)))
        rows = self.canonical_rows(plaintext)
        if type(rows) is not list or not rows:
            raise Malformed("not a list of operations")
        if len(rows) > ENTRY_OPERATIONS_MAX:
            raise LimitExceeded("entry-operations", str(len(rows)))
        return rows

    def _is_plain(self, value: Any) -> bool:
        """Whether a value is canonical at a glance: a scalar, or a flat map in order."""
        kind = type(value)
        if kind in _SCALARS:
            return True
        if kind is not dict or not _SCALARS.issuperset(map(type, value.values())):
            return False
        shape = tuple(value)
        if shape in self._sorted_shapes:
            return True
        if not _is_sorted(shape):
            return False
        if len(self._sorted_shapes) < _SHAPES_MAX:
            self._sorted_shapes.add(shape)
        return True

    def _check_size(self, value: Any) -> None:
        size = len(self._pack(value))
        if size > VALUE_BYTES_MAX:
            raise LimitExceeded("value-bytes", str(size))

    # --- writing ---

    def canonical(self, operations: Iterable[Operation]) -> list[Operation]:
        """Own operations with values in canonical order, checked as a receiver would.

        Raises `InvalidValue` for a value that the document cannot hold.
        """
        checked = []
        named: set[tuple[str, str]] = set()
        for operation in operations:
            root, record, field, hlc, value, seen = operation
            assert len(record) == ID_BYTES
            assert 0 <= hlc <= HLC_MAX
            try:
                if (root, field) not in named:
                    named.add((check_name(root), check_name(field)))
                if not self._is_plain(value):
                    value = decode(encode(value))
                    operation = Operation(root, record, field, hlc, value, seen)
                size = len(self._pack(value))
            except (Malformed, LimitExceeded, ValueError, OverflowError) as error:
                raise InvalidValue(f"not a value the document can hold: {error}") from error
            if size > VALUE_BYTES_MAX:
                raise InvalidValue(f"value of {size} bytes; at most {VALUE_BYTES_MAX}")
            checked.append(operation)
        return checked

    def plaintext(self, operations: Sequence[Operation]) -> bytes:
        """The plaintext of an entry of own canonical operations."""
        derive = self._derive
        rows = []
        for root, record, field, hlc, value, seen in operations:
            named: RecordId | None = record
            if field == CORE:
                derived = derive(root, value)
                assert derived is None or derived == record, "the record is not what its core names"
                if derived is not None:
                    named = None
            rows.append((root, named, field, hlc, value, seen_pairs(seen) if seen else ()))
        return self._pack(rows)  # type: ignore[no-any-return]

    def stored(self, operations: Sequence[Operation], seq: int) -> list[bytes]:
        """The bytes that the slots of own operations store."""
        pack = self._pack
        return [
            pack((seq, hlc, value, seen_pairs(seen) if seen else ()))
            for _, _, _, hlc, value, seen in operations
        ]


def decode_slot(raw: bytes) -> Slot:
    """The slot of stored bytes: our own, so they are only read, not checked again."""
    seq, hlc, value, seen = msgpack.unpackb(
        raw, raw=False, strict_map_key=False, ext_hook=unpack_extension
    )
    return Slot(seq, hlc, value, {LogId(log): at for log, at in seen} if seen else NOTHING_SEEN)


def seen_pairs(seen: Mapping[LogId, int]) -> list[tuple[LogId, int]]:
    """`seen` as it is written: [log, seq] pairs sorted by log."""
    return sorted(seen.items())


def encode_seen(seen: Mapping[LogId, int]) -> bytes:
    return encode_prepared(seen_pairs(seen))


def decode_seen(raw: bytes) -> Mapping[LogId, int]:
    return {LogId(log): seq for log, seq in decode(raw)} or NOTHING_SEEN


def check_name(name: Any) -> str:
    """A map or field name: text of 1 to 64 bytes. Raises `Malformed` or `LimitExceeded`."""
    if type(name) is not str or not name:
        raise Malformed("a name is not text")
    if len(name.encode("utf-8")) > NAME_BYTES_MAX:
        raise LimitExceeded("name-bytes", str(len(name)))
    return name


def parse_seen(pairs: Any) -> dict[LogId, int]:
    """The mapping of [log, seq] pairs sorted by log. Raises `Malformed` or `LimitExceeded`."""
    if len(pairs) > PAST_ITEMS_MAX:
        raise LimitExceeded("past-items", f"{len(pairs)} seen")
    mapping: dict[LogId, int] = {}
    before = b""
    for pair in pairs:
        if type(pair) is not list or len(pair) != 2:
            raise Malformed("operation: seen")
        log, seq = pair
        if type(log) is not bytes or len(log) != ID_BYTES or log <= before:
            raise Malformed("operation: seen is not sorted by log")
        if type(seq) is not int or not 0 < seq <= SEQ_MAX:
            raise Malformed("operation: seen seq")
        mapping[LogId(log)] = seq
        before = log
    return mapping


def _seen_mapping(pairs: Any, own: LogId, past: Mapping[LogId, int]) -> dict[LogId, int]:
    if type(pairs) is not list:
        raise Malformed("operation: seen")
    mapping = parse_seen(pairs)
    for log, seq in mapping.items():
        if log == own or seq > past.get(log, 0):
            raise Malformed("operation: seen exceeds the entry's past")
    return mapping


def _is_sorted(shape: tuple[Any, ...]) -> bool:
    if not all(type(key) is str for key in shape):
        return False
    raw = [key.encode("utf-8") for key in shape]
    return all(one < other for one, other in pairwise(raw))


def _has_big_integer(value: Any) -> bool:
    values = value.values() if type(value) is dict else (value,)
    return any(type(item) is int and not -(2**63) <= item < 2**64 for item in values)
