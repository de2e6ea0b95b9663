"""Devices that link and pair in memory: keys, directories and people who say yes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from presenced.clock import Instant
from presenced.crypto import derive
from presenced.crypto.keys import DhKey, SigningKey
from presenced.ids import COLLECTIONS, DeviceId, SpaceId
from presenced.testing.byte_pair import START, BytePair
from presenced.trust.attestation import Evidence, open_policy
from presenced.trust.certificate import certificate_bytes, issue_certificate
from presenced.trust.hello import PROTOCOL_VERSIONS
from presenced.trust.link import LinkConfig, LinkMachine, next_counter
from presenced.trust.pairing import PairingMachine
from presenced.trust.pairing_code import PairingAttempts, PairingCode
from presenced.trust.pairing_terms import (
    Admit,
    CandidateSeen,
    Entering,
    Joined,
    Joiner,
    Showing,
    Sponsor,
)
from presenced.trust.tags import tag_keys

SPACE = SpaceId(b"a space of tests")
EVIDENCE = Evidence(
    version="1.0", distribution_digest=b"d" * 32, os="TestOS 1", key_protection="key-file"
)


class SeededEntropy:
    """Randomness from a seed."""

    def __init__(self, seed: object) -> None:
        self._random = random.Random(repr(seed))

    def __call__(self, size: int, /) -> bytes:
        return self._random.randbytes(size)


@dataclass
class Device:
    """A device's keys, from its name."""

    name: str
    signing: SigningKey = field(init=False)
    static: DhKey = field(init=False)
    sealing: DhKey = field(init=False)
    entropy: SeededEntropy = field(init=False)
    counter: int = 0

    def __post_init__(self) -> None:
        self.entropy = SeededEntropy(self.name)
        self.signing = SigningKey(self.entropy(32))
        self.static = DhKey(self.entropy(32))
        self.sealing = DhKey(self.entropy(32))

    @property
    def device(self) -> DeviceId:
        return derive.device_id(self.signing.public)

    def certificate(self, adder: DeviceId, space: SpaceId) -> bytes:
        return certificate_bytes(
            issue_certificate(
                self.signing,
                static=self.static.public,
                sealing=self.sealing.public,
                incarnation=b"i" * 16,
                space=space,
                adder=adder,
            )
        )


class MemoryPeers:
    """A `PeerDirectory` of given devices."""

    def __init__(self, own: Device, others: Iterable[Device]) -> None:
        self._statics = {other.device: other.static.public for other in others}
        self._tag_keys = tag_keys(own.static, self._statics)
        self.counters: dict[bytes, int] = {}

    def statics(self) -> Mapping[DeviceId, bytes]:
        return self._statics

    def tag_keys(self) -> Mapping[DeviceId, bytes]:
        return self._tag_keys

    def last_counter(self, static: bytes) -> int:
        return self.counters.get(static, 0)

    def record_counter(self, static: bytes, counter: int) -> None:
        self.counters[static] = counter


def link_machine(
    own: Device,
    peers: MemoryPeers,
    *,
    initiator: bool,
    now: Instant = START,
    **config: Any,
) -> LinkMachine:
    """One side of a link; a dialler takes the next counter. `config` overrides `LinkConfig`."""
    if initiator:
        own.counter = next_counter(own.counter, now)
    settings: dict[str, Any] = {
        "space": SPACE,
        "static": own.static,
        "device": own.device,
        "counter": own.counter,
        "evidence": EVIDENCE,
        "policy": open_policy(EVIDENCE),
    }
    return LinkMachine(
        initiator=initiator,
        config=LinkConfig(**(settings | config)),
        peers=peers,
        entropy=own.entropy,
        now=now,
    )


def link_pair(dialler: Device, answerer: Device, *, seed: int = 0, **config: Any) -> BytePair:
    """Two devices that know each other; side 0 dials."""
    return BytePair(
        link_machine(dialler, MemoryPeers(dialler, [answerer]), initiator=True, **config),
        link_machine(answerer, MemoryPeers(answerer, [dialler]), initiator=False, **config),
        seed=seed,
    )


CODE = PairingCode(123, ("abandon", "zoo"))
MEMBERSHIP = (b"genesis", b"add", b"share" * 1000)


def sponsor(device: Device) -> Sponsor:
    return Sponsor(
        name=device.name,
        signing=device.signing,
        static=device.static,
        space=SPACE,
        receives=COLLECTIONS,
    )


def joiner(device: Device) -> Joiner:
    return Joiner(
        name=device.name,
        signing=device.signing,
        static=device.static,
        make_certificate=device.certificate,
    )


def pairing_pair(
    enters: Sponsor | Joiner,
    shows: Sponsor | Joiner,
    *,
    entered: PairingCode = CODE,
    attempts: PairingAttempts | None = None,
    seed: int = 0,
    versions: tuple[tuple[int, ...], tuple[int, ...]] = (PROTOCOL_VERSIONS, PROTOCOL_VERSIONS),
) -> BytePair:
    """An enrolment; side 0 enters the code and dials, side 1 shows it. Nobody answers yet."""
    entropy = SeededEntropy(seed)
    tries = PairingAttempts(START) if attempts is None else attempts
    return BytePair(
        PairingMachine(
            part=Entering(code=entered),
            party=enters,
            entropy=entropy,
            now=START,
            versions=versions[0],
        ),
        PairingMachine(
            part=Showing(code=CODE, attempts=tries),
            party=shows,
            entropy=entropy,
            now=START,
            versions=versions[1],
        ),
        seed=seed,
    )


class Person:
    """Someone at a screen, and the disk under it: says yes, and commits at once."""

    def __init__(self, machine: PairingMachine, *, approves: bool = True) -> None:
        self._machine = machine
        self._approves = approves
        self.committed: list[Admit | Joined] = []

    def __call__(self, effect: Any) -> list[Any]:
        machine, now = self._machine, START
        match effect:
            case CandidateSeen():
                return machine.approve(now) if self._approves else machine.refuse(now)
            case Admit():
                self.committed.append(effect)
                return machine.admitted(MEMBERSHIP, now)
            case Joined():
                self.committed.append(effect)
                return machine.stored(now)
            case _:
                return []


def with_people(pair: BytePair, *, approve: tuple[bool, bool] = (True, True)) -> list[Person]:
    """Put a person before each screen."""
    people = []
    for side in (0, 1):
        machine = pair.machines[side]
        assert isinstance(machine, PairingMachine)
        person = Person(machine, approves=approve[side])
        people.append(person)
        pair.react[side] = person
    return people
