"""mDNS tags: peers know each other, strangers not even how many there are."""

from __future__ import annotations

import pytest

from presenced.clock import Instant
from presenced.crypto import derive
from presenced.crypto.keys import DhKey
from presenced.ids import DeviceId
from presenced.testing.link_doubles import Device
from presenced.trust.link_limits import TAGS
from presenced.trust.tags import HOUR_MS, STRING_BYTES, hour_of, match, tag_keys, tag_set

HOUR = 490_000
OWN = Device("own")
PEERS = [Device(f"peer {number}") for number in range(40)]


def _keys(own: Device, others: list[Device]) -> dict[DeviceId, bytes]:
    return tag_keys(own.static, {other.device: other.static.public for other in others})


def _announce(own: Device, others: list[Device], hour: int = HOUR) -> tuple[bytes, bytes]:
    return tag_set(own.device, derive.decoy_key(own.static.private), _keys(own, others), hour)


def _set(tags: tuple[bytes, bytes]) -> set[bytes]:
    joined = b"".join(tags)
    return {joined[at : at + 8] for at in range(0, len(joined), 8)}


@pytest.mark.parametrize("drift", [-1, 0, 1])
def test_peers_recognise_each_other_an_hour_apart(drift: int) -> None:
    tags = _announce(OWN, PEERS[:5])
    for peer in PEERS[:5]:
        assert match(tags, _keys(peer, [OWN, PEERS[6]]), HOUR + drift) == OWN.device


@pytest.mark.parametrize("drift", [-2, 2, 1000])
def test_tags_of_another_time_match_nobody(drift: int) -> None:
    assert match(_announce(OWN, PEERS[:5]), _keys(PEERS[0], [OWN]), HOUR + drift) is None


def test_a_stranger_with_all_public_keys_matches_nobody() -> None:
    stranger = Device("stranger")
    assert match(_announce(OWN, PEERS[:5]), _keys(stranger, [OWN, *PEERS]), HOUR) is None


def test_a_removed_device_can_follow_no_other_pair() -> None:
    """It knows its own pair's tag and every public key, and that gives none of the others."""
    removed = PEERS[0]
    after = _set(_announce(OWN, PEERS[1:5]))
    shared = _keys(removed, [OWN, *PEERS[1:5]])
    for device in (OWN, *PEERS[1:5]):
        for key in shared.values():
            assert derive.pair_tag(key, HOUR, device.device) not in after


@pytest.mark.parametrize("count", [0, 1, 5, 31, 32, 33, 40])
def test_the_size_says_nothing_about_the_number_of_peers(count: int) -> None:
    tags = _announce(OWN, PEERS[:count])
    assert [len(string) for string in tags] == [STRING_BYTES, STRING_BYTES]
    assert len(_set(tags)) == TAGS


def test_decoys_are_as_steady_as_tags() -> None:
    assert _announce(OWN, PEERS[:3]) == _announce(OWN, PEERS[:3])
    assert not _set(_announce(OWN, PEERS[:3])) & _set(_announce(OWN, PEERS[:3], HOUR + 1))


def test_above_32_peers_everybody_gets_a_turn() -> None:
    seen: set[DeviceId] = set()
    for hour in range(HOUR, HOUR + 40):
        tags = _announce(OWN, PEERS, hour)
        for peer in PEERS:
            if match(tags, _keys(peer, [OWN]), hour) is not None:
                seen.add(peer.device)
    assert len(seen) == len(PEERS)


def test_two_directions_of_a_pair_show_different_tags() -> None:
    assert not _set(_announce(OWN, [PEERS[0]])) & _set(_announce(PEERS[0], [OWN]))


@pytest.mark.parametrize(
    "tags", [(b"", b""), (b"x" * 127, b"x" * 128), (b"x" * 256, b""), (b"x" * 128, b"x" * 136)]
)
def test_records_of_another_size_match_nobody(tags: tuple[bytes, bytes]) -> None:
    assert match(tags, _keys(PEERS[0], [OWN]), HOUR) is None


def test_a_peer_with_a_key_of_small_order_has_no_tag() -> None:
    assert tag_keys(DhKey(b"s" * 32), {OWN.device: bytes(32)}) == {}


def test_hours_count_from_1970() -> None:
    assert hour_of(Instant(0, HOUR * HOUR_MS + 5)) == HOUR
    assert hour_of(Instant(0, -1)) == 0
    assert match(_announce(OWN, [PEERS[0]], 0), _keys(PEERS[0], [OWN]), 0) == OWN.device
