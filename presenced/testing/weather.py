"""What befalls a simulated world, drawn from its seed: how many devices, which faults, how often.

Rules of this file: a fault is a row in `_FAULTS`; each world has its own weights, and some worlds
lack some faults altogether, because a world in which everything happens all the time never gets
far enough for what needs calm between two storms.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from presenced.testing.sim_clock import HOUR, MS, SECOND, SKEW_MS_MAX
from presenced.testing.sim_device import CrashPoint, SimDevice
from presenced.testing.sim_limits import narrowed
from presenced.testing.sim_person import SimPerson
from presenced.testing.sim_shortcuts import remembered
from presenced.testing.sim_world import DEVICES_MAX, SimWorld, random_clock

STEPS_MIN: Final = 60
STEPS_MAX: Final = 100

_PASSING: Final = {0: 3, MS: 3, 20 * MS: 4, 200 * MS: 4, 2 * SECOND: 1, 60 * SECOND: 1}
"how long a step may take, and how often"


@dataclass(slots=True)
class Weather:
    """The lots of one world."""

    lots: random.Random
    devices: int
    steps: int
    weights: dict[str, float] = field(default_factory=dict)
    sealed_links: bool = False
    narrow_share: float = 0.0
    burst: int = 0
    "distinct follows of one import; 0: none happens"


def draw_weather(seed: object, steps: int | None = None) -> Weather:
    """The weather of a seed."""
    lots = random.Random(repr(("weather", seed)))
    weather = Weather(
        lots=lots,
        devices=lots.choices(range(2, DEVICES_MAX + 1), (8, 4, 1.2, 0.4))[0],
        steps=steps or lots.randint(STEPS_MIN, STEPS_MAX),
        sealed_links=lots.random() < 0.12,
        narrow_share=lots.choice((0.0, 0.0, 0.5)),
        burst=lots.choices((0, 40, 1_200), (12, 3, 0.1))[0],
    )
    for name, (usual, _) in _FAULTS.items():
        weather.weights[name] = usual * lots.choice((0, 0.5, 1, 1, 2))
    weather.weights["edit"] = 40
    return weather


class StormyWorld:
    """A world under its weather. `run` raises whatever checker or machine finds."""

    def __init__(self, seed: object, steps: int | None = None) -> None:
        self.weather = draw_weather(seed, steps)
        self.world = SimWorld(seed, sealed_links=self.weather.sealed_links)
        self.person = SimPerson(random.Random(repr(("person", seed))))
        self.world.network.latency_us_max = self.weather.lots.choice((MS, 50 * MS, 400 * MS))
        self._burst_left = self.weather.burst
        self._names = list(_FAULTS)
        self._weights = [self.weather.weights[name] for name in self._names]

    def run(self) -> None:
        """All steps, then heal, come to rest, and check."""
        weather, world = self.weather, self.world
        with remembered(), narrowed(weather.lots, weather.narrow_share) as narrow:
            world.say("devices", weather.devices, "narrow", *narrow)
            world.found(random_clock(weather.lots))
            for _ in range(weather.devices - 1):
                world.new_device(random_clock(weather.lots))
            for _ in range(weather.steps):
                self._step()
            world.closed = True
            world.heal()
            world.settle()
            world.check_rest()

    def _step(self) -> None:
        lots = self.weather.lots
        name = lots.choices(self._names, self._weights)[0]
        device = self._someone()
        if device is not None:
            _FAULTS[name][1](self, device)
        if lots.random() < 0.25:
            self._admit_one()
        self.world.run_for(lots.choices(list(_PASSING), list(_PASSING.values()))[0])
        self.world.check_step()

    def _someone(self) -> SimDevice | None:
        running = self.world.running
        return self.weather.lots.choice(running) if running else None

    def _other(self, device: SimDevice) -> SimDevice | None:
        others = [one for one in self.world.members if one is not device]
        return self.weather.lots.choice(others) if others else None

    def _admit_one(self) -> None:
        new = [device for device in self.world.devices if device.secrets is None]
        sponsor = self._someone()
        if new and sponsor is not None:
            self.world.admit(sponsor, new[0])

    # --- what happens ---

    def edit(self, device: SimDevice) -> None:
        device.edit(self.person.edits(device))

    def burst(self, device: SimDevice) -> None:
        if self._burst_left:
            device.edit(self.person.burst(self._burst_left))
            self._burst_left = 0

    def newer(self, device: SimDevice) -> None:
        device.write_as_newer(self.person.newer_writes(device))

    def cut(self, device: SimDevice) -> None:
        if device.ends:
            self.weather.lots.choice(device.ends).wire.cut()

    def part(self, device: SimDevice) -> None:
        other = self._other(device)
        if other is not None:
            self.world.say("part", device.name, other.name)
            self.world.part(device, other)

    def rejoin(self, _device: SimDevice) -> None:
        pairs = self.world.network.parted_pairs
        if pairs:
            one, other = self.weather.lots.choice(pairs)
            self.world.say("rejoin", one, other)
            self.world.rejoin(self.world.devices[one], self.world.devices[other])

    def dial(self, device: SimDevice) -> None:
        other = self._other(device)
        if other is not None:
            device.dial(other)
            if self.weather.lots.random() < 0.3:
                other.dial(device)

    def crash(self, device: SimDevice) -> None:
        device.crash(keep=self.weather.lots.random() < 0.5)

    def crash_at_commit(self, device: SimDevice) -> None:
        device.crash_at = self.weather.lots.choice(list(CrashPoint))
        self.edit(device)

    def full(self, device: SimDevice) -> None:
        duration = self.weather.lots.choice((MS, SECOND, 60 * SECOND))
        device.full_until = self.world.agenda.now + duration

    def panic(self, device: SimDevice) -> None:
        device.panic(self.weather.lots)

    def sleep(self, device: SimDevice) -> None:
        lots = self.weather.lots
        self.world.say(device.name, "sleeps")
        self.world.sleep(device)
        duration = lots.choice((SECOND, 60 * SECOND, 8 * HOUR))
        self.world.agenda.after(duration, device.wake)

    def pass_hours(self, _device: SimDevice) -> None:
        self.world.run_for(self.weather.lots.randint(1, 8) * HOUR)

    def clock(self, device: SimDevice) -> None:
        lots = self.weather.lots
        device.clock.skew_ms = lots.randint(-SKEW_MS_MAX, SKEW_MS_MAX)
        device.clock.wall_rate = lots.choice((1, 1, 0, -1))

    def damage(self, device: SimDevice) -> None:
        if self.weather.sealed_links and device.ends:
            self.weather.lots.choice(device.ends).wire.damage()


_FAULTS: Final[dict[str, tuple[float, Callable[[StormyWorld, SimDevice], None]]]] = {
    "edit": (40, StormyWorld.edit),
    "burst": (4, StormyWorld.burst),
    "newer": (3, StormyWorld.newer),
    "cut": (4, StormyWorld.cut),
    "part": (4, StormyWorld.part),
    "rejoin": (6, StormyWorld.rejoin),
    "dial": (3, StormyWorld.dial),
    "crash": (1.5, StormyWorld.crash),
    "crash-at-commit": (3, StormyWorld.crash_at_commit),
    "full": (1.5, StormyWorld.full),
    "panic": (0.7, StormyWorld.panic),
    "sleep": (2, StormyWorld.sleep),
    "pass-hours": (1, StormyWorld.pass_hours),
    "clock": (2, StormyWorld.clock),
    "damage": (6, StormyWorld.damage),
}
"per kind of step its usual weight, and what it does"
