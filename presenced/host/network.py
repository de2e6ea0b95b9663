"""Notices that the network changed, so that nobody waits for a stale back-off.

On Linux any rtnetlink message on addresses or links counts (rtnetlink(7)): it costs nothing while
nothing changes. Elsewhere addresses are compared now and then.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Final

import ifaddr
import trio

SETTLE_SECONDS: Final = 0.1
"messages come in bunches (link up, address, route): one report for all"

REST_SECONDS: Final = 3.0
"least time between two reports: a flapping interface must not drive us"

POLL_SECONDS: Final = 15.0
"how often addresses are compared where the system does not tell"

# linux/rtnetlink.h
_RTMGRP_LINK: Final = 0x1
_RTMGRP_IPV4_IFADDR: Final = 0x10
_RTMGRP_IPV6_IFADDR: Final = 0x100
_MESSAGE_BYTES: Final = 64 * 1024


async def watch_network(changed: Callable[[], None]) -> None:
    """Call `changed` after each change of links or addresses, until cancelled."""
    watch = open_rtnetlink()
    if watch is None:
        await _poll(changed)
        return
    with watch:
        while True:
            await trio.lowlevel.wait_readable(watch)
            await trio.sleep(SETTLE_SECONDS)
            _drain(watch)
            changed()
            await trio.sleep(REST_SECONDS)


def open_rtnetlink() -> socket.socket | None:
    """A socket that becomes readable with each change; None where there is none."""
    if sys.platform != "linux":
        return None
    try:
        watch = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    except OSError:  # a sandbox without AF_NETLINK
        return None
    try:
        watch.bind((0, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR))
        watch.setblocking(False)
    except OSError:
        watch.close()
        return None
    return watch


def local_hosts() -> frozenset[str]:
    """Addresses of this machine, without zones."""
    return frozenset(
        address.ip if isinstance(address.ip, str) else address.ip[0]
        for adapter in ifaddr.get_adapters()
        for address in adapter.ips
    )


def _drain(watch: socket.socket) -> None:
    while True:
        try:
            watch.recv(_MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:  # ENOBUFS: messages were lost, which is a change as well
            continue


async def _poll(changed: Callable[[], None]) -> None:
    known = local_hosts()
    while True:
        await trio.sleep(POLL_SECONDS)
        current = local_hosts()
        if current != known:
            known = current
            changed()
