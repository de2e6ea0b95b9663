"""Operations as bytes: what is read in bulk is what the canonical codec reads, or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from presenced.errors import Malformed, PresenceError
from presenced.ids import LogId
from presenced.replica.operation import OperationCodec
from presenced.testing.replica_world import RandomIds, UriIds
from presenced.wire import decode, encode

LOG = LogId(b"l" * 16)
OTHER = LogId(b"o" * 16)
RECORD = b"r" * 16

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def row(value: Any = None, *, record: Any = RECORD, field: str = "state", seen: Any = ()) -> Any:
    return ["follow", record, field, 7, value, list(seen)]


def slot(clock: int, value: Any = None, *, seq: int = 1, field: str = "state") -> Any:
    return ["follow", RECORD, field, clock, [seq, 7, value, []]]


@given(st.lists(values, min_size=1, max_size=4))
@example([2**64, {"b": 1, "a": -(2**63) - 1}])
@example([{"a": [], "b": {"a": 1.5}}, "text"])
def test_any_values_of_an_entry_are_read_as_they_were_written(written: list[Any]) -> None:
    rows = [row(value, field=f"field-{at}") for at, value in enumerate(written)]
    read = OperationCodec(RandomIds()).decode(encode(rows), 3, LOG, {})
    assert [one.value for one in read.operations] == decode(encode(written))
    assert read.stored == [encode([3, 7, value, []]) for value in written]


@given(values, st.data())
def test_bytes_that_are_not_canonical_are_refused_wherever_they_are_wrong(
    value: Any, data: st.DataObject
) -> None:
    good = encode([row(value)])
    at = data.draw(st.integers(0, len(good) - 1))
    bad = good[:at] + bytes((data.draw(st.integers(0, 255)),)) + good[at + 1 :]
    codec = OperationCodec(RandomIds())
    try:
        decode(bad)
    except Malformed:
        with pytest.raises(PresenceError):
            codec.decode(bad, 1, LOG, {})
    else:
        try:
            read = codec.decode(bad, 1, LOG, {})
        except PresenceError:
            return
        assert read.stored == [encode([1, *one[3:]]) for one in decode(bad)]


@pytest.mark.parametrize(
    "raw",
    [
        b"\x91\x96\xa1f\xc4\x10" + RECORD + b"\xa1f\x07\xd6\xff\x00\x00\x00\x00\x90",  # a time
        b"\x91\x96\xa1f\xc4\x10" + RECORD + b"\xa1f\x07\x81\xc0\x01\x90",  # a key that is nil
        b"\x91\x96\xa1f\xc4\x10" + RECORD + b"\xa1f\x07\x81\x90\x01\x90",  # a key that is a list
        b"\x91\x96\xa1f\xc4\x10" + RECORD + b"\xa1f\x07\xcb\x7f\xf8\0\0\0\0\0\0\x90",  # no number
        b"\x91\x96\xa1f\xc4\x10" + RECORD + b"\xa1f\x07\xd9\x01a\x90",  # text in a long form
        b"\x91\x96\xa1f\xc4\x10" + RECORD + b"\xa1f\x07\x82\xa1b\x01\xa1a\x01\x90",  # unsorted
        b"\x91\x96\xa1f\xc4\x10" + RECORD + b"\xa1f\x07\xa2\xed\xa0\x90",  # half a character
        b"\x91\x96\xa1f\xc4\x10" + RECORD + b"\xa1f\x07" + b"\x91" * 40 + b"\x01\x90",  # too deep
        b"\x91\xa6follow",  # a row that is text
        b"\x91\x86\xa1f\x01\xc4\x10" + RECORD + b"\x02\xa1g\x03\x07\x04\x08\x05\x90\x06",  # a map
        b"\x92\x96\xa1f\xc4\x10" + RECORD + b"\xa1f\x07\xc0\x90\x90",  # a row without cells
        b"\x90",
        b"\xc0",
    ],
)
def test_what_only_looks_like_operations_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        OperationCodec(RandomIds()).decode(raw, 1, LOG, {})


def test_a_field_written_twice_is_refused_in_one_column_and_in_several() -> None:
    codec = OperationCodec(RandomIds())
    with pytest.raises(Malformed, match="twice"):
        codec.decode(encode([row(1), row(2)]), 1, LOG, {})
    with pytest.raises(Malformed, match="twice"):
        codec.decode(encode([row(1), row(2, field="title"), row(3)]), 1, LOG, {})
    codec.decode(encode([row(1), row(2, field="title")]), 1, LOG, {})


def test_ids_come_from_content_among_other_fields_too() -> None:
    core, nameless = {"uri": "a:b"}, {"kind": "feed"}
    derived = UriIds().derive("follow", core)
    rows = [row(core, record=None, field="core"), row(nameless, field="core"), row("x")]
    read = OperationCodec(UriIds()).decode(encode(rows), 1, LOG, {})
    assert [one.record for one in read.operations] == [derived, RECORD, RECORD]
    for wrong in (
        row(core, field="core"),  # stated though it follows from the content
        row(nameless, record=None, field="core"),
        row("x", record=None),
        row("x", record=b"short"),
    ):
        with pytest.raises(Malformed):
            OperationCodec(UriIds()).decode(encode([wrong, row(1, field="title")]), 1, LOG, {})
        with pytest.raises(Malformed):
            OperationCodec(UriIds()).decode(encode([wrong]), 1, LOG, {})


def test_what_was_seen_is_within_the_past_of_the_entry() -> None:
    codec = OperationCodec(RandomIds())
    rows = encode([row(1, seen=[[OTHER, 2]]), row(2, field="title")])
    read = codec.decode(rows, 1, LOG, {OTHER: 2})
    assert [dict(one.seen) for one in read.operations] == [{OTHER: 2}, {}]
    with pytest.raises(Malformed):
        codec.decode(rows, 1, LOG, {OTHER: 1})


def test_slots_of_a_snapshot_come_by_clock_and_within_their_log() -> None:
    codec = OperationCodec(RandomIds())
    read = codec.decode_rows([slot(0), slot(4, "x", seq=2, field="title")], LOG, {LOG: 2})
    assert (read.clocks, read.seqs) == ((0, 4), (1, 2))
    assert read.stored == [encode([1, 7, None, []]), encode([2, 7, "x", []])]
    for wrong in (
        [slot(4), slot(4, field="title")],
        [slot(4), slot(3, field="title")],
        [slot(-1)],
        [slot(0, seq=3)],
        [slot(0, seq=0)],
        [slot(0)[:4]],
        [[*slot(0)[:4], (1, 7, None, [])]],
    ):
        with pytest.raises(Malformed):
            codec.decode_rows(wrong, LOG, {LOG: 2})
