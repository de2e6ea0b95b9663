"""What we need of aioquic's inside still is where we look for it."""

from __future__ import annotations

import pytest
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, StreamDataReceived

from presenced.net.limits import (
    ACKNOWLEDGE_SECONDS_MAX,
    CONGESTION_WINDOW_BYTES_MAX,
    DATAGRAM_BYTES,
    PENDING_BYTES_MAX,
    STREAM_WINDOW_BYTES,
)
from presenced.net.quic import STREAM_ID, Connection, accepting, dialling

CLIENT = ("192.0.2.1", 1)
SERVER = ("192.0.2.2", 2)


class Wire:
    """Two connections without sockets; time passes by itself, in milliseconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.client = Connection(configuration=dialling(DATAGRAM_BYTES))
        self.client.connect(SERVER, now=self.now)
        self.server = Connection(
            configuration=accepting(),
            original_destination_connection_id=self.client.original_destination_connection_id,
        )
        self.received: dict[Connection, bytearray] = {
            self.client: bytearray(),
            self.server: bytearray(),
        }
        self.datagrams = 0
        self.sees: list[object] = []

    def run(self, milliseconds: int = 20) -> None:
        for _ in range(milliseconds):
            for _ in range(50):
                if not self.exchange():
                    break
            self.now += 0.001
            for connection in (self.client, self.server):
                timer = connection.get_timer()
                if timer is not None and timer <= self.now:
                    connection.handle_timer(now=self.now)

    def exchange(self) -> int:
        moved = 0
        for sender, receiver, source in (
            (self.client, self.server, CLIENT),
            (self.server, self.client, SERVER),
        ):
            for data, _ in sender.datagrams_to_send(now=self.now):
                moved += 1
                receiver.receive_datagram(data, source, now=self.now)
            while (event := receiver.next_event()) is not None:
                self.sees.append(event)
                if isinstance(event, StreamDataReceived):
                    self.received[receiver] += event.data
        self.datagrams += moved
        return moved


@pytest.fixture
def wire() -> Wire:
    wire = Wire()
    wire.run()
    assert sum(isinstance(event, HandshakeCompleted) for event in wire.sees) == 2
    return wire


def test_a_stranger_can_send_no_more_than_its_window_read_or_not(wire: Wire) -> None:
    wire.client.open_window()
    wire.client.send_stream_data(STREAM_ID, bytes(3 * PENDING_BYTES_MAX))
    wire.run()
    assert len(wire.received[wire.server]) == PENDING_BYTES_MAX
    assert not wire.server.note_read(PENDING_BYTES_MAX)
    wire.run()
    assert len(wire.received[wire.server]) == PENDING_BYTES_MAX
    assert wire.client.unacknowledged_bytes == 2 * PENDING_BYTES_MAX
    assert wire.client.has_unsent
    wire.server.open_window()
    wire.run(100)
    assert len(wire.received[wire.server]) == 3 * PENDING_BYTES_MAX
    assert wire.client.unacknowledged_bytes == 0
    assert not wire.client.has_unsent


def test_windows_follow_the_reader(wire: Wire) -> None:
    for connection in (wire.client, wire.server):
        connection.open_window()
    wire.client.send_stream_data(STREAM_ID, bytes(3 * STREAM_WINDOW_BYTES))
    wire.run(1500)
    held = len(wire.received[wire.server])
    assert held == STREAM_WINDOW_BYTES
    assert not wire.server.note_read(STREAM_WINDOW_BYTES // 2 - 1)
    assert wire.server.note_read(1)
    wire.run(1500)
    assert len(wire.received[wire.server]) == held + STREAM_WINDOW_BYTES // 2


def test_a_lost_window_is_told_again(wire: Wire) -> None:
    wire.client.send_stream_data(STREAM_ID, bytes(2 * PENDING_BYTES_MAX))
    wire.run()
    wire.server.open_window()
    assert wire.server.datagrams_to_send(now=wire.now)  # lost on the way
    wire.run(500)
    assert len(wire.received[wire.server]) == 2 * PENDING_BYTES_MAX


def test_there_is_one_stream_and_no_other(wire: Wire) -> None:
    wire.client.send_stream_data(STREAM_ID, b"y")
    for stream in (4, 2):  # a second one, and a one-way one
        wire.client.send_stream_data(stream, b"x")
    wire.run()
    assert bytes(wire.received[wire.server]) == b"y"
    wire.server.send_stream_data(1, b"z")
    wire.run()
    assert bytes(wire.received[wire.client]) == b""


def test_who_sends_beyond_the_window_is_cut_off(wire: Wire) -> None:
    wire.client.send_stream_data(STREAM_ID, b"x")
    wire.run()
    wire.client._remote_max_data = 10 * PENDING_BYTES_MAX
    wire.client._streams[STREAM_ID].max_stream_data_remote = 10 * PENDING_BYTES_MAX
    wire.client.send_stream_data(STREAM_ID, bytes(3 * PENDING_BYTES_MAX))
    wire.run()
    assert wire.server.termination is not None
    assert "limit" in wire.server.termination.reason_phrase


def test_the_end_is_known_before_the_closing_period_has_passed(wire: Wire) -> None:
    assert wire.client.termination is None
    wire.client.close()
    wire.exchange()
    assert wire.server.termination is not None
    assert not any(isinstance(event, ConnectionTerminated) for event in wire.sees)


def test_an_answer_takes_the_acknowledgement_along(wire: Wire) -> None:
    wire.client.send_stream_data(STREAM_ID, b"ping")
    wire.run()
    wire.datagrams = 0
    for _ in range(10):
        for connection in (wire.client, wire.server):
            wire.now += 0.000_5  # less than what an acknowledgement waits by itself
            connection.send_stream_data(STREAM_ID, b"ping")
            wire.exchange()
    assert wire.datagrams == 20


def test_one_packet_is_acknowledged_later_two_or_a_gap_at_once(wire: Wire) -> None:
    """A datagram of their own for acknowledgements costs as much as one with data."""
    sent: list[bytes] = []
    for text in (b"one", b"two", b"three", b"four"):
        wire.client.send_stream_data(STREAM_ID, text)
        sent += [data for data, _ in wire.client.datagrams_to_send(now=wire.now)]
        wire.now += 0.001  # the sender is paced
    assert len(sent) == 4
    wire.server.receive_datagram(sent[0], CLIENT, now=wire.now)
    assert wire.server.datagrams_to_send(now=wire.now) == []
    due = wire.server.get_timer()
    assert due is not None
    assert due == pytest.approx(wire.now + ACKNOWLEDGE_SECONDS_MAX)
    wire.server.receive_datagram(sent[1], CLIENT, now=wire.now)
    [(both, _)] = wire.server.datagrams_to_send(now=wire.now)
    wire.client.receive_datagram(both, SERVER, now=wire.now)
    assert wire.client.unacknowledged_bytes == len(b"three" + b"four")
    wire.server.receive_datagram(sent[3], CLIENT, now=wire.now)  # without the third
    assert len(wire.server.datagrams_to_send(now=wire.now)) == 1


def test_the_congestion_window_stops_growing(wire: Wire) -> None:
    for connection in (wire.client, wire.server):
        connection.open_window()
    for _ in range(4):
        wire.client.send_stream_data(STREAM_ID, bytes(STREAM_WINDOW_BYTES))
        wire.run(400)
        wire.server.note_read(STREAM_WINDOW_BYTES)
    assert wire.client._loss.congestion_window <= CONGESTION_WINDOW_BYTES_MAX


def test_a_connection_that_never_began_has_nothing_to_say() -> None:
    connection = Connection(
        configuration=accepting(), original_destination_connection_id=b"12345678"
    )
    assert connection.datagrams_to_send(now=0.0) == []
    assert connection.get_timer() is None
    assert connection.unacknowledged_bytes == 0
    assert not connection.has_unsent


def test_every_start_has_another_certificate_without_a_name() -> None:
    first, second = accepting(), accepting()
    assert first.certificate != second.certificate
    assert first.certificate.subject.rfc4514_string() == "CN=-"
