"""A seeded world of devices: what happens in it, in which order, follows from the seed alone.

Theory of operation. A step is one thing drawn by lot (an edit, a partition, a crash, a sleep, an
enrolment, …) and some time in which what is due happens. After the steps everything is healed and
must come to rest within a bound. Checkers hear of every commit, message, answer and start, are
asked after every step, and once more at rest. A world never reads a clock and draws all randomness
from its seed, so a seed replays exactly.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from presenced.device.commit import Commit
from presenced.device.effects import Answer, CloseLink, Event
from presenced.device.founding import found, join
from presenced.testing.checkers import Checker, Violation, all_checkers
from presenced.testing.link_doubles import SeededEntropy
from presenced.testing.sim_agenda import SimAgenda
from presenced.testing.sim_clock import MS, SECOND, SKEW_MS_MAX, SimClock
from presenced.testing.sim_device import Request, SimDevice
from presenced.testing.sim_journal import Journal
from presenced.testing.sim_links import LinkEnd
from presenced.testing.sim_network import LEARNS_LATE_US_MAX, SimNetwork
from presenced.trust.identity import DeviceSecrets, new_device_secrets

DEVICES_MAX: Final = 5

SETTLE_HAPPENINGS_MAX: Final = 60_000
"happenings within which a healed world must be at rest; one of five devices needs some thousands"

TRACE_LINES: Final = 60
"what is shown of the steps before a failure"


class SimWorld:
    """Devices, network and checkers. `found` first; then whatever a test or a weather does."""

    def __init__(
        self, seed: object, *, sealed_links: bool = False, checkers: Sequence[Checker] | None = None
    ) -> None:
        self.seed = seed
        self.lots = random.Random(repr(("world", seed)))
        self.agenda = SimAgenda(random.Random(repr(("agenda", seed))))
        self.network = SimNetwork(self.agenda, random.Random(repr(("network", seed))))
        self.devices: list[SimDevice] = []
        self.journal = Journal()
        self.sealed_links = sealed_links
        self.link_pairs: list[tuple[LinkEnd, LinkEnd]] = []
        self.trace: deque[tuple[object, ...]] = deque(maxlen=TRACE_LINES)
        self.closed = False
        "whoever is not a member by now stays outside"
        self._checkers = list(all_checkers() if checkers is None else checkers)
        self._hooks: dict[str, list[Callable[..., None]]] = {}

    # --- devices ---

    @property
    def running(self) -> list[SimDevice]:
        return [device for device in self.devices if device.running]

    @property
    def members(self) -> list[SimDevice]:
        """Devices that are set up, running or not."""
        return [device for device in self.devices if device.secrets is not None]

    def new_device(self, clock: SimClock | None = None) -> SimDevice:
        """A device that is nobody's yet."""
        device = SimDevice(self, len(self.devices), clock or SimClock())
        self.devices.append(device)
        return device

    def found(self, clock: SimClock | None = None) -> SimDevice:
        """The first device founds the identity."""
        device = self.new_device(clock)
        founding, commit = found("Founder", SeededEntropy((self.seed, "founding")))
        self.journal.space = founding.space
        device.disk.apply(commit)
        device.start()
        return device

    def admit(self, sponsor: SimDevice, joiner: SimDevice) -> None:
        """Let a device be admitted by another; it starts when the statements reach it."""
        if sponsor.machine is None or joiner.secrets is not None:
            return
        secrets = new_device_secrets(
            SeededEntropy((self.seed, "joiner", joiner.index, self.agenda.happened))
        )
        certificate = secrets.certificate(self.journal.space, sponsor.device)
        self.say(sponsor.name, "admits", joiner.name)
        sponsor.admit(joiner, secrets, certificate)

    def admission_answered(
        self,
        sponsor: SimDevice,
        joiner: SimDevice,
        secrets: DeviceSecrets,
        statements: Sequence[bytes],
    ) -> None:
        """The statements travel to the new device, over the link of the enrolment."""
        assert sponsor.secrets is not None
        static = sponsor.secrets.static.public
        sponsor_id = sponsor.device
        delay = self.lots.randint(MS, 2 * SECOND)

        def joined() -> None:
            if joiner.secrets is not None or self.closed:
                return
            commit = join(
                space=self.journal.space,
                secrets=secrets,
                statements=statements,
                name=f"Device {joiner.name}",
                sponsor=sponsor_id,
                sponsor_static=static,
            )
            joiner.disk.apply(commit)
            joiner.start()
            for device in self.running:
                device.dial_soon()

        self.agenda.after(delay, joined)

    # --- weather ---

    def part(self, one: SimDevice, other: SimDevice) -> None:
        self.network.part(one.index, other.index)

    def rejoin(self, one: SimDevice, other: SimDevice) -> None:
        self.network.join(one.index, other.index)
        one.dial_soon()
        other.dial_soon()

    def sleep(self, device: SimDevice) -> None:
        """A device stops; its links time out at the other ends."""
        device.sleep()
        wires = [end.wire for end in device.ends]

        def time_out() -> None:
            if device.asleep:
                for wire in wires:
                    wire.cut()

        self.agenda.after(LEARNS_LATE_US_MAX, time_out)

    def heal(self) -> None:
        """From here on nothing goes wrong any more."""
        self.say("heal")
        self.network.heal()
        for device in self.devices:
            device.crash_at = None
            device.full_until = 0
            device.wake()
        for pair in self.link_pairs:
            if self.sealed_links:  # damage may have left one waiting for bytes that never come
                pair[0].wire.cut()
        for device in self.members:
            device.dial_soon()

    # --- time ---

    def run_for(self, duration_us: int) -> None:
        self.agenda.run_until(self.agenda.now + duration_us)

    def settle(self) -> None:
        """Until everything is at rest and everywhere. Raises `Violation` if that takes too long."""
        end = self.agenda.happened + SETTLE_HAPPENINGS_MAX
        while (unrest := self.unrest()) is not None:
            if self.agenda.happened >= end or self.agenda.next_time is None:
                raise Violation("Liveness", f"does not come to rest: {unrest}")
            for _ in range(8):
                if self.agenda.next_time is not None:
                    self.agenda.happen()

    def unrest(self) -> str | None:
        """Why the world is not at rest; None if it is."""
        if self.network.busy:
            return "messages are under way"
        members = self.members
        for device in members:
            machine = device.machine
            if machine is None or device.asleep:
                return f"{device.name} is not running"
            if device.batch is not None or device.requests or device.admitted:
                return f"{device.name} has not finished a request"
            if not all(end.wire.alive for end in device.ends):
                return f"{device.name} has not noticed that a link is dead"
            for other in members:
                if other is not device and other.device not in machine.linked:
                    return f"{device.name} is not linked with {other.name}"
        for device in members:
            machine = device.machine
            assert machine is not None
            for other in members:
                if other is not device and not machine.in_sync(other.device):
                    return f"{device.name} is not in sync with {other.name}"
            if machine.next_wakeup is not None:
                return f"{device.name} waits for a timer"
        return None

    # --- what checkers hear ---

    def say(self, *words: object) -> None:
        """Note something for the trace."""
        self.trace.append((self.agenda.now, *words))

    def _tell(self, hook: str, *arguments: Any) -> None:
        calls = self._hooks.get(hook)
        if calls is None:
            calls = self._hooks[hook] = [
                getattr(checker, hook)
                for checker in self._checkers
                if getattr(type(checker), hook) is not getattr(Checker, hook)
            ]
        for call in calls:
            call(self, *arguments)

    def sealed(self, device: SimDevice, commit: Commit) -> None:
        self.journal.sealed(commit, device.own)

    def landed(self, device: SimDevice, commit: Commit) -> None:
        assert device.machine is not None
        self.journal.landed(commit, device.own, device.machine.membership.view.epoch_key)
        self._tell("landed", device, commit)

    def started(self, device: SimDevice) -> None:
        self.say(device.name, "starts")
        self._tell("started", device)

    def sends(self, device: SimDevice, messages: Sequence[bytes]) -> None:
        self._tell("sends", device, messages)

    def closes(self, device: SimDevice, effect: CloseLink) -> None:
        self.say(device.name, "closes link", effect.link, effect.code, effect.detail)
        self._tell("closes", device, effect)

    def answered(self, device: SimDevice, request: Request, answer: Answer) -> None:
        error = answer.error
        self.say(device.name, "answers", "ok" if error is None else error.code)
        self._tell("answered", device, request, answer)

    def emitted(self, device: SimDevice, events: Iterable[Event]) -> None:
        for event in events:
            if event.kind == "alert":
                self.say(device.name, "alert", event.data)
                self._tell("alerted", device, event)

    def connected(self, dialler: LinkEnd, answerer: LinkEnd) -> None:
        if self.sealed_links:
            self.link_pairs.append((dialler, answerer))

    def check_step(self) -> None:
        self._tell("after_step")

    def check_rest(self) -> None:
        """The world is at rest: everything must be true now."""
        self._tell("after_step")
        self._tell("at_rest")


def random_clock(lots: random.Random) -> SimClock:
    """A device's clock: mostly about right, sometimes a month off, still, or running backwards."""
    kind = lots.random()
    if kind < 0.6:
        return SimClock(skew_ms=lots.randint(-2_000, 2_000))
    rate = lots.choice((1, 1, 0, -1))
    return SimClock(skew_ms=lots.randint(-SKEW_MS_MAX, SKEW_MS_MAX), wall_rate=rate)
