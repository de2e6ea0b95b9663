"""The yardstick: pycrdt-websocket carries the same edits between two processes.

    python bench/crdt_websocket.py serve FOLLOWS FIELDS     the process that edits (A)
    python bench/crdt_websocket.py                          both, printing one JSON document

A serves a room over a real TCP socket (Hypercorn on trio) and edits its document; B is a client
with pycrdt's own `Provider`. One hop, no relay, no disk, no encryption, no compression: the least
that pycrdt-websocket can cost. An edit writes what presenced's edit says: a follow becomes one key
of a map with title and kind. Bytes are TCP payload that B receives; that a `Provider` sends every
update back to where it came from is not held against it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import quantiles
from typing import Any

import trio
from follows import realistic_follows
from hypercorn.config import Config
from hypercorn.trio import serve
from pycrdt import Channel, Doc, Map, Provider
from pycrdt.websocket import ASGIServer, WebsocketServer
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Request

ROOM = "/follows"
LIVE_EDITS = 300
LIVE_PAUSE_SECONDS = 0.005
BURST_EDITS = 20_000
BURST_BATCH = 100


# --- A: serves, and edits ---


async def serve_room(follows: int, fields: int) -> None:
    """Fill the document, serve it, then edit when told to on standard input."""
    server = WebsocketServer(auto_clean_rooms=False)
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.loglevel = "ERROR"
    async with server, trio.open_nursery() as nursery:
        room = await server.get_room(ROOM)
        edited = room.ydoc.get("follows", type=Map)
        fill(edited, follows, fields)
        bound = await nursery.start(serve, ASGIServer(server), config)
        print(json.dumps({"url": bound[0]}), flush=True)
        commands = trio.lowlevel.FdStream(sys.stdin.fileno())
        async for command in lines(commands):
            if command == "live":
                for number in range(LIVE_EDITS):
                    edited[f"live-{number}"] = time.perf_counter()
                    await trio.sleep(LIVE_PAUSE_SECONDS)
            elif command == "burst":
                for first in range(0, BURST_EDITS, BURST_BATCH):
                    with room.ydoc.transaction():
                        for number in range(first, first + BURST_BATCH):
                            edited[f"burst-{number}"] = {"title": "x" * 40, "kind": "feed"}
                    await trio.lowlevel.checkpoint()
            else:
                nursery.cancel_scope.cancel()
                return


def fill(edited: Map, follows: int, fields: int) -> None:
    """`follows` edits: over as many keys, or, with `fields`, over that many."""
    if fields:
        for number in range(follows):
            edited[f"field-{number % fields}"] = number
        return
    for follow in realistic_follows(follows, seed=1):
        edited[follow.uri] = {"title": follow.title, "kind": follow.kind}


async def lines(stream: trio.abc.ReceiveStream) -> AsyncIterator[str]:
    buffer = b""
    async for data in stream:
        *whole, buffer = (buffer + data).split(b"\n")
        for line in whole:
            yield line.decode()


# --- B: the client, counting ---


class CountingChannel(Channel):
    """A WebSocket over a trio stream that counts what it receives."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._messages: list[bytes] = []
        self._part = b""
        self._lock = trio.Lock()
        self.bytes_received = 0

    @property
    def path(self) -> str:
        return ROOM

    async def open(self) -> None:
        await self._write(self._connection.send(Request(host="localhost", target=ROOM)))
        accepted = False
        while not accepted:
            accepted = await self._read()

    async def send(self, message: bytes) -> None:
        await self._write(self._connection.send(BytesMessage(data=message)))

    async def recv(self) -> bytes:
        while not self._messages:
            await self._read()
        return self._messages.pop(0)

    async def __anext__(self) -> bytes:
        try:
            return await self.recv()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def _write(self, data: bytes) -> None:
        async with self._lock:
            await self._stream.send_all(data)

    async def _read(self) -> bool:
        data = await self._stream.receive_some(1 << 20)
        if not data:
            raise trio.EndOfChannel
        self.bytes_received += len(data)
        self._connection.receive_data(data)
        accepted = False
        for event in self._connection.events():
            match event:
                case AcceptConnection():
                    accepted = True
                case BytesMessage():
                    self._part += event.data
                    if event.message_finished:
                        self._messages.append(self._part)
                        self._part = b""
                case Ping():
                    await self._write(self._connection.send(event.response()))
                case CloseConnection():
                    raise trio.EndOfChannel
        return accepted


@asynccontextmanager
async def connected(url: str, doc: Doc) -> AsyncIterator[CountingChannel]:
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        channel = CountingChannel(stream)
        await channel.open()
        async with trio.open_nursery() as nursery:
            provider = Provider(doc, channel)
            await nursery.start(provider.start)
            yield channel
            nursery.cancel_scope.cancel()


class Server:
    """A as a process."""

    def __init__(self, follows: int, fields: int = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "serve", str(follows), str(fields)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url: str = json.loads(self._process.stdout.readline())["url"]

    def tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


class Mirror:
    """B's copy of the map, and waiting until it has so many keys."""

    def __init__(self) -> None:
        self.doc: Doc = Doc()
        self.latencies: list[float] = []
        self._keys = 0
        self._awaited = 0
        self._reached = trio.Event()
        self._map = self.doc.get("follows", type=Map)
        self._subscription = self._map.observe(self._saw)

    async def until(self, keys: int) -> None:
        self._awaited = keys
        if self._keys < keys:
            self._reached = trio.Event()
            await self._reached.wait()

    def _saw(self, event: Any) -> None:
        now = time.perf_counter()
        for key, change in event.keys.items():
            self._keys += change["action"] == "add"
            if key.startswith("live-"):
                self.latencies.append(now - change["newValue"])
        if self._keys >= self._awaited:
            self._reached.set()


async def catch_up(count: int, fields: int = 0) -> dict[str, Any]:
    """Seconds and bytes until B has what A edited before B came."""
    with Server(count, fields) as server:
        mirror = Mirror()
        begun = time.perf_counter()
        async with connected(server.url, mirror.doc) as channel:
            await mirror.until(fields or count)
            return {"seconds": time.perf_counter() - begun, "bytes": channel.bytes_received}


async def live() -> dict[str, Any]:
    """Seconds from an edit of A to the event on B; and edits per second in batches."""
    with Server(0) as server:
        mirror = Mirror()
        async with connected(server.url, mirror.doc):
            server.tell("live")
            await mirror.until(LIVE_EDITS)
            begun = time.perf_counter()
            server.tell("burst")
            await mirror.until(LIVE_EDITS + BURST_EDITS)
            burst = time.perf_counter() - begun
        cuts = quantiles(mirror.latencies, n=100)
        return {"p50": cuts[49], "p99": cuts[98], "edits_per_second": BURST_EDITS / burst}


def measure(counts: tuple[int, ...], fields: int) -> dict[str, Any]:
    """All figures of the yardstick. Seconds and bytes."""
    return {
        "live": trio.run(live),
        "catch_up": {str(count): trio.run(catch_up, count) for count in counts},
        "few_fields": trio.run(catch_up, max(counts), fields),
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        trio.run(serve_room, int(sys.argv[2]), int(sys.argv[3]))
    else:
        print(json.dumps(measure((1_000, 10_000, 100_000), 100), indent=2))
