"""One daemon per home, in directories that only their owner can read.

Rules of this file: directories are made 0700 before anything is written; permissions that are too
wide are refused, never narrowed silently, because somebody may have read what lies there.

The lock belongs to the open file (flock(2)), so it ends with the process however that ends: a
lock file that a killed daemon left is no obstacle.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from presenced.config import Config
from presenced.errors import HostError

PID_BYTES_MAX: Final = 10
"decimal digits of a process id (32 bits)"


class HomeOpen(HostError):
    """Somebody else can read or write where presenced keeps its data; nothing was changed."""

    code = "home-open"


class HomeInUse(HostError):
    """Another daemon has this home. `pid` is its process, if it could be read."""

    code = "home-in-use"

    def __init__(self, detail: str, *, pid: int | None) -> None:
        hint = "Use the daemon that runs, or set PRESENCED_HOME to another directory."
        if pid is not None:
            hint = f"Use the daemon that runs, or stop it first (`kill {pid}`)."
        super().__init__(detail, hint=hint)
        self.pid = pid


@contextmanager
def hold_home(config: Config) -> Iterator[None]:
    """This process has the home until the block ends; its directories exist.

    Raises `HomeInUse`, `HomeOpen` or `HostError`.
    """
    prepare_directory(config.data_directory)
    if config.socket.parent != config.data_directory:
        _prepare_socket_directory(config)
    descriptor = _open_lock(config.lock_file)
    try:
        with suppress(OSError):  # for people only; a full disk must not stop the daemon here
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        # Emptied, not removed: somebody may have opened it already and would lock a lost file.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)


def prepare_directory(directory: Path) -> None:
    """Make a directory that only its owner can enter, or check that it is one."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            pass
        status = directory.stat()
    except OSError as error:
        raise HostError(
            f"cannot make {directory}: {error.strerror}",
            hint="Make it yourself, or set PRESENCED_HOME to a place where you can write.",
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        raise HostError(
            f"{directory} is not a directory", hint="Set PRESENCED_HOME to a directory."
        )
    if status.st_uid != os.geteuid():
        raise HomeOpen(
            f"{directory} belongs to another user (id {status.st_uid})",
            hint="Run presenced as that user, or set PRESENCED_HOME to a directory of your own.",
        )
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise HomeOpen(
            f"{directory} is open to other users (mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"Run `chmod 700 {directory}`, and look whether somebody has read it.",
        )


def _prepare_socket_directory(config: Config) -> None:
    """Ours is made and must be closed; one that was chosen or made for us must not be writable."""
    directory = config.socket.parent
    if not directory.exists():
        prepare_directory(directory)
        return
    status = directory.stat()
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if status.st_uid not in (os.geteuid(), 0) or (
        others_write and not status.st_mode & stat.S_ISVTX
    ):
        raise HomeOpen(
            f"others can replace the socket in {directory}",
            hint=f"Run `chmod 700 {directory}`, or set PRESENCED_SOCKET to a path elsewhere.",
        )


def _open_lock(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise HostError(
            f"cannot open {path}: {error.strerror}",
            hint="Check that the disk is mounted and writable.",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        pid = _read_pid(descriptor)
        os.close(descriptor)
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise HostError(
                f"cannot lock {path}: {error.strerror}",
                hint="Set PRESENCED_HOME to a directory on a file system that has locks.",
            ) from error
        who = "another daemon" if pid is None else f"another daemon (process {pid})"
        raise HomeInUse(f"{who} uses {path.parent}", pid=pid) from error
    return descriptor


def _read_pid(descriptor: int) -> int | None:
    digits = os.pread(descriptor, PID_BYTES_MAX + 2, 0).strip()
    return int(digits) if digits.isdigit() and len(digits) <= PID_BYTES_MAX else None
