"""aioquic's connection, narrowed to one stream of bytes.

Rules of this file: whatever needs a private name of aioquic is here and nowhere else, and each is
checked by a test, so that an upgrade that moves one is noticed. Sans-IO: the caller passes the
time, sends the datagrams and keeps the timer.

What it adds: one bidirectional stream of the dialler's and no other; receive windows that follow
the reader (aioquic doubles its windows as bytes arrive, read or not, so that a peer could fill
the memory); a small window for strangers; the amount unacknowledged; a congestion window bound.

Source: RFC 9000, 9001, 9002; aioquic 1.7.
"""

from __future__ import annotations

import ssl
from dataclasses import replace
from functools import cache
from typing import Final

from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE, QuicConfiguration
from aioquic.quic.congestion.base import register_congestion_control
from aioquic.quic.congestion.reno import RenoCongestionControl
from aioquic.quic.connection import Limit, NetworkAddress, QuicConnection
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicFrameType, QuicProtocolVersion
from aioquic.quic.packet_builder import QuicPacketBuilder, QuicSentPacket
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream
from aioquic.tls import Epoch

from presenced.net.certificate import make_certificate
from presenced.net.limits import (
    ACKNOWLEDGE_SECONDS_MAX,
    CONGESTION_WINDOW_BYTES_MAX,
    IDLE_SECONDS,
    PENDING_BYTES_MAX,
    STREAM_WINDOW_BYTES,
)

ALPN: Final = "presenced/1"
STREAM_ID: Final = 0
"the dialler's first bidirectional stream (RFC 9000 §2.1)"
CID_BYTES: Final = 8
VERSION: Final = QuicProtocolVersion.VERSION_1

_VARINT_BYTES_MAX: Final = 8
_LIMIT_FRAME_BYTES_MAX: Final = 1 + _VARINT_BYTES_MAX
_STREAM_LIMIT_FRAME_BYTES_MAX: Final = 1 + 2 * _VARINT_BYTES_MAX


class BoundedReno(RenoCongestionControl):
    """New Reno whose window stops growing where a busy peer's socket buffer would overflow."""

    def on_packet_acked(self, *, now: float, packet: QuicSentPacket) -> None:
        super().on_packet_acked(now=now, packet=packet)
        self.congestion_window = min(self.congestion_window, CONGESTION_WINDOW_BYTES_MAX)


register_congestion_control("presenced", BoundedReno)


@cache
def _common() -> QuicConfiguration:
    return QuicConfiguration(
        alpn_protocols=[ALPN],
        congestion_control_algorithm="presenced",
        connection_id_length=CID_BYTES,
        idle_timeout=IDLE_SECONDS,
        max_data=PENDING_BYTES_MAX,
        max_stream_data=PENDING_BYTES_MAX,
        supported_versions=[VERSION],
        verify_mode=ssl.CERT_NONE,
    )


def dialling(datagram_bytes: int) -> QuicConfiguration:
    """Configuration of the dialling side. Nothing is verified: Noise does that inside."""
    return replace(_common(), is_client=True, max_datagram_size=datagram_bytes)


def accepting() -> QuicConfiguration:
    """Configuration of the accepting side, with a certificate of its own."""
    configuration = replace(_common(), is_client=False)
    make_certificate(configuration)
    return configuration


class Connection(QuicConnection):
    """One QUIC connection with one stream."""

    def __init__(
        self,
        *,
        configuration: QuicConfiguration,
        original_destination_connection_id: bytes | None = None,
        retry_source_connection_id: bytes | None = None,
    ) -> None:
        super().__init__(
            configuration=configuration,
            original_destination_connection_id=original_destination_connection_id,
            retry_source_connection_id=retry_source_connection_id,
        )
        self._full_datagram_bytes = configuration.max_datagram_size
        self._permit_streams(self._local_max_streams_bidi, 0 if configuration.is_client else 1)
        self._permit_streams(self._local_max_streams_uni, 0)
        self._window = PENDING_BYTES_MAX
        self._granted = PENDING_BYTES_MAX
        self._read = 0
        self._is_open = False

    @staticmethod
    def _permit_streams(limit: Limit, count: int) -> None:
        limit.value = limit.sent = count

    @property
    def termination(self) -> ConnectionTerminated | None:
        """Why the connection is over, as soon as that is known.

        The event of the same name comes only when the closing period has passed.
        """
        return self._close_event

    @property
    def unacknowledged_bytes(self) -> int:
        """Bytes of the stream that the peer has not acknowledged, unsent ones included."""
        stream = self._streams.get(STREAM_ID)
        if stream is None:
            return 0
        return stream.sender._buffer_stop - stream.sender._buffer_start

    @property
    def has_unsent(self) -> bool:
        """There are bytes of the stream that wait for their first or next transmission."""
        stream = self._streams.get(STREAM_ID)
        return stream is not None and not stream.sender.buffer_is_empty

    @property
    def connection_ids(self) -> tuple[bytes, ...]:
        """The ids under which the peer may address this connection now."""
        return tuple(connection_id.cid for connection_id in self._host_cids)

    def open_window(self) -> None:
        """From now on the peer may have `STREAM_WINDOW_BYTES` on their way to the reader."""
        if not self._is_open:
            self._is_open = True
            self._window = STREAM_WINDOW_BYTES
            self._granted = self._read + self._window

    def note_read(self, count: int) -> bool:
        """`count` bytes left for the reader. True if the peer should be told soon that it may
        send more."""
        self._read += count
        if self._is_open and self._read + self._window - self._granted >= self._window // 2:
            self._granted = self._read + self._window
            return True
        return False

    def receive_datagram(self, data: bytes, addr: NetworkAddress, now: float) -> None:
        """As aioquic's, but the acknowledgement of a single packet waits for company.

        A second packet is acknowledged at once, as is one out of order (RFC 9000 §13.2).
        """
        space = self._spaces.get(Epoch.ONE_RTT)
        one_waits = space is not None and space.ack_at is not None
        if self._handshake_confirmed:
            self._ack_delay = ACKNOWLEDGE_SECONDS_MAX
        super().receive_datagram(data, addr, now)
        space = self._spaces.get(Epoch.ONE_RTT)
        if space is None or space.ack_at is None:
            return
        if one_waits or len(space.ack_queue) > 1:
            space.ack_at = min(space.ack_at, now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        """As aioquic's; none on a connection whose first datagram was not one, where it fails.

        An acknowledgement that is owed goes with data that goes anyway (RFC 9000 §13.2.1), where
        aioquic would send it later in a datagram of its own: of the datagrams of an exchange of
        small messages that saves the half.
        """
        if not self._network_paths:
            return []
        # A handshake's datagrams are padded to their full size (RFC 9000 §14.1): keep that small.
        self._max_datagram_size = (
            self._full_datagram_bytes if self._handshake_confirmed else SMALLEST_MAX_DATAGRAM_SIZE
        )
        if self._handshake_confirmed and self.has_unsent:
            space = self._spaces[Epoch.ONE_RTT]
            if space.ack_at is not None and space.ack_at > now:
                space.ack_at = now
        return super().datagrams_to_send(now)

    def get_timer(self) -> float | None:
        """As aioquic's; None before the first datagram and after the end."""
        return super().get_timer() if self._close_at is not None else None

    # --- overridden: windows follow the reader (RFC 9000 §4.1), stream counts never rise ---

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        limit = self._local_max_data
        limit.value = self._granted
        if limit.sent != limit.value:
            frame = builder.start_frame(
                limit.frame_type,
                capacity=_LIMIT_FRAME_BYTES_MAX,
                handler=self._on_connection_limit_delivery,
                handler_args=(limit,),
            )
            frame.push_uint_var(limit.value)
            limit.sent = limit.value

    def _write_stream_limits(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream
    ) -> None:
        stream.max_stream_data_local = self._granted
        if stream.max_stream_data_local_sent != stream.max_stream_data_local:
            frame = builder.start_frame(
                QuicFrameType.MAX_STREAM_DATA,
                capacity=_STREAM_LIMIT_FRAME_BYTES_MAX,
                handler=self._on_max_stream_data_delivery,
                handler_args=(stream,),
            )
            frame.push_uint_var(STREAM_ID)
            frame.push_uint_var(stream.max_stream_data_local)
            stream.max_stream_data_local_sent = stream.max_stream_data_local
