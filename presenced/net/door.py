"""A stranger's first datagram: refuse it, challenge it, or begin a connection.

Only an Initial of our version is looked at; whoever says that its address is its own shows the
token of a Retry that went there. Sans-IO but for the randomness of a connection id and the time,
which is passed in. The bounds are `admission`'s.

Source: RFC 9000 §8.1 (address validation), §14.1, §17.2.5 (Retry).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Final

from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    encode_quic_retry,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler

from presenced.net.admission import Admission, Verdict
from presenced.net.limits import PENDING_MAX
from presenced.net.quic import CID_BYTES, VERSION, Connection, accepting
from presenced.net.udp import SocketAddress, datagram_bytes_to, plain_address, source_of

INITIAL_BYTES_MIN: Final = 1_200
"RFC 9000 §14.1: a shorter Initial is not answered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomer:
    """A connection that begins with this datagram."""

    connection: Connection
    first_id: bytes
    "the connection id that the dialler made up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """Send this back; nothing was kept."""

    datagram: bytes


class Door:
    """Keeps the certificate, the key of Retry tokens, and the count of strangers."""

    def __init__(self, now: float) -> None:
        self.configuration = accepting()
        self.admission = Admission(now)
        self._retry = QuicRetryTokenHandler()

    @property
    def is_full(self) -> bool:
        """One more stranger is one too many."""
        return self.admission.pending >= PENDING_MAX

    def knock(self, data: bytes, address: SocketAddress, now: float) -> Newcomer | Challenge | None:
        """What becomes of a datagram that belongs to no connection; None: nothing.

        A newcomer counts among the strangers from here on, until `leave`.
        """
        header = _read_initial(data)
        if header is None:
            return None
        original, retried = header.destination_cid, None
        if header.token:
            try:
                original = self._retry.validate_token(
                    address=plain_address(address),
                    destination_cid=header.destination_cid,
                    token=header.token,
                    now=now,
                )
            except ValueError:
                return None
            retried = header.destination_cid
        source = source_of(address)
        verdict = self.admission.decide(source, has_proved_address=retried is not None, now=now)
        if verdict is Verdict.CHALLENGE:
            return Challenge(datagram=self._make_retry(header, address, now))
        if verdict is Verdict.DROP:
            return None
        self.admission.entered(source)
        configuration = replace(self.configuration, max_datagram_size=datagram_bytes_to(address))
        connection = Connection(
            configuration=configuration,
            original_destination_connection_id=original,
            retry_source_connection_id=retried,
        )
        return Newcomer(connection=connection, first_id=header.destination_cid)

    def leave(self, address: SocketAddress) -> None:
        """A newcomer from there was authenticated, or is gone."""
        self.admission.left(source_of(address))

    def _make_retry(self, header: QuicHeader, address: SocketAddress, now: float) -> bytes:
        cid = os.urandom(CID_BYTES)
        token = self._retry.create_token(
            address=plain_address(address),
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=cid,
            now=now,
        )
        return encode_quic_retry(
            version=VERSION,
            source_cid=cid,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=token,
        )


def _read_initial(data: bytes) -> QuicHeader | None:
    if len(data) < INITIAL_BYTES_MIN:
        return None
    try:
        header = pull_quic_header(Buffer(data=data), host_cid_length=CID_BYTES)
    except ValueError:
        return None
    is_ours = header.packet_type == QuicPacketType.INITIAL and header.version == VERSION
    return header if is_ours else None
