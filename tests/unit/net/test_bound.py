"""An endpoint that is bound before QUIC is loaded: what it answers, and what waits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from presenced.net.bound import BoundEndpoint, open_bound
from presenced.net.endpoint import open_endpoint
from presenced.net.errors import DialFailed, PortInUse
from presenced.net.link import LinkStream

LOOPBACK = "127.0.0.1"


@asynccontextmanager
async def two() -> AsyncIterator[tuple[BoundEndpoint, BoundEndpoint]]:
    with trio.fail_after(10):
        async with open_bound(LOOPBACK, 0) as a, open_bound(LOOPBACK, 0) as b:
            yield a, b


def test_nothing_of_quic_is_imported_before_it_is_wanted() -> None:
    code = "import sys, presenced.net.bound; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "presenced.net.udp" in loaded
    assert not loaded & {"aioquic", "cryptography", "presenced.net.endpoint"}


async def test_the_port_is_known_and_taken_at_once() -> None:
    async with open_bound(LOOPBACK, 0) as endpoint:
        assert endpoint.addresses == ((LOOPBACK, endpoint.port),)
        with pytest.raises(PortInUse):
            async with open_bound(LOOPBACK, endpoint.port):
                pass


async def test_a_peer_that_dials_too_early_is_answered_once_quic_is_loaded() -> None:
    async with two() as (a, b), trio.open_nursery() as nursery:
        b.load()

        async def dial() -> None:
            link = await b.dial((LOOPBACK, a.port))
            await link.send_all(b"early")

        nursery.start_soon(dial)
        await trio.testing.wait_all_tasks_blocked()
        a.load()
        link = await a.accept()
        assert await link.receive_some() == b"early"


async def test_a_dial_waits_until_quic_is_loaded() -> None:
    links: list[LinkStream] = []
    async with two() as (a, b):

        async def dial() -> None:
            links.append(await b.dial((LOOPBACK, a.port)))

        a.load()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dial)
            await trio.testing.wait_all_tasks_blocked()
            assert not links
            b.load()
        assert links[0].is_connected


async def test_links_held_down_before_quic_is_loaded_stay_down_until_let_up() -> None:
    async with two() as (a, b):
        a.pause()
        assert a.paused
        a.load()
        b.load()
        with pytest.raises(DialFailed):
            await a.dial((LOOPBACK, b.port))
        a.resume()
        assert (await a.dial((LOOPBACK, b.port))).is_connected


async def test_network_changes_before_quic_is_loaded_are_nothing() -> None:
    async with open_bound(LOOPBACK, 0) as endpoint:
        endpoint.probe()
        endpoint.pause()
        endpoint.resume()
        assert not endpoint.paused


async def test_leaving_tells_the_peer_and_frees_the_port() -> None:
    with trio.fail_after(10):
        async with open_endpoint(LOOPBACK, 0) as peer:
            async with open_bound(LOOPBACK, 0) as endpoint:
                endpoint.load()
                dialled = await endpoint.dial((LOOPBACK, peer.port))
                await dialled.send_all(b"hello")
                link = await peer.incoming.receive()
                assert await link.receive_some() == b"hello"
                port = endpoint.port
            assert await link.receive_some() == b"", "long before it would miss an answer"
            async with open_bound(LOOPBACK, port):
                pass
