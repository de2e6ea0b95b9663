"""Bounds of the network edge (DESIGN §12): each has a unit and a reason."""

from __future__ import annotations

from typing import Final

# --- strangers: connections whose stream is not marked authenticated yet ---

PENDING_MAX: Final = 64
"connections of strangers; one more ends the oldest, as an honest one needs milliseconds"

PENDING_PER_SOURCE_MAX: Final = 8
"of these, from one source (an IPv4 address, an IPv6 /64, one link-local address)"

PENDING_SECONDS_MAX: Final = 5.0
"a stranger's connection ends after this"

PENDING_BYTES_MAX: Final = 4 * 1024
"stream bytes that a stranger may send: QUIC's own window, so that no more is ever held"

PENDING_DATAGRAM_BYTES_MAX: Final = 64 * 1024
"""bytes of datagrams that a stranger's connection may bring: five times what the longest handshake
and enrolment need. It bounds what costs CPU (pings) or memory (aioquic keeps 512 KiB of handshake
bytes that came out of order)"""

CHALLENGE_PENDING: Final = 16
"strangers from which on a newcomer must first show that its source address is its own (Retry)"

NEWCOMERS_PER_SECOND: Final = 32.0
"handshakes begun for strangers in the long run: one costs some 3 ms of CPU"

NEWCOMERS_BURST: Final = 64.0
"handshakes begun at once"

NEWCOMERS_PER_SOURCE_PER_SECOND: Final = 8.0
"handshakes begun for one source in the long run"

NEWCOMERS_PER_SOURCE_BURST: Final = 16.0
"handshakes begun for one source at once"

SOURCES_REMEMBERED_MAX: Final = 1_024
"sources whose rate is remembered; the least recently seen is forgotten"

CONNECTIONS_MAX: Final = 256
"all connections of one endpoint"

CLOSED_REMEMBERED_MAX: Final = 64
"ended connections whose farewell is repeated to a peer that did not hear it"

CLOSED_REMEMBERED_SECONDS: Final = 5.0
"for how long"

FAREWELLS_MAX: Final = 4
"farewells repeated for one connection: answering must not be a way to flood"

# --- bytes ---

UNACKNOWLEDGED_BYTES_MAX: Final = 1024 * 1024
"bytes of one stream that the other side has not acknowledged; then sending waits"

WRITE_BYTES: Final = 256 * 1024
"bytes given to the transport at a time, so that a large send fills its buffer by this much over"

SENT_BEFORE_YIELD_BYTES: Final = 64 * 1024
"sent without waiting before other tasks get their turn; a small message counts for 1 KiB"

STREAM_WINDOW_BYTES: Final = 4 * 1024 * 1024
"bytes of one stream held here unread (out of order ones included); then the peer must wait"

DATAGRAM_BYTES: Final = 1_200
"UDP payload that every IPv6 path carries (RFC 9000 §14): aioquic does not probe for more"

DATAGRAM_BYTES_LOCAL: Final = 16 * 1024
"UDP payload between two programs of one machine, whose loopback has no such limit"

LOCAL_ROUTE_MTU_MIN: Final = 32 * 1024
"bytes of route MTU that only a loopback interface has"

DATAGRAM_BYTES_MAX: Final = 16 * 1024 + 64
"a longer datagram cannot be ours"

DATAGRAMS_EACH_WAKEUP: Final = 64
"datagrams taken before the rest of the daemon gets its turn"

BACKLOG_DATAGRAMS_MAX: Final = 1_024
"datagrams that wait because the socket was full; more are dropped, QUIC sends them again"

SOCKET_BUFFER_BYTES: Final = 4 * 1024 * 1024
"kernel buffer asked for, so that a burst survives while Python is busy"

CONGESTION_WINDOW_BYTES_MAX: Final = 1024 * 1024
"bytes in flight: what a peer's socket buffer takes while its Python is busy"

# --- time ---

IDLE_SECONDS: Final = 60.0
"silence after which a connection is dead (QUIC's idle timeout)"

DIALLER_PING_SECONDS: Final = 20.0
"silence after which the dialler asks; below the 30 s after which NATs forget a binding"

ACCEPTOR_PING_SECONDS: Final = 30.0
"silence after which the other side asks: the dialler's ping did not come"

ANSWER_SECONDS_MAX: Final = 6.0
"a peer that does not answer a ping in this time is gone: several retransmissions fit"

PROBE_ANSWER_SECONDS_MAX: Final = 2.0
"the same after waking, a network change or an ICMP error, when silence is likely"

ACKNOWLEDGE_SECONDS_MAX: Final = 0.015
"""how long an acknowledgement of one packet waits for data that it can travel with: below the 25 ms
that aioquic promises its peer (RFC 9000 §18.2, max_ack_delay), by what a busy Python may be late"""

DIAL_SECONDS_MAX: Final = 5.0
"a dial that has not shaken hands by then has failed"

DIAL_STAGGER_SECONDS: Final = 0.25
"lead of a host name's first address before the next is tried too (RFC 8305 §5)"

DIAL_ADDRESSES_MAX: Final = 4
"addresses of one host name that are tried"

FLUSH_SECONDS_MAX: Final = 0.5
"how long closing waits for the peer to acknowledge what was sent before"

# --- whom to dial, and when ---

RETRY_FIRST_MS: Final = 100
"delay before the first retry, and after a link was lost; jitter takes up to half of it"

RETRY_LAST_MS: Final = 60_000
"longest delay between two tries of one address"

RACE_STAGGER_MS: Final = 250
"lead of a device's best address before its next one is tried too"

DIALS_AT_ONCE_MAX: Final = 8
"dials in flight"

CANDIDATES_MAX: Final = 64
"addresses found on the LAN and not verified; the oldest goes first"

CANDIDATE_DIALS_MAX: Final = 8
"dials of one unverified address in `CANDIDATE_DIALS_MS`, whatever resets the back-off"

CANDIDATE_DIALS_MS: Final = 60_000

UNVERIFIED_DIALS_MAX: Final = 64
"dials of all unverified addresses together in `CANDIDATE_DIALS_MS`: forged ones come and go"

HINT_RESET_MS: Final = 10_000
"an announcement makes an address due again at most this often: a replayed one must not drive us"

CANDIDATE_FORGET_MS: Final = 2 * 60 * 60 * 1000
"an unverified address not seen again for so long is forgotten: its tags have expired"

DEVICE_ADDRESSES_MAX: Final = 8
"verified addresses remembered for one device, the last good ones"

# --- mDNS ---

TAG_STRING_BYTES: Final = 128
"one of the two tag strings of an announcement"

SIGHTING_ADDRESSES_MAX: Final = 8
"addresses read from one record"

SIGHTINGS_MAX: Final = 64
"announcements remembered, so that a repeated one is not reported again"

SIGHTINGS_BURST: Final = 64.0
"announcements looked at in a burst"

SIGHTINGS_PER_SECOND: Final = 4.0
"announcements looked at in the long run"

SIGHTINGS_QUEUE_MAX: Final = 64
"announcements waiting for the daemon; more are dropped, as they are hints"

LOOK_UPS_AT_ONCE_MAX: Final = 8
"announcements whose records are asked for at a time"

LOOK_UP_MS_MAX: Final = 1_500
"how long an announcement's records are waited for"

REOPEN_SECONDS: Final = 15.0
"after this mDNS that could not be opened (no interfaces, port taken) is tried again"
