"""Serves an ASGI application (HTTP only) to the owner's programs on a trio stream, with h11.

Rules of this file:
1. nothing here knows what is served; `scope["state"]` carries the peer's credentials;
2. one request at a time per connection, kept alive; what a client pipelines waits its turn;
3. every wait for a client has a deadline and every buffer a bound: who is slow is closed, alone;
4. an application that fails before its response gives a plain 500; logged are name and place only.

Theory of operation. `_Connection` joins three parts: h11's state machine, the stream, and the
application's `receive` and `send`. After the request body `receive` waits for the client to leave,
so that an event stream ends with its reader. If the application did not read a body to its end and
the rest has not arrived, the connection is closed after the response.
Source: ASGI 3.0, HTTP and WebSocket protocol 2.4 (http only); RFC 9112.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import h11
import trio

from presenced.local.limits import (
    HEAD_BYTES_MAX,
    IDLE_SECONDS_MAX,
    REQUEST_SECONDS_MAX,
    WRITE_SECONDS_MAX,
)
from presenced.local.problems import frames_of
from presenced.log import log

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_READ_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class PeerCredentials:
    """Who is at the other end, as the kernel says. `pid` may have been reused: never trust it."""

    pid: int
    uid: int
    gid: int


async def serve_connection(
    app: Application, stream: trio.abc.Stream, peer: PeerCredentials
) -> None:
    """Serve requests on a stream until either side is done with it; closes the stream."""
    async with stream:
        connection = _Connection(app, stream, peer)
        try:
            while await connection.serve_request():
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            return  # the client left or is stuck: that ends its connection and nothing else


class _Connection:
    def __init__(self, app: Application, stream: trio.abc.Stream, peer: PeerCredentials) -> None:
        self._app = app
        self._stream = stream
        self._peer = peer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._pending: bytes | None = None
        "head of the response, sent together with the first part of its body"

    async def serve_request(self) -> bool:
        """Serve one request; false when the connection is over."""
        try:
            request = await self._next_request()
            if request is None:
                return False
            await self._app(self._scope(request), self._receive, self._send)
            if self._http.their_state is h11.SEND_BODY:
                self._http.next_event()  # the end of a request without a body that nobody read
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
            return False
        except Exception as error:
            if isinstance(error, trio.BrokenResourceError | trio.ClosedResourceError):
                raise
            if isinstance(error, trio.TooSlowError):
                raise
            log.error("request failed", error=type(error).__name__, where=frames_of(error))
            await self._refuse(500)
            return False
        self._pass_over_body()
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            return True
        return False

    # --- reading ---

    async def _next_request(self) -> h11.Request | None:
        begun = bool(self._http.trailing_data[0])
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                return event
            if event is not h11.NEED_DATA:
                return None
            with trio.fail_after(REQUEST_SECONDS_MAX if begun else IDLE_SECONDS_MAX):
                self._http.receive_data(bytes(await self._stream.receive_some(_READ_BYTES)))
            begun = True

    async def _receive(self) -> Message:
        while True:
            if self._http.their_state is h11.DONE or self._http.their_state is h11.MUST_CLOSE:
                await self._until_gone()
                return {"type": "http.disconnect"}
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError:
                if self._http.our_state is h11.SEND_RESPONSE:
                    raise
                return {"type": "http.disconnect"}
            if isinstance(event, h11.Data):
                return {"type": "http.request", "body": bytes(event.data), "more_body": True}
            if isinstance(event, h11.EndOfMessage):
                return {"type": "http.request", "body": b"", "more_body": False}
            if event is not h11.NEED_DATA:
                return {"type": "http.disconnect"}
            if self._http.they_are_waiting_for_100_continue:
                await self._write(
                    self._http.send(h11.InformationalResponse(status_code=100, headers=[]))
                )
            with trio.fail_after(REQUEST_SECONDS_MAX):
                self._http.receive_data(bytes(await self._stream.receive_some(_READ_BYTES)))

    async def _until_gone(self) -> None:
        """Wait for the client to leave. What it pipelines is kept; too much counts as leaving."""
        while len(self._http.trailing_data[0]) < HEAD_BYTES_MAX:
            data = await self._stream.receive_some(_READ_BYTES)
            self._http.receive_data(bytes(data))
            if not data:
                return

    def _pass_over_body(self) -> None:
        """What has arrived of a body that nobody read; more is not waited for."""
        while self._http.their_state is h11.SEND_BODY:
            if not isinstance(self._http.next_event(), h11.Data | h11.EndOfMessage):
                return

    def _scope(self, request: h11.Request) -> Scope:
        target, _, query = request.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": request.http_version.decode("ascii"),
            "method": request.method.decode("ascii"),
            "scheme": "http",
            "path": target.decode("ascii"),
            "raw_path": target,
            "query_string": query,
            "root_path": "",
            "headers": list(request.headers),
            "client": None,
            "server": None,
            "state": {"peer": self._peer},
        }

    # --- writing ---

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._pending = self._http.send(
                h11.Response(status_code=message["status"], headers=message.get("headers", []))
            )
            return
        data, self._pending = self._pending or b"", None
        if body := message.get("body", b""):
            data += self._http.send(h11.Data(data=body)) or b""
        if not message.get("more_body", False):
            data += self._http.send(h11.EndOfMessage()) or b""
        await self._write(data)

    async def _write(self, data: bytes | None) -> None:
        if data:
            with trio.fail_after(WRITE_SECONDS_MAX):
                await self._stream.send_all(data)

    async def _refuse(self, status: int) -> None:
        """Answer with a bare status, if no response has begun."""
        if self._pending is not None or self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        headers = [(b"content-length", b"0"), (b"connection", b"close")]
        response = self._http.send(h11.Response(status_code=status, headers=headers))
        await self._write((response or b"") + (self._http.send(h11.EndOfMessage()) or b""))
