"""What an mDNS announcement says, as far as we believe it. Pure: no sockets, time passed in.

Rules of this file: a record is a hint of where to dial, never trusted: whoever is on the network
can write any. What is malformed is ignored without a word; what repeats is not reported again; how
much is looked at is bounded, and so is what is remembered.

Source: RFC 6762, RFC 6763 §6 (TXT); DESIGN §4 (LAN privacy).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from presenced.net.admission import TokenBucket
from presenced.net.limits import (
    SIGHTING_ADDRESSES_MAX,
    SIGHTINGS_BURST,
    SIGHTINGS_MAX,
    SIGHTINGS_PER_SECOND,
    TAG_STRING_BYTES,
)

SERVICE: Final = "_presenced._udp.local."
VERSION: Final = b"1"
_PAIRING_DIGITS_MAX: Final = 9

TagStrings = tuple[bytes, bytes]
"the pairwise tags of an announcement, two strings of `TAG_STRING_BYTES`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Somebody announces itself on the LAN: a hint."""

    instance: str
    "random name of the announcement"
    addresses: tuple[tuple[str, int], ...]
    "host (with zone where it needs one) and UDP port"
    tags: TagStrings | None
    "None in an announcement that is for pairing only"
    pairing: str | None
    "the number of a pairing code that is shown there"


def read_announcement(
    *,
    instance: str,
    hosts: Iterable[str],
    port: int | None,
    properties: Mapping[bytes, bytes | None],
    own_hosts: frozenset[str],
) -> Found | None:
    """What an announcement says; None if it is not one of ours or not well formed.

    `own_hosts` are the addresses of this machine: a loopback address is believed only if it has
    no other, as it is of no use to anybody else.
    """
    if properties.get(b"v") != VERSION or port is None or not 0 < port < 65_536:
        return None
    addresses: list[tuple[str, int]] = []
    for host in hosts:
        if len(addresses) < SIGHTING_ADDRESSES_MAX and _is_believable(host, own_hosts):
            addresses.append((host, port))
    first, second = properties.get(b"a"), properties.get(b"b")
    tags: TagStrings | None = None
    if first is not None and second is not None:
        if len(first) != TAG_STRING_BYTES or len(second) != TAG_STRING_BYTES:
            return None
        tags = (first, second)
    pairing: str | None = None
    number = properties.get(b"p")
    if number is not None:
        if not number.isdigit() or len(number) > _PAIRING_DIGITS_MAX:
            return None
        pairing = number.decode("ascii")
    if not addresses or (tags is None and pairing is None):
        return None
    return Found(instance=instance, addresses=tuple(addresses), tags=tags, pairing=pairing)


def announced_hosts(hosts: Iterable[str]) -> tuple[str, ...]:
    """Of this machine's addresses those to announce: no loopback unless there is nothing else."""
    parsed = [ipaddress.ip_address(host.partition("%")[0]) for host in hosts]
    outward = [address for address in parsed if not address.is_loopback]
    chosen = outward or parsed
    chosen.sort(key=lambda address: (address.version, address.is_link_local, address.packed))
    return tuple(str(address) for address in chosen[:SIGHTING_ADDRESSES_MAX])


def _is_believable(host: str, own_hosts: frozenset[str]) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if address.is_multicast or address.is_unspecified or address.is_reserved:
        return False
    if address.version == 6 and address.is_link_local and "%" not in host:
        return False  # nobody can tell on which link
    if address.is_loopback:
        return all(ipaddress.ip_address(own.partition("%")[0]).is_loopback for own in own_hosts)
    return True


class Sightings:
    """Which announcements to look at, and which are news."""

    def __init__(self, now: float) -> None:
        self._bucket = TokenBucket(burst=SIGHTINGS_BURST, per_second=SIGHTINGS_PER_SECOND, now=now)
        self._seen: dict[str, Found] = {}
        "least recently reported first"

    def __len__(self) -> int:
        return len(self._seen)

    def look_at(self, now: float) -> bool:
        """There is room to look at one more announcement."""
        return self._bucket.take(now)

    def is_news(self, found: Found) -> bool:
        """The announcement says something that it did not say before."""
        if self._seen.get(found.instance) == found:
            return False
        self._seen.pop(found.instance, None)
        if len(self._seen) >= SIGHTINGS_MAX:
            del self._seen[next(iter(self._seen))]
        self._seen[found.instance] = found
        return True

    def gone(self, instance: str) -> None:
        """The announcement was withdrawn; the next one under its name is news."""
        self._seen.pop(instance, None)

    def clear(self) -> None:
        """Everything is news again: the network changed."""
        self._seen.clear()
