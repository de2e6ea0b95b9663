"""The UDP socket: opening it, its addresses, and what the kernel says about datagrams we sent.

One socket serves IPv4 and IPv6 where the machine has both (IPv4 peers appear as ::ffff:a.b.c.d).

On Linux the socket asks for ICMP errors (ip(7), IP_RECVERR), so that a dial to a port where nobody
listens fails in a millisecond instead of after five seconds of silence. They are hints: a stranger
on the path can forge them, so they may end an unanswered dial and hasten a ping, nothing else.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
import sys
from dataclasses import dataclass
from typing import Any, Final

from presenced.net.errors import CannotListen, PortInUse
from presenced.net.limits import (
    DATAGRAM_BYTES,
    DATAGRAM_BYTES_LOCAL,
    LOCAL_ROUTE_MTU_MIN,
    SOCKET_BUFFER_BYTES,
)

SocketAddress = tuple[Any, ...]
"what recvfrom and sendto use: (host, port) or (host, port, flow, scope)"

# linux/in.h, linux/in6.h, linux/errqueue.h: not in Python's socket module
_IP_MTU: Final = 14
_IPV6_MTU: Final = 24
_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")  # struct sock_extended_err
_REPORTS_MAX: Final = 64
"reports taken at one wake-up; the rest comes with the next"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorReport:
    """The network says that a datagram did not arrive."""

    address: SocketAddress
    number: int
    "errno"


def open_socket(host: str | None, port: int) -> socket.socket:
    """A non-blocking UDP socket. No host: both families on one socket where that works.

    Raises `PortInUse` or `CannotListen`.
    """
    attempts: list[tuple[socket.AddressFamily, str]] = []
    if host is None:
        if socket.has_dualstack_ipv6():
            attempts.append((socket.AF_INET6, "::"))
        attempts.append((socket.AF_INET, "0.0.0.0"))  # noqa: S104 - siblings dial us
    else:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except OSError as error:
            raise CannotListen(f"cannot listen on {host}: no such address") from error
        attempts.append((found[0][0], str(found[0][4][0])))
    failure: OSError | None = None
    for family, name in attempts:
        try:
            return _bind(family, name, port, both=host is None)
        except OSError as error:
            failure = error
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(f"UDP port {port} is in use") from error
    assert failure is not None
    shown = failure.strerror or "the system refuses"
    raise CannotListen(f"cannot listen on {host or 'any address'} port {port}: {shown}")


def _bind(family: socket.AddressFamily, name: str, port: int, *, both: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
        if sys.platform == "linux":
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
            if family == socket.AF_INET or both:
                sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        sock.bind((name, port))
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def read_reports(sock: socket.socket) -> list[ErrorReport]:
    """What the kernel has to say about datagrams sent before. Empty where it has no such queue."""
    reports: list[ErrorReport] = []
    if sys.platform != "linux":
        return reports
    while len(reports) < _REPORTS_MAX:
        try:
            _, ancillary, _, address = sock.recvmsg(0, 512, socket.MSG_ERRQUEUE)
        except OSError:  # nothing (more) in the queue
            break
        for level, kind, data in ancillary:
            if (level, kind) in _REPORT_KINDS and len(data) >= _EXTENDED_ERROR.size:
                number = _EXTENDED_ERROR.unpack_from(data)[0]
                reports.append(ErrorReport(address=address, number=number))
    return reports


_REPORT_KINDS: Final = frozenset(
    {(socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)}
)


def to_socket_address(sock: socket.socket, found: SocketAddress) -> SocketAddress | None:
    """An address of getaddrinfo as this socket writes it; None if the socket cannot reach it."""
    is_ipv6 = len(found) == 4
    if sock.family == socket.AF_INET6:
        return found if is_ipv6 else (f"::ffff:{found[0]}", found[1], 0, 0)
    return None if is_ipv6 else found


def show_address(address: SocketAddress) -> tuple[str, int]:
    """Host and port as people write them: no mapped IPv4, a zone where one is needed."""
    host, port = str(address[0]).removeprefix("::ffff:"), int(address[1])
    if len(address) == 4 and address[3] and "%" not in host:
        try:
            host = f"{host}%{socket.if_indextoname(address[3])}"
        except OSError:  # the interface has gone
            host = f"{host}%{address[3]}"
    return host, port


def plain_address(address: SocketAddress) -> tuple[str, int]:
    """Host without zone, and port."""
    return str(address[0]).removeprefix("::ffff:").partition("%")[0], int(address[1])


def source_of(address: SocketAddress) -> str:
    """What counts as one source: an IPv4 address, an IPv6 /64, one link-local address."""
    host, _ = plain_address(address)
    if ":" not in host:
        return host
    parsed = ipaddress.IPv6Address(host)
    if parsed.is_link_local:
        return host
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))


def datagram_bytes_to(address: SocketAddress) -> int:
    """UDP payload that surely arrives there: large if the route stays on this machine."""
    if sys.platform != "linux":
        return DATAGRAM_BYTES
    is_ipv6 = len(address) == 4
    try:
        with socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(address)
            if is_ipv6 and not str(address[0]).startswith("::ffff:"):
                mtu = s.getsockopt(socket.IPPROTO_IPV6, _IPV6_MTU)
            else:
                mtu = s.getsockopt(socket.IPPROTO_IP, _IP_MTU)
    except OSError:
        return DATAGRAM_BYTES
    return DATAGRAM_BYTES_LOCAL if mtu >= LOCAL_ROUTE_MTU_MIN else DATAGRAM_BYTES
