"""Keeps links to this identity's other devices: answers, dials, and knows what it has seen.

Rules of this file: a link's end never ends anything else; what is dialled is only a hint, who
answers is decided by the link machine; nothing is dialled for a device that is linked already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

import structlog
import trio

from presenced.clock import Clock, Entropy
from presenced.device.effects import Event
from presenced.errors import HostError
from presenced.ids import DeviceId
from presenced.local.events import EventHub
from presenced.local.owner import LinkFacts
from presenced.net.dialing import Dial, Dialer
from presenced.net.endpoint import Endpoint
from presenced.net.link import LinkStream
from presenced.runtime.enrolment import Enrolments
from presenced.runtime.home import Home
from presenced.runtime.link_driver import LinkDriver
from presenced.trust.attestation import Appraisal, Evidence, open_policy
from presenced.trust.hello import Mode
from presenced.trust.inbound import Arrived, Inbound, Refused
from presenced.trust.link import LinkConfig, LinkMachine
from presenced.wire import decode, encode

log = structlog.get_logger(__name__)

ADDRESSES: Final = "addresses"
"meta row: where each device answered before"


@dataclass(slots=True)
class SeenPeer:
    """What a device showed when it was last linked, in this life of the daemon."""

    last_seen_ms: int
    appraisal: Appraisal | None = None


@dataclass(slots=True, eq=False)
class _Link:
    driver: LinkDriver
    stream: LinkStream
    since_ms: int


class Linking:
    """See the module. `run` answers and dials until it is cancelled."""

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        home: Home,
        hub: EventHub,
        dialer: Dialer,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._endpoint = endpoint
        self._home = home
        self._hub = hub
        self._evidence = Evidence()
        self._evidence_known = trio.Event()
        self._dialer = dialer
        self._clock = clock
        self._entropy = entropy
        self._links: set[_Link] = set()
        self._changed = trio.Event()
        self.seen: dict[DeviceId, SeenPeer] = {}

    # --- what others ask ---

    @property
    def port(self) -> int:
        return self._endpoint.port

    @property
    def addresses(self) -> Sequence[str]:
        return [
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            for host, port in self._endpoint.addresses
        ]

    @property
    def held_down(self) -> bool:
        return self._endpoint.paused

    def facts(self) -> list[LinkFacts]:
        machine = self._home.driver.machine if self._home.settled.is_set() else None
        found = []
        for link in self._links:
            device = link.driver.peer
            if device is None or machine is None:
                continue
            host, port = link.stream.remote
            found.append(
                LinkFacts(
                    device=device,
                    address=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
                    inbound=link.stream.inbound,
                    since_ms=link.since_ms,
                    in_sync=machine.in_sync(device),
                )
            )
        return found

    def use_evidence(self, evidence: Evidence) -> None:
        """What this device says of itself on links. None is made before it is known."""
        self._evidence = evidence
        self._evidence_known.set()

    async def hold(self, *, down: bool) -> None:
        """Close all links and keep them closed, or let them come back."""
        if down:
            self._endpoint.pause()
            while self._links:
                self._changed = trio.Event()
                await self._changed.wait()
        else:
            self._endpoint.resume()
            self.look_again()
        self._hub.publish([Event("net.down" if down else "net.up", {})])

    def look_again(self) -> None:
        """The network changed, or this machine woke: dial at once, whatever the back-off."""
        self._dialer.reset(self._clock.now())
        self._wake()

    def hint(self, addresses: Sequence[tuple[str, int]], device: DeviceId) -> None:
        """A device was seen on the network at these addresses."""
        self._dialer.found(device, addresses, self._clock.now())
        self._wake()

    def try_address(self, address: tuple[str, int]) -> None:
        """A sibling answered at this address a moment ago."""
        self._dialer.configure([address], self._clock.now())
        self._wake()

    def _wake(self) -> None:
        self._changed.set()

    # --- answering ---

    async def answer(self, enrolments: Enrolments) -> None:
        """Take incoming connections until cancelled."""
        async with trio.open_nursery() as nursery:
            async for stream in self._endpoint.incoming:
                nursery.start_soon(self._answer_one, stream, enrolments)

    async def _answer_one(self, stream: LinkStream, enrolments: Enrolments) -> None:
        inbound = Inbound(
            enrolling=enrolments.answering,
            linking=self._home.settled.is_set(),
            entropy=self._entropy,
            now=self._clock.now(),
        )
        decision = None
        while decision is None:
            data = await stream.receive_some()
            if not data:
                break
            decision = inbound.receive_bytes(data, self._clock.now())
        if isinstance(decision, Arrived):
            if decision.mode is Mode.ENROL and enrolments.answering:
                await enrolments.answer(stream, decision.received)
                return
            if decision.mode is Mode.LINK and self._home.settled.is_set():
                await self._run(stream, initiator=False, early=decision.received)
                return
        try:
            if isinstance(decision, Refused) and decision.answer:
                await stream.send_all(decision.answer)
        except trio.BrokenResourceError:
            pass
        await stream.aclose()

    # --- dialling ---

    async def dial(self) -> None:
        """Dial whom the dialer names, until cancelled. Begins once there is an identity."""
        await self._home.settled.wait()
        self._remember()
        async with trio.open_nursery() as nursery:
            while True:
                self._changed = trio.Event()
                now = self._clock.now()
                delay = inf
                if not self._endpoint.paused:
                    for dial in self._dialer.due(now):
                        nursery.start_soon(self._dial_one, dial)
                    if (wakeup := self._dialer.next_wakeup(now)) is not None:
                        delay = max(0, wakeup.mono_ms - now.mono_ms) / 1000
                with trio.move_on_after(delay):
                    await self._changed.wait()

    async def _dial_one(self, dial: Dial) -> None:
        """Dial an address; if nobody known is expected there, try each sibling that may be."""
        try:
            stream = await self._endpoint.dial(dial.address)
        except HostError:
            self._dialer.failed(dial.address, self._clock.now())
            self._wake()
            return
        link = await self._run(
            stream, initiator=True, expected=dial.device or self._only_sibling(), dialled=dial
        )
        if link.up is None:
            self._dialer.failed(dial.address, self._clock.now())
            self._wake()

    def _only_sibling(self) -> DeviceId | None:
        """Whom an address without a name belongs to, if there is only one to choose."""
        siblings = self._home.driver.machine.membership.siblings
        return next(iter(siblings)) if len(siblings) == 1 else None

    def _remember(self) -> None:
        """Dial first where devices were found in an earlier life."""
        stored = self._home.reader.meta(ADDRESSES)
        now = self._clock.now()
        for device, addresses in [] if stored is None else decode(stored):
            if device in self._home.driver.machine.membership.siblings:
                self._dialer.remember(device, [(host, port) for host, port in addresses], now)

    async def _keep_addresses(self) -> None:
        rows = [
            [device, [[host, port] for host, port in addresses]]
            for device in self._home.driver.machine.membership.siblings
            if (addresses := self._dialer.addresses(device))
        ]
        await self._home.keep_meta({ADDRESSES: encode(rows)})

    # --- one link ---

    async def _run(
        self,
        stream: LinkStream,
        *,
        initiator: bool,
        early: bytes = b"",
        expected: DeviceId | None = None,
        dialled: Dial | None = None,
    ) -> LinkDriver:
        await self._evidence_known.wait()
        home = self._home
        membership = home.driver.machine.membership
        peers = home.peers
        peers.use(membership)
        machine = LinkMachine(
            initiator=initiator,
            config=LinkConfig(
                space=membership.space,
                static=membership.secrets.static,
                device=membership.device,
                counter=await home.next_link_counter() if initiator else 0,
                evidence=self._evidence,
                policy=open_policy(self._evidence),
                expected=expected,
            ),
            peers=peers,
            entropy=self._entropy,
            now=self._clock.now(),
        )
        driver = LinkDriver(
            machine=machine,
            stream=stream,
            inbound=not initiator,
            device=home.driver,
            clock=self._clock,
        )
        link = _Link(driver, stream, self._clock.now().wall_ms)
        self._links.add(link)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._note_up, driver, dialled)
                closed = await driver.run(early)
                nursery.cancel_scope.cancel()
            log.info("link ended", code=closed.code, detail=closed.detail, by_peer=closed.by_peer)
        finally:
            self._links.discard(link)
            self._note_down(driver)
        return driver

    async def _note_up(self, driver: LinkDriver, dialled: Dial | None) -> None:
        await driver.up_event.wait()
        assert driver.up is not None
        device, now = driver.up.peer, self._clock.now()
        if device is not None:
            self.seen[device] = SeenPeer(last_seen_ms=now.wall_ms, appraisal=driver.up.appraisal)
            if dialled is None:
                self._dialer.linked(device)
            else:
                self._dialer.succeeded(dialled.address, device, now)
                await self._keep_addresses()
        if self._home.peers.changed:
            await self._home.keep_counters()

    def _note_down(self, driver: LinkDriver) -> None:
        device, now = driver.peer, self._clock.now()
        if device is not None:
            if device in self.seen:
                self.seen[device].last_seen_ms = now.wall_ms
            if not any(link.driver.peer == device for link in self._links):
                self._dialer.unlinked(device, now)
        self._wake()
