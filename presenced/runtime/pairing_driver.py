"""Runs one enrolment over one connection: bytes, the person's yes or no, and the commits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

import trio

from presenced.clock import Clock
from presenced.errors import PresenceError
from presenced.runtime.limits import CLOSE_SECONDS_MAX
from presenced.runtime.streams import ByteStream, closed_after
from presenced.trust.pairing_terms import (
    BEFORE_PAKE,
    OVER,
    Added,
    Admit,
    CandidateSeen,
    Effect,
    Joined,
    PairingFailed,
    SendBytes,
)

if TYPE_CHECKING:
    from presenced.trust.pairing import PairingMachine


class PairingHome(Protocol):
    """This device's side of an enrolment: what is to be on disk."""

    async def admit(self, wanted: Admit) -> list[bytes]:
        """Sign and commit the admission; the whole membership, oldest first."""
        ...

    async def joined(self, joined: Joined) -> None:
        """Verify and commit the membership that was received."""
        ...

    def candidate(self, seen: CandidateSeen) -> None:
        """Show the candidate to the person."""
        ...


class PairingDriver:
    """One connection's enrolment. `result` is its last effect, once `run` has returned."""

    def __init__(
        self, *, machine: PairingMachine, stream: ByteStream, home: PairingHome, clock: Clock
    ) -> None:
        self._machine = machine
        self._stream = stream
        self._home = home
        self._clock = clock
        self._outgoing: list[bytes] = []
        self._work: list[Admit | Joined] = []
        self._changed = trio.Event()
        self._rescheduled = trio.Event()
        self._ended = trio.Event()
        self.result: Added | PairingFailed | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether a run of the PAKE began on it, and it is not over."""
        return self._machine.state not in BEFORE_PAKE | OVER

    def approve(self) -> None:
        self._perform(self._machine.approve(self._clock.now()))

    def refuse(self) -> None:
        self._perform(self._machine.refuse(self._clock.now()))

    def cancel(self) -> None:
        self._perform(self._machine.fail("cancelled here"))

    async def run(self, early: bytes = b"") -> None:
        """Until it is over and the last bytes have left."""
        async with closed_after(self._stream), trio.open_nursery() as nursery:
            self._perform(self._machine.start(self._clock.now()))
            if early:
                self._perform(self._machine.receive_bytes(early, self._clock.now()))
            nursery.start_soon(self._read)
            nursery.start_soon(self._keep_time)
            nursery.start_soon(self._cut_if_stuck, nursery.cancel_scope)
            await self._write()
            nursery.cancel_scope.cancel()

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case SendBytes():
                    self._outgoing.append(effect.data)
                case CandidateSeen():
                    self._stream.mark_authenticated()
                    self._home.candidate(effect)
                case Admit() | Joined():
                    self._work.append(effect)
                case Added() | PairingFailed():
                    self.result = effect
                    self._ended.set()
        self._changed.set()
        self._rescheduled.set()

    async def _read(self) -> None:
        while True:
            data = await self._stream.receive_some()
            now = self._clock.now()
            if not data:
                self._perform(self._machine.end_of_stream(now))
                return
            self._perform(self._machine.receive_bytes(data, now))

    async def _write(self) -> None:
        while True:
            if self._outgoing:
                data, self._outgoing = b"".join(self._outgoing), []
                try:
                    await self._stream.send_all(data)
                except trio.BrokenResourceError:
                    self._perform(self._machine.end_of_stream(self._clock.now()))
            elif self._work:
                await self._commit(self._work.pop(0))
            elif self._machine.state in OVER:
                return
            else:
                self._changed = trio.Event()
                await self._changed.wait()

    async def _commit(self, wanted: Admit | Joined) -> None:
        try:
            if isinstance(wanted, Admit):
                statements = await self._home.admit(wanted)
                self._perform(self._machine.admitted(statements, self._clock.now()))
            else:
                await self._home.joined(wanted)
                self._perform(self._machine.stored(self._clock.now()))
        except PresenceError as error:
            self._perform(self._machine.fail(error.code))

    async def _cut_if_stuck(self, scope: trio.CancelScope) -> None:
        """Once over, the last bytes have a moment to leave; the other may have stopped reading."""
        await self._ended.wait()
        await trio.sleep(CLOSE_SECONDS_MAX)
        scope.cancel()

    async def _keep_time(self) -> None:
        while True:
            self._rescheduled = trio.Event()
            wakeup = self._machine.next_wakeup
            if wakeup is None:
                await self._rescheduled.wait()
                continue
            delay_ms = max(0, wakeup.mono_ms - self._clock.now().mono_ms)
            with trio.move_on_after(delay_ms / 1000) as waiting:
                await self._rescheduled.wait()
            if waiting.cancelled_caught:
                self._perform(self._machine.tick(self._clock.now()))
