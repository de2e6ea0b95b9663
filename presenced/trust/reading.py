"""Reading the typed parts of a decoded canonical value, strictly.

Rules of this file: each function returns the value in its own type or raises `Malformed`;
`bool` is never an integer; collections of parts are sorted and unique, so that one meaning has
one byte string.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, cast

from presenced.errors import LimitExceeded, Malformed
from presenced.ids import COLLECTIONS, Collection

_UINT64_MAX: Final = 2**64 - 1


def fields_of(value: Any, names: Sequence[str]) -> list[Any]:
    """The values of a map that has exactly these keys, in their order."""
    if type(value) is not dict or value.keys() != set(names):
        raise Malformed("a map with other keys")
    return [value[name] for name in names]


def items_of(value: Any, count: int) -> list[Any]:
    """The items of a list of exactly `count`."""
    if type(value) is not list or len(value) != count:
        raise Malformed("a list of another length")
    return value


def list_of(value: Any, limit: str, count_max: int) -> list[Any]:
    """The items of a list of at most `count_max`; `limit` is the bound's name."""
    if type(value) is not list:
        raise Malformed("not a list")
    if len(value) > count_max:
        raise LimitExceeded(limit)
    return value


def bytes_of(value: Any, size: int) -> bytes:
    """A byte string of exactly `size`."""
    if type(value) is not bytes or len(value) != size:
        raise Malformed(f"not {size} bytes")
    return value


def some_bytes_of(value: Any, size_max: int) -> bytes:
    """A byte string of at most `size_max`."""
    if type(value) is not bytes or len(value) > size_max:
        raise Malformed(f"not at most {size_max} bytes")
    return value


def text_of(value: Any, size_max: int) -> str:
    """Text of at most `size_max` bytes of UTF-8."""
    if type(value) is not str or len(value.encode("utf-8")) > size_max:
        raise Malformed(f"not text of at most {size_max} bytes")
    return value


def count_of(value: Any) -> int:
    """An integer from 0 to 2^64 - 1."""
    if type(value) is not int or not 0 <= value <= _UINT64_MAX:
        raise Malformed("not a count")
    return value


def collection_of(value: Any) -> Collection:
    """The name of a collection."""
    if value not in COLLECTIONS:
        raise Malformed("not a collection")
    return cast(Collection, value)


def ascending(keys: Sequence[bytes] | Sequence[str]) -> None:
    """Raises unless the keys rise strictly: sorted and unique."""
    for before, after in pairwise(keys):
        if not before < after:  # type: ignore[operator]
            raise Malformed("not sorted or not unique")
