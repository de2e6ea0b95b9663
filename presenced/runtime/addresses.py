"""Where this device can be dialled, for people and QR codes."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from presenced.host.network import local_hosts
from presenced.net.bound import BoundEndpoint

WILDCARDS = frozenset({"::", "0.0.0.0"})  # noqa: S104 (compared with, not bound)


def own_addresses(endpoint: BoundEndpoint) -> Sequence[tuple[str, int]]:
    """Host and port of each address; those that others can reach first, loopback if nothing else.

    Link-local addresses are left out: they mean nothing without the zone of the other machine.
    """
    bound = endpoint.addresses
    if not any(host in WILDCARDS for host, _ in bound):
        return bound
    hosts = [ip_address(host) for host in local_hosts()]
    outward = [host for host in hosts if not host.is_loopback and not host.is_link_local]
    chosen = sorted(outward or hosts, key=lambda host: (host.version, host.packed))
    return [(str(host), endpoint.port) for host in chosen]
