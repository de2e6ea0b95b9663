"""Keeps links to this identity's other devices: answers, dials, and knows what it has seen.

Rules of this file: a link's end never ends anything else; what is dialled is only a hint, who
answers is decided by the link machine; nothing is dialled for a device that is linked already.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from presenced.clock import Clock, Entropy
from presenced.device.effects import Event
from presenced.errors import HostError
from presenced.ids import DeviceId
from presenced.local.events import EventHub
from presenced.local.owner import LinkFacts
from presenced.log import log
from presenced.net.bound import BoundEndpoint
from presenced.net.dialing import Dial, Dialer
from presenced.runtime.addresses import own_addresses
from presenced.runtime.enrolment import Enrolments
from presenced.runtime.home import Home
from presenced.runtime.link_driver import LinkDriver
from presenced.runtime.streams import closed_after
from presenced.trust.attestation import Appraisal, Evidence, open_policy
from presenced.trust.hello import Mode
from presenced.trust.inbound import Arrived, Inbound, Refused
from presenced.trust.link import LinkConfig, LinkMachine, LinkUp
from presenced.wire import decode, encode

if TYPE_CHECKING:
    from presenced.net.link import LinkStream

ADDRESSES: Final = "addresses"
"meta row: where each device answered before"


@dataclass(slots=True)
class SeenPeer:
    """What a device showed when it was last linked, in this life of the daemon."""

    last_seen_ms: int
    appraisal: Appraisal | None = None


@dataclass(slots=True, eq=False)
class _Link:
    stream: LinkStream
    since_ms: int
    dialled: Dial | None
    driver: LinkDriver | None = None
    device: DeviceId | None = None
    "whose it was when it was last looked at"
    named: trio.Event = field(default_factory=trio.Event)


class Linking:
    """See the module. `run` answers and dials until it is cancelled."""

    def __init__(
        self,
        *,
        endpoint: BoundEndpoint,
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
        self._siblings: set[DeviceId] = set()
        self._turns: dict[tuple[str, int], int] = {}
        "dials so far of an address that nobody is known to be at"
        self.seen: dict[DeviceId, SeenPeer] = {}

    # --- what others ask ---

    @property
    def port(self) -> int:
        return self._endpoint.port

    @property
    def addresses(self) -> Sequence[str]:
        return [
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            for host, port in own_addresses(self._endpoint)
        ]

    @property
    def held_down(self) -> bool:
        return self._endpoint.paused

    def facts(self) -> list[LinkFacts]:
        machine = self._home.driver.machine if self._home.settled.is_set() else None
        found = []
        for link in self._links:
            device = None if link.driver is None else link.driver.peer
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

    def membership_changed(self) -> None:
        """Other devices to link with: name links that were nobody's, forget who was removed."""
        siblings = set(self._home.driver.machine.membership.siblings)
        for device in self._siblings - siblings:
            self._dialer.forget(device)
        self._siblings = siblings
        for link in self._links:
            self._name(link)
        self._wake()

    def _wake(self) -> None:
        """Something changed: whoever waits looks again."""
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    # --- answering ---

    async def answer(self, enrolments: Enrolments) -> None:
        """Take incoming connections until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                stream = await self._endpoint.accept()
                nursery.start_soon(self._answer_one, stream, enrolments)

    async def _answer_one(self, stream: LinkStream, enrolments: Enrolments) -> None:
        async with closed_after(stream):
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
                    return
                decision = inbound.receive_bytes(data, self._clock.now())
            if isinstance(decision, Arrived):
                if decision.mode is Mode.ENROL and enrolments.answering:
                    await enrolments.answer(stream, decision.received)
                elif decision.mode is Mode.LINK and self._home.settled.is_set():
                    await self._run(stream, early=decision.received)
            elif isinstance(decision, Refused) and decision.answer:
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(decision.answer)

    # --- dialling ---

    async def dial(self) -> None:
        """Dial whom the dialer names, until cancelled. Begins once there is an identity."""
        await self._home.settled.wait()
        self._siblings = set(self._home.driver.machine.membership.siblings)
        self._remember()
        async with trio.open_nursery() as nursery:
            while True:
                changed = self._changed
                now = self._clock.now()
                delay = inf
                if not self._endpoint.paused:
                    for dial in self._dialer.due(now):
                        nursery.start_soon(self._dial_one, dial)
                    if (wakeup := self._dialer.next_wakeup(now)) is not None:
                        delay = max(0, wakeup.mono_ms - now.mono_ms) / 1000
                with trio.move_on_after(delay):
                    await changed.wait()

    async def _dial_one(self, dial: Dial) -> None:
        """Dial an address and run the link."""
        try:
            stream = await self._endpoint.dial(dial.address)
        except HostError:
            self._dialer.failed(dial.address, self._clock.now())
            self._wake()
            return
        async with closed_after(stream):
            came_up = await self._run(stream, dialled=dial)
        if not came_up:
            self._dialer.failed(dial.address, self._clock.now())
            self._wake()

    def _whom(self, dial: Dial) -> DeviceId | None:
        """Whom to try if the answer's tags name nobody: it may not know us yet.

        Where nobody knows who is there, each device that is not linked has its turn.
        """
        if dial.device is not None:
            return dial.device
        machine = self._home.driver.machine
        missing = sorted(machine.membership.siblings.keys() - machine.linked)
        if not missing:
            return None
        turn = self._turns.get(dial.address, 0)
        self._turns[dial.address] = turn + 1
        return missing[turn % len(missing)]

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
        self, stream: LinkStream, *, early: bytes = b"", dialled: Dial | None = None
    ) -> bool:
        """Run a link to its end; whether it was ever up. `dialled`: we are the initiator."""
        await self._evidence_known.wait()
        link = _Link(stream, self._clock.now().wall_ms, dialled)
        try:
            machine = await self._machine(dialled)
        except HostError as error:  # the counter could not be kept: this link cannot be
            log.error("no link", code=error.code)
            return False
        driver = link.driver = LinkDriver(
            machine=machine,
            stream=stream,
            inbound=dialled is None,
            device=self._home.driver,
            clock=self._clock,
            came_up=lambda up: self._came_up(link, up),
        )
        self._links.add(link)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_what_it_taught, link)
                closed = await driver.run(early)
                nursery.cancel_scope.cancel()
            log.info("link ended", code=closed.code, detail=closed.detail, by_peer=closed.by_peer)
        finally:
            self._links.discard(link)
            self._went_down(link)
        return driver.up is not None

    async def _machine(self, dialled: Dial | None) -> LinkMachine:
        """Raises `HostError` if a dial's counter cannot be kept."""
        home = self._home
        membership = home.driver.machine.membership
        home.peers.use(membership)
        return LinkMachine(
            initiator=dialled is not None,
            config=LinkConfig(
                space=membership.space,
                static=membership.secrets.static,
                device=membership.device,
                counter=0 if dialled is None else await home.next_link_counter(),
                evidence=self._evidence,
                policy=open_policy(self._evidence),
                expected=None if dialled is None else self._whom(dialled),
            ),
            peers=home.peers,
            entropy=self._entropy,
            now=self._clock.now(),
        )

    def _came_up(self, link: _Link, up: LinkUp) -> None:
        if up.peer is not None:
            self._named(link, up.peer, up)
        link.named.set()

    def _name(self, link: _Link) -> None:
        """Whose a link is may become known, and change, while it is up."""
        driver = link.driver
        device = None if driver is None else driver.peer
        if driver is None or driver.up is None or device == link.device:
            return
        if device is not None:
            self._named(link, device, driver.up)

    def _named(self, link: _Link, device: DeviceId, up: LinkUp) -> None:
        now = self._clock.now()
        link.device = device
        self.seen[device] = SeenPeer(last_seen_ms=now.wall_ms, appraisal=up.appraisal)
        if link.dialled is None:
            # Everything goes over one UDP socket: where it came from, it can be dialled.
            self._dialer.remember(device, [link.stream.remote], now)
            self._dialer.linked(device)
        else:
            self._dialer.succeeded(link.dialled.address, device, now)

    async def _keep_what_it_taught(self, link: _Link) -> None:
        """Where the device answered, and its counter, to disk; not worth a link if that fails."""
        await link.named.wait()
        try:
            if link.dialled is not None:
                await self._keep_addresses()
            if self._home.peers.changed:
                await self._home.keep_counters()
        except HostError as error:
            log.error("what a link taught is not kept", code=error.code)

    def _went_down(self, link: _Link) -> None:
        device, now = link.device, self._clock.now()
        if device is not None:
            if device in self.seen:
                self.seen[device].last_seen_ms = now.wall_ms
            if not any(other.device == device for other in self._links):
                self._dialer.unlinked(device, now)
        self._wake()
