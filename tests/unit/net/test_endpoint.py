"""Two endpoints on loopback: dialling, streams, closing, holding down, liveness."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from presenced.net.door import INITIAL_BYTES_MIN
from presenced.net.endpoint import (
    CannotListen,
    DialFailed,
    Endpoint,
    LinkStream,
    PortInUse,
    open_endpoint,
)
from presenced.net.errors import DialRefused
from presenced.net.limits import (
    ACCEPTOR_PING_SECONDS,
    ANSWER_SECONDS_MAX,
    DIALLER_PING_SECONDS,
    PENDING_SECONDS_MAX,
    PROBE_ANSWER_SECONDS_MAX,
    SENT_BEFORE_YIELD_BYTES,
    STREAM_WINDOW_BYTES,
    UNACKNOWLEDGED_BYTES_MAX,
    WRITE_BYTES,
)

LOOPBACK = "127.0.0.1"


@asynccontextmanager
async def open_pair() -> AsyncIterator[tuple[Endpoint, Endpoint, LinkStream, LinkStream]]:
    """Endpoints and their two ends of an authenticated link, dialled by the first."""
    async with open_endpoint(LOOPBACK, 0) as a, open_endpoint(LOOPBACK, 0) as b:
        near = await a.dial((LOOPBACK, b.port))
        await near.send_all(b"hello")
        far = await b.incoming.receive()
        assert await far.receive_some() == b"hello"
        near.mark_authenticated()
        far.mark_authenticated()
        yield a, b, near, far


async def read_exactly(link: LinkStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await link.receive_some()
        assert more
        data += more
    return data


async def test_bytes_go_both_ways() -> None:
    with trio.fail_after(10):
        async with open_pair() as (a, b, near, far):
            assert (near.inbound, far.inbound) == (False, True)
            assert near.remote == (LOOPBACK, b.port)
            assert far.remote == (LOOPBACK, a.port)
            await far.send_all(b"and back")
            assert await near.receive_some() == b"and back"


async def test_one_socket_dials_and_accepts() -> None:
    with trio.fail_after(10):
        async with open_pair() as (a, b, _near, _far):
            back = await b.dial((LOOPBACK, a.port))
            await back.send_all(b"x")
            there = await a.incoming.receive()
            assert there.remote == (LOOPBACK, b.port)


async def test_no_host_serves_both_families() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with trio.fail_after(10):
        async with open_endpoint(None, 0) as server, open_endpoint(None, 0) as client:
            for host in (LOOPBACK, "::1", "localhost"):
                link = await client.dial((host, server.port))
                await link.send_all(host.encode())
                far = await server.incoming.receive()
                assert await far.receive_some() == host.encode()
                assert far.remote[0] in (LOOPBACK, "::1")


async def test_megabytes_arrive_in_order_and_memory_stays_bounded() -> None:
    payload = bytes(range(256)) * 16 * 1024  # 4 MiB
    most = 0
    received = bytearray()

    async def send(link: LinkStream) -> None:
        nonlocal most
        for _ in range(3):
            for start in range(0, len(payload), 100_000):
                await link.send_all(payload[start : start + 100_000])
                most = max(most, link.unacknowledged_bytes)

    with trio.fail_after(30):
        async with open_pair() as (_a, _b, near, far), trio.open_nursery() as nursery:
            nursery.start_soon(send, near)
            while len(received) < 3 * len(payload):
                received += await far.receive_some()
    assert bytes(received) == payload * 3
    assert most <= UNACKNOWLEDGED_BYTES_MAX + WRITE_BYTES


async def test_a_peer_that_nobody_reads_must_wait() -> None:
    sent = 0

    async def send(link: LinkStream) -> None:
        nonlocal sent
        while True:
            await link.send_all(bytes(64 * 1024))
            sent += 64 * 1024

    with trio.fail_after(30):
        async with open_pair() as (_a, _b, near, far), trio.open_nursery() as nursery:
            nursery.start_soon(send, near)
            progress = -1
            while sent != progress or sent < STREAM_WINDOW_BYTES:
                progress = sent
                await trio.testing.wait_all_tasks_blocked(0.05)
            most = STREAM_WINDOW_BYTES + UNACKNOWLEDGED_BYTES_MAX + WRITE_BYTES
            assert sent <= most
            assert len(b"".join(far._unread)) <= STREAM_WINDOW_BYTES
            before = sent
            while sent < before + STREAM_WINDOW_BYTES:  # reading opens the window again
                assert await far.receive_some()
            nursery.cancel_scope.cancel()


async def test_a_small_message_leaves_in_the_same_tick() -> None:
    with trio.fail_after(10):
        async with open_pair() as (a, _b, near, _far):
            before = a.bytes_out
            sending = near.send_all(b"now")
            with pytest.raises(StopIteration):
                sending.send(None)  # without a turn of the scheduler
            assert a.bytes_out > before


async def test_what_fits_is_handed_over_at_once_or_not_at_all() -> None:
    with trio.fail_after(10):
        async with open_pair() as (_a, _b, near, far):
            assert near.send_nowait(b"now")
            assert await far.receive_some() == b"now"
            assert not near.send_nowait(bytes(UNACKNOWLEDGED_BYTES_MAX + 1))
            near.abort("done")
            assert not near.send_nowait(b"too late")


async def test_nothing_overtakes_a_task_that_is_sending() -> None:
    payload = bytes(UNACKNOWLEDGED_BYTES_MAX + WRITE_BYTES)
    received = bytearray()
    with trio.fail_after(30):
        async with open_pair() as (_a, _b, near, far), trio.open_nursery() as nursery:
            nursery.start_soon(near.send_all, payload)
            while near.unacknowledged_bytes < UNACKNOWLEDGED_BYTES_MAX:
                await trio.lowlevel.checkpoint()
            assert not near.send_nowait(b"small")
            while len(received) < len(payload):
                received += await far.receive_some()
    assert bytes(received) == payload


async def test_many_small_messages_give_others_their_turn() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    with trio.fail_after(10):
        async with open_pair() as (_a, _b, near, _far), trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(6 * SENT_BEFORE_YIELD_BYTES // 1024):
                await near.send_all(b"x")
            assert turns >= 2
            nursery.cancel_scope.cancel()


async def test_closing_tells_the_other_side_at_once() -> None:
    with trio.fail_after(10):
        async with open_pair() as (a, b, near, far):
            await near.send_all(b"last words")
            await near.aclose()
            assert await far.receive_some() == b"last words"
            with trio.fail_after(1):
                assert await far.receive_some() == b""
            assert far.ended
            assert (a.links, b.links) == ((), ())
            with pytest.raises(trio.BrokenResourceError):
                await far.send_all(b"too late")
            await near.aclose()
            assert await near.receive_some() == b""


async def test_closing_waits_for_what_was_sent() -> None:
    payload = bytes(900_000)
    with trio.fail_after(10):
        async with open_pair() as (_a, _b, near, far):
            await near.send_all(payload)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(near.aclose)
                assert await read_exactly(far, len(payload)) == payload
            assert await far.receive_some() == b""


async def test_leaving_the_block_tells_every_peer() -> None:
    with trio.fail_after(10):
        async with open_endpoint(LOOPBACK, 0) as b:
            async with open_endpoint(LOOPBACK, 0) as a:
                near = await a.dial((LOOPBACK, b.port))
                await near.send_all(b"x")
                far = await b.incoming.receive()
                assert await far.receive_some() == b"x"
            assert await far.receive_some() == b""
            assert near.ended


async def test_two_readers_or_writers_are_a_mistake() -> None:
    with trio.fail_after(10):
        async with open_pair() as (_a, _b, near, far), trio.open_nursery() as nursery:
            nursery.start_soon(far.receive_some)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await far.receive_some()
            await near.send_all(b"x")


async def test_a_dial_to_nobody_fails_without_waiting() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind((LOOPBACK, 0))
        port = unused.getsockname()[1]
    async with open_endpoint(LOOPBACK, 0) as endpoint:
        with trio.fail_after(2):
            with pytest.raises(DialRefused, match="refused"):
                await endpoint.dial((LOOPBACK, port))
        assert endpoint.links == ()


async def test_a_dial_to_the_unreachable_fails_without_waiting() -> None:
    async with open_endpoint(LOOPBACK, 0) as endpoint:
        with trio.fail_after(2):
            for host in ("::1", "192.0.2.77", "no-such-host.invalid"):
                with pytest.raises(DialRefused):
                    await endpoint.dial((host, 9))


async def test_silence_ends_a_dial(mock_clock: trio.testing.MockClock) -> None:
    mock_clock.rate = 50
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((LOOPBACK, 0))
        async with open_endpoint(LOOPBACK, 0) as endpoint:
            with pytest.raises(DialFailed, match="no answer") as raised:
                await endpoint.dial((LOOPBACK, silent.getsockname()[1]))
            assert not isinstance(raised.value, DialRefused)
            assert endpoint.links == ()


async def test_held_down_nothing_is_dialled_or_accepted() -> None:
    with trio.fail_after(10):
        async with open_pair() as (a, b, near, far):
            b.pause()
            assert b.paused
            assert await far.receive_some() == b""
            assert await near.receive_some() == b""
            with pytest.raises(DialFailed, match="held down"):
                await b.dial((LOOPBACK, a.port))
            before = b.bytes_in
            async with trio.open_nursery() as nursery:
                nursery.start_soon(a.dial, (LOOPBACK, b.port))
                while b.bytes_in < before + INITIAL_BYTES_MIN:  # nothing else is as long
                    await trio.testing.wait_all_tasks_blocked(0.001)
                assert b.links == ()
                (dialling,) = a.links
                assert not dialling.shaken.is_set()
                nursery.cancel_scope.cancel()
            b.resume()
            link = await a.dial((LOOPBACK, b.port))
            assert link.is_connected


async def test_a_port_in_use_is_named() -> None:
    async with open_endpoint(LOOPBACK, 0) as endpoint:
        with pytest.raises(PortInUse, match=str(endpoint.port)) as raised:
            async with open_endpoint(LOOPBACK, endpoint.port):
                pass
        assert "--listen" in raised.value.hint
    with pytest.raises(CannotListen):
        async with open_endpoint("192.0.2.77", 0):
            pass
    with pytest.raises(CannotListen):
        async with open_endpoint("no-such-host.invalid", 0):
            pass


async def test_counts_what_went_in_and_out() -> None:
    with trio.fail_after(10):
        async with open_pair() as (a, b, near, far):
            await near.send_all(bytes(50_000))
            await read_exactly(far, 50_000)
            assert a.bytes_out > 50_000
            assert b.bytes_in > 50_000
            assert near.bytes_out > 50_000
            assert far.bytes_in > 50_000
            assert a.addresses == ((LOOPBACK, a.port),)


def vanish(endpoint: Endpoint) -> None:
    """Nothing that it sends arrives any more."""
    endpoint._send = lambda data, address: None  # type: ignore[method-assign]


@pytest.fixture
def clock(mock_clock: trio.testing.MockClock) -> trio.testing.MockClock:
    """Runs as the real one does, and can be put forward: real sockets need real time."""
    mock_clock.rate = 1.0
    return mock_clock


async def quiet(clock: trio.testing.MockClock, seconds: float) -> None:
    """Let virtual time pass in small steps; what is on its way over loopback arrives meanwhile."""
    until = trio.current_time() + seconds
    while trio.current_time() < until:
        clock.jump(min(0.25, until - trio.current_time() + 0.001))
        for _ in range(4):
            await trio.testing.wait_all_tasks_blocked(0.0005)


async def test_an_idle_link_lives_on_a_few_datagrams(clock: trio.testing.MockClock) -> None:
    async with open_pair() as (a, b, near, far):
        await quiet(clock, 2)
        before = a.bytes_out, b.bytes_out
        await quiet(clock, 2 * 60)
        assert near.is_connected
        assert far.is_connected
        pings = 2 * 60 / DIALLER_PING_SECONDS
        assert a.bytes_out - before[0] < 60 * (pings + 1)
        assert b.bytes_out - before[1] < 60 * (pings + 1)


async def test_the_dialler_notices_a_vanished_peer(clock: trio.testing.MockClock) -> None:
    async with open_pair() as (_a, b, near, _far):
        await quiet(clock, 1)
        vanish(b)
        await quiet(clock, DIALLER_PING_SECONDS + ANSWER_SECONDS_MAX + 1)
        assert near.close_reason == "no answer"


async def test_the_acceptor_notices_a_vanished_peer(clock: trio.testing.MockClock) -> None:
    async with open_pair() as (a, _b, _near, far):
        await quiet(clock, 1)
        vanish(a)
        await quiet(clock, ACCEPTOR_PING_SECONDS + ANSWER_SECONDS_MAX + 1)
        assert far.close_reason == "no answer"


async def test_probing_finds_the_dead_soon(clock: trio.testing.MockClock) -> None:
    async with open_pair() as (a, b, near, _far):
        await quiet(clock, 1)
        a.probe()
        await quiet(clock, PROBE_ANSWER_SECONDS_MAX + 1)
        assert near.is_connected
        vanish(b)
        a.probe()
        await quiet(clock, PROBE_ANSWER_SECONDS_MAX + 0.5)
        assert near.close_reason == "no answer"


async def test_a_lost_farewell_is_repeated() -> None:
    with trio.fail_after(10):
        async with open_pair() as (a, _b, near, far):
            real_send = a._send
            vanish(a)
            near.abort("quietly")
            a._send = real_send  # type: ignore[method-assign]
            await far.send_all(b"are you there?")
            assert await far.receive_some() == b""
            assert far.ended


async def test_who_is_not_authenticated_in_time_is_cut_off(
    clock: trio.testing.MockClock,
) -> None:
    async with open_endpoint(LOOPBACK, 0) as a, open_endpoint(LOOPBACK, 0) as b:
        near = await a.dial((LOOPBACK, b.port))
        await near.send_all(b"x")
        far = await b.incoming.receive()
        await quiet(clock, PENDING_SECONDS_MAX - 0.5)
        assert far.is_connected
        await quiet(clock, 1)
        assert far.ended
        assert near.ended


async def test_a_peer_that_moves_to_another_port_keeps_its_link() -> None:
    """What NAT rebinding looks like to the acceptor."""
    plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    plain.bind((LOOPBACK, 0))
    with trio.fail_after(10), trio.socket.from_stdlib_socket(plain) as moved:
        async with open_pair() as (a, _b, near, far), trio.open_nursery() as nursery:

            async def read() -> None:
                while True:
                    link = a._receive(*await moved.recvfrom(65_535))
                    if link is not None:
                        a._after_input(link)

            nursery.start_soon(read)
            a._send = plain.sendto  # type: ignore[method-assign, assignment]
            await near.send_all(b"from elsewhere")
            assert await far.receive_some() == b"from elsewhere"
            await far.send_all(b"heard you")
            assert await near.receive_some() == b"heard you"
            assert far.remote == (LOOPBACK, plain.getsockname()[1])
            nursery.cancel_scope.cancel()
