"""What the drivers need of a stream of `net.endpoint`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import trio

from presenced.runtime.limits import CLOSE_SECONDS_MAX


class ByteStream(Protocol):
    """Bytes both ways. Ends by `aclose`, by the peer, or by a cut."""

    async def send_all(self, data: bytes) -> None:
        """Raises `trio.BrokenResourceError` once the connection has ended."""
        ...

    def send_nowait(self, data: bytes) -> bool:
        """Hand over all or nothing, at once. False: nothing, use `send_all`."""
        ...

    async def receive_some(self) -> bytes:
        """b"" at the end."""
        ...

    async def aclose(self) -> None:
        """End the connection; what was sent is given a moment to arrive. Safe to call twice."""
        ...

    @property
    def remote(self) -> tuple[str, int]: ...

    def mark_authenticated(self) -> None: ...


@asynccontextmanager
async def closed_after(stream: ByteStream) -> AsyncIterator[None]:
    """However the block ends, the connection has ended then, its last bytes sent if they could."""
    try:
        yield
    finally:
        with trio.move_on_after(CLOSE_SECONDS_MAX, shield=True):
            await stream.aclose()
