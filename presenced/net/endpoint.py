"""One UDP socket for both roles: accepts, dials, routes datagrams, keeps timers.

Theory of operation. A reader takes datagrams and gives each to its connection by connection id; an
Initial that belongs to nobody begins a new connection, within the bounds for strangers. A
timekeeper sleeps until the earliest timer of all connections. Whatever calls into a connection
transmits at once, so that a reply leaves in the tick that caused it.

Rules of this file:
1. A datagram ends at most its own connection; an error of the socket (a dead network, a full
   buffer, an ICMP answer) ends none, and never the endpoint.
2. Nothing is answered that a stranger could have forged on behalf of another, but for a Retry,
   which is shorter than what it answers. Unknown versions are dropped: two endpoints that answer
   each other's version negotiation never stop (aioquic issue 635).
3. Leaving the block tells every peer and closes the socket; no task remains.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from math import inf
from typing import Final

import trio

from presenced.log import log
from presenced.net.door import Challenge, Door, Newcomer
from presenced.net.errors import CannotListen, DialFailed, DialRefused, PortInUse
from presenced.net.farewells import Farewells
from presenced.net.limits import (
    BACKLOG_DATAGRAMS_MAX,
    CONNECTIONS_MAX,
    DATAGRAM_BYTES_MAX,
    DATAGRAMS_EACH_WAKEUP,
    DIAL_ADDRESSES_MAX,
    DIAL_SECONDS_MAX,
    DIAL_STAGGER_SECONDS,
    PENDING_MAX,
)
from presenced.net.link import LinkStream
from presenced.net.quic import CID_BYTES, Connection, dialling
from presenced.net.udp import (
    SocketAddress,
    datagram_bytes_to,
    open_socket,
    read_reports,
    show_address,
    to_socket_address,
)

__all__ = ["CannotListen", "DialFailed", "Endpoint", "LinkStream", "PortInUse", "open_endpoint"]

_UNREACHABLE: Final = frozenset(
    {
        errno.ECONNREFUSED,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ENETDOWN,
        errno.EADDRNOTAVAIL,
        errno.EACCES,
        errno.EINVAL,
        errno.EPERM,
    }
)
"what sending says where an address cannot be reached from here"


class Endpoint:
    """See the module. Made by `open_endpoint`."""

    def __init__(self, sock: socket.socket) -> None:
        self.bytes_in = 0
        self.bytes_out = 0
        self._sock = sock
        self._port: int = sock.getsockname()[1]
        self._paused = False
        self._routes: dict[bytes, LinkStream] = {}
        self._links: dict[LinkStream, None] = {}
        "in the order they began"
        self._door = Door(trio.current_time())
        self._farewells = Farewells()
        self._backlog: deque[tuple[bytes, SocketAddress]] = deque()
        self._has_backlog = trio.Event()
        self._sleep = trio.CancelScope()
        "of the timekeeper; its deadline is the alarm"
        self._alarm_of: LinkStream | None = None
        self._accepted, self.incoming = trio.open_memory_channel[LinkStream](PENDING_MAX)

    # --- what others use ---

    @property
    def port(self) -> int:
        """The UDP port, also of what this endpoint dials."""
        return self._port

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Host and port it was bound to (:: or 0.0.0.0 for all addresses)."""
        return (show_address(self._sock.getsockname()),)

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def links(self) -> tuple[LinkStream, ...]:
        """All connections, strangers' too."""
        return tuple(self._links)

    def pause(self) -> None:
        """End all connections; accept and dial nothing until `resume`."""
        self._paused = True
        for link in tuple(self._links):
            link.abort("paused")

    def resume(self) -> None:
        self._paused = False

    def probe(self) -> None:
        """Find out soon which peers are still there: after waking or a network change."""
        now = trio.current_time()
        for link in tuple(self._links):
            link.probe(now)

    async def dial(self, address: tuple[str, int]) -> LinkStream:
        """Connect to a host and UDP port.

        Of a name's addresses each gets a head start over the next (RFC 8305); the first that
        answers is taken. Raises `DialFailed`. The caller closes the stream. Cancelled, nothing
        is left behind.
        """
        if self._paused:
            raise DialFailed("links are held down")
        candidates = await self._resolve(address)
        winner: LinkStream | None = None
        failure: DialFailed | None = None

        async def attempt(candidate: SocketAddress, failed: trio.Event) -> None:
            nonlocal winner, failure
            try:
                link = await self._connect(candidate)
            except DialFailed as error:
                if failure is None or isinstance(failure, DialRefused):  # silence is less certain
                    failure = error
                failed.set()
                return
            if winner is None:
                winner = link
                nursery.cancel_scope.cancel()
            else:
                link.abort("another address was faster")

        try:
            async with trio.open_nursery() as nursery:
                for candidate in candidates:
                    failed = trio.Event()
                    nursery.start_soon(attempt, candidate, failed)
                    with trio.move_on_after(DIAL_STAGGER_SECONDS):
                        await failed.wait()
        except BaseException:
            if winner is not None:
                winner.abort("dial cancelled")
            raise
        if winner is None:
            raise failure or DialFailed("no answer")
        return winner

    # --- what links ask (link.Carrier) ---

    def transmit(self, link: LinkStream) -> None:
        """Send what the connection has to send, and plan its timer."""
        connection = link.connection
        now = trio.current_time()
        try:
            datagrams = connection.datagrams_to_send(now=now)
        except Exception as error:  # whatever a peer brought aioquic to, it ends this link only
            log.warning("connection broken when sending", error=repr(error))
            link.close_reason = "broken"
            link.finish()
            return
        for data, address in datagrams:
            link.bytes_out += len(data)
            problem = self._send(data, address)
            if problem is not None and not link.inbound and not link.shaken.is_set():
                link.give_up(os.strerror(problem))
        if datagrams and connection.termination is not None:
            self._farewells.remember(link.routes, tuple(datagrams), now)
        self._plan(link)

    def stranger_no_more(self, link: LinkStream) -> None:
        """The peer is authenticated, or the connection over: it is not counted as pending."""
        if link.is_stranger:
            link.is_stranger = False
            self._door.leave(link.address)

    def forget(self, link: LinkStream) -> None:
        """The connection is over; its last datagrams have been sent."""
        self.stranger_no_more(link)
        self._links.pop(link, None)
        for cid in link.routes:
            self._routes.pop(cid, None)
        link.routes.clear()

    # --- connections ---

    def _add(
        self, connection: Connection, address: SocketAddress, *, first_id: bytes | None = None
    ) -> LinkStream:
        link = LinkStream(
            connection,
            address=address,
            first_id=first_id,
            carrier=self,
            now=trio.current_time(),
        )
        self._links[link] = None
        self._route(link)
        return link

    def _route(self, link: LinkStream) -> None:
        """Route the ids that the peer may use now: aioquic issues and retires them itself."""
        current = set(link.connection.connection_ids)
        if link.first_id is not None and not link.shaken.is_set():
            current.add(link.first_id)  # the id that the dialler made up, until it learns ours
        if current != link.routes:
            for cid in link.routes - current:
                self._routes.pop(cid, None)
            for cid in current:
                self._routes[cid] = link
            link.routes = current

    async def _resolve(self, address: tuple[str, int]) -> list[SocketAddress]:
        host, port = address
        try:
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:
            raise DialRefused("no such host") from error
        usable = [to_socket_address(self._sock, entry[4]) for entry in found]
        candidates = [entry for entry in usable if entry is not None]
        if not candidates:
            raise DialRefused("it has no address that can be reached from here")
        return candidates[:DIAL_ADDRESSES_MAX]

    async def _connect(self, address: SocketAddress) -> LinkStream:
        """One handshake with one address. Raises `DialFailed`."""
        if len(self._links) >= CONNECTIONS_MAX:
            raise DialFailed("too many connections")
        connection = Connection(configuration=dialling(datagram_bytes_to(address)))
        link = self._add(connection, address)
        try:
            connection.connect(address, now=trio.current_time())
            self.transmit(link)
            with trio.move_on_after(DIAL_SECONDS_MAX):
                await link.shaken.wait()
        except BaseException:
            link.abort("dial cancelled")
            raise
        if not link.is_connected:
            reason = link.close_reason or "no answer"
            link.abort(reason)
            raise DialRefused(reason) if link.is_refused else DialFailed(reason)
        return link

    def _admit(self, data: bytes, address: SocketAddress) -> LinkStream | None:
        """A new connection for a stranger's first datagram, if there is room for one."""
        if self._paused or len(self._links) >= CONNECTIONS_MAX:
            return None
        is_full = self._door.is_full
        match self._door.knock(data, address, trio.current_time()):
            case Challenge(datagram=datagram):
                self._send(datagram, address)
            case Newcomer(connection=connection, first_id=first_id):
                if is_full:
                    oldest = next(link for link in self._links if link.is_stranger)
                    oldest.abort("too many strangers")
                return self._add(connection, address, first_id=first_id)
        return None

    # --- datagrams ---

    async def run(self) -> None:
        """Read, send and keep time until cancelled; `open_endpoint` runs it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            nursery.start_soon(self._send_backlog)
            nursery.start_soon(self._keep_time)

    async def _read(self) -> None:
        while True:
            try:
                await trio.lowlevel.wait_readable(self._sock)
            except OSError as error:  # as of select on some systems
                log.warning("socket not readable", errno=error.errno)
                await trio.sleep(1)
                continue
            touched: dict[LinkStream, None] = {}
            for _ in range(DATAGRAMS_EACH_WAKEUP):
                try:
                    data, address = self._sock.recvfrom(DATAGRAM_BYTES_MAX + 1)
                except BlockingIOError:
                    break
                except OSError:  # the network answered something we sent
                    self._heed_reports()
                    continue
                self.bytes_in += len(data)
                if len(data) <= DATAGRAM_BYTES_MAX:
                    link = self._receive(data, address)
                    if link is not None:
                        touched[link] = None
            for link in touched:
                self._after_input(link)

    def _receive(self, data: bytes, address: SocketAddress) -> LinkStream | None:
        """Give a datagram to its connection; return that, None if it is nobody's."""
        cid = _destination_id(data)
        link = self._routes.get(cid)
        if link is None:
            if cid in self._farewells:
                for farewell, to in self._farewells.repeat(cid, trio.current_time()):
                    self._send(farewell, to)
                return None
            link = self._admit(data, address)
            if link is None:
                return None
        now = trio.current_time()
        link.heard(len(data), now)
        if link.says_too_much:
            link.abort("too much from a stranger")
            return None
        try:
            link.connection.receive_datagram(data, address, now=now)
        except Exception as error:  # foreign bytes in a foreign parser (aioquic issue 549)
            log.warning("connection broken by a datagram", error=type(error).__name__)
            link.abort("broken by a datagram")
            return None
        return link

    def _after_input(self, link: LinkStream) -> None:
        woke_reader = link.take_events(trio.current_time())
        if link.ended:
            return
        self._route(link)
        if link.take_news():
            try:
                self._accepted.send_nowait(link)
            except trio.WouldBlock:
                link.abort("nobody accepts")
                return
        if woke_reader and not link.connection.has_unsent:
            # The reader's answer will take along what the connection has to say itself, and
            # is not kept waiting for it; the timer is due within a millisecond anyway.
            self._plan(link)
        else:
            self.transmit(link)

    def _plan(self, link: LinkStream) -> None:
        """Move the alarm: also back, as an alarm for nothing costs more than moving it."""
        link.plan()
        if link.wake_at < self._sleep.deadline:
            self._sleep.deadline = link.wake_at
            self._alarm_of = link
        elif link is self._alarm_of:
            self._set_alarm()

    def _set_alarm(self) -> None:
        first = min(self._links, key=_wake_at, default=None)
        self._alarm_of = first
        self._sleep.deadline = inf if first is None else first.wake_at

    def _send(self, data: bytes, address: SocketAddress) -> int | None:
        """Send, or keep for later if the socket is full. The errno if it cannot be reached."""
        self.bytes_out += len(data)
        if self._backlog:
            self._delay(data, address)
            return None
        for _ in range(2):  # the first error may be the pending answer to an earlier datagram
            try:
                self._sock.sendto(data, address)
            except BlockingIOError:
                self._delay(data, address)
            except OSError as error:
                problem = error.errno
                continue
            return None
        return problem if problem in _UNREACHABLE else None

    def _delay(self, data: bytes, address: SocketAddress) -> None:
        if len(self._backlog) < BACKLOG_DATAGRAMS_MAX:
            self._backlog.append((data, address))
            self._has_backlog.set()

    async def _send_backlog(self) -> None:
        while True:
            await self._has_backlog.wait()
            self._has_backlog = trio.Event()
            await trio.lowlevel.wait_writable(self._sock)
            waiting, self._backlog = self._backlog, deque()
            for data, address in waiting:
                self.bytes_out -= len(data)  # counted when it came to wait
                self._send(data, address)

    def _heed_reports(self) -> None:
        """The network says that datagrams did not arrive: hints, as a stranger can forge them."""
        for report in read_reports(self._sock):
            if report.number not in _UNREACHABLE:
                continue
            for link in tuple(self._links):
                if link.address[:2] != report.address[:2]:
                    continue
                if link.is_connected:
                    link.probe(trio.current_time())
                elif not link.inbound:
                    link.give_up(os.strerror(report.number))

    # --- time ---

    async def _keep_time(self) -> None:
        while True:
            with self._sleep:
                await trio.sleep_forever()
            now = trio.current_time()
            for link in tuple(self._links):
                if link.wake_at <= now:
                    self._tick(link, now)
            self._sleep = trio.CancelScope()
            self._set_alarm()

    @staticmethod
    def _tick(link: LinkStream, now: float) -> None:
        try:
            link.tick(now)
        except Exception as error:  # as with datagrams: it ends this link only
            log.warning("connection broken by its timer", error=repr(error))
            link.abort("broken by its timer")


def _wake_at(link: LinkStream) -> float:
    return link.wake_at


def _destination_id(data: bytes) -> bytes:
    """The connection id that a datagram is for (RFC 8999 §5); b"" if it has none."""
    if not data or len(data) < 7:
        return b""
    if data[0] & 0x80:
        return data[6 : 6 + data[5]]
    return data[1 : 1 + CID_BYTES]


def open_endpoint(host: str | None, port: int) -> AbstractAsyncContextManager[Endpoint]:
    """An endpoint on an address (None: all, both families) and UDP port (0: any free one).

    Raises `PortInUse` or `CannotListen`.
    """
    return endpoint_on(open_socket(host, port))


@asynccontextmanager
async def endpoint_on(sock: socket.socket) -> AsyncIterator[Endpoint]:
    """An endpoint on a UDP socket of `open_socket`. Leaving closes it."""
    # aioquic warns of what peers do wrong: whoever sends nonsense must not fill the log.
    logging.getLogger("quic").setLevel(logging.ERROR)
    failure: Exception | None = None
    try:
        endpoint = Endpoint(sock)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(endpoint.run)
            try:
                yield endpoint
            except Exception as error:  # raised below, not as a group: it is the caller's own
                failure = error
            finally:
                endpoint.pause()
                nursery.cancel_scope.cancel()
    finally:
        sock.close()
    if failure is not None:
        raise failure
