"""Daemons without sockets, disks or clocks: homes, links and enrolments over memory.

`MemoryNet` joins endpoints by address; a `House` is what the daemon builds, minus the owner API.
Time is trio's, so a test's mock clock is everybody's. A store may be made slow or full.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import trio

from presenced.clock import Instant
from presenced.device.commit import Commit
from presenced.errors import HostError, StoreError
from presenced.ids import DeviceId
from presenced.local.events import EventHub
from presenced.net.dialing import Dialer
from presenced.net.errors import DialFailed, DialRefused
from presenced.net.limits import DIAL_SECONDS_MAX
from presenced.runtime.enrolment import Enrolments
from presenced.runtime.home import Home
from presenced.runtime.linking import Linking
from presenced.runtime.network import EnrolmentRoutes
from presenced.testing.byte_pair import START
from presenced.testing.link_doubles import EVIDENCE, SeededEntropy
from presenced.testing.sim_disk import SimDisk

Address = tuple[str, int]

WINDOW_BYTES: Final = 256 * 1024
"bytes that a memory stream takes before its reader has read any"


class TrioClock:
    """The clock of the trio run."""

    def now(self) -> Instant:
        passed = round(trio.current_time() * 1000)
        return Instant(passed, START.wall_ms + passed)


class MemoryStore:
    """`Store` in memory. `full`: commits fail. `gate`: each waits there before it is done.

    `damaged`: what a check of the whole finds; `is_large`: it does not get through all of it.
    """

    def __init__(self) -> None:
        self.reader = SimDisk()
        self.full: StoreError | None = None
        self.damaged: StoreError | None = None
        self.is_large = False
        self.gate: trio.Event | None = None
        self.commits = 0

    def begin(self, commit: Commit) -> MemoryJob:
        return MemoryJob(self, commit)

    async def commit(self, commit: Commit) -> None:
        await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):
            if self.gate is not None:
                await self.gate.wait()
            if self.full is not None:
                raise self.full
            self.reader.apply(commit)
            self.commits += 1

    async def verify(self) -> bool:
        await trio.lowlevel.checkpoint()
        if self.damaged is not None:
            raise self.damaged
        return not self.is_large


class MemoryJob:
    """A commit of a `MemoryStore`."""

    def __init__(self, store: MemoryStore, commit: Commit) -> None:
        self._store = store
        self._commit = commit

    async def result(self) -> None:
        await self._store.commit(self._commit)


class MemoryStream:
    """One end of a connection: `ByteStream`, and what `LinkStream` shows besides."""

    def __init__(self, remote: Address, *, inbound: bool) -> None:
        self.remote = remote
        self.inbound = inbound
        self.authenticated = False
        self.ended = False
        self.peer: MemoryStream = self
        self.reads = True
        "False: what arrives stays unread, as with a peer that is stuck"
        self._unread = bytearray()
        self._changed = trio.Event()

    async def send_all(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self.ended:
            raise trio.BrokenResourceError
        self.peer._unread += data
        self.peer._wake()
        while len(self.peer._unread) > WINDOW_BYTES and not self.ended:
            await self._changed.wait()
        if self.ended:
            raise trio.BrokenResourceError

    def send_nowait(self, data: bytes) -> bool:
        if self.ended or len(self.peer._unread) + len(data) > WINDOW_BYTES:
            return False
        self.peer._unread += data
        self.peer._wake()
        return True

    async def receive_some(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while not (self._unread and self.reads):
            if self.ended:
                return b""
            await self._changed.wait()
        return self.take()

    def take(self) -> bytes:
        """What has arrived and nobody has read."""
        data = bytes(self._unread)
        self._unread.clear()
        self.peer._wake()
        return data

    async def aclose(self) -> None:
        self.cut()
        await trio.lowlevel.checkpoint()

    def cut(self) -> None:
        """The connection is gone for both."""
        for end in (self, self.peer):
            end.ended = True
            end._wake()

    def mark_authenticated(self) -> None:
        self.authenticated = True

    def _wake(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()


def stream_pair(first: Address = ("a", 1), second: Address = ("b", 2)) -> Any:
    """The dialler's end and the answerer's."""
    dialler = MemoryStream(second, inbound=False)
    answerer = MemoryStream(first, inbound=True)
    dialler.peer, answerer.peer = answerer, dialler
    return dialler, answerer


class MemoryNet:
    """Endpoints by address."""

    def __init__(self) -> None:
        self.endpoints: dict[Address, MemoryEndpoint] = {}
        self.codes: dict[int, Address] = {}
        "what is announced, as mDNS would"
        self.refused: set[Address] = set()
        "where the network says that nobody listens; elsewhere there is silence"
        self.dials = 0


class MemoryEndpoint:
    """`BoundEndpoint` over a `MemoryNet`."""

    def __init__(self, net: MemoryNet, address: Address) -> None:
        self._net = net
        self.address = address
        self._arrivals, self._incoming = trio.open_memory_channel[MemoryStream](100)
        self.streams: list[MemoryStream] = []
        self.paused = False
        net.endpoints[address] = self

    @property
    def port(self) -> int:
        return self.address[1]

    @property
    def addresses(self) -> tuple[Address, ...]:
        return (self.address,)

    async def accept(self) -> MemoryStream:
        return await self._incoming.receive()

    async def dial(self, address: Address) -> MemoryStream:
        self._net.dials += 1
        await trio.lowlevel.checkpoint()
        other = self._net.endpoints.get(address)
        if address in self._net.refused:
            raise DialRefused("nobody listens there")
        if other is None:
            await trio.sleep(DIAL_SECONDS_MAX)
            raise DialFailed("no answer")
        if other.paused or self.paused:
            raise HostError("nobody answers there")
        dialler, answerer = stream_pair(self.address, address)
        self.streams.append(dialler)
        other.streams.append(answerer)
        other._arrivals.send_nowait(answerer)
        return dialler  # type: ignore[no-any-return]

    def pause(self) -> None:
        self.paused = True
        for stream in self.streams:
            stream.cut()

    def resume(self) -> None:
        self.paused = False

    @property
    def open_streams(self) -> int:
        return sum(not stream.ended for stream in self.streams)


class MemoryDiscovery:
    """`Discovery` over a `MemoryNet`: codes only."""

    problem = ""

    def __init__(self, net: MemoryNet, address: Address) -> None:
        self._net = net
        self._address = address
        self._number: int | None = None
        self.changes = 0

    def announce_pairing(self, number: int | None) -> None:
        if self._number is not None:
            self._net.codes.pop(self._number, None)
        self._number = number
        if number is not None:
            self._net.codes[number] = self._address

    def pairing(self, number: int) -> list[Address]:
        found = self._net.codes.get(number)
        return [] if found is None else [found]

    def membership_changed(self) -> None:
        self.changes += 1


class House:
    """One daemon in memory. Made by `open_house`."""

    def __init__(
        self, net: MemoryNet, address: Address, nursery: trio.Nursery, store: MemoryStore
    ) -> None:
        clock, entropy = TrioClock(), SeededEntropy(address)
        self.store = store
        self.hub = EventHub("test")
        self.endpoint = MemoryEndpoint(net, address)
        self.home = Home(
            store=store,  # type: ignore[arg-type]
            hub=self.hub,
            nursery=nursery,
            clock=clock,
            entropy=entropy,
        )
        self.dialer = Dialer(entropy)
        self.linking = Linking(
            endpoint=self.endpoint,  # type: ignore[arg-type]
            home=self.home,
            hub=self.hub,
            dialer=self.dialer,
            clock=clock,
            entropy=entropy,
        )
        self.linking.use_evidence(EVIDENCE)
        self.discovery = MemoryDiscovery(net, address)
        self.home.on_membership(self.linking.membership_changed)
        self.home.on_membership(self.discovery.membership_changed)
        self.enrolments = Enrolments(
            home=self.home,
            network=EnrolmentRoutes(self.endpoint, self.linking, self.discovery),  # type: ignore[arg-type]
            nursery=nursery,
            clock=clock,
            entropy=entropy,
        )
        self.home.settle()

    @property
    def device(self) -> DeviceId:
        return self.home.driver.machine.membership.device

    @property
    def linked(self) -> frozenset[DeviceId]:
        return self.home.driver.machine.linked


@asynccontextmanager
async def open_house(
    net: MemoryNet, address: Address, store: MemoryStore | None = None
) -> AsyncIterator[House]:
    """A daemon that answers and dials until the block ends."""
    async with trio.open_nursery() as nursery:
        house = House(net, address, nursery, store or MemoryStore())
        nursery.start_soon(house.linking.answer, house.enrolments)
        nursery.start_soon(house.linking.dial)
        yield house
        nursery.cancel_scope.cancel()


async def until(ask: Callable[[], object], what: str, *, seconds: float = 60.0) -> None:
    """Let others run, and time pass, until something is so. Raises `AssertionError` naming it."""
    with trio.move_on_after(seconds):
        while not ask():  # noqa: ASYNC110 (a test asks about anything)
            await trio.sleep(0.01)
        return
    raise AssertionError(f"not within {seconds:g} s: {what}")
