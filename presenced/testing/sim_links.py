"""One end of a link between two simulated devices, over a wire of the simulated network.

Two kinds: `PlainEnd` carries messages and takes the link itself to work, as it does when nobody
meddles; `SealedEnd` runs the real `LinkMachine` over bytes that may be damaged. Both go up the way
links do: the dialler first, the answerer once it has the dialler's last word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto
from typing import Any, Protocol

from presenced.clock import Entropy, Instant
from presenced.device.effects import LinkNumber
from presenced.device.membership import Membership
from presenced.ids import DeviceId
from presenced.testing.sim_network import Wire, WireEnd
from presenced.trust.attestation import Evidence, open_policy
from presenced.trust.frames import SendBytes
from presenced.trust.link import LinkClosed, LinkConfig, LinkMachine, LinkUp, MessageReceived
from presenced.trust.tags import tag_keys

EVIDENCE = Evidence(
    version="1.0", distribution_digest=b"s" * 32, os="SimOS 1", key_protection="key-file"
)


class LinkOwner(Protocol):
    """The device that an end belongs to."""

    def when_awake(self, happening: Callable[[], None]) -> None: ...

    def link_is_up(self, end: LinkEnd, device: DeviceId | None, static: bytes) -> None: ...

    def link_heard(self, end: LinkEnd, message: bytes) -> None: ...

    def link_is_down(self, end: LinkEnd) -> None: ...


class LinkEnd:
    """What both kinds have in common."""

    def __init__(self, owner: LinkOwner, wire: Wire, side: int) -> None:
        self.number: LinkNumber | None = None
        "what the device machine calls the link, once it is up"
        self.up_at = 0
        "true time"
        self.wire = wire
        self.side = side
        self.peer_index = wire.pair[1 - side]
        self._owner = owner
        wire.ends[side] = WireEnd(
            lambda payload: owner.when_awake(lambda: self._arrived(payload)),
            lambda: owner.when_awake(self._ended),
        )

    @property
    def inbound(self) -> bool:
        return self.side == 1

    def start(self) -> None:
        """Begin, if this is the dialler."""
        raise NotImplementedError

    def send(self, messages: Iterable[bytes]) -> None:
        raise NotImplementedError

    def close(self, code: str) -> None:
        """End the link from here. The owner hears nothing more."""
        self.wire.close(self.side)

    def die(self) -> None:
        """The owner's process is gone."""
        self.wire.abandon(self.side)

    def _arrived(self, payload: Any) -> None:
        raise NotImplementedError

    def _ended(self) -> None:
        self._owner.link_is_down(self)


class _Greeting(Enum):
    HELLO = auto()
    ANSWER = auto()
    EVIDENCE = auto()


class PlainEnd(LinkEnd):
    """Messages as they are. `find` says who has a static key, as the owner knows it then."""

    def __init__(
        self,
        owner: LinkOwner,
        wire: Wire,
        side: int,
        *,
        peer_static: bytes,
        find: Callable[[bytes], DeviceId | None],
    ) -> None:
        super().__init__(owner, wire, side)
        self._peer_static = peer_static
        self._find = find

    def start(self) -> None:
        if self.side == 0:
            self.wire.send(0, _Greeting.HELLO)

    def send(self, messages: Iterable[bytes]) -> None:
        for message in messages:
            self.wire.send(self.side, message)

    def _arrived(self, payload: Any) -> None:
        if isinstance(payload, bytes):
            self._owner.link_heard(self, payload)
        elif payload is _Greeting.HELLO:
            self.wire.send(1, _Greeting.ANSWER)
        elif payload is _Greeting.ANSWER:
            self.wire.send(0, _Greeting.EVIDENCE)
            self._go_up()
        else:
            self._go_up()

    def _go_up(self) -> None:
        self._owner.link_is_up(self, self._find(self._peer_static), self._peer_static)


class SimPeers:
    """A `PeerDirectory` of what a membership says. Tag keys are kept, as the daemon keeps them."""

    def __init__(self) -> None:
        self._statics: Mapping[DeviceId, bytes] = {}
        self._tag_keys: dict[DeviceId, bytes] = {}
        self._counters: dict[bytes, int] = {}

    def use(self, membership: Membership) -> None:
        siblings = membership.siblings
        if siblings != self._statics:
            self._statics = siblings
            self._tag_keys = tag_keys(membership.secrets.static, siblings)

    def statics(self) -> Mapping[DeviceId, bytes]:
        return self._statics

    def tag_keys(self) -> Mapping[DeviceId, bytes]:
        return self._tag_keys

    def last_counter(self, static: bytes) -> int:
        return self._counters.get(static, 0)

    def record_counter(self, static: bytes, counter: int) -> None:
        self._counters[static] = counter


class SealedEnd(LinkEnd):
    """The real link over bytes. Damage ends it, and lets nothing else happen."""

    def __init__(
        self,
        owner: LinkOwner,
        wire: Wire,
        side: int,
        *,
        membership: Membership,
        peers: SimPeers,
        counter: int,
        expected: DeviceId | None,
        entropy: Entropy,
        now: Callable[[], Instant],
    ) -> None:
        super().__init__(owner, wire, side)
        self._now = now
        self.sent: list[bytes] = []
        "messages, for the checker: what the other end heard is a beginning of it"
        self.heard: list[bytes] = []
        self._machine = LinkMachine(
            initiator=side == 0,
            config=LinkConfig(
                space=membership.space,
                static=membership.secrets.static,
                device=membership.device,
                counter=counter,
                evidence=EVIDENCE,
                policy=open_policy(EVIDENCE),
                expected=expected,
            ),
            peers=peers,
            entropy=entropy,
            now=now(),
        )

    def start(self) -> None:
        self._perform(self._machine.start(self._now()))

    def send(self, messages: Iterable[bytes]) -> None:
        for message in messages:
            self.sent.append(message)
            self._perform(self._machine.send_message(message))

    def close(self, code: str) -> None:
        for effect in self._machine.close(code):
            if isinstance(effect, SendBytes):
                self.wire.send(self.side, effect.data)
        super().close(code)

    @property
    def next_wakeup(self) -> Instant | None:
        return self._machine.next_wakeup

    def tick(self) -> None:
        self._perform(self._machine.tick(self._now()))

    def _arrived(self, payload: Any) -> None:
        self._perform(self._machine.receive_bytes(payload, self._now()))

    def _ended(self) -> None:
        self._perform(self._machine.end_of_stream(self._now()))

    def _perform(self, effects: Iterable[Any]) -> None:
        for effect in effects:
            match effect:
                case SendBytes():
                    self.wire.send(self.side, effect.data)
                case LinkUp():
                    self._owner.link_is_up(self, effect.peer, effect.static)
                case MessageReceived():
                    self.heard.append(effect.message)
                    self._owner.link_heard(self, effect.message)
                case LinkClosed():
                    self.wire.close(self.side)
                    self._owner.link_is_down(self)
