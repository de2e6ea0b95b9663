"""What a value in canonical bytes can cost before it is understood."""

from __future__ import annotations

import time

import pytest

from presenced.errors import Malformed, PeerError
from presenced.replica.limits import MESSAGE_BYTES_MAX
from presenced.replica.messages import parse_message
from presenced.trust.statement_messages import parse_message as parse_statement_message
from presenced.wire import CONTAINERS_MAX, decode, encode

CPU_SECONDS_MAX = 0.5
"for 1 MiB; a walk through a million lists takes several times that"


def _list_of(count: int, item: bytes) -> bytes:
    return b"\xdd" + count.to_bytes(4, "big") + item * count


@pytest.mark.parametrize(
    "item", [b"\x90", b"\x80", b"\x91\x90", b"\x91\xc0", b"\x81\xa1a\x80", b"\x91" * 20 + b"\xc0"]
)
def test_a_message_of_nothing_but_lists_costs_little(item: bytes) -> None:
    body = _list_of((MESSAGE_BYTES_MAX - 10) // len(item), item)
    with pytest.raises(Malformed, match="too many"):
        decode(body)
    for parse in (parse_message, parse_statement_message):
        before = time.process_time()
        for kind in (1, 16):
            with pytest.raises(PeerError):
                parse(bytes([kind]) + body)
        assert time.process_time() - before < 2 * CPU_SECONDS_MAX


def test_as_many_parts_as_a_value_can_have_are_read() -> None:
    most = [[] for _ in range(CONTAINERS_MAX - 1)] + ["x" * 10]  # type: list[object]
    assert decode(encode(most)) == most
    with pytest.raises(Malformed, match="too many"):
        decode(encode([*most, []]))
    maps = [{} for _ in range(CONTAINERS_MAX)] + ["x" * 10]  # type: list[object]
    with pytest.raises(Malformed, match="too many"):
        decode(encode(maps))


@pytest.mark.parametrize(
    "data",
    [
        b"\xd6\xff" + bytes(4),  # msgpack's own timestamps, of all three sizes
        b"\xd7\xff" + bytes(8),
        b"\xc7\x0c\xff" + bytes(12),
        b"\xc7\x03\xff" + bytes(3),
        b"\x91\xd6\xff" + bytes(4),
        b"\x81\xa1a\xd6\xff" + bytes(4),
        b"\x81\xd6\xff\x00\x00\x00\x00\xc0",
        b"\xd4\x01\x05",  # small integers as big ones
        b"\xd8\x01" + bytes(16),
        b"\xc7\x09\x01\x00" + b"\xff" * 8,
        b"\xc7\x0a\x01\x00\x01" + bytes(8),  # a big integer with a byte too many
        b"\xd4\x02\x00",  # extensions of others
        b"\xcc\x05",  # integers, strings, bytes, lists and maps in a longer form
        b"\xd0\x05",
        b"\xd3" + b"\xff" * 8,
        b"\xd9\x01a",
        b"\xc5\x00\x01a",
        b"\xdc\x00\x01\xc0",
        b"\xde\x00\x01\xa1a\xc0",
        b"\xca\x3f\x80\x00\x00",  # a float of 32 bits, not a number, infinite
        b"\xcb\x7f\xf8" + bytes(6),
        b"\x91\xcb\x7f\xf0" + bytes(6),
        b"\x81\xa1a\xcb\xff\xf0" + bytes(6),
        b"\x82\xa1b\xc0\xa1a\xc0",  # keys out of order, twice, no text
        b"\x82\xa1a\xc0\xa1a\xc0",
        b"\x81\x01\xc0",
        b"\x81\xc4\x01a\xc0",
        b"\x81\xc2\xc0",
        b"\xa3\xed\xa0\x80",  # no UTF-8
        b"\xa2\xc0\x80",
        b"\xc1",
        b"",
        b"\xc0\xc0",
        b"\x91" * 33 + b"\xc0",
        b"\x91" * 2000 + b"\xc0",
        b"\xdd\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
    ],
)
def test_what_has_another_form_is_no_value(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode(data)


@pytest.mark.parametrize("value", [True, False, 0, 1, 0.0, -0.0, 1.0, "1", b"1", None])
def test_values_that_python_takes_for_equal_stay_apart(value: object) -> None:
    read = decode(encode([value]))[0]
    assert (type(read), repr(read)) == (type(value), repr(value))
