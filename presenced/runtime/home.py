"""The home of one device: its store, and its machine once it has an identity.

Theory of operation. Before `init` or `join` there is a store and nothing else. Either writes the
first commit, then `settle` builds the machine from what is on disk and starts its driver. What
waits for an identity (links, discovery) waits for `settled`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from presenced.clock import Clock, Entropy
from presenced.crypto.phrase import phrase_from_entropy
from presenced.device.commit import Commit, StoreReader
from presenced.device.edits import Edit, EditResult
from presenced.device.effects import Event
from presenced.device.founding import (
    NAME,
    ROOT_ENTROPY,
    found,
    is_set_up,
    join,
    load_identity,
)
from presenced.device.machine import DeviceMachine
from presenced.errors import (
    CallerError,
    Conflict,
    InvalidValue,
    NotAllowed,
    NotSetUp,
    PresenceError,
    Unauthorized,
)
from presenced.ids import Collection, SpaceId
from presenced.local.events import EventHub
from presenced.local.owner import Founded
from presenced.log import log
from presenced.presence.values import checked_title
from presenced.runtime.device_driver import DeviceDriver
from presenced.runtime.limits import REST_SECONDS_MAX
from presenced.runtime.peer_directory import COUNTERS, PeerDirectory
from presenced.store import Store
from presenced.trust.certificate import certificate_bytes
from presenced.trust.identity import DeviceSecrets, new_device_secrets
from presenced.trust.link import next_counter
from presenced.trust.pairing_terms import Admit, Joined, Joiner, Sponsor

CONFIRM_WORDS: Final = 2
"words of the phrase that a person repeats"


class PhraseGone(CallerError):
    """The phrase was confirmed; this device does not have it any more."""

    code = "phrase-gone"
    status = 404
    hint = "It is only on the paper you wrote it on."


@dataclass(slots=True)
class _Settled:
    driver: DeviceDriver
    peers: PeerDirectory


class Home:
    """See the module. `nursery` runs the driver."""

    def __init__(
        self,
        *,
        store: Store,
        hub: EventHub,
        nursery: trio.Nursery,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._store = store
        self._hub = hub
        self._nursery = nursery
        self._clock = clock
        self._entropy = entropy
        self._settled: _Settled | None = None
        self._joining: DeviceSecrets | None = None
        self._joining_name = ""
        self._setting_up = trio.Lock()
        self._on_membership: list[Callable[[], None]] = []
        self.settled = trio.Event()

    def on_membership(self, call: Callable[[], None]) -> None:
        """Call this whenever devices were added or removed, once that is on disk."""
        self._on_membership.append(call)

    def _publish(self, events: Iterable[Event]) -> None:
        events = list(events)
        self._hub.publish(events)
        if any(event.kind == "membership.changed" for event in events):
            for call in self._on_membership:
                call()

    @property
    def reader(self) -> StoreReader:
        return self._store.reader

    def require_identity(self) -> None:
        """Raises `NotSetUp` before there is an identity."""
        if self._settled is None:
            raise NotSetUp("no identity here yet")

    @property
    def settled_reader(self) -> StoreReader:
        """The reader, for what only a home with an identity has. Raises `NotSetUp`."""
        self.require_identity()
        return self._store.reader

    @property
    def driver(self) -> DeviceDriver:
        """Raises `NotSetUp` before there is an identity."""
        if self._settled is None:
            raise NotSetUp("no identity here yet")
        return self._settled.driver

    @property
    def peers(self) -> PeerDirectory:
        if self._settled is None:
            raise NotSetUp("no identity here yet")
        return self._settled.peers

    @property
    def name(self) -> str:
        raw = self.reader.meta(NAME)
        return "" if raw is None else raw.decode("utf-8")

    def settle(self) -> None:
        """Build the machine from what is on disk, if there is an identity, and start it."""
        if self._settled is not None or not is_set_up(self.reader):
            return
        space, secrets = load_identity(self.reader)
        machine = DeviceMachine(
            space=space, secrets=secrets, reader=self.reader, entropy=self._entropy
        )
        driver = DeviceDriver(machine, self._store, self._clock, self._publish)
        peers = PeerDirectory(machine.membership, self.reader.meta(COUNTERS))
        self._settled = _Settled(driver, peers)
        self._nursery.start_soon(driver.run)
        driver.perform(machine.start(self._clock.now()))
        self.settled.set()

    async def edit(self, edits: Sequence[Edit]) -> list[EditResult]:
        driver = self.driver
        answer: list[EditResult] = await driver.request(
            lambda number, now: driver.machine.edit(number, edits, now)
        )
        return answer

    async def rest(self) -> None:
        """Before the end: what running players have reached is on disk, if the disk takes it."""
        if self._settled is None:
            return
        driver = self.driver
        try:
            with trio.move_on_after(REST_SECONDS_MAX):
                await driver.request(driver.machine.rest)
        except PresenceError as error:
            log.warning("the last positions are not kept", code=error.code)

    # --- identity ---

    async def init(self, name: str) -> Founded:
        """Found an identity. Raises `Conflict` if there is one."""
        _checked_name(name)
        async with self._setting_up:
            if is_set_up(self.reader):
                raise Conflict(
                    "this device already has an identity", hint="`presence status` shows it."
                )
            founding, commit = found(name, self._entropy)
            await self._store.commit(commit)
            self.settle()
        return Founded(
            identity=founding.identity, device=founding.secrets.device, phrase=founding.phrase
        )

    def phrase(self) -> str | None:
        """The phrase while it is not confirmed."""
        entropy = self.reader.meta(ROOT_ENTROPY)
        return None if entropy is None else phrase_from_entropy(entropy)

    async def confirm_phrase(self, words: dict[int, str]) -> None:
        """Erase the phrase, once two of its words were repeated."""
        phrase = self.phrase()
        if phrase is None:
            raise PhraseGone("the phrase was confirmed before")
        kept = phrase.split()
        right = len(words) >= CONFIRM_WORDS and all(
            0 < place <= len(kept) and kept[place - 1] == word.strip().lower()
            for place, word in words.items()
        )
        if not right:
            raise NotAllowed(
                "these words are not in those places",
                hint="Compare with what you wrote down; `presence phrase` shows it again.",
            )
        await self._store.commit(Commit(meta={ROOT_ENTROPY: None}))
        self._hub.publish([Event("phrase.confirmed", {})])

    # --- enrolment ---

    def party(self, role: str, name: str | None) -> Sponsor | Joiner:
        """Who this device is in an enrolment."""
        if role == "sponsor":
            membership = self.driver.machine.membership
            return Sponsor(
                name=self.name,
                signing=membership.secrets.signing,
                static=membership.secrets.static,
                space=membership.space,
                receives=membership.collections,
            )
        if is_set_up(self.reader):
            raise Conflict(
                "this device already has an identity",
                hint="Only a device without one can join; use another PRESENCED_HOME.",
            )
        secrets = self._joining = new_device_secrets(self._entropy)
        self._joining_name = _checked_name(name or socket.gethostname() or "device")
        return Joiner(
            name=self._joining_name,
            signing=secrets.signing,
            static=secrets.static,
            make_certificate=lambda adder, space: certificate_bytes(
                secrets.certificate(space, adder)
            ),
        )

    async def admit(self, wanted: Admit) -> list[bytes]:
        driver = self.driver
        raws: list[bytes] = await driver.request(
            lambda number, now: driver.machine.admit(
                number, wanted.certificate, _collections(wanted), now
            )
        )
        return raws

    async def joined(self, joined: Joined) -> None:
        async with self._setting_up:
            secrets = self._joining
            if secrets is None or is_set_up(self.reader):
                raise Unauthorized("nobody joins here")
            commit = join(
                space=SpaceId(joined.space),
                secrets=secrets,
                statements=joined.statements,
                name=self._joining_name,
                sponsor=joined.sponsor,
                sponsor_static=joined.sponsor_static,
            )
            await self._store.commit(commit)
            self.settle()

    # --- link counters ---

    async def next_link_counter(self) -> int:
        """The counter for a dial, on disk before it is used."""
        peers = self.peers
        peers.own_counter = next_counter(peers.own_counter, self._clock.now())
        await self.keep_counters()
        return peers.own_counter

    async def keep_counters(self) -> None:
        peers = self.peers
        peers.changed = False
        await self._store.commit(Commit(meta={COUNTERS: peers.to_bytes()}))

    async def verify(self) -> bool:
        """See `Store.verify`."""
        return await self._store.verify()

    async def keep_meta(self, rows: dict[str, bytes | None]) -> None:
        await self._store.commit(Commit(meta=rows))


def _checked_name(name: str) -> str:
    """A device's name. Raises `InvalidValue`."""
    if not name.strip():
        raise InvalidValue("empty name", hint="Give the device a name: `--name NAME`.")
    return checked_title(name)


def _collections(wanted: Admit) -> Iterable[Collection]:
    return wanted.receives
