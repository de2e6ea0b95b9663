"""A network in memory: ordered streams between pairs of devices, and all that befalls them.

Rules of this file: what arrives on one wire arrives in order, wires of one pair are independent,
so a message of an old wire may arrive after those of a new one. A cut wire loses a random end of
what is under way in each direction, and its two ends learn of it at different times. Only wires
that carry bytes of an authenticated link can be damaged: for plain messages the link in between is
taken to work.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from presenced.testing.sim_agenda import SimAgenda
from presenced.testing.sim_clock import MS, SECOND

LEARNS_LATE_US_MAX: Final = 30 * SECOND
"how long an end may take to notice that its wire is dead: the idle time-out of a connection"


@dataclass(slots=True)
class WireEnd:
    """What a wire tells one side."""

    arrived: Callable[[Any], None]
    ended: Callable[[], None]


@dataclass(slots=True, eq=False)
class _Lane:
    """One direction."""

    under_way: deque[Any] = field(default_factory=deque)
    last_at: int = 0
    open: bool = True


class Wire:
    """An ordered stream each way between sides 0 and 1. Whoever makes it sets `ends`."""

    def __init__(
        self, agenda: SimAgenda, lots: random.Random, pair: tuple[int, int], latency_us: int
    ) -> None:
        self.pair = pair
        self.ends: list[WireEnd | None] = [None, None]
        self.alive = True
        self._agenda = agenda
        self._lots = lots
        self._latency_us = latency_us
        self._lanes = (_Lane(), _Lane())

    def send(self, side: int, payload: Any) -> None:
        """Send from a side; nothing happens on a lane that is closed."""
        lane = self._lanes[side]
        if not lane.open:
            return
        lane.under_way.append(payload)
        delay = int(self._latency_us * (0.5 + self._lots.random()))
        lane.last_at = max(lane.last_at + 1, self._agenda.now + delay)
        self._agenda.at(lane.last_at, lambda: self._arrive(side))

    def close(self, side: int) -> None:
        """The side is done: the other learns it after all that was sent."""
        mine, other = self._lanes[side], self._lanes[1 - side]
        mine.open = other.open = self.alive = False
        other.under_way.clear()
        self.ends[side] = None
        self._agenda.at(mine.last_at + 1, lambda: self._end(1 - side))

    def abandon(self, side: int) -> None:
        """The side's process died: the other learns it some time, here nobody does."""
        self.ends[side] = None
        self._lanes[1 - side].under_way.clear()
        self.cut()

    def cut(self) -> None:
        """Nothing sent from now on arrives, and a random end of what is under way is lost."""
        if not self.alive:
            return
        self.alive = False
        for side, lane in enumerate(self._lanes):
            lane.open = False
            kept = self._lots.randint(0, len(lane.under_way))
            while len(lane.under_way) > kept:
                lane.under_way.pop()
            late = self._lots.choice((0, 10 * MS, SECOND, LEARNS_LATE_US_MAX))
            learned_at = max(lane.last_at + 1, self._agenda.now + self._lots.randint(0, late))
            self._agenda.at(learned_at, lambda side=side: self._end(1 - side))  # type: ignore[misc]

    def damage(self) -> bool:
        """Alter, repeat, drop or exchange bytes under way; whether there were any."""
        lanes = [lane for lane in self._lanes if lane.under_way]
        if not lanes:
            return False
        flying = self._lots.choice(lanes).under_way
        at = self._lots.randrange(len(flying))
        data = flying[at]
        assert isinstance(data, bytes)
        if not data:  # cut to nothing before
            return False
        match self._lots.randrange(4):
            case 0:
                place = self._lots.randrange(len(data))
                changed = data[place] ^ self._lots.randint(1, 255)
                flying[at] = data[:place] + bytes((changed,)) + data[place + 1 :]
            case 1:
                flying[at] = data + data
            case 2:
                flying[at] = data[: self._lots.randrange(len(data))]
            case _:
                flying[0], flying[-1] = flying[-1], flying[0]
        return True

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return any(lane.under_way for lane in self._lanes)

    def bytes_under_way(self, side: int) -> int:
        return sum(map(len, self._lanes[side].under_way))

    def _arrive(self, side: int) -> None:
        lane, end = self._lanes[side], self.ends[1 - side]
        if not lane.under_way:
            return
        payload = lane.under_way.popleft()
        if end is not None:
            end.arrived(payload)

    def _end(self, side: int) -> None:
        end, self.ends[side] = self.ends[side], None
        if end is not None:
            end.ended()


class SimNetwork:
    """All wires, and which pairs cannot reach each other now."""

    def __init__(self, agenda: SimAgenda, lots: random.Random) -> None:
        self.latency_us_max = 50 * MS
        self.wires: list[Wire] = []
        self._agenda = agenda
        self._lots = lots
        self._parted: set[frozenset[int]] = set()

    def connect(self, dialler: int, answerer: int) -> Wire | None:
        """A new wire, side 0 the dialler; None while the two are parted."""
        if self.is_parted(dialler, answerer):
            return None
        latency_us = self._lots.randint(100, self.latency_us_max)
        wire = Wire(self._agenda, self._lots, (dialler, answerer), latency_us)
        self.wires = [one for one in self.wires if one.alive or one.busy]
        self.wires.append(wire)
        return wire

    def is_parted(self, one: int, other: int) -> bool:
        return frozenset((one, other)) in self._parted

    def part(self, one: int, other: int) -> None:
        """From now on the two cannot reach each other."""
        self._parted.add(frozenset((one, other)))
        for wire in self.between(one, other):
            wire.cut()

    def join(self, one: int, other: int) -> None:
        """The two can reach each other again."""
        self._parted.discard(frozenset((one, other)))

    def heal(self) -> None:
        self._parted.clear()

    @property
    def parted_pairs(self) -> list[tuple[int, int]]:
        return sorted((min(pair), max(pair)) for pair in self._parted)

    def between(self, one: int, other: int) -> list[Wire]:
        """Live wires of a pair."""
        pair = {one, other}
        return [wire for wire in self.wires if wire.alive and set(wire.pair) == pair]

    @property
    def busy(self) -> bool:
        return any(wire.busy for wire in self.wires)
