"""The clear hello: what later versions may add, and what it tells whom."""

from __future__ import annotations

import pytest

from presenced.crypto.keys import DhKey
from presenced.errors import LimitExceeded, Malformed, PeerError, VersionMismatch
from presenced.ids import DeviceId
from presenced.testing.link_doubles import Device, SeededEntropy
from presenced.trust.hello import (
    PROTOCOL,
    Hello,
    answering_peer,
    answering_tags,
    choose_version,
    parse_hello,
)
from presenced.trust.link_limits import HELLO_BYTES_MAX, HELLO_VERSIONS_MAX, TAGS
from presenced.trust.tags import tag_keys
from presenced.wire import encode

NONCE = b"n" * 16
OWN = Device("own")
PEERS = [Device(f"peer {number}") for number in range(40)]


def _keys(own: Device, others: list[Device]) -> dict[DeviceId, bytes]:
    return tag_keys(own.static, {other.device: other.static.public for other in others})


def test_a_hello_reads_back() -> None:
    hello = Hello(versions=(1, 7), mode="link", nonce=NONCE, tags=b"t" * 256)
    assert parse_hello(hello.encode()) == hello


def test_a_hello_with_later_fields_is_read() -> None:
    raw = encode([PROTOCOL, [9], "link", NONCE, b"", {"new": True}, 5])
    assert parse_hello(raw) == Hello(versions=(9,), mode="link", nonce=NONCE)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", Malformed),
        (b"GET / HTTP/1.1\r\n", Malformed),
        (encode([PROTOCOL, [1], "link", NONCE]), Malformed),
        (encode(["other", [1], "link", NONCE, b""]), Malformed),
        (encode([PROTOCOL, [], "link", NONCE, b""]), Malformed),
        (encode([PROTOCOL, ["1"], "link", NONCE, b""]), Malformed),
        (encode([PROTOCOL, [True], "link", NONCE, b""]), Malformed),
        (encode([PROTOCOL, [0], "link", NONCE, b""]), Malformed),
        (encode([PROTOCOL, [2**40], "link", NONCE, b""]), Malformed),
        (encode([PROTOCOL, [1] * (HELLO_VERSIONS_MAX + 1), "link", NONCE, b""]), Malformed),
        (encode([PROTOCOL, 1, "link", NONCE, b""]), Malformed),
        (encode([PROTOCOL, [1], 5, NONCE, b""]), Malformed),
        (encode([PROTOCOL, [1], "link", b"short", b""]), Malformed),
        (encode([PROTOCOL, [1], "link", NONCE, b"odd"]), Malformed),
        (encode([PROTOCOL, [1], "link", NONCE, b"", b"x" * HELLO_BYTES_MAX]), LimitExceeded),
    ],
)
def test_other_bytes_are_no_hello(raw: bytes, error: type[PeerError]) -> None:
    with pytest.raises(error):
        parse_hello(raw)


def test_no_common_version_names_the_older_side() -> None:
    assert choose_version((1, 3), (3, 1, 2)) == 3
    with pytest.raises(VersionMismatch, match="this device is older") as ours:
        choose_version((1,), (2,))
    with pytest.raises(VersionMismatch, match="other device is older"):
        choose_version((2,), (1,))
    assert "Update" in ours.value.hint


@pytest.mark.parametrize("count", [0, 1, 32, 40])
def test_an_answer_has_32_tags_whatever_the_number_of_peers(count: int) -> None:
    tags = answering_tags(OWN.device, _keys(OWN, PEERS[:count]), NONCE, SeededEntropy(1))
    assert len(tags) == TAGS * 8
    found = [
        peer for peer in PEERS if answering_peer(tags, _keys(peer, [OWN]), NONCE) == OWN.device
    ]
    assert len(found) == min(count, TAGS)


def test_tags_answer_one_pair_of_nonces_only() -> None:
    tags = answering_tags(OWN.device, _keys(OWN, PEERS[:1]), NONCE, SeededEntropy(1))
    assert answering_peer(tags, _keys(PEERS[0], [OWN]), b"other") is None
    assert answering_peer(tags, {OWN.device: DhKey(b"x" * 32).public}, NONCE) is None
