"""The forwarder carries both ways and keeps what passed."""

from __future__ import annotations

import socket

from presenced.testing.recorder import recording


def test_datagrams_pass_both_ways_and_are_kept() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dialler,
    ):
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        dialler.settimeout(10)
        with recording(server.getsockname()) as recorder:
            host, port = recorder.address.split(":")
            dialler.sendto(b"a title in clear", (host, int(port)))
            data, seen_as = server.recvfrom(100)
            assert data == b"a title in clear"
            assert seen_as != dialler.getsockname()
            server.sendto("größe".encode("utf-16-le"), seen_as)
            assert dialler.recv(100).decode("utf-16-le") == "größe"
        assert recorder.bytes_carried == 16 + 10
        assert recorder.contains("title in")
        assert recorder.contains("größe")
        assert not recorder.contains("another title")


def test_each_dialler_has_an_address_of_its_own() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        with recording(server.getsockname()) as recorder:
            host, port = recorder.address.split(":")
            one.sendto(b"1", (host, int(port)))
            first = server.recvfrom(10)
            other.sendto(b"2", (host, int(port)))
            second = server.recvfrom(10)
        assert first[1] != second[1]


def test_a_target_that_is_away_loses_datagrams_and_nothing_else() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dialler,
    ):
        gone.bind(("127.0.0.1", 0))
        target = gone.getsockname()
        gone.close()
        with recording(target) as recorder:
            host, port = recorder.address.split(":")
            for _ in range(3):
                dialler.sendto(b"lost", (host, int(port)))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
                back.bind(target)
                back.settimeout(10)
                while True:
                    dialler.sendto(b"heard", (host, int(port)))
                    if back.recv(10) == b"heard":
                        break
