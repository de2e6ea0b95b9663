"""The composition root: builds the rooms, hands each what it needs, owns the top nursery."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final

import trio

from presenced.clock import Clock
from presenced.config import Config
from presenced.device.commit import Commit
from presenced.errors import PresenceError
from presenced.host.clock import SystemClock
from presenced.host.core_dumps import forbid_core_dumps
from presenced.host.home_lock import hold_home
from presenced.host.keys import obtain_key
from presenced.host.logs import set_up_logs
from presenced.host.network import watch_network
from presenced.host.systemd import ServiceManager
from presenced.host.wake import watch_wake
from presenced.local.app import owner_app
from presenced.local.events import EventHub
from presenced.local.listener import open_owner_socket, serve
from presenced.log import log
from presenced.net.bound import BoundEndpoint, open_bound
from presenced.net.dialing import Dialer
from presenced.net.errors import PortInUse
from presenced.runtime.discovery import Discovery
from presenced.runtime.enrolment import Enrolments
from presenced.runtime.home import Home
from presenced.runtime.linking import Linking
from presenced.runtime.network import EnrolmentRoutes
from presenced.runtime.owner import make_owner
from presenced.store import Store, open_store

if TYPE_CHECKING:
    from presenced.net.lan import Lan

PORT: Final = "port"
"meta row: the UDP port, random at first and then kept"

NEEDED_SOON: Final = ("structlog", "pycrdt")
"imported once all else is done, so that nobody waits for them: by the first line of the log, edit"

GC_THRESHOLDS: Final = (50_000, 50, 1_000)
"""allocations before a collection, and collections of each age before the next: entries by the
thousand are no cycles, and looking for some in them takes a quarter of a catch-up (measured)"""

SWITCH_SECONDS: Final = 0.001
"""how long the main thread keeps the interpreter when the writer waits for it: with Python's five
milliseconds a commit beside a catch-up takes twice as long (measured)"""


def run_daemon(config: Config) -> int:
    """Run until a signal says stop. Returns the exit code; raises `PresenceError` at start."""
    set_up_logs(config.log_level.value)
    forbid_core_dumps()
    gc.set_threshold(*GC_THRESHOLDS)
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        trio.run(_run, config)
    except BaseExceptionGroup as group:
        told, rest = group.split(PresenceError)
        if rest is not None or told is None:
            raise
        raise _first(told) from None
    return 0


def _first(group: BaseExceptionGroup[PresenceError]) -> PresenceError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _run(config: Config) -> None:
    clock = SystemClock()
    services = ServiceManager(os.environ)
    with hold_home(config):
        kept = await obtain_key(config)
        protection = kept.protection.value
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(
                open_store(config.database, kept.key, migrating=partial(_tell_migration, services))
            )
            endpoint = await stack.enter_async_context(_open_endpoint(config, store))
            listener = await stack.enter_async_context(open_owner_socket(config.socket))
            nursery = await stack.enter_async_context(trio.open_nursery())
            hub = EventHub()
            home = Home(store=store, hub=hub, nursery=nursery, clock=clock, entropy=os.urandom)
            dialer = Dialer(os.urandom)
            dialer.configure(config.peers, clock.now())
            linking = Linking(
                endpoint=endpoint,
                home=home,
                hub=hub,
                dialer=dialer,
                clock=clock,
                entropy=os.urandom,
            )
            discovery = Discovery(
                open_lan=partial(_open_lan, config, endpoint, clock) if config.mdns else None,
                home=home,
                clock=clock,
                hint=linking.hint,
            )
            home.on_membership(linking.membership_changed)
            home.on_membership(discovery.membership_changed)
            enrolments = Enrolments(
                home=home,
                network=EnrolmentRoutes(endpoint, linking, discovery),
                nursery=nursery,
                clock=clock,
                entropy=os.urandom,
            )
            owner = make_owner(
                home=home,
                linking=linking,
                discovery=discovery,
                enrolments=enrolments,
                hub=hub,
                peers=config.peers,
                key_protection=protection,
            )
            home.settle()
            nursery.start_soon(serve, owner_app(owner), listener)
            nursery.start_soon(linking.answer, enrolments)
            nursery.start_soon(linking.dial)
            nursery.start_soon(_watch_surroundings, endpoint, linking, discovery)
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                ready = {"event": "ready", "socket": str(config.socket), "port": endpoint.port}
                print(json.dumps(ready), flush=True)
                gc.freeze()
                services.ready(f"listening on UDP port {endpoint.port}")
                nursery.start_soon(_begin_links, endpoint, linking, discovery, protection)
                nursery.start_soon(services.keep_watchdog, lambda: True)
                async for number in signals:
                    log.info("stopping", signal=int(number))
                    break
                services.stopping()
                await home.rest()
                nursery.cancel_scope.cancel()


def _tell_migration(services: ServiceManager, done: int, total: int) -> None:
    """In the store's thread, before anybody can ask the API."""
    log.info("the database becomes one of this version", done=done, total=total)
    services.still_starting(f"the database becomes one of this version: {done} of {total} steps")


@asynccontextmanager
async def _open_endpoint(config: Config, store: Store) -> AsyncIterator[BoundEndpoint]:
    """The endpoint on the port asked for, else on the one used before, else on any."""
    stored = store.reader.meta(PORT)
    remembered = 0 if stored is None else int.from_bytes(stored, "big")
    port = config.listen_port or remembered
    async with AsyncExitStack() as stack:
        try:
            endpoint = await stack.enter_async_context(open_bound(config.listen_host, port))
        except PortInUse:
            if config.listen_port or not port:
                raise
            log.warning("the port used before is taken; using another", port=port)
            endpoint = await stack.enter_async_context(open_bound(config.listen_host, 0))
        if not config.listen_port and endpoint.port != remembered:
            await store.commit(Commit(meta={PORT: endpoint.port.to_bytes(2, "big")}))
        yield endpoint


async def _begin_links(
    endpoint: BoundEndpoint, linking: Linking, discovery: Discovery, key_protection: str
) -> None:
    """What links wait for and the owner's API does not: half of a start."""
    await _import("presenced.net.endpoint")
    endpoint.load()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(discovery.run)  # it waits for the network, while this goes on
        await _import("presenced.host.evidence")
        from presenced.host.evidence import collect_evidence

        linking.use_evidence(await collect_evidence(key_protection))
        for name in NEEDED_SOON:
            await _import(name)


async def _import(name: str) -> None:
    """In a thread: the API answers meanwhile."""
    await trio.to_thread.run_sync(import_module, name)


async def _watch_surroundings(
    endpoint: BoundEndpoint, linking: Linking, discovery: Discovery
) -> None:
    """Look again when the network changed or the machine woke."""

    def changed() -> None:
        endpoint.probe()
        linking.look_again()
        discovery.reopen()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_network, changed)
        nursery.start_soon(watch_wake, lambda _jump: changed())


@asynccontextmanager
async def _open_lan(config: Config, endpoint: BoundEndpoint, clock: Clock) -> AsyncIterator[Lan]:
    await _import("presenced.net.lan")
    from presenced.net.lan import open_lan

    async with open_lan(endpoint.port, clock=clock, host=config.listen_host) as lan:
        yield lan
