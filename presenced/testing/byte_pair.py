"""Two sans-IO machines joined by a stream each way that cuts bytes anywhere.

For links and pairings: whatever they say must mean the same in any fragments. The order of
deliveries and the fragments follow from a seed. `settle` is bounded and says where it stood.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from presenced.clock import Instant
from presenced.trust.frames import SendBytes

ROUNDS_MAX = 100_000
START = Instant(0, 1_760_000_000_000)


class ByteMachine(Protocol):
    """What link and pairing machines have in common."""

    def start(self, now: Instant) -> list[Any]: ...

    def receive_bytes(self, data: bytes, now: Instant) -> list[Any]: ...

    def end_of_stream(self, now: Instant) -> list[Any]: ...

    def tick(self, now: Instant) -> list[Any]: ...


class BytePair:
    """Sides 0 and 1. `seen[side]` are the effects of a side other than bytes, in order.

    `alter(side, data)` may change what a side sends; `react[side]` is called with each effect of
    that side and returns further effects (a person's answer, a finished commit).
    """

    def __init__(self, first: ByteMachine, second: ByteMachine, *, seed: int = 0) -> None:
        self.machines = (first, second)
        self.seen: tuple[list[Any], list[Any]] = ([], [])
        self.sent: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self.react: list[Callable[[Any], Iterable[Any]] | None] = [None, None]
        self.alter: Callable[[int, bytes], bytes] = lambda _side, data: data
        self.now = START
        self.cut_after: int | None = None
        "bytes delivered in all before the connection is cut"
        self._random = random.Random(seed)
        self._flying: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._delivered = 0
        self.is_cut = False

    def start(self) -> None:
        for side, machine in enumerate(self.machines):
            self.perform(side, machine.start(self.now))

    def perform(self, side: int, effects: Iterable[Any]) -> None:
        """Carry out effects of a side."""
        for effect in effects:
            if isinstance(effect, SendBytes):
                self.sent[side].extend(effect.data)
                self._flying[side].extend(self.alter(side, effect.data))
                continue
            self.seen[side].append(effect)
            reaction = self.react[side]
            if reaction is not None:
                self.perform(side, reaction(effect))

    def settle(self) -> None:
        """Deliver until nothing is under way."""
        for _ in range(ROUNDS_MAX):
            sides = [side for side in (0, 1) if self._flying[side]]
            if not sides or self.is_cut:
                return
            self._deliver(self._random.choice(sides))
        raise AssertionError(f"does not settle: {self.seen}")

    def run(self) -> None:
        self.start()
        self.settle()

    def pass_time(self, milliseconds: int) -> None:
        """Let both sides' clocks go on, and tick."""
        self.now = Instant(self.now.mono_ms + milliseconds, self.now.wall_ms + milliseconds)
        for side, machine in enumerate(self.machines):
            self.perform(side, machine.tick(self.now))
        self.settle()

    def cut(self) -> None:
        """The connection is gone for both."""
        self.is_cut = True
        for side, machine in enumerate(self.machines):
            self.perform(side, machine.end_of_stream(self.now))

    def kinds(self, side: int) -> list[str]:
        """Names of the effects of a side."""
        return [type(effect).__name__ for effect in self.seen[side]]

    def _deliver(self, side: int) -> None:
        flying = self._flying[side]
        size = min(len(flying), self._random.choice((1, 2, 3, 17, 100, 1500, 70_000, 1_000_000)))
        if self.cut_after is not None:
            size = min(size, self.cut_after - self._delivered)
            if size <= 0:
                self.cut()
                return
        data = bytes(flying[:size])
        del flying[:size]
        self._delivered += size
        other = 1 - side
        self.perform(other, self.machines[other].receive_bytes(data, self.now))
