"""Entries and their compression as bytes."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presenced.crypto.keys import SigningKey
from presenced.errors import LimitExceeded, Malformed, PeerError, Unauthorized
from presenced.ids import EntryHash, EpochId, LogId, SpaceId, StatementId
from presenced.replica.compression import Compression
from presenced.replica.entry import (
    NO_ENTRY,
    EntryKeys,
    Position,
    Reference,
    open_entry,
    parse_entry,
    peek_hlc,
    seal_entry,
    verify_entry,
)
from presenced.replica.hlc import Hlc, make_hlc

KEYS = EntryKeys(bytes(32), bytes(range(32)))
SIGNING = SigningKey(b"s" * 32)
POSITION = Position(SpaceId(bytes(16)), "follows", LogId(b"l" * 16), 1, NO_ENTRY)
EPOCH = EpochId(b"e" * 16)
PAST = (Reference(LogId(b"o" * 16), 3, EntryHash(b"h" * 32)),)
EARLY = Hlc(1)
HEADS = (StatementId(b"1" * 32), StatementId(b"2" * 32))


def _sealed(plaintext: bytes = b"content", hlc: Hlc = EARLY) -> tuple[EntryHash, bytes]:
    return seal_entry(POSITION, EPOCH, hlc, PAST, HEADS, plaintext, KEYS, SIGNING)


def test_an_entry_comes_back_as_it_was_sealed() -> None:
    digest, raw = _sealed()
    entry = parse_entry(raw)
    assert (entry.epoch, entry.hlc, entry.past, entry.heads) == (EPOCH, 1, PAST, HEADS)
    verified, header = verify_entry(POSITION, entry, SIGNING.public)
    assert verified == digest
    assert open_entry(entry, header, KEYS) == b"content"


def test_what_position_implies_is_signed_and_not_sent() -> None:
    _, raw = _sealed()
    for part in (POSITION.space, POSITION.log, POSITION.previous):
        assert part not in raw
    entry = parse_entry(raw)
    for changed in (
        POSITION._replace(space=SpaceId(b"x" * 16)),
        POSITION._replace(collection="sessions"),
        POSITION._replace(log=LogId(b"x" * 16)),
        POSITION._replace(seq=2),
        POSITION._replace(previous=EntryHash(b"x" * 32)),
    ):
        with pytest.raises(Unauthorized):
            verify_entry(changed, entry, SIGNING.public)


def test_the_header_is_bound_to_the_content() -> None:
    _, raw = _sealed()
    entry = parse_entry(raw)
    _, header = verify_entry(POSITION, entry, SIGNING.public)
    with pytest.raises(Unauthorized):
        open_entry(entry, header + b"\x00", KEYS)
    with pytest.raises(Unauthorized):
        open_entry(entry, header, EntryKeys(b"k" * 32, bytes(32)))


def test_a_nonce_is_never_used_for_two_contents() -> None:
    nonces = {parse_entry(_sealed(bytes([number]))[1]).sealed[:24] for number in range(50)}
    assert len(nonces) == 50
    assert _sealed()[1] == _sealed()[1]


def test_the_version_is_the_integer_one_and_nothing_that_equals_it() -> None:
    """`true` equals 1 in Python: taken for it, an entry would have two forms with one signature."""
    _, raw = _sealed()
    assert raw[1] == 1
    with pytest.raises(Malformed):
        parse_entry(raw[:1] + b"\xc3" + raw[2:])


def test_keys_do_not_show() -> None:
    assert "hidden" in repr(KEYS)


def test_the_hlc_can_be_read_without_parsing() -> None:
    hlc = make_hlc(1_700_000_000_000, 7)
    assert peek_hlc(_sealed(hlc=hlc)[1]) == hlc
    assert peek_hlc(_sealed(hlc=Hlc(1))[1]) == 0
    assert peek_hlc(b"") == 0


@given(st.binary(max_size=300))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_an_entry_or_refused(data: bytes) -> None:
    _, raw = _sealed()
    for candidate in (data, raw[: len(data)] + data + raw[2 * len(data) :]):
        try:
            entry = parse_entry(candidate)
        except PeerError:
            continue
        if candidate != raw:
            with pytest.raises(Unauthorized):
                verify_entry(POSITION, entry, SIGNING.public)


@pytest.mark.parametrize("size", [1, 95, 96, 1_000, 100_000])
@pytest.mark.parametrize("repetitive", [True, False])
def test_compression_gives_back_what_went_in(size: int, repetitive: bool) -> None:
    plaintext = b"a" * size if repetitive else os.urandom(size)
    compression = Compression()
    packed = compression.compress(plaintext)
    assert len(packed) <= size + 1
    assert compression.expand(packed, size) == plaintext
    with pytest.raises(LimitExceeded):
        compression.expand(packed, size - 1)
