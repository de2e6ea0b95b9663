"""No bytes from a peer do anything in the replica but parse, be stored as data, or be refused."""

from __future__ import annotations

from typing import Any

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st

from presenced.errors import PeerError
from presenced.ids import LogId
from presenced.limits import ENTRY_EXPANDED_BYTES_MAX
from presenced.replica.compression import Compression
from presenced.replica.entry import parse_entry
from presenced.replica.messages import parse_message
from presenced.replica.operation import OperationCodec
from presenced.replica.rows import AlertKind
from presenced.replica.snapshot import parse_manifest
from presenced.testing.replica_world import HostileDevice, ReplicaDevice, UriIds, acquaint
from presenced.wire import encode, pack_big_integer

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=34)
    | st.sampled_from([bytes(16), b"l" * 16, bytes(32), "follow", "core", "state", "follows", 1])
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=24,
)
QUIET = settings(deadline=None)


def _packed(value: Any) -> bytes:
    """msgpack, in whatever form: not necessarily the canonical one."""
    packed: bytes = msgpack.packb(value, default=pack_big_integer)
    return packed


def _row_like() -> st.SearchStrategy[Any]:
    """An operation with some of its parts right."""
    return st.tuples(
        st.just("follow") | VALUES,
        st.just(bytes(16)) | st.none() | VALUES,
        st.sampled_from(["core", "state"]) | VALUES,
        st.integers(0, 2**64 - 1) | VALUES,
        VALUES,
        st.just([]) | st.just([[b"o" * 16, 1]]) | VALUES,
    ).map(list)


@given(
    st.integers(14, 24), VALUES | st.lists(VALUES, min_size=1, max_size=5), st.binary(max_size=9)
)
@QUIET
def test_messages_parse_or_are_refused(kind: int, body: Any, tail: bytes) -> None:
    for raw in (bytes((kind,)) + _packed(body) + tail, bytes((kind,)) + _packed(body), tail):
        try:
            parse_message(raw)
        except PeerError:
            pass


@given(st.lists(VALUES, min_size=5, max_size=7))
@QUIET
def test_entries_parse_or_are_refused(value: Any) -> None:
    for body in (value, [1, *value[1:]]):
        try:
            parse_entry(_packed(body))
        except PeerError:
            pass


@given(st.lists(VALUES, min_size=8, max_size=10), st.binary(max_size=80))
@QUIET
def test_manifests_parse_or_are_refused(body: Any, signature: bytes) -> None:
    for inner in (body, [1, *body[1:]]):
        for raw in (_packed([_packed(inner), signature]), _packed(inner)):
            try:
                parse_manifest(raw)
            except PeerError:
                pass


@given(st.lists(_row_like(), max_size=4) | VALUES)
@QUIET
def test_operations_are_decoded_whole_or_refused(rows: Any) -> None:
    codec = OperationCodec(UriIds())
    log = LogId(b"l" * 16)
    try:
        decoded = codec.decode(_packed(rows), 3, log, {LogId(b"o" * 16): 1})
    except PeerError:
        return
    assert len(decoded.operations) == len(decoded.stored) == len(rows)
    for operation, stored in zip(decoded.operations, decoded.stored, strict=True):
        assert stored == encode([3, operation.hlc, operation.value, sorted(operation.seen.items())])


@given(st.lists(_row_like(), min_size=1, max_size=4))
@QUIET
def test_a_device_survives_whatever_a_member_signs(rows: Any) -> None:
    hostile, device = HostileDevice(66), ReplicaDevice(1)
    acquaint([hostile, device])
    device.put(bytes(16), "mine")
    outcome = device.receive(hostile.log, 1, [hostile.forge(_packed(rows))])
    assert not outcome.faults
    kinds = {alert.kind for alert in outcome.alerts} - {AlertKind.CLOCK_AHEAD}
    assert kinds == (set() if outcome.applied else {AlertKind.BROKEN_CONTENT})
    digest = device.replica.digest()
    device.restart()
    assert device.replica.digest() == digest
    slots = device.replica.record("follow", bytes(16))["state"]  # type: ignore[arg-type]
    assert slots[device.log].value == "mine"


@given(st.binary(max_size=400))
@QUIET
def test_sealed_plaintexts_expand_within_their_bound_or_are_refused(data: bytes) -> None:
    for form in (data, b"\x00" + data, b"\x01" + data, b"\x01\x28\xb5\x2f\xfd" + data):
        try:
            assert len(Compression().expand(form, 1_000)) <= 1_000
        except PeerError:
            pass
    assert ENTRY_EXPANDED_BYTES_MAX == 1024 * 1024
