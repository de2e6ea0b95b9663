"""Pairwise tags for mDNS: paired devices know each other, strangers learn not even a number.

Theory of operation. For each peer a device announces an 8-byte tag keyed on the pair's DH secret
and the hour; 32 tags always, in two strings of 128 bytes. Free places hold decoys that are as
steady as tags for the hour (fresh ones would show by changing). Above 32 peers the hour decides
whose turn it is. Tags look random and are sorted, so their order says nothing. A match is only a
hint of where to dial; the handshake decides.

Invariants: nothing follows from public keys alone; a removed device can compute its own pair's
tag and no other. An announcement is a function of (keys, peers, hour), so it never changes within
an hour unless the peers do.
Source: DESIGN §4 (LAN privacy).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from presenced.clock import Instant
from presenced.crypto import derive
from presenced.crypto.keys import DhKey
from presenced.errors import PeerError
from presenced.ids import DeviceId
from presenced.trust.link_limits import TAGS

HOUR_MS: Final = 3_600_000
STRINGS: Final = 2
"TXT strings of an announcement"

STRING_BYTES: Final = TAGS * derive.TAG_BYTES // STRINGS
"bytes of each: 128"

TagKeys: TypeAlias = Mapping[DeviceId, bytes]
"per peer the key of the pair's tags"


def hour_of(now: Instant) -> int:
    """The hour, counted from 1970 in UTC; a clock before that counts as 0."""
    return max(0, now.wall_ms // HOUR_MS)


def tag_keys(static: DhKey, peers: Mapping[DeviceId, bytes]) -> dict[DeviceId, bytes]:
    """The pairs' keys from our static key and the peers' static public keys.

    About 50 µs a peer: compute once per change of membership. A peer whose key is of small order
    gets none.
    """
    keys = {}
    for device, public in peers.items():
        try:
            keys[device] = derive.tag_key(static.exchange(public))
        except PeerError:
            continue
    return keys


def tag_set(own: DeviceId, decoy_key: bytes, keys: TagKeys, hour: int) -> tuple[bytes, bytes]:
    """The two TXT strings for an hour. `decoy_key` is `derive.decoy_key` of our static key."""
    turn = list(keys)
    if len(turn) > TAGS:
        turn.sort(key=lambda device: derive.pair_tag(decoy_key, hour, device))
    tags = [derive.pair_tag(keys[device], hour, own) for device in turn[:TAGS]]
    tags += [derive.decoy_tag(decoy_key, hour, place) for place in range(TAGS - len(tags))]
    joined = b"".join(sorted(tags))
    return joined[:STRING_BYTES], joined[STRING_BYTES:]


def match(tags: tuple[bytes, bytes], keys: TagKeys, hour: int) -> DeviceId | None:
    """The peer that made these tags this hour, the one before or the one after, if any."""
    if len(tags) != STRINGS or any(len(string) != STRING_BYTES for string in tags):
        return None
    joined = b"".join(tags)
    size = derive.TAG_BYTES
    shown = {joined[at : at + size] for at in range(0, len(joined), size)}
    hours = range(max(0, hour - 1), hour + 2)
    for device, key in keys.items():
        if any(derive.pair_tag(key, near, device) in shown for near in hours):
            return device
    return None
