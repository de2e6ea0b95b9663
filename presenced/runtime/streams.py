"""What the drivers need of a stream of `net.endpoint`."""

from __future__ import annotations

from typing import Final, Protocol

CLOSE_SECONDS_MAX: Final = 1.0
"how long a last frame may take to leave when a connection ends"


class ByteStream(Protocol):
    """Bytes both ways. Ends by `aclose`, by the peer, or by a cut."""

    async def send_all(self, data: bytes) -> None:
        """Raises `trio.BrokenResourceError` once the connection has ended."""
        ...

    async def receive_some(self) -> bytes:
        """b"" at the end."""
        ...

    async def aclose(self) -> None:
        """End the connection; what was sent is given a moment to arrive."""
        ...

    @property
    def remote(self) -> tuple[str, int]: ...

    def mark_authenticated(self) -> None: ...
