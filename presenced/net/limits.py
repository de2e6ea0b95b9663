"""Bounds of the network edge (DESIGN §12)."""

from __future__ import annotations

from typing import Final

PENDING_MAX: Final = 64
"connections that have not authenticated themselves yet"

PENDING_PER_SOURCE_MAX: Final = 8
"of these, from one source address"

PENDING_SECONDS_MAX: Final = 5.0
"a stranger's connection ends after this"

PENDING_BYTES_MAX: Final = 4 * 1024
"stream bytes read from a stranger; the link machine has the same bound"

CONNECTIONS_MAX: Final = 256
"all connections of one endpoint"

UNSENT_BYTES_MAX: Final = 1024 * 1024
"bytes of one stream that the other side has not acknowledged; then sending waits"

WRITE_BYTES: Final = 64 * 1024
"bytes given to the transport at a time"

UNREAD_BYTES_MAX: Final = 16 * 1024 * 1024
"bytes of one stream that nobody has read here; beyond it the connection ends"

DATAGRAM_BYTES: Final = 1_350
"payload of one UDP datagram: fits IPv6 and the usual tunnels"

DATAGRAM_BYTES_MAX: Final = 2_048
"a longer datagram cannot be ours"

DATAGRAMS_EACH_WAKEUP: Final = 128
"datagrams taken before the rest of the daemon gets its turn"

BACKLOG_DATAGRAMS_MAX: Final = 4_096
"datagrams that wait because the socket was full; more are dropped, QUIC sends them again"

IDLE_SECONDS: Final = 60.0
"silence after which a connection is dead"

PING_SECONDS: Final = 22.0
"the dialler pings at this interval, so that a dead peer is noticed and NAT bindings live"

DIAL_SECONDS_MAX: Final = 5.0
"a dial that has not shaken hands by then has failed"

STREAM_WINDOW_BYTES: Final = 16 * 1024 * 1024
"QUIC flow control window of a stream"
