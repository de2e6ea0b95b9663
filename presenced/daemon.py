"""The composition root: builds the rooms, hands each what it needs, owns the top nursery."""

from __future__ import annotations

import gc
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from presenced.clock import Clock
from presenced.config import Config
from presenced.device.commit import Commit
from presenced.errors import PresenceError
from presenced.host.clock import SystemClock
from presenced.host.evidence import collect_evidence
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
from presenced.net.dialing import Dialer
from presenced.net.endpoint import Endpoint, open_endpoint
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

GC_THRESHOLDS: Final = (50_000, 50, 1_000)
"""allocations before a collection, and collections of each age before the next: entries by the
thousand are no cycles, and looking for some in them takes a quarter of a catch-up (measured)"""


def run_daemon(config: Config) -> int:
    """Run until a signal says stop. Returns the exit code; raises `PresenceError` at start."""
    set_up_logs(config.log_level.value)
    gc.set_threshold(*GC_THRESHOLDS)
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
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(open_store(config.database, kept.key))
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
                key_protection=kept.protection.value,
            )
            home.settle()
            nursery.start_soon(serve, owner_app(owner), listener)
            nursery.start_soon(linking.answer, enrolments)
            nursery.start_soon(linking.dial)
            nursery.start_soon(_claim, linking, kept.protection.value)
            nursery.start_soon(_watch_surroundings, endpoint, linking, discovery)
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                ready = {"event": "ready", "socket": str(config.socket), "port": endpoint.port}
                print(json.dumps(ready), flush=True)
                gc.freeze()
                services.ready(f"listening on UDP port {endpoint.port}")
                nursery.start_soon(discovery.run)
                nursery.start_soon(services.keep_watchdog, lambda: True)
                async for number in signals:
                    log.info("stopping", signal=int(number))
                    break
                services.stopping()
                nursery.cancel_scope.cancel()


@asynccontextmanager
async def _open_endpoint(config: Config, store: Store) -> AsyncIterator[Endpoint]:
    """The endpoint on the port asked for, else on the one used before, else on any."""
    stored = store.reader.meta(PORT)
    remembered = 0 if stored is None else int.from_bytes(stored, "big")
    port = config.listen_port or remembered
    async with AsyncExitStack() as stack:
        try:
            endpoint = await stack.enter_async_context(open_endpoint(config.listen_host, port))
        except PortInUse:
            if config.listen_port or not port:
                raise
            log.warning("the port used before is taken; using another", port=port)
            endpoint = await stack.enter_async_context(open_endpoint(config.listen_host, 0))
        if not config.listen_port and endpoint.port != remembered:
            await store.commit(Commit(meta={PORT: endpoint.port.to_bytes(2, "big")}))
        yield endpoint


async def _claim(linking: Linking, key_protection: str) -> None:
    """Gather what this device says of itself; links wait for it, the owner's API does not."""
    linking.use_evidence(await collect_evidence(key_protection))


async def _watch_surroundings(endpoint: Endpoint, linking: Linking, discovery: Discovery) -> None:
    """Look again when the network changed or the machine woke."""

    def changed() -> None:
        endpoint.probe()
        linking.look_again()
        discovery.reopen()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_network, changed)
        nursery.start_soon(watch_wake, lambda _jump: changed())


def _open_lan(config: Config, endpoint: Endpoint, clock: Clock) -> AbstractAsyncContextManager[Lan]:
    from presenced.net.lan import open_lan  # after the API is ready: 100 ms of start-up

    return open_lan(endpoint.port, clock=clock, host=config.listen_host)
