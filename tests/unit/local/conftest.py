from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h11
import pytest
import trio

from presenced.local.app import owner_app
from presenced.local.listener import open_owner_socket, serve
from presenced.testing.fake_owner import FakeOwner


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines() if line.strip()]


class Client:
    """A strict HTTP/1.1 client on one stream."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.http = h11.Connection(h11.CLIENT)

    async def ask(self, method: str, path: str, body: Any = b"", **headers: str) -> Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.send_head(method, path, len(content), **headers)
        if content:
            await self.stream.send_all(self.http.send(h11.Data(data=content)) or b"")
        await self.stream.send_all(self.http.send(h11.EndOfMessage()) or b"")
        return await self.read()

    async def send_head(self, method: str, path: str, length: int, **headers: str) -> None:
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
        lines = [("host", "presenced"), ("content-length", str(length))]
        lines += [(name.replace("_", "-"), value) for name, value in headers.items()]
        request = h11.Request(method=method, target=path, headers=lines)
        await self.stream.send_all(self.http.send(request) or b"")

    async def head(self) -> h11.Response:
        event = await self.event()
        assert isinstance(event, h11.Response)
        return event

    async def read(self) -> Response:
        head = await self.head()
        body = b""
        while isinstance(event := await self.event(), h11.Data):
            body += bytes(event.data)
        assert isinstance(event, h11.EndOfMessage)
        headers = {name.decode(): value.decode() for name, value in head.headers}
        return Response(head.status_code, headers, body)

    async def event(self) -> Any:
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(bytes(await self.stream.receive_some(65_536)))
        return event


@dataclass
class Served:
    fake: FakeOwner
    path: Path
    connect: Callable[[], Awaitable[Client]]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A fake owner's API on a real Unix socket."""
    path = tmp_path / "run" / "api.sock"
    fake = FakeOwner()
    streams: list[trio.abc.Stream] = []

    async def connect() -> Client:
        stream = await trio.open_unix_socket(str(path))
        streams.append(stream)
        return Client(stream)

    async with trio.open_nursery() as nursery, open_owner_socket(path) as listener:
        nursery.start_soon(serve, owner_app(fake.owner()), listener)
        yield Served(fake, path, connect)
        for stream in streams:
            await stream.aclose()
        nursery.cancel_scope.cancel()


@pytest.fixture
async def client(served: Served) -> Client:
    return await served.connect()
