"""Operations as bytes: the plaintext of an entry, and the value that a slot stores.

Rules of this file: an entry's plaintext is the canonical list of `[map, record, field, hlc,
value, seen]`, each field at most once. `record` is nil for a `core` operation whose id comes from
its content: the receiver derives it, so it cannot lie. `seen` is a list of [log, seq] pairs
sorted by log, and never exceeds what the entry's past declares. A slot stores `[seq, hlc, value,
seen]`. Either every operation of an entry is right or none is taken.

Entries have up to 1,000 operations and arrive by the hundred: this is the hot path. So what
comes in is checked column by column, where Python's own loops do the work, not cell by cell; and
the common shape of a value (a flat map with sorted keys) is recognised without walking it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain, pairwise, repeat
from operator import lt
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgpack
import msgspec

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

# For bulk: twice as fast as msgpack. Both write the same bytes, but for integers beyond 64 bits.
_read: Final = msgspec.msgpack.Decoder(ext_hook=unpack_extension).decode
_write: Final = msgspec.msgpack.Encoder().encode


class Decoded(NamedTuple):
    """The operations of one entry, ids derived, and beside each the bytes its slot stores."""

    operations: list[Operation]
    stored: list[bytes]
    hlc_max: int


class SnapshotRows(NamedTuple):
    """Slots of a snapshot, column by column: where each stands, who wrote it, what it stores."""

    clocks: Sequence[int]
    seqs: Sequence[int]
    operations: list[Operation]
    stored: list[bytes]


class OperationCodec:
    """Encodes and decodes the operations of one collection's entries."""

    def __init__(self, naming: RecordNaming) -> None:
        self._derive = naming.derive
        self._derive_all = naming.derive_all
        self._pack = msgpack.Packer(use_bin_type=True, default=pack_big_integer).pack
        self._sorted_shapes: set[tuple[Any, ...]] = set()

    # --- receiving ---

    def decode(self, plaintext: bytes, seq: int, log: LogId, past: Mapping[LogId, int]) -> Decoded:
        """What an entry at `seq` of `log` says. `past`: per log the highest seq it declares.

        Raises `Malformed` or `LimitExceeded`; then nothing of the entry is taken.
        """
        rows = self._rows(plaintext)
        try:
            roots, records, fields, hlcs, values, seens = zip(*rows, strict=True)
            named = set(zip(roots, fields, strict=True))
            for root, field in named:
                check_name(root)
                check_name(field)
            ids = self._named(named, roots, records, fields, values)
            _check_times(hlcs)
            self._check_values(values)
            heard = _heard(seens, log, past)
            stored = self._stored(repeat(seq), hlcs, values, seens)
        except (ValueError, TypeError) as error:
            raise Malformed("not a list of operations") from error
        self._check_sizes(stored, values)
        is_written_once = (
            len(set(ids)) == len(ids)
            if len(named) == 1
            else len(set(zip(roots, ids, fields, strict=True))) == len(ids)
        )
        if not is_written_once:
            raise Malformed("a field is written twice in one entry")
        operations = list(
            map(_operation, zip(roots, ids, fields, hlcs, values, heard, strict=True))
        )
        return Decoded(operations, stored, max(hlcs))

    def _named(
        self,
        named: set[tuple[str, str]],
        roots: Sequence[str],
        records: Sequence[Any],
        fields: Sequence[str],
        values: Sequence[Any],
    ) -> list[RecordId]:
        """The records of operations: as stated, or, for a `core` that names one, derived."""
        ids = list(records)
        for root in {root for root, field in named if field == CORE}:
            at = (
                range(len(ids))
                if len(named) == 1
                else [
                    i
                    for i, pair in enumerate(zip(roots, fields, strict=True))
                    if pair == (root, CORE)
                ]
            )
            found = self._derive_all(root, [values[i] for i in at])
            if len(at) == len(ids) == records.count(None) and None not in found:
                return [*found]  # type: ignore[list-item]  # an import, its ids all there
            for i, derived in zip(at, found, strict=True):
                if derived is None:
                    continue
                if ids[i] is not None:
                    raise Malformed("operation: an id that comes from content was stated")
                ids[i] = derived
        if None in ids:
            raise Malformed("operation without a record")
        _check_records(ids)
        return ids

    def read_own(self, plaintext: bytes) -> list[Operation]:
        """What an own entry says; its content was checked when it was sealed."""
        operations = []
        for root, record, field, hlc, value, seen in self.canonical_rows(plaintext):
            named = self._derive(root, value) if record is None else record
            assert named is not None
            heard = {LogId(log): at for log, at in seen}
            operations.append(Operation(root, named, field, hlc, value, heard))
        return operations

    def decode_rows(
        self, rows: Sequence[Any], log: LogId, frontier: Mapping[LogId, int]
    ) -> SnapshotRows:
        """Slots of a snapshot: `[map, record, field, clock, [seq, hlc, value, seen]]`, one log's.

        By clock, within the log's own `frontier`, ids stated. The rows come out of `canonical_rows`
        and there is one at least. Raises `Malformed` or `LimitExceeded`.
        """
        try:
            _check_lists(rows)
            roots, records, fields, clocks, slots = zip(*rows, strict=True)
            _check_lists(slots)
            seqs, hlcs, values, seens = zip(*slots, strict=True)
            for root, field in set(zip(roots, fields, strict=True)):
                check_name(root)
                check_name(field)
            _check_records(records)
            if set(map(type, clocks)) != {int} or not 0 <= clocks[0] <= clocks[-1] <= SEQ_MAX:
                raise Malformed("slot: clock")
            if not all(map(lt, clocks, clocks[1:])):
                raise Malformed("slot: clocks are not sorted")
            if set(map(type, seqs)) != {int} or not 0 < min(seqs) <= max(seqs) <= frontier.get(
                log, 0
            ):
                raise Malformed("slot: seq")
            _check_times(hlcs)
            self._check_values(values)
            heard = _heard(seens, log, frontier)
            stored = self._stored(seqs, hlcs, values, seens)
        except (ValueError, TypeError) as error:
            raise Malformed("not a list of slots") from error
        self._check_sizes(stored, values)
        operations = list(
            map(_operation, zip(roots, records, fields, hlcs, values, heard, strict=True))
        )
        return SnapshotRows(clocks, seqs, operations, stored)

    def canonical_rows(self, plaintext: bytes) -> Any:
        """The value of canonical bytes whose leaves `decode` or `decode_rows` will check."""
        try:
            rows = _read(plaintext)
            if _write(rows) == plaintext:
                return rows
        except (ValueError, TypeError, OverflowError, RecursionError, Malformed):
            pass  # not canonical, or it has a big integer: the other codec decides
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
        _check_lists(rows)
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

    def _check_values(self, values: Sequence[Any]) -> None:
        """Raises `Malformed` unless all are canonical: maps in order, nothing odd inside."""
        if set(map(type, values)) == {dict}:
            leaves = chain.from_iterable(map(dict.values, values))
            if self._sorted_shapes.issuperset(map(tuple, values)) and _SCALARS.issuperset(
                map(type, leaves)
            ):
                return
        for value in values:
            if not self._is_plain(value):
                decode(self._pack(value))

    def _check_sizes(self, stored: Sequence[bytes], values: Sequence[Any]) -> None:
        if max(map(len, stored)) <= VALUE_BYTES_MAX:
            return
        for raw, value in zip(stored, values, strict=True):
            if len(raw) > VALUE_BYTES_MAX and (size := len(self._pack(value))) > VALUE_BYTES_MAX:
                raise LimitExceeded("value-bytes", str(size))

    def _stored(
        self, seqs: Iterable[int], hlcs: Sequence[int], values: Sequence[Any], seens: Sequence[Any]
    ) -> list[bytes]:
        """What slots store: `[seq, hlc, value, seen]` each."""
        slots = list(zip(seqs, hlcs, values, seens, strict=False))
        try:
            return list(map(_write, slots))
        except OverflowError:
            return list(map(self._pack, slots))

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
        _, _, _, hlcs, values, heard = zip(*operations, strict=True)
        seens = [seen_pairs(seen) if seen else () for seen in heard]
        return self._stored(repeat(seq), hlcs, values, seens)


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


def _check_lists(rows: Iterable[Any]) -> None:
    if set(map(type, rows)) != {list}:
        raise Malformed("a row is not a list")


def _check_records(records: Sequence[Any]) -> None:
    if set(map(type, records)) != {bytes} or set(map(len, records)) != {ID_BYTES}:
        raise Malformed("operation: record")


def _check_times(hlcs: Sequence[Any]) -> None:
    if set(map(type, hlcs)) != {int} or not 0 <= min(hlcs) <= max(hlcs) <= HLC_MAX:
        raise Malformed("operation: hlc")


def _heard(
    seens: Sequence[Any], log: LogId, past: Mapping[LogId, int]
) -> list[Mapping[LogId, int]]:
    """What operations of a log have seen, within its past."""
    _check_lists(seens)
    if not any(seens):
        return [NOTHING_SEEN] * len(seens)
    return [_seen_mapping(seen, log, past) if seen else NOTHING_SEEN for seen in seens]


def _is_sorted(shape: tuple[Any, ...]) -> bool:
    if not all(type(key) is str for key in shape):
        return False
    raw = [key.encode("utf-8") for key in shape]
    return all(one < other for one, other in pairwise(raw))
