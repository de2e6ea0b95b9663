"""What a stranger on the network can send to the UDP port, and what it costs."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
from aioquic.quic.packet import QuicProtocolVersion, encode_quic_version_negotiation

from presenced.net.endpoint import DialFailed, Endpoint, LinkStream, open_endpoint
from presenced.net.limits import (
    CHALLENGE_PENDING,
    DATAGRAM_BYTES,
    DATAGRAM_BYTES_MAX,
    PENDING_BYTES_MAX,
    PENDING_DATAGRAM_BYTES_MAX,
    PENDING_MAX,
    PENDING_PER_SOURCE_MAX,
)
from presenced.net.quic import Connection, dialling

LOOPBACK = "127.0.0.1"


@pytest.fixture
def stranger() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((LOOPBACK, 0))
        sock.setblocking(False)
        yield sock


def initial(version: int = QuicProtocolVersion.VERSION_1) -> bytes:
    """The first datagram of an honest handshake."""
    configuration = dialling(DATAGRAM_BYTES)
    configuration.supported_versions = [version]
    connection = Connection(configuration=configuration)
    connection.connect((LOOPBACK, 1), now=0.0)
    return connection.datagrams_to_send(now=0.0)[0][0]


async def settle() -> None:
    for _ in range(5):
        await trio.testing.wait_all_tasks_blocked(0.002)


def heard(sock: socket.socket) -> list[bytes]:
    answers = []
    while True:
        try:
            answers.append(sock.recv(65_535))
        except BlockingIOError:
            return answers


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Endpoint, LinkStream, LinkStream]]:
    """An endpoint under attack, and a good link of it."""
    async with open_endpoint(LOOPBACK, 0) as friend, open_endpoint(LOOPBACK, 0) as endpoint:
        near = await friend.dial((LOOPBACK, endpoint.port))
        await near.send_all(b"x")
        far = await endpoint.incoming.receive()
        assert await far.receive_some() == b"x"
        near.mark_authenticated()
        far.mark_authenticated()
        yield endpoint, near, far
        await near.send_all(b"still here")
        with trio.fail_after(5):
            assert await far.receive_some() == b"still here"


async def test_half_open_handshakes_are_bounded_and_honest_ones_go_on(
    stranger: socket.socket,
) -> None:
    async with linked() as (endpoint, _near, far):
        for _ in range(300):
            stranger.sendto(initial(), (LOOPBACK, endpoint.port))
        await settle()
        strangers = [link for link in endpoint.links if link is not far]
        assert 0 < len(strangers) <= PENDING_PER_SOURCE_MAX
        assert endpoint._door.admission.pending == len(strangers)


async def test_from_many_addresses_strangers_must_prove_theirs_and_the_oldest_goes() -> None:
    async with open_endpoint(LOOPBACK, 0) as endpoint:
        hosts = [f"127.0.{number // 200}.{number % 200 + 2}" for number in range(PENDING_MAX * 2)]
        sockets = []
        try:
            for host in hosts:
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sockets.append(sock)
                sock.setblocking(False)
                sock.bind((host, 0))
                sock.sendto(initial(), (LOOPBACK, endpoint.port))
            await settle()
            assert endpoint._door.admission.pending == CHALLENGE_PENDING
            retries = [data for sock in sockets for data in heard(sock) if data[0] & 0xF0 == 0xF0]
            assert len(retries) == len(hosts) - CHALLENGE_PENDING
            assert max(map(len, retries)) < DATAGRAM_BYTES
            async with open_endpoint(LOOPBACK, 0) as friend:  # who answers the Retry gets in
                link = await friend.dial((LOOPBACK, endpoint.port))
                await link.send_all(b"honest")
                far = await endpoint.incoming.receive()
                assert await far.receive_some() == b"honest"
        finally:
            for sock in sockets:
                sock.close()


async def test_one_more_stranger_than_there_is_room_for_ends_the_oldest() -> None:
    async with open_endpoint(LOOPBACK, 0) as endpoint, open_endpoint(LOOPBACK, 0) as friend:
        for number in range(PENDING_MAX):
            address = (f"127.0.1.{number + 1}", 9)
            link = endpoint._add(
                Connection(
                    configuration=endpoint._door.configuration,
                    original_destination_connection_id=os.urandom(8),
                ),
                address,
                first_id=os.urandom(8),
            )
            endpoint._door.admission.entered(address[0])
            if number == 0:
                oldest = link
        await friend.dial((LOOPBACK, endpoint.port))
        assert oldest.ended
        assert endpoint._door.admission.pending == PENDING_MAX


async def test_garbage_is_dropped_without_an_answer(stranger: socket.socket) -> None:
    noise = random.Random(1)
    good = initial()
    async with linked() as (endpoint, near, far):
        for _ in range(2_000):
            size = noise.choice((0, 1, 5, 6, 7, 20, 100, 1199, 1200, 1500))
            data = bytearray(noise.randbytes(size))
            if size and noise.random() < 0.5:
                data[0] |= 0xC0
            if noise.random() < 0.2:
                data = bytearray(good)
                for _ in range(noise.randrange(1, 20)):
                    data[noise.randrange(len(data))] = noise.randrange(256)
            if noise.random() < 0.2:  # at an id that is in use
                data[1:9] = noise.choice(sorted(far.routes))
            stranger.sendto(data, (LOOPBACK, endpoint.port))
            if noise.random() < 0.05:
                await trio.testing.wait_all_tasks_blocked()
        await settle()
        assert near.is_connected
        assert far.is_connected
        assert len(endpoint.links) <= 1 + PENDING_PER_SOURCE_MAX


async def test_unknown_versions_and_version_negotiation_start_no_conversation(
    stranger: socket.socket,
) -> None:
    """Two endpoints that answer each other's would never stop (aioquic 635)."""
    negotiation = encode_quic_version_negotiation(
        source_cid=os.urandom(8), destination_cid=os.urandom(8), supported_versions=[1]
    )
    unknown = bytearray(initial())
    unknown[1:5] = b"\x1a\x2a\x3a\x4a"
    async with linked() as (endpoint, _near, _far):
        for data in (negotiation, negotiation + bytes(1200), bytes(unknown)):
            stranger.sendto(data, (LOOPBACK, endpoint.port))
        second = initial(QuicProtocolVersion.VERSION_2)
        stranger.sendto(second, (LOOPBACK, endpoint.port))
        await settle()
        assert heard(stranger) == []
        assert len(endpoint.links) == 1


async def test_an_oversized_datagram_is_dropped(stranger: socket.socket) -> None:
    async with linked() as (endpoint, _near, far):
        before = far.bytes_in
        huge = bytes([0x40]) + min(far.routes) + bytes(DATAGRAM_BYTES_MAX)
        stranger.sendto(huge, (LOOPBACK, endpoint.port))
        await settle()
        assert far.bytes_in < before + DATAGRAM_BYTES  # its own acknowledgements at most
        assert endpoint.bytes_in >= before + DATAGRAM_BYTES_MAX


async def test_a_short_initial_is_not_answered(stranger: socket.socket) -> None:
    async with open_endpoint(LOOPBACK, 0) as endpoint:
        stranger.sendto(initial()[:1199], (LOOPBACK, endpoint.port))
        await settle()
        assert heard(stranger) == []
        assert endpoint.links == ()


async def test_a_forged_retry_token_is_not_believed(stranger: socket.socket) -> None:
    """The token is of another address: dropped, not answered, nothing kept."""
    configuration = dialling(DATAGRAM_BYTES)
    configuration.token = os.urandom(80)
    connection = Connection(configuration=configuration)
    connection.connect((LOOPBACK, 1), now=0.0)
    data = connection.datagrams_to_send(now=0.0)[0][0]
    async with open_endpoint(LOOPBACK, 0) as endpoint:
        stranger.sendto(data, (LOOPBACK, endpoint.port))
        await settle()
        assert heard(stranger) == []
        assert endpoint.links == ()


async def test_a_stranger_that_talks_is_held_by_its_window() -> None:
    with trio.fail_after(10):
        async with (
            open_endpoint(LOOPBACK, 0) as endpoint,
            open_endpoint(LOOPBACK, 0) as friend,
        ):
            link = await friend.dial((LOOPBACK, endpoint.port))
            await link.send_all(bytes(100_000))
            far = await endpoint.incoming.receive()
            received = 0
            while received < PENDING_BYTES_MAX:
                received += len(await far.receive_some())
            await far.send_all(b"had reading opened the window, you would know by now")
            assert await link.receive_some()
            while far.unacknowledged_bytes:  # and whatever you then sent would have come first
                await trio.testing.wait_all_tasks_blocked(0.001)
            assert received == PENDING_BYTES_MAX
            assert not far._unread


async def test_a_stranger_that_only_makes_us_work_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pings, handshake bytes with a gap before them: whatever is no word on its stream."""
    monkeypatch.setattr("presenced.net.link.PENDING_SECONDS_MAX", 60.0)  # bytes alone end it
    with trio.fail_after(30):
        async with (
            open_endpoint(LOOPBACK, 0) as endpoint,
            open_endpoint(LOOPBACK, 0) as friend,
        ):
            link = await friend.dial((LOOPBACK, endpoint.port))
            await link.send_all(b"x")
            far = await endpoint.incoming.receive()
            for number in range(PENDING_DATAGRAM_BYTES_MAX):
                if far.ended:
                    break
                link.connection.send_ping(number)
                friend.transmit(link)
                await trio.testing.wait_all_tasks_blocked()
            assert far.close_reason == "too much from a stranger"
            assert far.bytes_in < PENDING_DATAGRAM_BYTES_MAX + DATAGRAM_BYTES_MAX


async def test_a_device_that_proved_itself_may_say_what_it_likes() -> None:
    async with linked() as (_endpoint, near, far):
        sent = bytes(4 * PENDING_DATAGRAM_BYTES_MAX)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.send_all, sent)
            received = 0
            while received < len(sent):
                received += len(await far.receive_some())


async def test_what_breaks_aioquic_ends_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async with linked() as (endpoint, _near, far), open_endpoint(LOOPBACK, 0) as other:
        bad = await other.dial((LOOPBACK, endpoint.port))
        await bad.send_all(b"x")
        victim = await endpoint.incoming.receive()

        def fail(*_arguments: object, **_named: object) -> None:
            raise RuntimeError("out of range")

        monkeypatch.setattr(victim.connection, "receive_datagram", fail)
        await bad.send_all(b"y")
        await settle()
        assert victim.ended
        assert victim.close_reason == "broken by a datagram"
        assert far.is_connected

        again = await other.dial((LOOPBACK, endpoint.port))
        await again.send_all(b"x")
        victim = await endpoint.incoming.receive()
        monkeypatch.setattr(victim.connection, "datagrams_to_send", fail)
        await again.send_all(b"y")
        await settle()
        assert victim.ended
        assert far.is_connected


async def test_a_forged_icmp_error_ends_no_link(monkeypatch: pytest.MonkeyPatch) -> None:
    from presenced.net import endpoint as module
    from presenced.net.udp import ErrorReport

    async with linked() as (endpoint, _near, far):
        report = ErrorReport(address=far.address, number=111)
        monkeypatch.setattr(module, "read_reports", lambda _sock: [report])
        before = endpoint.bytes_out
        for _ in range(1_000):
            endpoint._heed_reports()
        assert endpoint.bytes_out - before < 100  # one ping, as the next reports bring no other
        await settle()
        assert far.is_connected


async def test_a_dead_network_ends_no_link_and_a_full_buffer_loses_nothing() -> None:
    class Refusing:
        """A socket whose sending fails for a while."""

        def __init__(self, sock: socket.socket, error: OSError) -> None:
            self.sock = sock
            self.error: OSError | None = error

        def sendto(self, data: bytes, address: tuple[str, int]) -> int:
            if self.error is not None:
                raise self.error
            return self.sock.sendto(data, address)

        def __getattr__(self, name: str) -> object:
            return getattr(self.sock, name)

    with trio.fail_after(10):
        for error in (OSError(101, "network is unreachable"), OSError(24, "too many files")):
            async with linked() as (endpoint, near, far):
                real = endpoint._sock
                endpoint._sock = refusing = Refusing(real, error)  # type: ignore[assignment]
                await far.send_all(b"into the void")
                await settle()
                refusing.error = None
                assert await near.receive_some() == b"into the void"
                endpoint._sock = real
        async with linked() as (endpoint, near, far):
            real = endpoint._sock
            endpoint._sock = refusing = Refusing(real, BlockingIOError())  # type: ignore[assignment]
            await far.send_all(b"later")
            assert endpoint._backlog
            endpoint._sock = real
            assert await near.receive_some() == b"later"


async def test_a_flood_costs_little_cpu_and_memory(stranger: socket.socket) -> None:
    stranger.setblocking(True)
    data = initial()
    async with linked() as (endpoint, _near, _far):
        before = time.process_time()
        for _ in range(20):
            for _ in range(100):
                stranger.sendto(data, (LOOPBACK, endpoint.port))
            await trio.testing.wait_all_tasks_blocked()
        assert (time.process_time() - before) / 2_000 < 0.002
        assert len(endpoint.links) <= 1 + PENDING_PER_SOURCE_MAX


async def test_a_peer_of_another_protocol_is_refused() -> None:
    with trio.fail_after(10):
        async with (
            open_endpoint(LOOPBACK, 0) as endpoint,
            open_endpoint(LOOPBACK, 0) as other,
        ):
            endpoint._door.configuration.alpn_protocols = ["something-else"]
            with pytest.raises(DialFailed):
                await other.dial((LOOPBACK, endpoint.port))
            assert endpoint.links == ()
