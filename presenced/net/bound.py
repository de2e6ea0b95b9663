"""An endpoint as a daemon starts it: its port is bound at once, QUIC is loaded later.

aioquic and what it imports are a sixth of a start, and the owner's API needs nothing of them. Until
`load` datagrams wait in the socket's buffer and dials wait here.

Rules of this file: nothing that imports aioquic is imported before `load`.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from presenced.net.udp import open_socket, show_address

if TYPE_CHECKING:
    from presenced.net.endpoint import Endpoint
    from presenced.net.link import LinkStream


class BoundEndpoint:
    """See the module. Made by `open_bound`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._paused = False
        self._wanted = trio.Event()
        self._loaded = trio.Event()
        self._endpoint: Endpoint | None = None

    @property
    def port(self) -> int:
        """The UDP port, also of what this endpoint dials."""
        port: int = self._sock.getsockname()[1]
        return port

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Host and port it was bound to (:: or 0.0.0.0 for all addresses)."""
        return (show_address(self._sock.getsockname()),)

    @property
    def paused(self) -> bool:
        return self._paused

    def load(self) -> None:
        """Import QUIC, now, if it is not; then accept and dial."""
        self._wanted.set()

    def pause(self) -> None:
        """End all connections; accept and dial nothing until `resume`."""
        self._paused = True
        if self._endpoint is not None:
            self._endpoint.pause()

    def resume(self) -> None:
        self._paused = False
        if self._endpoint is not None:
            self._endpoint.resume()

    def probe(self) -> None:
        """Find out soon which peers are still there: after waking or a network change."""
        if self._endpoint is not None:
            self._endpoint.probe()

    async def dial(self, address: tuple[str, int]) -> LinkStream:
        """`Endpoint.dial`, from `load` on. Raises `DialFailed`."""
        return await (await self._there()).dial(address)

    async def accept(self) -> LinkStream:
        """The next connection that another began, from `load` on."""
        return await (await self._there()).incoming.receive()

    async def run(self) -> None:
        """Serve the socket until cancelled; `open_bound` runs it."""
        await self._wanted.wait()
        from presenced.net.endpoint import endpoint_on

        async with endpoint_on(self._sock) as endpoint:
            if self._paused:
                endpoint.pause()
            self._endpoint = endpoint
            self._loaded.set()
            await trio.sleep_forever()

    async def _there(self) -> Endpoint:
        await self._loaded.wait()
        assert self._endpoint is not None
        return self._endpoint


@asynccontextmanager
async def open_bound(host: str | None, port: int) -> AsyncIterator[BoundEndpoint]:
    """Bind an address (None: all, both families) and UDP port (0: any free one).

    Leaving tells every peer. Raises `PortInUse` or `CannotListen`.
    """
    with open_socket(host, port) as sock:
        endpoint = BoundEndpoint(sock)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(endpoint.run)
            yield endpoint
            nursery.cancel_scope.cancel()
