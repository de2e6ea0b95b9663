"""Where the owner socket is, and how to reach it when its path is too long for the kernel.

Rules of this file: standard library and leaves only, because `presence` imports it and must start
fast; daemon and command find the same place from the same environment.

Source: XDG Base Directory 0.8; unix(7) (`sun_path` holds 107 bytes), proc(5) `/proc/self/fd`.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from presenced.errors import HostError

SOCKET_NAME: Final = "api.sock"
APPLICATION: Final = "presenced"

SOCKET_PATH_BYTES_MAX: Final = 107 if sys.platform == "linux" else 103
"bytes of a path that a socket address holds, beside its final NUL"

BACKLOG: Final = 64
"connections that wait to be accepted"


class SocketPathTooLong(HostError):
    """The path does not fit into a socket address."""

    code = "socket-path-too-long"
    hint = "Set PRESENCED_SOCKET to a shorter path, for the daemon and for its commands."


class SocketInUse(HostError):
    """Somebody else listens there."""

    code = "socket-in-use"
    hint = "Stop the other daemon, or set PRESENCED_SOCKET to another path."


class NotASocket(HostError):
    """Something else lies where the socket belongs; it was not touched."""

    code = "not-a-socket"
    hint = "Move it away, or set PRESENCED_SOCKET to another path."


def socket_path(environment: Mapping[str, str]) -> Path:
    """Where the daemon of this environment listens. Absolute.

    `PRESENCED_SOCKET`; else below `PRESENCED_HOME`; else below the runtime directory of a system
    unit or of the user; else below the data directory.
    """
    return _places(environment)[0]


def existing_socket_path(environment: Mapping[str, str]) -> Path:
    """Where a command looks: the first place that has a socket, else where one would be.

    A daemon that was started without a runtime directory (by cron, before any login) is found
    from a session that has one.
    """
    places = _places(environment)
    return next((place for place in places if place.is_socket()), places[0])


def data_directory(environment: Mapping[str, str]) -> Path:
    """Where everything that must be kept lies when no home is named."""
    given = _absolute(environment.get("XDG_DATA_HOME"))
    if given is not None:
        return given / APPLICATION
    home = Path(environment.get("HOME") or Path.home())
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / APPLICATION
    return home / ".local" / "share" / APPLICATION


def home_directory(environment: Mapping[str, str]) -> Path | None:
    """What `PRESENCED_HOME` names, absolute; None without it."""
    home = environment.get("PRESENCED_HOME")
    return Path(home).absolute() if home else None


def bind(path: Path) -> socket.socket:
    """A listening socket that only its owner may connect to; the directory must be there.

    The file has mode 0600 from its first moment. A file left by a daemon that is gone is replaced.
    Raises `SocketInUse`, `NotASocket`, `SocketPathTooLong` or `HostError`. The caller closes the
    socket and removes the file.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        with _address(path) as address:
            umask = os.umask(0o177)
            try:
                listener.bind(address)
            finally:
                os.umask(umask)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise SocketInUse(f"{path} is in use") from error
        raise HostError(
            f"cannot listen on {path}: {error.strerror}",
            hint="Check its directory, or set PRESENCED_SOCKET to another path.",
        ) from error
    except BaseException:
        listener.close()
        raise
    return listener


def connect(path: Path, *, seconds: float | None = None) -> socket.socket:
    """A blocking connection to the daemon; `seconds` is its timeout, for later calls as well.

    Raises `SocketPathTooLong`, or an `OSError` when nobody listens (`FileNotFoundError`,
    `ConnectionRefusedError`) or the socket is another user's (`PermissionError`).
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        with _address(path) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


def _places(environment: Mapping[str, str]) -> list[Path]:
    chosen = environment.get("PRESENCED_SOCKET")
    if chosen:
        return [Path(chosen).absolute()]
    home = home_directory(environment)
    if home is not None:
        return [home / SOCKET_NAME]
    places = []
    # systemd.exec(5): several are separated by colons; the first is the unit's own.
    unit = _absolute(environment.get("RUNTIME_DIRECTORY", "").partition(":")[0])
    if unit is not None:
        places.append(unit / SOCKET_NAME)
    user = _absolute(environment.get("XDG_RUNTIME_DIR"))
    if user is not None and user.is_dir():  # kept by `su`, or gone with the session
        places.append(user / APPLICATION / SOCKET_NAME)
    places.append(data_directory(environment) / "run" / SOCKET_NAME)
    return places


def _absolute(value: str | None) -> Path | None:
    """XDG: a relative path is to be ignored."""
    return Path(value) if value and value.startswith("/") else None


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise NotASocket(f"{path} is not a socket")
    try:
        connect(path, seconds=1.0).close()
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except (TimeoutError, BlockingIOError) as error:  # its queue is full
        raise SocketInUse(f"{path} is in use by a daemon that does not answer") from error
    else:
        raise SocketInUse(f"another daemon listens on {path}")


@contextmanager
def _address(path: Path) -> Iterator[str | bytes]:
    """The path as the kernel takes it; a long one goes through its open directory (Linux)."""
    name = os.fsencode(path)
    if len(name) <= SOCKET_PATH_BYTES_MAX:
        yield name
        return
    too_long = SocketPathTooLong(
        f"{path} has {len(name)} bytes, a socket path has at most {SOCKET_PATH_BYTES_MAX}"
    )
    if sys.platform != "linux":
        raise too_long
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        short = os.fsencode(f"/proc/self/fd/{directory}/{path.name}")
        if len(short) > SOCKET_PATH_BYTES_MAX or not os.path.isdir("/proc/self/fd"):
            raise too_long
        yield short
    finally:
        os.close(directory)
