"""One simulated device: its disk, its clocks, its process, and what the process may go through.

Rules of this file: the process is the very same `DeviceMachine` that the daemon drives; here it is
driven in the same order (commit, then send, then emit), by an agenda instead of a clock. Whatever
is due while the device sleeps happens when it wakes. A crash drops the machine and everything that
is not on the disk.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from presenced.clock import Instant
from presenced.device.edits import Edit
from presenced.device.effects import (
    Answer,
    CloseLink,
    CommitBatch,
    Effect,
    Emit,
    LinkNumber,
    RequestNumber,
    SendMessages,
)
from presenced.device.founding import load_identity
from presenced.device.machine import DeviceMachine
from presenced.errors import StoreFull
from presenced.ids import COLLECTIONS, Collection, DeviceId, LogId
from presenced.replica.document import DocumentLost
from presenced.replica.slot import Operation
from presenced.testing.link_doubles import SeededEntropy
from presenced.testing.sim_agenda import Happening
from presenced.testing.sim_clock import MS, SECOND, SimClock
from presenced.testing.sim_disk import SimDisk
from presenced.testing.sim_links import LinkEnd, PlainEnd, SealedEnd, SimPeers
from presenced.testing.sim_network import Wire
from presenced.trust.certificate import Certificate
from presenced.trust.identity import DeviceSecrets

if TYPE_CHECKING:
    from presenced.testing.sim_world import SimWorld


BACKOFF_US_MIN: Final = 200 * MS
BACKOFF_US_MAX: Final = 600 * SECOND
"a device that finds nobody looks again at random within a time that doubles from one to the other"

LASTED_US: Final = 10 * SECOND
"after a link that lasted so long it looks again without back-off"


class CrashPoint(Enum):
    """Where the process dies, relative to the next commit."""

    LOST = auto()
    "before the transaction is on disk"
    KEPT = auto()
    "when it is on disk, before the machine hears of it"
    SENDING = auto()
    "after the machine heard, between two of the effects that follow"


class NewerMachine(DeviceMachine):
    """A device of a later version: it also writes maps and fields that this version ignores."""

    @property
    def hlc_used(self) -> int:
        """The highest HLC handed out."""
        return self._clock.last

    def new_stamp(self, now: Instant) -> int:
        """A fresh HLC."""
        return self._clock.tick(now.wall_ms)

    def write_operations(
        self, writes: Mapping[Collection, Sequence[Operation]], now: Instant
    ) -> list[Effect]:
        """Write operations as they are."""
        with self._surviving():
            self._writing.write(
                {name: list(operations) for name, operations in writes.items()}, now
            )
        return self._decide(now)


@dataclass(slots=True)
class Request:
    """An edit that waits for its answer."""

    edits: Sequence[Edit]
    hlc_before: int
    "the highest HLC the device had used when it was asked"


class SimDevice:
    """See the module. `machine` is None while the process is down."""

    def __init__(self, world: SimWorld, index: int, clock: SimClock) -> None:
        self.world = world
        self.index = index
        self.name = "ABCDEFGH"[index]
        self.clock = clock
        self.disk = SimDisk()
        self.machine: NewerMachine | None = None
        self.secrets: DeviceSecrets | None = None
        "None until the device is set up"
        self.own: dict[Collection, LogId] = {}
        self.ends: list[LinkEnd] = []
        self.numbered: dict[LinkNumber, LinkEnd] = {}
        self.requests: dict[RequestNumber, Request] = {}
        self.admitted: dict[RequestNumber, tuple[SimDevice, DeviceSecrets]] = {}
        "enrolments that wait for the sponsor's answer"
        self.batch: CommitBatch | None = None
        "the commit in flight"
        self.crash_at: CrashPoint | None = None
        self.full_until = 0
        "true time until which the disk is full"
        self.asleep = False
        self.peers = SimPeers()
        self._lots: random.Random = world.lots
        self._fell_asleep_at = 0
        self._deferred: list[Happening] = []
        self._life = 0
        self._last_request = 0
        self._last_link = 0
        self._tick_at: int | None = None
        self._dial_due = False
        self._backoff_us = BACKOFF_US_MIN
        self._link_counter = 0

    # --- what others ask ---

    @property
    def device(self) -> DeviceId:
        assert self.secrets is not None
        return self.secrets.device

    @property
    def running(self) -> bool:
        """Set up, not crashed, awake."""
        return self.machine is not None and not self.asleep

    @property
    def now(self) -> Instant:
        return self.clock.read(self.world.agenda.now)

    def links_to(self, other: SimDevice) -> bool:
        return self.machine is not None and other.device in self.machine.linked

    # --- life ---

    def start(self) -> None:
        """Start the process from what is on the disk."""
        space, secrets = load_identity(self.disk)
        self.secrets = secrets
        self.own = {name: secrets.log(name) for name in COLLECTIONS}
        self._life += 1
        self.peers = SimPeers()
        entropy = SeededEntropy((self.world.seed, self.index, self._life))
        self.machine = NewerMachine(space=space, secrets=secrets, reader=self.disk, entropy=entropy)
        self.world.started(self)
        self.perform(self.machine.start(self.now))
        self.dial_soon()

    def crash(self, keep: bool) -> None:
        """The process dies; a commit in flight is on disk (`keep`) or it is not."""
        self.world.say(self.name, "crashes, commit in flight", "kept" if keep else "lost")
        if self.batch is not None and keep:
            self._land(self.batch)
        self.machine = None
        self.batch = None
        self.crash_at = None
        self.requests.clear()
        self.admitted.clear()
        self._tick_at = None
        self._life += 1
        ends, self.ends = self.ends, []
        self.numbered.clear()
        for end in ends:
            end.die()
        self._after(self._lots.randint(10 * MS, 2 * SECOND), self._restart)

    def sleep(self) -> None:
        self.asleep = True
        self._fell_asleep_at = self.world.agenda.now

    def panic(self, lots: random.Random) -> None:
        """yrs panics at the next flush of one collection."""
        assert self.machine is not None
        replicas = [one for one in self.machine.shelf.replicas.values() if one.loaded]
        if not replicas:
            return
        document = lots.choice(replicas)._copy.ledger.document

        def panicking() -> None:
            raise DocumentLost("a simulated panic")

        document.flush = panicking  # type: ignore[method-assign]

    def wake(self) -> None:
        """Everything that was due meanwhile happens now, in its order."""
        if not self.asleep:
            return
        self.asleep = False
        self.clock.slept(self.world.agenda.now - self._fell_asleep_at)
        while self._deferred and not self.asleep:
            self._deferred.pop(0)()
        self.dial_soon()

    def _restart(self) -> None:
        if self.machine is None:
            self.start()

    def _after(self, delay: int, happening: Happening) -> None:
        self.world.agenda.after(delay, lambda: self.when_awake(happening))

    def _after_in_this_life(self, delay: int, happening: Happening) -> None:
        life = self._life

        def happen() -> None:
            if self._life == life:
                happening()

        self._after(delay, happen)

    def when_awake(self, happening: Happening) -> None:
        if self.asleep:
            self._deferred.append(happening)
        else:
            happening()

    # --- what a person does ---

    def edit(self, edits: Sequence[Edit]) -> RequestNumber | None:
        """Ask for edits; the answer comes when it comes. None if the process is down."""
        machine = self.machine
        if machine is None or self.asleep:
            return None
        number = self._next_request()
        self.requests[number] = Request(edits, machine.hlc_used)
        self.perform(machine.edit(number, edits, self.now))
        return number

    def write_as_newer(self, writes: Mapping[Collection, Sequence[Operation]]) -> None:
        """Write what only a newer version understands."""
        if self.machine is not None and not self.asleep:
            self.perform(self.machine.write_operations(writes, self.now))

    def admit(self, joiner: SimDevice, secrets: DeviceSecrets, certificate: Certificate) -> None:
        """Make another device a member; it starts when the answer reaches it."""
        if self.machine is None or self.asleep:
            return
        number = self._next_request()
        self.admitted[number] = (joiner, secrets)
        self.perform(self.machine.admit(number, certificate, COLLECTIONS, self.now))

    def _next_request(self) -> RequestNumber:
        self._last_request += 1
        return RequestNumber(self._last_request)

    # --- effects ---

    def perform(self, effects: Iterable[Effect]) -> None:
        """Carry out effects in order, then see when the machine wants to be woken."""
        for effect in effects:
            self._perform_one(effect)
        self._note_wakeup()

    def _perform_one(self, effect: Effect) -> None:
        match effect:
            case CommitBatch():
                assert self.batch is None, "two commits in flight"
                self.batch = effect
                self.world.sealed(self, effect.commit)
                delay = self._lots.randint(50, 20 * MS)
                self._after_in_this_life(delay, lambda: self._commit_ends(effect))
            case SendMessages():
                end = self.numbered.get(effect.link)
                if end is not None:
                    self.world.sends(self, effect.messages)
                    end.send(effect.messages)
            case CloseLink():
                self.world.closes(self, effect)
                end = self.numbered.get(effect.link)
                if end is not None:
                    end.close(effect.code)
                    self._after_in_this_life(0, lambda: self.link_is_down(end))
            case Answer():
                self._answered(effect)
            case Emit():
                self.world.emitted(self, effect.events)

    def _answered(self, answer: Answer) -> None:
        request = self.requests.pop(answer.request, None)
        if request is not None:
            self.world.answered(self, request, answer)
        admitted = self.admitted.pop(answer.request, None)
        if admitted is not None and answer.error is None:
            self.world.admission_answered(self, *admitted, answer.value)

    def _commit_ends(self, batch: CommitBatch) -> None:
        assert self.machine is not None
        assert self.batch is batch
        crash, self.crash_at = self.crash_at, None
        if crash in (CrashPoint.LOST, CrashPoint.KEPT):
            self.crash(keep=crash is CrashPoint.KEPT)
            return
        self.batch = None
        if self.world.agenda.now < self.full_until:
            self.world.say(self.name, "disk full")
            failure = StoreFull("the simulated disk is full")
            self.perform(self.machine.commit_failed(batch.token, failure, self.now))
            return
        self._land(batch)
        effects = self.machine.committed(batch.token, self.now)
        if crash is CrashPoint.SENDING:
            for effect in effects[: self._lots.randint(0, len(effects))]:
                self._perform_one(effect)
            self.crash(keep=self._lots.random() < 0.5)
            return
        self.perform(effects)

    def _land(self, batch: CommitBatch) -> None:
        self.disk.apply(batch.commit)
        self.world.landed(self, batch.commit)

    # --- time ---

    def _note_wakeup(self) -> None:
        if self.machine is None:
            return
        wakeup = self.machine.next_wakeup
        if wakeup is None:
            return
        at = max(self.clock.true_time_of(wakeup.mono_ms), self.world.agenda.now)
        if self._tick_at is None or at < self._tick_at:
            self._tick_at = at
            self._after_in_this_life(at - self.world.agenda.now, lambda: self._tick(at))

    def _tick(self, at: int) -> None:
        if self._tick_at != at or self.machine is None:
            return
        self._tick_at = None
        now = self.now
        wakeup = self.machine.next_wakeup
        if wakeup is not None and wakeup.mono_ms <= now.mono_ms:
            self.perform(self.machine.tick(now))
            again = None if self.machine is None else self.machine.next_wakeup
            assert again is None or again.mono_ms > now.mono_ms, "a tick that changes nothing"
        else:
            self._note_wakeup()

    # --- links ---

    def dial_soon(self) -> None:
        """Something changed: look for devices that are not linked, without back-off."""
        self._backoff_us = BACKOFF_US_MIN
        self._plan_dial()

    def _plan_dial(self) -> None:
        if not self._dial_due:
            self._dial_due = True
            wait_us = self._lots.randint(1, self._backoff_us)
            if self.index % 2:  # else nearly all dials would cross
                wait_us += self._backoff_us
            self._after(wait_us, self._dial)

    def _dial(self) -> None:
        self._dial_due = False
        machine = self.machine
        if machine is None:
            return
        missing = False
        for other in self.world.members:
            if other is self or other.device not in machine.membership.siblings:
                continue
            if other.device in machine.linked:
                continue
            missing = True
            if not any(end.peer_index == other.index and end.number is None for end in self.ends):
                self.dial(other)
        if missing:
            self._backoff_us = min(self._backoff_us * 2, BACKOFF_US_MAX)
            self._plan_dial()

    def dial(self, other: SimDevice) -> None:
        """Begin one link, whatever links there are."""
        if not self.running or other.machine is None:
            return
        wire = self.world.network.connect(self.index, other.index)
        if wire is None:
            return
        dialler = self._end_of(wire, 0, other)
        answerer = other._end_of(wire, 1, self)
        self.world.connected(dialler, answerer)
        dialler.start()

    def _end_of(self, wire: Wire, side: int, other: SimDevice) -> LinkEnd:
        machine = self.machine
        assert machine is not None
        end: LinkEnd
        if self.world.sealed_links:
            self.peers.use(machine.membership)
            self._link_counter += 1
            end = SealedEnd(
                self,
                wire,
                side,
                membership=machine.membership,
                peers=self.peers,
                counter=self._link_counter,
                expected=other.device if side == 0 else None,
                entropy=SeededEntropy(
                    (self.world.seed, self.index, self._life, self._link_counter)
                ),
                now=lambda: self.now,
            )
        else:
            assert other.secrets is not None
            end = PlainEnd(
                self,
                wire,
                side,
                peer_static=other.secrets.static.public,
                find=lambda static: machine.membership.device_with_static(static),
            )
        self.ends.append(end)
        return end

    def link_is_up(self, end: LinkEnd, device: DeviceId | None, static: bytes) -> None:
        if self.machine is None or end not in self.ends:
            return
        self._last_link += 1
        end.number = LinkNumber(self._last_link)
        end.up_at = self.world.agenda.now
        self.numbered[end.number] = end
        self.world.say(self.name, "link up to", self.world.devices[end.peer_index].name)
        self.perform(
            self.machine.link_up(end.number, device, static, self.now, inbound=end.inbound)
        )

    def link_heard(self, end: LinkEnd, message: bytes) -> None:
        if self.machine is not None and end.number in self.numbered:
            self.perform(self.machine.link_message(end.number, message, self.now))

    def link_is_down(self, end: LinkEnd) -> None:
        if end not in self.ends:
            return
        self.ends.remove(end)
        if self.world.agenda.now - end.up_at > LASTED_US:
            self._backoff_us = BACKOFF_US_MIN
        if end.number is not None:
            self.numbered.pop(end.number, None)
            if self.machine is not None:
                self.world.say(self.name, "link down to", self.world.devices[end.peer_index].name)
                self.perform(self.machine.link_down(end.number, self.now))
        self._plan_dial()
