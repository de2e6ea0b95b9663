from __future__ import annotations

import os
import select
import socket
import stat
from pathlib import Path

import pytest
import trio

from presenced.errors import HostError
from presenced.local import listener as listener_module
from presenced.local.app import owner_app
from presenced.local.limits import CONNECTIONS_MAX
from presenced.local.listener import UnsafeDirectory, open_owner_socket, peer_credentials, serve
from presenced.local.server import PeerCredentials
from presenced.socket_path import NotASocket, SocketInUse, connect
from presenced.testing.fake_owner import FakeOwner, serve_fake


async def test_socket_and_directory_are_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "api.sock"
    umask = os.umask(0)
    try:
        async with open_owner_socket(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        os.umask(umask)
    assert not path.exists()


async def test_a_directory_where_others_may_write_is_refused(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o777)
    with pytest.raises(UnsafeDirectory) as caught:
        async with open_owner_socket(tmp_path / "api.sock"):
            pass
    assert "chmod 700" in caught.value.hint


async def test_a_stale_socket_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    async with open_owner_socket(path):
        connect(path).close()


async def test_a_live_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    async with open_owner_socket(path):
        with pytest.raises(SocketInUse):
            async with open_owner_socket(path):
                pass
        connect(path).close()


async def test_another_kind_of_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    path.write_text("mine")
    with pytest.raises(NotASocket):
        async with open_owner_socket(path):
            pass
    assert path.read_text() == "mine"


async def test_a_directory_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError) as caught:
        async with open_owner_socket(tmp_path / "file" / "api.sock"):
            pass
    assert "PRESENCED_SOCKET" in caught.value.hint


async def test_a_socket_of_somebody_else_by_now_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    async with open_owner_socket(path):
        path.unlink()
        path.write_text("another's")
    assert path.read_text() == "another's"


async def test_a_path_too_long_for_the_kernel_is_served(tmp_path: Path) -> None:
    path = tmp_path / ("d" * 90) / ("e" * 90) / "api.sock"
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_fake, FakeOwner(), path)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(connect(path)))
        async with stream:
            await stream.send_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await stream.receive_some(100)).startswith(b"HTTP/1.1 200")
        nursery.cancel_scope.cancel()


async def test_the_kernel_says_who_connected(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    async with open_owner_socket(path) as listener:
        client = connect(path)
        async with await listener.accept() as stream:
            seen = peer_credentials(stream.socket)
        client.close()
    assert (seen.pid, seen.uid, seen.gid) == (os.getpid(), os.getuid(), os.getgid())


@pytest.mark.parametrize(("uid", "status"), [(0, b"200"), (4_711, b"403")])
async def test_another_users_program_is_refused_root_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, status: bytes
) -> None:
    monkeypatch.setattr(
        listener_module, "peer_credentials", lambda _socket: PeerCredentials(1, uid, uid)
    )
    path = tmp_path / "api.sock"
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_fake, FakeOwner(), path)
        async with await trio.open_unix_socket(str(path)) as stream:
            await stream.send_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n")
            data = bytes(await stream.receive_some(4_096))
        nursery.cancel_scope.cancel()
    assert data.startswith(b"HTTP/1.1 " + status)


async def test_connections_beyond_the_bound_wait_for_a_place(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    async with trio.open_nursery() as nursery, open_owner_socket(path) as listener:
        nursery.start_soon(serve, owner_app(FakeOwner().owner()), listener)
        streams = [await trio.open_unix_socket(str(path)) for _ in range(CONNECTIONS_MAX)]
        for stream in streams:
            await stream.send_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await stream.receive_some(4_096)).startswith(b"HTTP/1.1 200")
        async with await trio.open_unix_socket(str(path)) as late:
            await late.send_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n")
            await trio.testing.wait_all_tasks_blocked()  # the server has done what it can
            assert select.select([late.socket], [], [], 0)[0] == []
            await streams.pop().aclose()
            assert (await late.receive_some(4_096)).startswith(b"HTTP/1.1 200")
        for stream in streams:
            await stream.aclose()
        nursery.cancel_scope.cancel()
