"""One QUIC connection with one bidirectional stream, as a stream of bytes.

Rules of this file: aioquic is driven sans-IO; whoever calls into the connection transmits
afterwards, once. The dialler opens stream 0; any other stream is the peer's fault.

Source: RFC 9000; aioquic 1.7.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import trio
from aioquic.quic import events
from aioquic.quic.connection import QuicConnection

from presenced.errors import HostError
from presenced.net.limits import (
    PENDING_BYTES_MAX,
    PING_SECONDS,
    UNREAD_BYTES_MAX,
    UNSENT_BYTES_MAX,
    WRITE_BYTES,
)

STREAM_ID: Final = 0
"the first bidirectional stream of the dialler (RFC 9000 §2.1)"

Address = tuple[Any, ...]


class DialFailed(HostError):
    """Nobody answered, or the network is down. `detail` says which."""

    code = "unreachable"


class LinkStream:
    """A stream of bytes to one device. Closing it ends its connection.

    `receive_some` returns b"" once the connection has ended, for whatever reason; `send_all`
    raises `trio.BrokenResourceError` then. One task may read and one may write at a time.
    """

    def __init__(
        self,
        connection: QuicConnection,
        *,
        remote: Address,
        inbound: bool,
        transmit: Callable[[LinkStream], None],
        now: Callable[[], float],
    ) -> None:
        self.connection = connection
        self.remote = remote
        self.inbound = inbound
        self.authenticated = False
        self.opened = now()
        self.next_ping = now() + PING_SECONDS
        self.ready = trio.Event()
        self.ended = trio.Event()
        self.close_reason = ""
        self._transmit = transmit
        self._now = now
        self._unread: deque[bytes] = deque()
        self._unread_bytes = 0
        self._heard_bytes = 0
        self._readable = trio.Event()
        self._drained = trio.Event()
        self._stream_seen = False

    def mark_authenticated(self) -> None:
        """The peer has proved who it is: the bounds for strangers end here."""
        self.authenticated = True

    async def send_all(self, data: bytes) -> None:
        """Hand bytes to the transport; waits while too much is unacknowledged."""
        for start in range(0, len(data), WRITE_BYTES):
            while self._unsent_bytes() > UNSENT_BYTES_MAX and not self.ended.is_set():
                self._drained = trio.Event()
                await self._drained.wait()
            if self.ended.is_set():
                raise trio.BrokenResourceError("the connection has ended")
            self.connection.send_stream_data(STREAM_ID, data[start : start + WRITE_BYTES])
            self._transmit(self)
        await trio.lowlevel.checkpoint()

    async def receive_some(self) -> bytes:
        """The next bytes, all that are here; b"" at the end."""
        while not self._unread:
            if self.ended.is_set():
                await trio.lowlevel.checkpoint()
                return b""
            self._readable = trio.Event()
            await self._readable.wait()
        data = b"".join(self._unread) if len(self._unread) > 1 else self._unread[0]
        self._unread.clear()
        self._unread_bytes = 0
        return data

    async def aclose(self) -> None:
        """End the connection and tell the other side. Safe to call twice."""
        self.end("closed")
        await trio.lowlevel.checkpoint()

    def end(self, reason: str) -> None:
        """Close at once; what was sent and not acknowledged may be lost."""
        if not self.ended.is_set():
            self.close_reason = reason
            self.connection.close(error_code=0, reason_phrase="")
            self._transmit(self)
            self._finish()

    def take_events(self) -> None:
        """Take in what the connection has to say after a datagram or timer."""
        while (event := self.connection.next_event()) is not None:
            if isinstance(event, events.StreamDataReceived):
                self._take_data(event)
            elif isinstance(event, events.HandshakeCompleted):
                self.ready.set()
            elif isinstance(event, events.ConnectionTerminated):
                self.close_reason = self.close_reason or event.reason_phrase or "ended"
                self._finish()
            elif isinstance(event, events.StreamReset):
                self.end("reset")
        if self._unsent_bytes() <= UNSENT_BYTES_MAX // 2:
            self._drained.set()

    def _take_data(self, event: events.StreamDataReceived) -> None:
        if event.stream_id != STREAM_ID:
            self.end("another stream")
            return
        if event.data:
            self._heard_bytes += len(event.data)
            self._unread.append(event.data)
            self._unread_bytes += len(event.data)
            if not self.authenticated and self._heard_bytes > 2 * PENDING_BYTES_MAX:
                self.end("too much from a stranger")
                return
            if self._unread_bytes > UNREAD_BYTES_MAX:
                self.end("nobody reads")
                return
        if self.inbound and not self._stream_seen:
            self._stream_seen = True
            self.ready.set()
        if event.end_stream:
            self._finish()
        self._readable.set()

    def _finish(self) -> None:
        self.ended.set()
        self.ready.set()
        self._readable.set()
        self._drained.set()

    def _unsent_bytes(self) -> int:
        """Bytes of the stream that the peer has not acknowledged.

        aioquic has no public measure; the sender's buffer offsets are it (checked by a test).
        """
        stream = self.connection._streams.get(STREAM_ID)
        if stream is None:
            return 0
        return stream.sender._buffer_stop - stream.sender._buffer_start
