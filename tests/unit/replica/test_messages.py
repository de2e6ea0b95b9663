"""Messages and frontiers as bytes: round trips, and everything else is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presenced.errors import LimitExceeded, Malformed, PeerError
from presenced.ids import COLLECTIONS, EntryHash, LogId
from presenced.limits import ENTRY_SEALED_BYTES_MAX
from presenced.replica.frontier import Frontier
from presenced.replica.limits import BATCH_ENTRIES_MAX, MESSAGE_BYTES_MAX
from presenced.replica.messages import (
    Acknowledged,
    ChunkArrived,
    DigestReceived,
    EntriesArrived,
    ForkShown,
    FrontierReceived,
    Message,
    SnapshotRequested,
    collection_of,
    encode_message,
    parse_message,
)
from presenced.wire import encode

LOG = LogId(b"l" * 16)
FRONTIER = Frontier(
    {LOG: (7, EntryHash(b"h" * 32)), LogId(b"m" * 16): (1, EntryHash(b"i" * 32))},
    {LOG: (5, EntryHash(b"a" * 32))},
)
MESSAGES: list[Message] = [
    FrontierReceived(frontier=FRONTIER, slots=9, adopts=True),
    EntriesArrived(round=1, log=LOG, first_seq=3, raws=(b"x", b"y")),
    Acknowledged(round=2, count=5),
    DigestReceived(point=bytes(32), digest=b"d" * 32, vouched=True),
    SnapshotRequested(),
    ChunkArrived(round=1, index=1, count=3, raw=b"chunk"),
    ForkShown(log=LOG, seq=3, previous=EntryHash(bytes(32)), first=b"x", second=b"y"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("collection", COLLECTIONS)
def test_messages_come_back_as_they_went(message: Message, collection: Any) -> None:
    raw = encode_message(collection, message)
    assert 16 <= raw[0] <= 47
    assert collection_of(raw) == collection
    assert parse_message(raw) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_truncated_and_longer_messages_are_refused(message: Message) -> None:
    raw = encode_message("follows", message)
    for cut in range(len(raw)):
        with pytest.raises(Malformed):
            parse_message(raw[:cut])
    with pytest.raises(Malformed):
        parse_message(raw + b"\x00")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (15, [1]),
        (22, [1]),
        (16, [3, [], 0, False]),
        (16, [1, {}, 0, False]),
        (16, [1, [], -1, False]),
        (16, [1, [], 0, 0]),
        (16, [1, [[LOG, 0, bytes(32), 0, bytes(32)]], 0, False]),
        (16, [1, [[LOG, 1, bytes(32), 2, bytes(32)]], 0, False]),
        (16, [1, [[LOG, 1, bytes(31), 0, bytes(32)]], 0, False]),
        (16, [1, [[LOG, 2**40, bytes(32), 0, bytes(32)]], 0, False]),
        (16, [1, [[LOG, 1, bytes(32), 0, bytes(32)]] * 2, 0, False]),
        (17, [1, 1, LOG, 1, []]),
        (17, [1, 1, LOG, 0, [b"x"]]),
        (17, [1, 1, LOG, 2**40, [b"x"]]),
        (17, [1, 1, b"short", 1, [b"x"]]),
        (17, [1, 1, LOG, 1, ["text"]]),
        (17, [1, -1, LOG, 1, [b"x"]]),
        (18, [1, 1, 2**53]),
        (19, [1, bytes(31), bytes(32)]),
        (20, [1, 1]),
        (21, [1, 1, 3, 3, b"x"]),
        (21, [1, 1, 0, 2**20, b"x"]),
        (21, [1, 1, 0, 1, "text"]),
    ],
    ids=repr,
)
def test_bodies_that_are_not_what_they_must_be_are_refused(kind: int, body: list[Any]) -> None:
    with pytest.raises(Malformed):
        parse_message(bytes((kind,)) + encode(body))


@pytest.mark.parametrize(
    "message",
    [
        EntriesArrived(round=1, log=LOG, first_seq=1, raws=(b"x",) * (BATCH_ENTRIES_MAX + 1)),
        EntriesArrived(round=1, log=LOG, first_seq=1, raws=(bytes(ENTRY_SEALED_BYTES_MAX + 1),)),
        ChunkArrived(round=1, index=0, count=1, raw=bytes(MESSAGE_BYTES_MAX)),
        FrontierReceived(
            frontier=Frontier(
                {LogId(n.to_bytes(16, "big")): (1, EntryHash(bytes(32))) for n in range(1, 4_098)}
            ),
            slots=0,
            adopts=False,
        ),
    ],
    ids=["entries", "entry bytes", "message bytes", "logs"],
)
def test_messages_beyond_a_bound_are_refused(message: Message) -> None:
    with pytest.raises(LimitExceeded):
        parse_message(encode_message("follows", message))


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    for kind in (b"", b"\x10\x94", b"\x11\x95\x01", b"\x12\x93\x01", b"\x15\x95\x01"):
        try:
            message = parse_message(kind + data)
        except PeerError:
            continue
        assert encode_message(collection_of(kind + data), message) == kind + data
