"""What the service manager hears: NOTIFY_SOCKET is bound as a datagram socket, as it does."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from presenced.host.systemd import STATUS_BYTES_MAX, ServiceManager


@pytest.fixture
def manager_socket(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        sock.setblocking(False)
        yield sock, path


def test_ready_status_and_stopping_are_datagrams(manager_socket: tuple[socket.socket, str]) -> None:
    sock, path = manager_socket
    service = ServiceManager({"NOTIFY_SOCKET": path})
    assert service.is_there
    service.ready("2 devices linked")
    assert sock.recv(1000) == b"READY=1\nSTATUS=2 devices linked"
    service.status("syncing")
    assert sock.recv(1000) == b"STATUS=syncing"
    service.still_starting("1 of 2")
    assert sock.recv(1000) == b"EXTEND_TIMEOUT_USEC=60000000\nSTATUS=1 of 2"
    service.ready()
    assert sock.recv(1000) == b"READY=1"
    service.stopping()
    assert sock.recv(1000) == b"STOPPING=1"


def test_a_status_is_one_short_line(manager_socket: tuple[socket.socket, str]) -> None:
    sock, path = manager_socket
    service = ServiceManager({"NOTIFY_SOCKET": path})
    service.status("one\nREADY=1  two")
    assert sock.recv(1000) == b"STATUS=one READY=1 two"
    service.status("ä" * 1000)
    heard = sock.recv(5000)
    assert len(heard) <= len("STATUS=") + STATUS_BYTES_MAX
    assert heard.decode().endswith("ä")


def test_an_abstract_socket_is_reached() -> None:
    name = f"presenced-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind("\0" + name)
        except OSError:
            pytest.skip("this system has no abstract sockets")
        sock.settimeout(2)
        ServiceManager({"NOTIFY_SOCKET": "@" + name}).stopping()
        assert sock.recv(100) == b"STOPPING=1"


def test_without_a_manager_or_with_a_gone_one_nothing_happens(tmp_path: Path) -> None:
    for environment in ({}, {"NOTIFY_SOCKET": "relative"}):
        service = ServiceManager(environment)
        assert not service.is_there
        service.ready("x")
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


def test_the_watchdog_is_ours_only_if_it_names_us() -> None:
    def seconds(**environment: str) -> float | None:
        return ServiceManager(environment).watchdog_seconds

    assert seconds(WATCHDOG_USEC="60000000") == 60
    assert seconds(WATCHDOG_USEC="60000000", WATCHDOG_PID=str(os.getpid())) == 60
    assert seconds(WATCHDOG_USEC="60000000", WATCHDOG_PID="1") is None
    assert seconds(WATCHDOG_USEC="0") is None
    assert seconds(WATCHDOG_USEC="soon") is None
    assert seconds() is None


async def test_the_watchdog_is_fed_while_the_loop_is_healthy(
    manager_socket: tuple[socket.socket, str], autojump_clock: trio.testing.MockClock
) -> None:
    sock, path = manager_socket
    service = ServiceManager({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "60000000"})
    healthy = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.keep_watchdog, lambda: healthy)
        await trio.sleep(65)
        assert [sock.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        healthy = False
        await trio.sleep(120)
        with pytest.raises(BlockingIOError):
            sock.recv(100)
        nursery.cancel_scope.cancel()


async def test_without_a_watchdog_nothing_is_fed() -> None:
    with trio.fail_after(1):
        await ServiceManager({}).keep_watchdog(lambda: True)


def test_the_journal_is_known_by_its_file(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        found = os.fstat(log.fileno())
        stream = f"{found.st_dev}:{found.st_ino}"
        assert ServiceManager({"JOURNAL_STREAM": stream}).logs_to_journal(log.fileno())
        assert not ServiceManager({"JOURNAL_STREAM": "1:1"}).logs_to_journal(log.fileno())
        assert not ServiceManager({}).logs_to_journal(log.fileno())
    assert not ServiceManager({"JOURNAL_STREAM": stream}).logs_to_journal(987_654)
