"""HTTP/1.1 over a Unix socket with h11: requests one after another on one connection.

Rules of this file: the daemon at the other end must be this user's (or root's), whatever the path
says. (The standard library's client takes three times as long to import, measured.)
"""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

import h11

from presenced.clients.cli.failure import Exit, Failure
from presenced.socket_path import connect

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 60.0
"for a plain request: the disk may be slow, a person is waiting"

_READ_BYTES: Final = 64 * 1024
_HEAD_BYTES_MAX: Final = 64 * 1024
_CREDENTIALS: Final = struct.Struct("3i")

Body: TypeAlias = bytes | Iterator[bytes]
HttpError = h11.ProtocolError


class Exchange:
    """One connection. `request`, then read all `parts`, then the next `request`."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES_MAX)
        self._early: h11.Event | None = None

    def request(
        self, method: str, path: str, body: Body, headers: Mapping[str, str] | None = None
    ) -> int:
        """Send a request and return the status of its response.

        Raises `OSError` (`TimeoutError` among them) and `HttpError`.
        """
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        length = (
            ("content-length", str(len(body)))
            if isinstance(body, bytes)
            else ("transfer-encoding", "chunked")
        )
        self._send(
            h11.Request(
                method=method,
                target=path,
                headers=[("host", "presenced"), length, *(headers or {}).items()],
            )
        )
        # Refused, the daemon may have closed without reading on: its answer is there all the same.
        with suppress(BrokenPipeError, ConnectionResetError):
            for part in (body,) if isinstance(body, bytes) else body:
                if part:
                    self._send(h11.Data(data=part))
            self._send(h11.EndOfMessage())
        while True:
            event = self._next_event()
            if isinstance(event, h11.Response):
                return event.status_code
            if isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError

    def parts(self) -> Iterator[bytes]:
        """The body of the response as it arrives."""
        while True:
            event = self._next_event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise ConnectionResetError

    def answers_before(self, other: int) -> bool:
        """Wait for bytes of the daemon or of another descriptor; whether the daemon's came."""
        event = self._http.next_event()
        if isinstance(event, h11.Event):
            self._early = event
            return True
        readable, _, _ = select.select([self._socket.fileno(), other], [], [])
        return self._socket.fileno() in readable

    def wait_at_most(self, seconds: float | None) -> None:
        """For every read from here on; None waits for ever."""
        self._socket.settimeout(seconds)

    def close(self) -> None:
        self._socket.close()

    def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._socket.sendall(data)

    def _next_event(self) -> h11.Event:
        early, self._early = self._early, None
        if early is not None:
            return early
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Event):
                return event
            self._http.receive_data(self._socket.recv(_READ_BYTES))


def open_http(path: Path) -> Exchange:
    """Connect to the daemon. Raises `OSError`, `SocketPathTooLong`, `Failure`."""
    connected = connect(path, seconds=CONNECT_SECONDS)
    _check_owner(connected, path)
    connected.settimeout(ANSWER_SECONDS)
    return Exchange(connected)


def _check_owner(connected: socket.socket, path: Path) -> None:
    """Somebody else may have put a socket where ours would be. Raises `Failure`."""
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    own = os.getuid()
    if own not in (0, uid) and uid != 0:
        connected.close()
        raise Failure(
            f"the program that answers on {path} is another user's",
            Exit.NOT_ALLOWED,
            next_step="Set PRESENCED_SOCKET to the socket of your own daemon.",
            code="not-allowed",
        )
