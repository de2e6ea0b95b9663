"""Addresses as sockets and people write them."""

from __future__ import annotations

import errno
import socket
import sys

import pytest
import trio

from presenced.net.limits import DATAGRAM_BYTES, DATAGRAM_BYTES_LOCAL
from presenced.net.udp import (
    datagram_bytes_to,
    open_socket,
    plain_address,
    read_reports,
    show_address,
    source_of,
    to_socket_address,
)


def test_mapped_addresses_are_shown_as_ipv4() -> None:
    assert show_address(("::ffff:192.0.2.1", 9, 0, 0)) == ("192.0.2.1", 9)
    assert show_address(("192.0.2.1", 9)) == ("192.0.2.1", 9)
    assert show_address(("2001:db8::1", 9, 0, 0)) == ("2001:db8::1", 9)


def test_a_zone_is_shown_by_name_and_left_out_where_only_the_address_counts() -> None:
    name, index = socket.if_nameindex()[0][1], socket.if_nameindex()[0][0]
    assert show_address(("fe80::1", 9, 0, index)) == (f"fe80::1%{name}", 9)
    assert show_address(("fe80::1", 9, 0, 987_654)) == ("fe80::1%987654", 9)
    assert plain_address((f"fe80::1%{name}", 9, 0, index)) == ("fe80::1", 9)


def test_a_source_is_what_one_person_can_have_many_of() -> None:
    assert source_of(("::ffff:192.0.2.1", 9, 0, 0)) == "192.0.2.1"
    assert source_of(("2001:db8::1", 9, 0, 0)) == source_of(("2001:db8::2", 10, 0, 0))
    assert source_of(("2001:db8::1", 9, 0, 0)) != source_of(("2001:db8:0:1::1", 9, 0, 0))
    assert source_of(("fe80::1%eth0", 9, 0, 2)) != source_of(("fe80::2%eth0", 9, 0, 2))


def test_addresses_are_mapped_to_the_sockets_family() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four:
        assert to_socket_address(four, ("192.0.2.1", 9)) == ("192.0.2.1", 9)
        assert to_socket_address(four, ("2001:db8::1", 9, 0, 0)) is None
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six:
        assert to_socket_address(six, ("192.0.2.1", 9)) == ("::ffff:192.0.2.1", 9, 0, 0)
        assert to_socket_address(six, ("2001:db8::1", 9, 0, 0)) == ("2001:db8::1", 9, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="the route's MTU is asked on Linux only")
def test_datagrams_are_large_only_where_the_route_stays_on_this_machine() -> None:
    assert datagram_bytes_to(("127.0.0.1", 9)) == DATAGRAM_BYTES_LOCAL
    assert datagram_bytes_to(("::ffff:127.0.0.1", 9, 0, 0)) == DATAGRAM_BYTES_LOCAL
    assert datagram_bytes_to(("192.0.2.99", 9)) == DATAGRAM_BYTES
    assert datagram_bytes_to(("255.255.255.255", 9)) == DATAGRAM_BYTES


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports ICMP errors so")
async def test_the_kernel_says_that_nobody_listens() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = unused.getsockname()
    with open_socket("127.0.0.1", 0) as sock:
        assert read_reports(sock) == []
        sock.sendto(b"hello", nobody)
        with trio.fail_after(2):
            await trio.lowlevel.wait_readable(sock)
        with pytest.raises(ConnectionRefusedError):
            sock.recvfrom(100)
        (report,) = read_reports(sock)
        assert (report.address[:2], report.number) == (nobody, errno.ECONNREFUSED)


def test_without_ipv6_the_socket_is_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with open_socket(None, 0) as sock:
        assert sock.family == socket.AF_INET
