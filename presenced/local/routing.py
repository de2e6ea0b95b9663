"""Requests, answers and routes of the owner API: the small part of a web framework it needs.

Rules of this file: a handler takes a `Request` and returns an `Answered` or a `Streamed`, or
raises; whatever it raises becomes a problem here (`map_errors`), once. A stream that has begun
ends early if its client leaves, and is then closed without its end.

(A framework with its server costs 0.1 s of start-up and 0.1 ms per request more, measured; the
application stays plain ASGI, so one can be mounted beside it.)
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec
import trio

from presenced.errors import NotAllowed
from presenced.local.limits import BODY_BYTES_MAX
from presenced.local.problems import BadBody, BodyTooLarge, NoSuchPath, WrongMethod, map_errors
from presenced.local.server import Message, PeerCredentials, Receive, Scope, Send

JSON: Final = b"application/json"
JSON_LINES: Final = b"application/x-ndjson"
EVENT_STREAM: Final = b"text/event-stream"
PROBLEM: Final = b"application/problem+json"

_Asked = TypeVar("_Asked")

encode = msgspec.json.Encoder().encode


class Request:
    """One request. `path` has the parts of the path that its route names."""

    __slots__ = ("_receive", "_scope", "path")

    def __init__(self, scope: Scope, receive: Receive, path: Mapping[str, str]) -> None:
        self._scope = scope
        self._receive = receive
        self.path = path

    @property
    def query(self) -> dict[str, str]:
        """Raises `BadBody` if it is not UTF-8."""
        try:
            pairs = parse_qsl(
                self._scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict"
            )
        except ValueError as error:
            raise BadBody("the query is not UTF-8") from error
        return dict(pairs)

    def header(self, name: bytes) -> str | None:
        """The value of a header, by its lower-case name."""
        for key, value in self._scope["headers"]:
            if key == name:
                return str(value, "latin-1")
        return None

    async def parts(self, bytes_max: int) -> AsyncGenerator[bytes, None]:
        """The body as it arrives. Raises `BodyTooLarge`."""
        declared = self.header(b"content-length")
        if declared is not None and int(declared) > bytes_max:
            raise BodyTooLarge(f"more than {bytes_max} bytes")
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise trio.BrokenResourceError
            size += len(message["body"])
            if size > bytes_max:
                raise BodyTooLarge(f"more than {bytes_max} bytes")
            if message["body"]:
                yield message["body"]
            if not message["more_body"]:
                return

    async def decode(self, decoder: msgspec.json.Decoder[_Asked]) -> _Asked:
        """The body as a value. Raises `BodyTooLarge`, `msgspec.DecodeError`."""
        return decoder.decode(b"".join([part async for part in self.parts(BODY_BYTES_MAX)]))


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer: anything msgspec encodes; None is an empty body."""

    value: Any = None
    status: int = 200
    media_type: bytes = JSON


@dataclass(frozen=True, slots=True)
class Streamed:
    """An answer in parts. `watches`: whether the request is read to its end already, so that the
    client's leaving can be noticed while nothing is sent."""

    parts: AsyncGenerator[bytes, None]
    media_type: bytes = JSON_LINES
    watches: bool = True


Handler: TypeAlias = Callable[[Request], Awaitable[Answered | Streamed]]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path whose `{name}` parts match up to the next slash."""

    method: str
    path: str
    handler: Handler


class Router:
    """The ASGI application of some routes, for callers with an allowed uid."""

    def __init__(self, routes: list[Route], allowed_uids: frozenset[int]) -> None:
        self._allowed_uids = allowed_uids
        self._exact: dict[str, dict[str, Handler]] = {}
        self._patterns: dict[re.Pattern[str], dict[str, Handler]] = {}
        for route in routes:
            if "{" not in route.path:
                self._exact.setdefault(route.path, {})[route.method] = route.handler
                continue
            pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", route.path))
            self._patterns.setdefault(pattern, {})[route.method] = route.handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def send_noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            peer: PeerCredentials = scope["state"]["peer"]
            if peer.uid not in self._allowed_uids:
                raise NotAllowed(
                    "this socket is another user's", hint="Run as the user that presenced runs as."
                )
            handler, path = self._find(scope["method"], scope["path"])
            answer = await handler(Request(scope, receive, path))
            if isinstance(answer, Streamed):
                await _stream(answer, receive, send_noting)
                return
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            raise
        except Exception as error:
            problem = map_errors(error)
            if begun:
                raise trio.BrokenResourceError from error  # too late to say it: cut the stream
            answer = Answered(problem, problem.status, PROBLEM)
        await _answer(answer, send)

    def _find(self, method: str, path: str) -> tuple[Handler, Mapping[str, str]]:
        handlers = self._exact.get(path)
        named: Mapping[str, str] = {}
        if handlers is None:
            for pattern, candidates in self._patterns.items():
                if (match := pattern.fullmatch(path)) is not None:
                    handlers = candidates
                    named = {key: unquote(value) for key, value in match.groupdict().items()}
                    break
            else:
                raise NoSuchPath("no such path")
        if (handler := handlers.get(method)) is None:
            raise WrongMethod("that cannot be done here", hint=f"Use {' or '.join(handlers)}.")
        return handler, named


async def _answer(answer: Answered, send: Send) -> None:
    body = b"" if answer.value is None else encode(answer.value)
    headers = [(b"content-length", b"%d" % len(body))]
    if body:
        headers.append((b"content-type", answer.media_type))
    if answer.status == BodyTooLarge.status:
        headers.append((b"connection", b"close"))  # its rest is not waited for
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _stream(answer: Streamed, receive: Receive, send: Send) -> None:
    headers = [(b"content-type", answer.media_type), (b"cache-control", b"no-store")]
    finished = False
    async with trio.open_nursery() as nursery, aclosing(answer.parts) as parts:
        if answer.watches:
            nursery.start_soon(_cancel_when_gone, receive, nursery.cancel_scope)
        try:
            started = False
            async for part in parts:
                if not started:
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                    started = True
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            finished = True
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass
        nursery.cancel_scope.cancel()
    if not finished:
        raise trio.BrokenResourceError


async def _cancel_when_gone(receive: Receive, scope: trio.CancelScope) -> None:
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
        pass
    scope.cancel()
