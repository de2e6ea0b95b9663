"""The owner-only Unix socket: bound so that nobody else ever sees it, even for a moment.

Rules of this file:
1. the directory belongs to this user and nobody else may write there (it is made 0700); the
   socket is 0600 before it exists (bind, then chmod, is a race: alpamon 409);
2. two daemons that start together cannot take each other's fresh socket for a stale one;
3. who connects is known from the kernel's credentials of the peer;
4. on leaving, the file goes only if it is still the one bound here.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import trio

from presenced import socket_path
from presenced.errors import HostError
from presenced.local.limits import CONNECTIONS_MAX
from presenced.local.server import Application, PeerCredentials, serve_connection
from presenced.log import log

_DIRECTORY_MODE: Final = 0o700
_CREDENTIALS: Final = struct.Struct("3i")
_ACCEPT_PAUSE_SECONDS: Final = 0.2
"after a failed accept (no file descriptors left)"


class UnsafeDirectory(HostError):
    """Others could reach the socket."""

    code = "unsafe-directory"


@asynccontextmanager
async def open_owner_socket(path: Path) -> AsyncIterator[trio.SocketListener]:
    """Bind the socket and listen.

    Raises `UnsafeDirectory`, `HostError`, and what `socket_path.bind` raises.
    """
    _prepare_directory(path.parent)
    with _only_one_at_a_time(path.parent):
        bound = socket_path.bind(path)
    bound.setblocking(False)
    identity = _identity(path)
    try:
        async with trio.SocketListener(trio.socket.from_stdlib_socket(bound)) as listener:
            yield listener
    finally:
        _remove_own(path, identity)


async def serve(app: Application, listener: trio.SocketListener) -> None:
    """Serve connections until cancelled; more than `CONNECTIONS_MAX` wait to be accepted."""
    slots = trio.Semaphore(CONNECTIONS_MAX)

    async def serve_one(stream: trio.SocketStream) -> None:
        try:
            await serve_connection(app, stream, peer_credentials(stream.socket))
        finally:
            slots.release()

    async with trio.open_nursery() as nursery:
        while True:
            await slots.acquire()
            try:
                stream = await listener.accept()
            except OSError as error:
                slots.release()
                log.warning("accept failed", error=error.errno)
                await trio.sleep(_ACCEPT_PAUSE_SECONDS)
                continue
            nursery.start_soon(serve_one, stream)


def peer_credentials(connected: trio.socket.SocketType) -> PeerCredentials:
    """Who connected, as the kernel noted it at that moment (Linux, unix(7) SO_PEERCRED)."""
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return PeerCredentials(*_CREDENTIALS.unpack(raw))


def _prepare_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        found = directory.stat()
    except OSError as error:
        raise HostError(
            f"no directory for the socket: {error.strerror}",
            hint=f"Make {directory} usable, or set PRESENCED_SOCKET.",
        ) from error
    if found.st_uid != os.getuid():
        raise UnsafeDirectory(
            f"{directory} belongs to another user", hint="Set PRESENCED_SOCKET to a path of yours."
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnsafeDirectory(
            f"others can write in {directory}",
            hint=f"Run `chmod 700 {directory}`, then start again.",
        )


@contextmanager
def _only_one_at_a_time(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_own(path: Path, identity: tuple[int, int] | None) -> None:
    if identity is not None and _identity(path) == identity:
        path.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
