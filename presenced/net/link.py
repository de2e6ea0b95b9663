"""A stream of bytes to one device, over one QUIC connection.

Rules of this file: whoever calls into the connection transmits afterwards, once, in the same tick.
Bytes are taken from the connection when they arrive and counted as read when the reader takes
them, so that the peer's window follows the reader. One task may read and one may write at a time.

Liveness: whatever is heard proves life. After a silence this side pings; a ping that is not
answered in time ends the connection, so that a vanished peer is noticed without traffic.
"""

from __future__ import annotations

from math import inf
from typing import Final, Protocol

import trio
from aioquic.quic import events

from presenced.net.limits import (
    ACCEPTOR_PING_SECONDS,
    ANSWER_SECONDS_MAX,
    DIALLER_PING_SECONDS,
    FLUSH_SECONDS_MAX,
    PENDING_DATAGRAM_BYTES_MAX,
    PENDING_SECONDS_MAX,
    PROBE_ANSWER_SECONDS_MAX,
    SENT_BEFORE_YIELD_BYTES,
    UNACKNOWLEDGED_BYTES_MAX,
    WRITE_BYTES,
)
from presenced.net.quic import STREAM_ID, Connection
from presenced.net.udp import SocketAddress, show_address

_MESSAGE_BYTES_MIN: Final = 1_024


class Carrier(Protocol):
    """What a link asks of its endpoint. Each call returns at once."""

    def transmit(self, link: LinkStream) -> None:
        """Send what the connection has to send, and plan its timer."""

    def stranger_no_more(self, link: LinkStream) -> None:
        """The peer is authenticated, or the connection over: it is not counted as pending."""

    def forget(self, link: LinkStream) -> None:
        """The connection is over; its last datagrams have been sent."""


class LinkStream:
    """A stream of bytes to one device. Closing it ends its connection and tells the peer.

    `receive_some` returns b"" once the connection has ended, for whatever reason, and what came
    before has been read; `send_all` raises `trio.BrokenResourceError` then.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        address: SocketAddress,
        first_id: bytes | None,
        carrier: Carrier,
        now: float,
    ) -> None:
        self.connection = connection
        self.address = address
        self.inbound = first_id is not None
        self.first_id = first_id
        "the connection id that an inbound dialler made up for its first datagrams"
        self.is_stranger = self.inbound
        "counted by the endpoint among the strangers"
        self.routes: set[bytes] = set()
        "connection ids under which the endpoint knows this connection"
        self.authenticated = False
        self.close_reason = ""
        self.is_refused = False
        "the network said that nobody is there, before anybody answered"
        self.bytes_in = 0
        self.bytes_out = 0
        self.shaken = trio.Event()
        "the QUIC handshake is over, or the connection is"
        self.wake_at = inf
        "when the endpoint must look after this connection"
        self._carrier = carrier
        self._authenticate_by = now + PENDING_SECONDS_MAX if self.inbound else inf
        self._heard = now
        self._answer_by = inf
        self._ended = False
        self._has_stream = False
        self._is_announced = False
        self._unread: list[bytes] = []
        self._readers = trio.lowlevel.ParkingLot()
        self._writers = trio.lowlevel.ParkingLot()
        self._sending = False
        self._before_yield = SENT_BEFORE_YIELD_BYTES

    @property
    def remote(self) -> tuple[str, int]:
        """Host and port of the peer, as they are now: it may have moved."""
        return show_address(self.connection.get_peer_address() or self.address)

    @property
    def is_connected(self) -> bool:
        """The QUIC handshake succeeded and the connection is not over."""
        return self.shaken.is_set() and not self._ended and self.close_reason == ""

    @property
    def ended(self) -> bool:
        """No byte will come or go any more."""
        return self._ended

    def mark_authenticated(self) -> None:
        """The peer has proved who it is: the bounds for strangers end here.

        Without it the connection ends after `PENDING_SECONDS_MAX`, and the peer can send no more
        than `PENDING_BYTES_MAX`.
        """
        if not self.authenticated:
            self.authenticated = True
            self._carrier.stranger_no_more(self)
            self.connection.open_window()
            self._carrier.transmit(self)

    async def send_all(self, data: bytes) -> None:
        """Hand bytes to the transport; waits while too much is unacknowledged.

        Raises `trio.BrokenResourceError` once the connection has ended. Cancelled, it may have
        handed over a part.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._sending:
            raise trio.BusyResourceError("another task is sending")
        self._sending = True
        try:
            for start in range(0, len(data), WRITE_BYTES):
                while self.unacknowledged_bytes >= UNACKNOWLEDGED_BYTES_MAX and not self._ended:
                    await self._writers.park()
                if self._ended:
                    raise trio.BrokenResourceError("the connection has ended")
                self.connection.send_stream_data(STREAM_ID, data[start : start + WRITE_BYTES])
                self._carrier.transmit(self)
            # After the datagram left, and not each time: a turn of the scheduler costs 30 µs,
            # a fifth of what a small message costs in all.
            self._before_yield -= max(len(data), _MESSAGE_BYTES_MIN)
            if self._before_yield <= 0:
                self._before_yield = SENT_BEFORE_YIELD_BYTES
                await trio.lowlevel.cancel_shielded_checkpoint()
        finally:
            self._sending = False

    def send_nowait(self, data: bytes) -> bool:
        """Hand bytes to the transport at once, if no task is sending and no window is full.

        False if nothing was taken; then `send_all` waits, or says why not.
        """
        is_full = self.unacknowledged_bytes + len(data) > UNACKNOWLEDGED_BYTES_MAX
        if self._sending or self._ended or is_full:
            return False
        self.connection.send_stream_data(STREAM_ID, data)
        self._carrier.transmit(self)
        return True

    async def receive_some(self) -> bytes:
        """The next bytes, all that are here; b"" at the end. Cancelled, it took nothing."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._unread and not self._ended:
            if self._readers:
                raise trio.BusyResourceError("another task is reading")
            await self._readers.park()
        if not self._unread:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return b""
        data = b"".join(self._unread) if len(self._unread) > 1 else self._unread[0]
        self._unread.clear()
        if self.connection.note_read(len(data)) and not self._ended:
            self._carrier.transmit(self)
        return data

    async def aclose(self) -> None:
        """End the connection and tell the peer at once. Safe to call twice.

        What was sent is given `FLUSH_SECONDS_MAX` to arrive first; cancelled, it is not.
        """
        try:
            with trio.move_on_after(FLUSH_SECONDS_MAX):
                while self.unacknowledged_bytes and not self._ended:
                    await self._writers.park()
        finally:
            self.abort("closed")
        await trio.lowlevel.checkpoint()

    def abort(self, reason: str) -> None:
        """End the connection at once and tell the peer; what is unacknowledged may be lost."""
        if not self._ended:
            self.close_reason = reason
            self.connection.close()
            self._carrier.transmit(self)
            self.finish()

    def probe(self, now: float) -> None:
        """Find out soon whether the peer is still there."""
        is_asked = self._answer_by <= now + PROBE_ANSWER_SECONDS_MAX
        if self.is_connected and not is_asked:  # an ICMP error answers each ping to the dead
            self._ping(now, PROBE_ANSWER_SECONDS_MAX)
            self._carrier.transmit(self)

    @property
    def unacknowledged_bytes(self) -> int:
        """Bytes sent that the peer has not acknowledged."""
        return 0 if self._ended else self.connection.unacknowledged_bytes

    # --- for the endpoint ---

    @property
    def says_too_much(self) -> bool:
        """More datagrams came than anybody needs to prove who it is."""
        return not self.authenticated and self.bytes_in > PENDING_DATAGRAM_BYTES_MAX

    def heard(self, size: int, now: float) -> None:
        """A datagram of `size` bytes came for this connection."""
        self.bytes_in += size
        self._heard = now
        self._answer_by = inf

    def take_events(self, now: float) -> bool:
        """Take in what the connection has to say after datagrams or a timer.

        True if that woke a reader.
        """
        connection = self.connection
        woke = False
        while (event := connection.next_event()) is not None:
            match event:
                case events.StreamDataReceived():
                    self._has_stream = True
                    if event.data:
                        self._unread.append(event.data)
                        woke = woke or bool(self._readers)
                        self._readers.unpark_all()
                    if event.end_stream:
                        self.abort("finished by the peer")
                case events.HandshakeCompleted():
                    self.shaken.set()
                    if not self.inbound:
                        self._authenticate_by = now + PENDING_SECONDS_MAX
                        connection.send_stream_data(STREAM_ID, b"")  # the stream exists
                case events.StreamReset() | events.StopSendingReceived():
                    self.abort("reset by the peer")
        if (termination := connection.termination) is not None and not self._ended:
            self.close_reason = termination.reason_phrase or "closed by the peer"
            self._carrier.transmit(self)  # our own farewell, if the fault was the peer's
            self.finish()
        elif self._writers and connection.unacknowledged_bytes <= UNACKNOWLEDGED_BYTES_MAX // 2:
            self._writers.unpark_all()
        return woke

    def take_news(self) -> bool:
        """True once: when the dialler has opened its stream, so that both can speak."""
        if self.inbound and self._has_stream and not self._is_announced:
            self._is_announced = True
            return True
        return False

    def give_up(self, reason: str) -> None:
        """The dial cannot succeed; whoever dialled is woken and ends it."""
        self.close_reason = reason
        self.is_refused = True
        self.shaken.set()

    def tick(self, now: float) -> None:
        """Whatever is due by the clock, of ours and of the connection."""
        if self._ended:
            return
        if not self.authenticated and now >= self._authenticate_by:
            self.abort("not authenticated in time")
            return
        if now >= self._answer_by:
            self.abort("no answer")
            return
        if self._answer_by == inf and now >= self._ping_at:
            self._ping(now, ANSWER_SECONDS_MAX)
        timer = self.connection.get_timer()
        if timer is not None and now >= timer:
            self.connection.handle_timer(now=now)
            self.take_events(now)
        if not self._ended:
            self._carrier.transmit(self)

    def plan(self) -> None:
        """Set `wake_at` anew."""
        if self._ended:
            self.wake_at = inf
            return
        at = self._ping_at if self._answer_by == inf else self._answer_by
        if not self.authenticated:
            at = min(at, self._authenticate_by)
        timer = self.connection.get_timer()
        self.wake_at = at if timer is None else min(at, timer)

    def finish(self) -> None:
        """The connection is over: whoever waits is woken."""
        self._ended = True
        self.wake_at = inf
        self.shaken.set()
        self._readers.unpark_all()
        self._writers.unpark_all()
        self._carrier.forget(self)

    @property
    def _ping_at(self) -> float:
        return self._heard + (ACCEPTOR_PING_SECONDS if self.inbound else DIALLER_PING_SECONDS)

    def _ping(self, now: float, answer_seconds: float) -> None:
        self.connection.send_ping(0)
        self._answer_by = min(self._answer_by, now + answer_seconds)
