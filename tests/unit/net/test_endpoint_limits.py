"""Each bound of the endpoint, reached."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio

from presenced.net import endpoint as module
from presenced.net.endpoint import DialFailed, Endpoint, open_endpoint
from presenced.net.limits import (
    BACKLOG_DATAGRAMS_MAX,
    DATAGRAMS_EACH_WAKEUP,
    DIAL_ADDRESSES_MAX,
    DIAL_STAGGER_SECONDS,
    FLUSH_SECONDS_MAX,
    PENDING_MAX,
)
from presenced.net.udp import SocketAddress

LOOPBACK = "127.0.0.1"


@pytest.fixture
def silent() -> Iterator[tuple[str, int]]:
    """An address that hears and says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((LOOPBACK, 0))
        yield sock.getsockname()


async def test_an_endpoint_has_so_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECTIONS_MAX", 2)
    with trio.fail_after(10):
        async with open_endpoint(LOOPBACK, 0) as a, open_endpoint(LOOPBACK, 0) as b:
            await a.dial((LOOPBACK, b.port))
            near = await a.dial((LOOPBACK, b.port))
            with pytest.raises(DialFailed, match="too many connections"):
                await a.dial((LOOPBACK, b.port))
            async with open_endpoint(LOOPBACK, 0) as c, trio.open_nursery() as nursery:
                nursery.start_soon(c.dial, (LOOPBACK, b.port))
                while not c.bytes_out:
                    await trio.lowlevel.checkpoint()
                await near.send_all(b"later")  # b takes datagrams in the order of their arrival
                far = await b.incoming.receive()
                assert await far.receive_some() == b"later"
                assert len(b.links) == 2
                (dialling,) = c.links
                assert not dialling.shaken.is_set()
                nursery.cancel_scope.cancel()


async def test_a_full_socket_keeps_so_many_datagrams_waiting() -> None:
    class Full:
        def sendto(self, data: bytes, address: SocketAddress) -> int:
            raise BlockingIOError

    async with open_endpoint(LOOPBACK, 0) as endpoint:
        real, endpoint._sock = endpoint._sock, Full()  # type: ignore[assignment]
        for _ in range(BACKLOG_DATAGRAMS_MAX + 100):
            assert endpoint._send(b"x", (LOOPBACK, 9)) is None
        assert len(endpoint._backlog) == BACKLOG_DATAGRAMS_MAX
        endpoint._sock = real
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not endpoint._backlog


async def test_closing_does_not_wait_long_for_a_vanished_peer() -> None:
    with trio.fail_after(10):
        async with open_endpoint(LOOPBACK, 0) as a, open_endpoint(LOOPBACK, 0) as b:
            link = await a.dial((LOOPBACK, b.port))
            await link.send_all(b"x")
            await trio.testing.wait_all_tasks_blocked(0.01)
            b._send = lambda data, address: None  # type: ignore[method-assign]
            await link.send_all(b"never acknowledged")
            began = trio.current_time()
            await link.aclose()
            assert FLUSH_SECONDS_MAX * 0.9 <= trio.current_time() - began < FLUSH_SECONDS_MAX + 1


async def test_a_silent_first_address_holds_a_dial_up_for_a_moment(
    silent: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with trio.fail_after(10):
        async with open_endpoint(LOOPBACK, 0) as a, open_endpoint(LOOPBACK, 0) as b:

            async def resolve(_address: tuple[str, int]) -> list[SocketAddress]:
                return [silent, (LOOPBACK, b.port)]

            monkeypatch.setattr(a, "_resolve", resolve)
            began = trio.current_time()
            link = await a.dial(("two-addresses.example", b.port))
            assert DIAL_STAGGER_SECONDS <= trio.current_time() - began < 2
            assert link.remote == (LOOPBACK, b.port)
            assert a.links == (link,)


async def test_of_a_name_only_so_many_addresses_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async def many(host: str, port: int, **_named: object) -> list[object]:
        return [
            (socket.AF_INET, socket.SOCK_DGRAM, 0, "", (f"192.0.2.{number}", port))
            for number in range(1, 20)
        ]

    monkeypatch.setattr(trio.socket, "getaddrinfo", many)
    async with open_endpoint(LOOPBACK, 0) as endpoint:
        assert len(await endpoint._resolve(("many.example", 9))) == DIAL_ADDRESSES_MAX


async def test_a_burst_gives_the_rest_of_the_daemon_its_turn() -> None:
    turns_between: list[int] = []
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with open_endpoint(LOOPBACK, 0) as endpoint, trio.open_nursery() as nursery:
        real_receive = endpoint._receive

        def receive(data: bytes, address: SocketAddress) -> object:
            turns_between.append(turns)
            return real_receive(data, address)

        endpoint._receive = receive  # type: ignore[method-assign,assignment]
        await trio.testing.wait_all_tasks_blocked()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(6 * DATAGRAMS_EACH_WAKEUP):
                sock.sendto(b"noise!!", (LOOPBACK, endpoint.port))
        nursery.start_soon(other)
        with trio.fail_after(5):
            while len(turns_between) < 6 * DATAGRAMS_EACH_WAKEUP:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    batches = [turns_between.count(turn) for turn in set(turns_between)]
    # trio runs the ready tasks in either order, so that two turns of the reader may meet
    assert max(batches) <= 2 * DATAGRAMS_EACH_WAKEUP


async def test_connections_that_nobody_accepts_are_ended() -> None:
    with trio.fail_after(20):
        async with open_endpoint(LOOPBACK, 0) as a, open_endpoint(LOOPBACK, 0) as b:
            _fill(b)
            link = await a.dial((LOOPBACK, b.port))
            await link.send_all(b"x")
            assert await link.receive_some() == b""
            assert b.links == ()


def _fill(endpoint: Endpoint) -> None:
    for _ in range(PENDING_MAX):
        endpoint._accepted.send_nowait(None)  # type: ignore[arg-type]
