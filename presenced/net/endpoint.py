"""One UDP socket for both roles: accepts, dials, routes datagrams, keeps timers.

Theory of operation. A reader task takes datagrams and gives each to its connection by connection
id; an Initial of a supported version to nobody begins a new one, within the bounds for strangers.
A timer task sleeps until the earliest timer of all connections. Both transmit at once, so a reply
leaves in the tick that caused it. Errors of the socket (a dead network, a full buffer, an ICMP
answer) never end the endpoint: QUIC sends again or gives the connection up.

Leaving the block ends every connection and closes the socket.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog
import trio
from aioquic.buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import (
    QuicPacketType,
    encode_quic_version_negotiation,
    pull_quic_header,
)

from presenced.errors import HostError
from presenced.net.certificate import make_certificate
from presenced.net.limits import (
    BACKLOG_DATAGRAMS_MAX,
    CONNECTIONS_MAX,
    DATAGRAM_BYTES,
    DATAGRAM_BYTES_MAX,
    DATAGRAMS_EACH_WAKEUP,
    DIAL_SECONDS_MAX,
    IDLE_SECONDS,
    PENDING_MAX,
    PENDING_PER_SOURCE_MAX,
    PENDING_SECONDS_MAX,
    PING_SECONDS,
    STREAM_WINDOW_BYTES,
)
from presenced.net.quic import Address, DialFailed, LinkStream

log = structlog.get_logger(__name__)

ALPN: Final = ["presenced/1"]
_INITIAL_BYTES_MIN: Final = 1_200
"RFC 9000 §14.1: a shorter Initial is not answered"
_CID_BYTES: Final = 8


class PortInUse(HostError):
    """Another program has the UDP port."""

    code = "port-in-use"


class Endpoint:
    """See the module. Made by `open_endpoint`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._family = sock.family
        self._by_cid: dict[bytes, LinkStream] = {}
        self._streams: dict[LinkStream, set[bytes]] = {}
        self._backlog: deque[tuple[bytes, Address]] = deque()
        self._reschedule = trio.Event()
        self._planned = float("inf")
        self._paused = False
        self.bytes_in = 0
        self.bytes_out = 0
        self._server = QuicConfiguration(
            is_client=False,
            alpn_protocols=ALPN,
            idle_timeout=IDLE_SECONDS,
            max_datagram_size=DATAGRAM_BYTES,
            max_data=2 * STREAM_WINDOW_BYTES,
            max_stream_data=STREAM_WINDOW_BYTES,
            connection_id_length=_CID_BYTES,
        )
        make_certificate(self._server)
        self._accepted, self.incoming = trio.open_memory_channel[LinkStream](PENDING_MAX)

    @property
    def port(self) -> int:
        port: int = self._sock.getsockname()[1]
        return port

    @property
    def paused(self) -> bool:
        return self._paused

    def pause(self) -> None:
        """End all connections; accept and dial nothing until `resume`."""
        self._paused = True
        for stream in list(self._streams):
            stream.end("paused")

    def resume(self) -> None:
        self._paused = False

    async def dial(self, address: tuple[str, int]) -> LinkStream:
        """Connect to a host and UDP port. Raises `DialFailed`. The caller closes the stream."""
        if self._paused:
            raise DialFailed("held down")
        remote = await self._resolve(address)
        configuration = QuicConfiguration(
            is_client=True,
            alpn_protocols=ALPN,
            verify_mode=ssl.CERT_NONE,
            server_name="presenced",
            idle_timeout=IDLE_SECONDS,
            max_datagram_size=DATAGRAM_BYTES,
            max_data=2 * STREAM_WINDOW_BYTES,
            max_stream_data=STREAM_WINDOW_BYTES,
            connection_id_length=_CID_BYTES,
        )
        stream = self._add(QuicConnection(configuration=configuration), remote, inbound=False)
        try:
            stream.connection.connect(remote, now=trio.current_time())
            self._transmit(stream)
            with trio.move_on_after(DIAL_SECONDS_MAX):
                await stream.ready.wait()
        except BaseException:
            stream.end("cancelled")
            raise
        if not stream.ready.is_set() or stream.ended.is_set():
            reason = stream.close_reason or "no answer"
            stream.end("unreachable")
            raise DialFailed(reason)
        return stream

    # --- connections ---

    def _add(self, connection: QuicConnection, remote: Address, *, inbound: bool) -> LinkStream:
        stream = LinkStream(
            connection,
            remote=remote,
            inbound=inbound,
            transmit=self._transmit,
            now=trio.current_time,
        )
        self._streams[stream] = set()
        self._route(stream, connection.host_cid)
        return stream

    def _route(self, stream: LinkStream, cid: bytes) -> None:
        self._by_cid[cid] = stream
        self._streams[stream].add(cid)

    def _forget(self, stream: LinkStream) -> None:
        for cid in self._streams.pop(stream, ()):
            self._by_cid.pop(cid, None)

    def _admit(self, cid: bytes, remote: Address) -> LinkStream | None:
        """A new connection from a stranger, if there is room for one."""
        pending = [stream for stream in self._streams if not stream.authenticated]
        if (
            self._paused
            or len(self._streams) >= CONNECTIONS_MAX
            or len(pending) >= PENDING_MAX
            or sum(stream.remote[0] == remote[0] for stream in pending) >= PENDING_PER_SOURCE_MAX
        ):
            return None
        connection = QuicConnection(
            configuration=self._server, original_destination_connection_id=cid
        )
        stream = self._add(connection, remote, inbound=True)
        self._route(stream, cid)
        return stream

    # --- datagrams ---

    async def run(self) -> None:
        """Read, keep time, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_time)
            while True:
                await self._wait_readable()
                touched: dict[LinkStream, None] = {}
                for _ in range(DATAGRAMS_EACH_WAKEUP):
                    try:
                        data, remote = self._sock.recvfrom(DATAGRAM_BYTES_MAX + 1)
                    except BlockingIOError:
                        break
                    except OSError:  # an ICMP answer to something we sent
                        continue
                    self.bytes_in += len(data)
                    if len(data) <= DATAGRAM_BYTES_MAX:
                        stream = self._receive(data, remote)
                        if stream is not None:
                            touched[stream] = None
                for stream in touched:
                    self._after_input(stream)
                await trio.lowlevel.checkpoint()

    async def _wait_readable(self) -> None:
        try:
            await trio.lowlevel.wait_readable(self._sock)
        except OSError as error:
            log.warning("socket not readable", errno=error.errno)
            await trio.sleep(1)

    def _receive(self, data: bytes, remote: Address) -> LinkStream | None:
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=_CID_BYTES)
        except ValueError:
            return None
        stream = self._by_cid.get(header.destination_cid)
        if stream is None:
            if header.packet_type != QuicPacketType.INITIAL or len(data) < _INITIAL_BYTES_MIN:
                return None
            if header.version not in self._server.supported_versions:
                self._send(
                    encode_quic_version_negotiation(
                        source_cid=header.destination_cid,
                        destination_cid=header.source_cid,
                        supported_versions=self._server.supported_versions,
                    ),
                    remote,
                )
                return None
            stream = self._admit(header.destination_cid, remote)
            if stream is None:
                return None
        try:
            stream.connection.receive_datagram(data, remote, now=trio.current_time())
        except Exception as error:  # aioquic 549: a hostile datagram must end its connection only
            log.warning("connection broken by a datagram", error=type(error).__name__)
            stream.end("broken")
        return stream

    def _after_input(self, stream: LinkStream) -> None:
        was_ready = stream.ready.is_set()
        stream.take_events()
        for cid in list(stream.connection._host_cids):
            if cid.cid not in self._by_cid:
                self._route(stream, cid.cid)
        if stream.inbound and stream.ready.is_set() and not was_ready and not stream.ended.is_set():
            try:
                self._accepted.send_nowait(stream)
            except trio.WouldBlock:
                stream.end("busy")
        self._transmit(stream)

    def _transmit(self, stream: LinkStream) -> None:
        now = trio.current_time()
        for data, remote in stream.connection.datagrams_to_send(now=now):
            self._send(data, remote)
        timer = stream.connection.get_timer()
        if timer is not None and timer < self._planned:
            self._planned = timer
            self._reschedule.set()

    def _send(self, data: bytes, remote: Address) -> None:
        self.bytes_out += len(data)
        if self._backlog:
            self._delay(data, remote)
            return
        try:
            self._sock.sendto(data, remote)
        except BlockingIOError:
            self._delay(data, remote)
        except OSError as error:
            if error.errno not in (errno.ENOBUFS, errno.ENETUNREACH, errno.EHOSTUNREACH):
                log.debug("datagram not sent", errno=error.errno)

    def _delay(self, data: bytes, remote: Address) -> None:
        if len(self._backlog) < BACKLOG_DATAGRAMS_MAX:
            self._backlog.append((data, remote))
        self._planned = 0
        self._reschedule.set()

    # --- time ---

    async def _keep_time(self) -> None:
        while True:
            while self._backlog:
                await trio.lowlevel.wait_writable(self._sock)
                waiting, self._backlog = self._backlog, deque()
                for data, remote in waiting:
                    self._send(data, remote)
            self._planned = self._next_timer()
            self._reschedule = trio.Event()
            with trio.move_on_at(self._planned):
                await self._reschedule.wait()
            now = trio.current_time()
            for stream in list(self._streams):
                self._tick(stream, now)

    def _next_timer(self) -> float:
        earliest = float("inf")
        for stream in self._streams:
            if (timer := stream.connection.get_timer()) is not None:
                earliest = min(earliest, timer)
            if not stream.ended.is_set():
                if not stream.authenticated:
                    earliest = min(earliest, stream.opened + PENDING_SECONDS_MAX)
                elif not stream.inbound:
                    earliest = min(earliest, stream.next_ping)
        return earliest

    def _tick(self, stream: LinkStream, now: float) -> None:
        connection = stream.connection
        if not stream.ended.is_set():
            if not stream.authenticated and now >= stream.opened + PENDING_SECONDS_MAX:
                stream.end("too slow")
            elif stream.authenticated and not stream.inbound and now >= stream.next_ping:
                stream.next_ping = now + PING_SECONDS
                connection.send_ping(0)
        timer = connection.get_timer()
        if timer is not None and now >= timer:
            connection.handle_timer(now=now)
            stream.take_events()
        self._transmit(stream)
        if stream.ended.is_set() and connection.get_timer() is None:
            self._forget(stream)

    async def _resolve(self, address: tuple[str, int]) -> Address:
        host, port = address
        try:
            found = await trio.socket.getaddrinfo(
                host,
                port,
                family=self._family if self._family == socket.AF_INET else 0,
                type=socket.SOCK_DGRAM,
            )
        except OSError as error:
            raise DialFailed("no such host") from error
        family, _, _, _, remote = found[0]
        if family == socket.AF_INET and self._family == socket.AF_INET6:
            return (f"::ffff:{remote[0]}", remote[1], 0, 0)
        return remote


def _bind(host: str | None, port: int) -> socket.socket:
    """A non-blocking UDP socket. No host: both families on one socket where that works."""
    attempts: list[tuple[socket.AddressFamily, str]]
    if host is None:
        attempts = [(socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")]  # noqa: S104
    else:
        attempts = [(socket.AF_INET6 if ":" in host else socket.AF_INET, host)]
    failure: OSError | None = None
    for family, name in attempts:
        try:
            sock = socket.socket(family, socket.SOCK_DGRAM)
        except OSError as error:
            failure = error
            continue
        try:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host is None else 1)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, 4 * 1024 * 1024)
            sock.bind((name, port))
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            failure = error
            if error.errno == errno.EADDRINUSE:
                break
            continue
        return sock
    assert failure is not None
    if failure.errno == errno.EADDRINUSE:
        raise PortInUse(
            f"UDP port {port} is in use",
            hint="Another presenced may be running; choose a port with --listen HOST:PORT.",
        )
    raise HostError(
        f"cannot listen on {host or 'any address'} port {port}: {failure.strerror}",
        hint="Choose another address with --listen HOST:PORT.",
    )


@asynccontextmanager
async def open_endpoint(host: str | None, port: int) -> AsyncIterator[Endpoint]:
    """An endpoint on an address (None: all, both families) and UDP port (0: any free one).

    Raises `PortInUse` or `HostError`.
    """
    sock = _bind(host, port)
    endpoint = Endpoint(sock)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(endpoint.run)
            try:
                yield endpoint
            finally:
                endpoint.pause()
                nursery.cancel_scope.cancel()
    finally:
        sock.close()
