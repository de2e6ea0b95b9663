"""What the service manager is told: ready, status, stopping, and that the main loop lives.

Source: sd_notify(3), sd_watchdog_enabled(3), systemd.exec(5) on JOURNAL_STREAM. A datagram each;
without a service manager nothing happens.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Final

import trio

STARTING_SECONDS: Final = 60
"""how long the service manager waits on for a start that has just said that it goes on: a copy of
a large file on a slow disk comes between two signs of life"""

STATUS_BYTES_MAX: Final = 200
"of a status text; it is one line for people"


class ServiceManager:
    """The way to the service manager; of the environment it reads what concerns it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = _socket_address(environment.get("NOTIFY_SOCKET", ""))
        self.watchdog_seconds = _watchdog_seconds(environment)
        self._journal = environment.get("JOURNAL_STREAM", "")

    @property
    def is_there(self) -> bool:
        """Somebody waits for notifications."""
        return self._address is not None

    def ready(self, status: str = "") -> None:
        """Start-up is over: clients are served."""
        self._notify("READY=1", _status(status))

    def status(self, text: str) -> None:
        """One line for `systemctl status`. No titles, URIs or names: it is public."""
        self._notify(_status(text))

    def still_starting(self, text: str) -> None:
        """Start-up takes longer than usual and goes on: it is given `STARTING_SECONDS` more."""
        self._notify(f"EXTEND_TIMEOUT_USEC={STARTING_SECONDS * 1_000_000}", _status(text))

    def stopping(self) -> None:
        """Shut-down has begun."""
        self._notify("STOPPING=1")

    def logs_to_journal(self, descriptor: int) -> bool:
        """The descriptor (2 for stderr) goes to the journal, which adds time and level itself."""
        device, _, inode = self._journal.partition(":")
        try:
            found = os.fstat(descriptor)
        except OSError:
            return False
        return (device, inode) == (str(found.st_dev), str(found.st_ino))

    async def keep_watchdog(self, is_healthy: Callable[[], bool]) -> None:
        """Say at half the watchdog's time that all is well, while it is.

        It runs in the main loop, so that a loop that hangs falls silent; returns at once if the
        unit has no watchdog.
        """
        if self.watchdog_seconds is None or self._address is None:
            return
        while True:
            if is_healthy():
                self._notify("WATCHDOG=1")
            await trio.sleep(self.watchdog_seconds / 2)

    def _notify(self, *lines: str) -> None:
        if self._address is None:
            return
        message = "\n".join(line for line in lines if line).encode()
        if not message:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto(message, self._address)
        except OSError:  # a manager that has gone must not stop us
            return


def _socket_address(name: str) -> str | None:
    if name.startswith("@"):
        return "\0" + name[1:]
    return name if name.startswith("/") else None


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", ""))
        process = int(environment.get("WATCHDOG_PID", str(os.getpid())))
    except ValueError:
        return None
    if microseconds <= 0 or process != os.getpid():
        return None
    return microseconds / 1_000_000


def _status(text: str) -> str:
    line = " ".join(text.split())
    return f"STATUS={line.encode()[:STATUS_BYTES_MAX].decode(errors='ignore')}" if line else ""
