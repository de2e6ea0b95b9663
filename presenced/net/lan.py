"""mDNS: announce this device and find others. zeroconf in a thread of its own.

zeroconf runs on asyncio, so it gets a thread with a loop of its own: the one exception to the
house's rule that edges are trio. Rules of this file:
1. The thread's state is touched in its loop only: the trio side posts what it wants; the loop
   brings what is registered in line with what is wanted. What is found crosses back through one
   bounded channel and is dropped when that is full: it is only a hint.
2. zeroconf finds nothing on an address that came after it was opened, so a network change or
   waking reopens it; it raises without interfaces, so opening is tried again later.
3. Announcements change on the hour only, when tags do; a pairing code has its own.
4. Names are random, so that nobody can have them: no probing, which would take a second
   (RFC 6762 §8.1 asks for it where names could clash).

Listening only means that nothing is announced; questions are still asked, which tells the LAN
that some presenced is there and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum
from typing import Final

import ifaddr
import trio
from zeroconf import IPVersion, ServiceInfo, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from presenced.clock import Clock
from presenced.log import log
from presenced.net.lan_announce import (
    Announcement,
    link_announcement,
    pairing_announcement,
    random_names,
)
from presenced.net.lan_find import (
    SERVICE,
    Found,
    Sightings,
    TagStrings,
    announced_hosts,
    read_announcement,
)
from presenced.net.limits import (
    LOOK_UP_MS_MAX,
    LOOK_UPS_AT_ONCE_MAX,
    REOPEN_SECONDS,
    SIGHTINGS_QUEUE_MAX,
)

HOUR_MS: Final = 60 * 60 * 1000


class LanState(Enum):
    """Whether mDNS works here."""

    OPENING = "opening"
    OPEN = "open"
    UNAVAILABLE = "unavailable"
    "no interfaces, no multicast, or another program keeps the port: tried again later"


class Lan:
    """See the module. Made by `open_lan`."""

    def __init__(self, responder: _Responder, found: trio.MemoryReceiveChannel[Found]) -> None:
        self.found = found
        self._responder = responder
        self._tags: Callable[[], TagStrings] | None = None
        self._wanted = trio.Event()
        self._nudge = trio.Event()

    @property
    def state(self) -> LanState:
        return self._responder.state

    @property
    def detail(self) -> str:
        """Why it is unavailable, in the system's words."""
        return self._responder.detail

    def announce(self, tags: Callable[[], TagStrings] | None) -> None:
        """Announce this device with the tags of the current hour, asked for now and on each hour.

        None: no longer. Does nothing in listen-only mode.
        """
        self._tags = tags
        self._renew()
        self._wanted.set()

    def announce_pairing(self, number: str | None) -> None:
        """Announce the number of a pairing code while it is shown. None: no longer."""
        self._responder.want_pairing(number)

    def reopen(self) -> None:
        """The network changed, or the machine woke (perhaps in another hour)."""
        self._responder.reopen()
        self._renew()
        self._nudge.set()

    def _renew(self) -> None:
        self._responder.want_tags(None if self._tags is None else self._tags())

    async def _keep_hour(self, clock: Clock) -> None:
        while True:
            await self._wanted.wait()
            self._nudge = trio.Event()
            to_hour_ms = HOUR_MS - clock.now().wall_ms % HOUR_MS
            with trio.move_on_after(to_hour_ms / 1000 + 1) as until_hour:
                await self._nudge.wait()
            if until_hour.cancelled_caught:
                self._renew()


class _Responder:
    """The side in the thread."""

    def __init__(
        self,
        *,
        port: int,
        host: str | None,
        listen_only: bool,
        deliver: Callable[[Found], None],
    ) -> None:
        self.state = LanState.OPENING
        self.detail = ""
        self._port = port
        self._host = host
        self._listen_only = listen_only
        self._deliver = deliver
        self._names = random_names(os.urandom)
        self._tags: TagStrings | None = None
        self._number: str | None = None
        self._registered: dict[str, ServiceInfo] = {}
        self._sightings = Sightings(time.monotonic())
        self._look_ups: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None
        self._reopening = False
        self._stopping = False

    # --- called from trio ---

    def want_tags(self, tags: TagStrings | None) -> None:
        def want() -> None:
            self._tags = tags
            self._wake()

        self._post(want)

    def want_pairing(self, number: str | None) -> None:
        def want() -> None:
            self._number = number
            self._wake()

        self._post(want)

    def reopen(self) -> None:
        self._post(self._reopen)

    def stop(self) -> None:
        self._stopping = True
        if self._loop is not None:  # else the thread has not begun, and will end at once
            self._post(self._wake)

    def _post(self, change: Callable[[], None]) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(change)

    # --- in the loop ---

    def run(self, started: Callable[[], None]) -> None:
        """The thread. Returns after `stop`."""
        asyncio.run(self._run(started))

    async def _run(self, started: Callable[[], None]) -> None:
        # It logs a traceback for each datagram that a dead network refuses.
        logging.getLogger("zeroconf").setLevel(logging.ERROR)
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        started()
        while not self._stopping:
            self._reopening = False
            try:
                await self._serve()
            except Exception as error:  # whatever zeroconf meets here, mDNS can do without
                if self.state is not LanState.UNAVAILABLE:
                    log.warning("mDNS is not available", error=type(error).__name__)
                self.state = LanState.UNAVAILABLE
                self.detail = str(error)
                await self._wait(REOPEN_SECONDS)

    async def _serve(self) -> None:
        """Open, and keep in line with what is wanted, until reopening or the end.

        Under new names: who meets this device on two networks must not know it again by them.
        """
        self._names = random_names(os.urandom)
        hosts = self._hosts()
        zeroconf = AsyncZeroconf(interfaces=self._interfaces())
        try:
            self._registered = {}
            self._sightings.clear()
            browser = AsyncServiceBrowser(
                zeroconf.zeroconf, SERVICE, handlers=[self._on_change], delay=1_000
            )
            self.state, self.detail = LanState.OPEN, ""
            while not (self._stopping or self._reopening):
                await self._reconcile(zeroconf, hosts)
                await self._wait(None)
            await browser.async_cancel()
        finally:
            for look_up in self._look_ups:
                look_up.cancel()
            await zeroconf.async_close()

    async def _wait(self, seconds: float | None) -> None:
        assert self._changed is not None
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            return
        self._changed.clear()

    async def _reconcile(self, zeroconf: AsyncZeroconf, hosts: frozenset[str]) -> None:
        """Register what is wanted; the announcements leave on their own."""
        if self._listen_only:
            return
        wanted = self._wanted()
        for instance in list(self._registered):
            if instance not in wanted:
                await zeroconf.async_unregister_service(self._registered.pop(instance))
        for instance, announcement in wanted.items():
            info = ServiceInfo(
                SERVICE,
                instance,
                port=self._port,
                properties=announcement.properties,
                server=announcement.host,
                parsed_addresses=list(announced_hosts(hosts)),
            )
            registered = self._registered.get(instance)
            if registered is None:
                await zeroconf.async_register_service(info, cooperating_responders=True)
            elif registered.text != info.text:
                await zeroconf.async_update_service(info)
            self._registered[instance] = info

    def _wanted(self) -> dict[str, Announcement]:
        """What is to be announced, by instance."""
        wanted = []
        if self._tags is not None:
            wanted.append(link_announcement(self._names, self._tags))
        if self._number is not None:
            wanted.append(pairing_announcement(self._names, self._number))
        return {announcement.instance: announcement for announcement in wanted}

    def _hosts(self) -> frozenset[str]:
        """Where this device can be reached."""
        if self._host is not None:
            return frozenset({self._host})
        return frozenset(host for hosts in _hosts_by_adapter() for host in hosts)

    def _interfaces(self) -> list[str | int | tuple[tuple[str, int, int], int]]:
        """Addresses to speak from: IPv4 ones, and one of IPv6 for each interface.

        Raises `RuntimeError` without any. ::1 cannot multicast.
        """
        if self._host is not None:
            return [self._host]
        chosen: list[str | int | tuple[tuple[str, int, int], int]] = []
        for hosts in _hosts_by_adapter():
            chosen += [host for host in hosts if ":" not in host]
            ipv6 = [host for host in hosts if ":" in host and host != "::1"]
            chosen += ipv6[:1]
        if not chosen:
            raise RuntimeError("no network interface has an address")
        return chosen

    def _on_change(
        self,
        zeroconf: Zeroconf,
        service_type: str,
        name: str,
        state_change: ServiceStateChange,
    ) -> None:
        if name in (self._names.link, self._names.pairing):
            return
        if state_change is ServiceStateChange.Removed:
            self._sightings.gone(name)
            return
        if not self._sightings.look_at(time.monotonic()):
            return
        info = AsyncServiceInfo(service_type, name)
        if info.load_from_cache(zeroconf):
            self._report(info)
        elif len(self._look_ups) < LOOK_UPS_AT_ONCE_MAX:
            look_up = asyncio.ensure_future(self._look_up(zeroconf, info))
            self._look_ups.add(look_up)
            look_up.add_done_callback(self._look_ups.discard)

    async def _look_up(self, zeroconf: Zeroconf, info: AsyncServiceInfo) -> None:
        if await info.async_request(zeroconf, LOOK_UP_MS_MAX):
            self._report(info)

    def _report(self, info: AsyncServiceInfo) -> None:
        found = read_announcement(
            instance=info.name,
            hosts=info.parsed_scoped_addresses(IPVersion.All),
            port=info.port,
            properties=info.properties,
            own_hosts=self._hosts(),
        )
        if found is not None and self._sightings.is_news(found):
            self._deliver(found)

    def _reopen(self) -> None:
        self._reopening = True
        self._wake()

    def _wake(self) -> None:
        assert self._changed is not None
        self._changed.set()


def _hosts_by_adapter() -> list[list[str]]:
    """Addresses of each interface."""
    return [
        [address.ip if isinstance(address.ip, str) else address.ip[0] for address in adapter.ips]
        for adapter in ifaddr.get_adapters()
    ]


@asynccontextmanager
async def open_lan(
    port: int, *, clock: Clock, host: str | None = None, listen_only: bool = False
) -> AsyncIterator[Lan]:
    """Find devices on the LAN, and announce this one's UDP port when asked to.

    `host` is the address that the endpoint is bound to (None: all). Opening does not wait for
    the network and does not fail without one: see `Lan.state`.
    """
    if host in ("::", "0.0.0.0"):  # noqa: S104 - compared, not bound
        host = None
    sender, receiver = trio.open_memory_channel[Found](SIGHTINGS_QUEUE_MAX)
    token = trio.lowlevel.current_trio_token()
    started = trio.Event()

    def offer(found: Found) -> None:
        try:
            sender.send_nowait(found)
        except (trio.WouldBlock, trio.BrokenResourceError):
            log.info("an announcement was dropped")

    def from_thread(call: Callable[[], None]) -> None:
        try:
            token.run_sync_soon(call)
        except trio.RunFinishedError:
            return

    responder = _Responder(
        port=port,
        host=host,
        listen_only=listen_only,
        deliver=lambda found: from_thread(lambda: offer(found)),
    )
    limiter = trio.CapacityLimiter(1)
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: trio.to_thread.run_sync(
                responder.run, lambda: from_thread(started.set), limiter=limiter
            )
        )
        try:
            await started.wait()
            lan = Lan(responder, receiver)
            nursery.start_soon(lan._keep_hour, clock)
            yield lan
        except Exception as error:  # raised below, not as a group: it is the caller's own
            failure = error
        finally:
            responder.stop()  # the thread is waited for: it says goodbye on the LAN
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
