"""What a sponsor that is a member, and lies, can do with a snapshot: have it refused."""

from __future__ import annotations

from typing import Any

import pytest

from presenced.crypto import aead, derive
from presenced.errors import PeerError
from presenced.ids import hash_bytes
from presenced.replica.compression import Compression
from presenced.replica.snapshot import CHUNK_DOMAIN, MANIFEST_DOMAIN, parse_manifest
from presenced.testing.replica_world import ReplicaDevice, newcomer, written_by_two
from presenced.wire import decode, encode

EXPANDED_MAX = 1 << 22


@pytest.fixture
def sponsor() -> ReplicaDevice:
    return written_by_two(40)


@pytest.fixture
def joiner(sponsor: ReplicaDevice) -> ReplicaDevice:
    return newcomer(sponsor)


class LyingSponsor:
    """Opens its own snapshot, and seals and signs what somebody put in its place."""

    def __init__(self, sponsor: ReplicaDevice) -> None:
        self._sponsor = sponsor
        self._chunks = sponsor.replica.snapshot()
        self._manifest = parse_manifest(self._chunks[0])
        key = sponsor.trust.keys[self._manifest.epoch]
        self._content, self._nonce = derive.entry_key(key), derive.entry_nonce_key(key)

    def _header(self, index: int) -> bytes:
        space, collection = self._manifest.space, self._manifest.collection
        return encode(["snapshot", 1, space, collection, index])

    def read(self, index: int) -> Any:
        """What a chunk says."""
        sealed = aead.open_(self._content, self._header(index), self._chunks[index])
        return decode(Compression().expand(sealed, EXPANDED_MAX))

    def says(self, index: int, value: Any) -> list[bytes]:
        """The snapshot with another chunk."""
        plaintext = Compression().compress(encode(value))
        raw = aead.seal(self._content, self._header(index), plaintext, nonce_key=self._nonce)
        body = decode(self._manifest.body)
        body[8][index - 1] = hash_bytes(CHUNK_DOMAIN, raw)
        signed = encode(body)
        manifest = encode([signed, self._sponsor.signing.sign(MANIFEST_DOMAIN, signed)])
        return [manifest, *self._chunks[1:index], raw, *self._chunks[index + 1 :]]


def test_the_liar_can_also_tell_the_truth(sponsor: ReplicaDevice, joiner: ReplicaDevice) -> None:
    liar = LyingSponsor(sponsor)
    joiner.commit(joiner.replica.adopt(liar.says(1, liar.read(1))))
    assert joiner.replica.digest() == sponsor.replica.digest()


ODD: list[Any] = [
    None, True, 0, -1, 1 << 41, 1 << 64, -(1 << 70), 1.5, "", "x" * 100, b"", bytes(16), bytes(32),
    [], [[]], {}, {"a": 1}, [bytes(16), 1], [[bytes(16), 1]], [[bytes(16), 1 << 45]],
]  # fmt: skip


def _places(value: Any, path: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    """Where something else could stand."""
    found = [path]
    if isinstance(value, list) and len(path) < 5:
        for index in range(min(len(value), 8)):
            found += _places(value[index], (*path, index))
    return found


def _put(value: Any, path: tuple[int, ...], odd: Any) -> Any:
    if not path:
        return odd
    changed = list(value)
    changed[path[0]] = _put(value[path[0]], path[1:], odd)
    return changed


def test_a_chunk_with_any_part_of_another_kind_is_the_sponsors_fault(
    sponsor: ReplicaDevice, joiner: ReplicaDevice
) -> None:
    """Or it is taken, and says the same: clocks, and slots that are covered, are the document's."""
    liar = LyingSponsor(sponsor)
    said = liar.read(1)
    refused = 0
    for path in _places([said[0], said[1][:3]]):
        for odd in ODD:
            try:
                joiner.replica.adopt(liar.says(1, _put(said, path, odd)))
            except PeerError:
                refused += 1
                continue
            assert joiner.replica.digest() == sponsor.replica.digest()
            joiner = ReplicaDevice(9)
            joiner.trusts(sponsor.trust)
    assert refused > 500
