"""The canonical codec: one byte string per value, so that bytes can be signed and compared.

Rules of this file (the canonical form, version 1):
1. msgpack with the shortest form of every integer, string, byte string, list and map;
2. floats are always 64 bits; NaN and infinities do not exist;
3. map keys are text, unique, and sorted by their UTF-8 bytes;
4. integers beyond 64 bits travel as extension type 1 (big-endian two's complement, shortest);
5. text is valid UTF-8 (no lone surrogates); nesting is at most `NESTING_MAX`.

`decode` refuses everything else: a value is accepted only if encoding it again gives the same
bytes. `1`, `1.0` and `true` are three values.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias, cast

import msgpack
import msgspec

from presenced.errors import InvalidValue, Malformed
from presenced.limits import NESTING_MAX

Value: TypeAlias = "bool | int | float | str | bytes | list[Value] | dict[str, Value] | None"

CONTAINERS_MAX: Final = 64 * 1024
"""lists and maps in one value: as many as a field's 64 KiB can hold, and more than any message of
1 MiB has. A message of empty lists would take a hundred times its size, and seconds to walk"""

_encode_prepared: Final = msgspec.msgpack.Encoder().encode

_BIGINT_EXT: Final = 1
_INT64_MIN: Final = -(2**63)
_UINT64_MAX: Final = 2**64 - 1
_BIGINT_BYTES_MAX: Final = 1024


def encode(value: Any) -> bytes:
    """The canonical bytes of a value. Tuples count as lists.

    Raises `InvalidValue` for what the canonical form does not have (lone surrogate, NaN, a key
    that is not text, too deep, a foreign type).
    """
    try:
        return cast(bytes, msgpack.packb(_prepared(value, 0), use_bin_type=True))
    except (UnicodeEncodeError, ValueError, OverflowError, TypeError) as error:
        raise InvalidValue(f"value has no canonical form: {type(error).__name__}") from error


def encode_prepared(value: Any) -> bytes:
    """`encode` for values known to hold no unsorted map, no float oddity and no big integer.

    For hot paths whose shape the caller made itself; the result is the same bytes, in a sixth of
    the time.
    """
    return _encode_prepared(value)


def decode(data: bytes, *, depth_max: int = NESTING_MAX) -> Any:
    """The value of canonical bytes. Raises `Malformed` for any other bytes."""
    listed, mapped = None, _sorted_map
    if len(data) > CONTAINERS_MAX:  # a shorter one cannot hold more
        budget = _Budget()
        listed, mapped = budget.listed, budget.mapped
    try:
        value = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=False,
            use_list=True,
            list_hook=listed,
            object_pairs_hook=mapped,
            ext_hook=unpack_extension,
        )
        if not _shallow(value, depth_max):
            raise Malformed("nested too deeply")
        again = msgpack.packb(value, use_bin_type=True, default=pack_big_integer)
    except Malformed:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise Malformed(f"not canonical msgpack: {type(error).__name__}") from error
    if again != data:
        raise Malformed("not in canonical form")
    return value


def _prepared(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is str or kind is bytes or value is None or kind is bool:
        return value
    if kind is int:
        return value if _INT64_MIN <= value <= _UINT64_MAX else pack_big_integer(value)
    if kind is float:
        if not math.isfinite(value):
            raise ValueError("not finite")
        return value
    if depth >= NESTING_MAX:
        raise ValueError("nested too deeply")
    if kind is list or kind is tuple:
        return [_prepared(item, depth + 1) for item in value]
    if isinstance(value, dict):
        pairs = [(str.encode(key, "utf-8"), key, item) for key, item in value.items()]
        pairs.sort(key=lambda pair: pair[0])
        return {key: _prepared(item, depth + 1) for _, key, item in pairs}
    raise TypeError(kind.__name__)


def pack_big_integer(value: Any) -> msgpack.ExtType:
    """msgpack `default` hook: what an integer beyond 64 bits travels as."""
    if type(value) is not int:
        raise TypeError(type(value).__name__)
    size = (value.bit_length() if value >= 0 else (value + 1).bit_length()) // 8 + 1
    if size > _BIGINT_BYTES_MAX:
        raise ValueError("integer too large")
    return msgpack.ExtType(_BIGINT_EXT, value.to_bytes(size, "big", signed=True))


def unpack_extension(code: int, data: bytes | memoryview) -> int:
    """msgpack `ext_hook`: the integer of an extension, `Malformed` for any other extension."""
    if code != _BIGINT_EXT or not 0 < len(data) <= _BIGINT_BYTES_MAX:
        raise Malformed("unknown extension type")
    value = int.from_bytes(data, "big", signed=True)
    if _INT64_MIN <= value <= _UINT64_MAX:
        raise Malformed("small integer written as a big one")
    return value


class _Budget:
    """Ends the decoding of a value that has too many parts, as soon as it does."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = CONTAINERS_MAX

    def listed(self, items: list[Any]) -> list[Any]:
        self._spend()
        return items

    def mapped(self, pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
        self._spend()
        return _sorted_map(pairs)

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Malformed("too many lists and maps")


def _sorted_map(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    previous: bytes | None = None
    for key, _ in pairs:
        if type(key) is not str:
            raise Malformed("map key is not text")
        raw = key.encode("utf-8")
        if previous is not None and raw <= previous:
            raise Malformed("map keys not sorted or not unique")
        previous = raw
    return dict(pairs)


def _shallow(value: Any, depth_left: int) -> bool:
    """Whether nesting stays within `depth_left` and no float is odd (one walk for both)."""
    if type(value) is list:
        if depth_left <= 0:
            return False
        for item in value:
            kind = type(item)
            if (kind is list or kind is dict) and not _shallow(item, depth_left - 1):
                return False
            if kind is float and not math.isfinite(item):
                raise Malformed("float is not finite")
            if kind is msgpack.Timestamp:  # msgpack's own extension, made without asking ext_hook
                raise Malformed("unknown extension type")
        return True
    if type(value) is dict:
        if depth_left <= 0:
            return False
        return _shallow(list(value.values()), depth_left)
    return _shallow([value], depth_left + 1)
