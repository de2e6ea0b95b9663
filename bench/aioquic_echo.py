"""The yardstick: a bare aioquic echo between two processes on loopback.

One bidirectional stream, small messages, one after the other. aioquic is driven from a minimal
trio UDP loop: no links, no encryption of ours, no bounds. What `make bench` measures is compared
with this in the same run. Prints one JSON object.

    python bench/aioquic_echo.py [--rounds 2000] [--bytes 200]
"""

from __future__ import annotations

import argparse
import datetime
import json
import socket
import ssl
import subprocess
import sys
import time

import trio
from aioquic.buffer import Buffer
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import pull_quic_header
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

ALPN = ["echo"]
WARM_UP_ROUNDS = 50


def server_configuration() -> QuicConfiguration:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=36_500))
        .sign(key, hashes.SHA256())
    )
    configuration = QuicConfiguration(is_client=False, alpn_protocols=ALPN)
    configuration.certificate = certificate
    configuration.private_key = key
    return configuration


async def drive(sock: socket.socket, connection: QuicConnection, on_event) -> None:
    """The minimal loop: read or time out, hand over, send."""
    while True:
        for data, address in connection.datagrams_to_send(now=trio.current_time()):
            sock.sendto(data, address)
        timer = connection.get_timer()
        with trio.move_on_at(timer if timer is not None else float("inf")):
            await trio.lowlevel.wait_readable(sock)
        now = trio.current_time()
        if timer is not None and now >= timer:
            connection.handle_timer(now=now)
        while True:
            try:
                data, address = sock.recvfrom(65_535)
            except BlockingIOError:
                break
            connection.receive_datagram(data, address, now=now)
        while (event := connection.next_event()) is not None:
            if on_event(event):
                return


def open_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


async def serve() -> None:
    sock = open_socket()
    print(sock.getsockname()[1], flush=True)
    await trio.lowlevel.wait_readable(sock)
    data, address = sock.recvfrom(65_535)
    header = pull_quic_header(Buffer(data=data), host_cid_length=8)
    connection = QuicConnection(
        configuration=server_configuration(),
        original_destination_connection_id=header.destination_cid,
    )
    connection.receive_datagram(data, address, now=trio.current_time())

    def echo(event: events.QuicEvent) -> bool:
        if isinstance(event, events.StreamDataReceived):
            connection.send_stream_data(event.stream_id, event.data)
        return isinstance(event, events.ConnectionTerminated)

    await drive(sock, connection, echo)


async def measure(port: int, rounds: int, size: int) -> dict[str, float]:
    sock = open_socket()
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=ALPN, verify_mode=ssl.CERT_NONE
    )
    connection = QuicConnection(configuration=configuration)
    began = time.perf_counter()
    connection.connect(("127.0.0.1", port), now=trio.current_time())
    payload = bytes(size)
    trips: list[float] = []
    sent_at = handshake = 0.0
    missing = 0

    def send() -> None:
        nonlocal sent_at, missing
        missing = size
        sent_at = time.perf_counter()
        connection.send_stream_data(0, payload)

    def on_event(event: events.QuicEvent) -> bool:
        nonlocal handshake, missing
        if isinstance(event, events.HandshakeCompleted):
            handshake = time.perf_counter() - began
            send()
        elif isinstance(event, events.StreamDataReceived):
            missing -= len(event.data)
            if missing == 0:
                trips.append(time.perf_counter() - sent_at)
                if len(trips) >= rounds + WARM_UP_ROUNDS:
                    return True
                send()
        return False

    await drive(sock, connection, on_event)
    connection.close()
    for data, address in connection.datagrams_to_send(now=trio.current_time()):
        sock.sendto(data, address)
    ordered = sorted(trips[WARM_UP_ROUNDS:])
    return {
        "handshake_ms": round(handshake * 1000, 3),
        "p50_ms": round(ordered[len(ordered) // 2] * 1000, 4),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1000, 4),
        "rounds": len(ordered),
        "bytes": size,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2_000)
    parser.add_argument("--bytes", type=int, default=200, dest="size")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        trio.run(serve)
        return
    with subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            print(json.dumps(trio.run(measure, port, arguments.rounds, arguments.size)))
            server.wait(timeout=5)
        finally:
            server.kill()


if __name__ == "__main__":
    main()
