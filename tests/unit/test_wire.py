"""The canonical codec: one byte string per value, whichever of its encoders writes it."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenced.wire import decode, encode, encode_prepared


class Pair(NamedTuple):
    first: Any
    second: Any


prepared = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=20)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(), inner, max_size=20).map(
            lambda value: dict(sorted(value.items(), key=lambda item: item[0].encode()))
        )
    ),
    max_leaves=20,
)


@given(prepared)
def test_the_fast_encoder_writes_the_bytes_of_the_other(value: Any) -> None:
    raw = encode_prepared(value)
    assert raw == encode(value)
    assert encode(decode(raw)) == raw


@pytest.mark.parametrize("size", [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536])
@pytest.mark.parametrize("unit", [b"x", "x", [1]])
def test_the_fast_encoder_writes_lengths_in_their_shortest_form(size: int, unit: Any) -> None:
    assert encode_prepared(unit * size) == encode(unit * size)


def test_named_tuples_are_lists_as_tuples_are() -> None:
    assert encode_prepared([Pair("a", ()), Pair(b"b", Pair(1, 2))]) == encode(
        [["a", []], [b"b", [1, 2]]]
    )
