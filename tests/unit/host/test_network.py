"""Network changes are noticed: rtnetlink where there is one, addresses elsewhere."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys

import pytest
import trio

from presenced.host import network as module
from presenced.host.network import (
    POLL_SECONDS,
    REST_SECONDS,
    SETTLE_SECONDS,
    local_hosts,
    open_rtnetlink,
    watch_network,
)


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """The kernel's end of a socket that stands for rtnetlink."""
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    monkeypatch.setattr(module, "open_rtnetlink", lambda: ours)
    return kernel


async def test_a_bunch_of_messages_is_one_change_and_a_flapping_link_is_slowed(
    pair: socket.socket, mock_clock: trio.testing.MockClock
) -> None:
    reports: list[float] = []

    async def pass_time(seconds: float) -> None:
        mock_clock.jump(seconds)
        await trio.testing.wait_all_tasks_blocked(0.005)

    with pair:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_network, lambda: reports.append(trio.current_time()))
            await trio.testing.wait_all_tasks_blocked(0.005)
            for _ in range(5):
                pair.send(b"address")
            await trio.testing.wait_all_tasks_blocked(0.005)
            assert reports == []
            await pass_time(SETTLE_SECONDS)
            assert len(reports) == 1
            for _ in range(20):  # an interface that flaps ten times a second
                pair.send(b"link")
                await pass_time(0.1)
            assert len(reports) == 1
            await pass_time(REST_SECONDS)
            await pass_time(SETTLE_SECONDS)
            assert len(reports) == 2
            nursery.cancel_scope.cancel()


def change_address(verb: str) -> bool:
    """Add or delete an address of the loopback interface, as root."""
    command = ["ip", "address", verb, "127.99.99.99/32", "dev", "lo"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.fixture
def may_change_addresses() -> None:
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("adding an address needs Linux, root and ip")
    if not change_address("add"):
        pytest.skip("this sandbox does not let an address be added")
    change_address("del")


@pytest.mark.usefixtures("may_change_addresses")
async def test_a_new_address_is_noticed() -> None:
    changed = trio.Event()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_network, changed.set)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not changed.is_set()
            assert change_address("add")
            try:
                await changed.wait()
                assert "127.99.99.99" in local_hosts()
            finally:
                change_address("del")
            nursery.cancel_scope.cancel()


async def test_where_the_system_does_not_tell_addresses_are_compared(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    hosts = {"192.0.2.1"}
    reports = 0

    def count() -> None:
        nonlocal reports
        reports += 1

    monkeypatch.setattr(module, "open_rtnetlink", lambda: None)
    monkeypatch.setattr(module, "local_hosts", lambda: frozenset(hosts))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_network, count)
        await trio.sleep(POLL_SECONDS * 3.5)
        assert reports == 0
        hosts.add("192.0.2.2")
        await trio.sleep(POLL_SECONDS * 3)
        assert reports == 1
        nursery.cancel_scope.cancel()


def test_a_sandbox_without_netlink_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> socket.socket:
        raise PermissionError

    monkeypatch.setattr(socket, "socket", refuse)
    assert open_rtnetlink() is None


def test_this_machine_has_addresses() -> None:
    assert "127.0.0.1" in local_hosts()
