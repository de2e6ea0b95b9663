"""Drives the device machine: performs its effects, commits before it sends.

Rules of this file:
1. The machine is called from one task at a time and never across an await, so it needs no lock.
2. At most one commit is in flight (the machine sees to that). It is begun in the tick that asked
   for it; its result is reported back also when the waiting task is cancelled.
3. What a failed commit means is the machine's business; the driver only reports it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import Any, Protocol

import trio

from presenced.clock import Clock, Instant
from presenced.device.commit import Commit
from presenced.device.effects import (
    Answer,
    CloseLink,
    CommitBatch,
    Effect,
    Emit,
    Event,
    LinkNumber,
    RequestNumber,
    SendMessages,
)
from presenced.device.machine import DeviceMachine
from presenced.errors import HostError, StoreError
from presenced.log import log


class CommitJob(Protocol):
    """A commit that is being written."""

    async def result(self) -> None:
        """Returns when all of it is on disk; raises `HostError` if nothing of it is."""
        ...


class CommitSink(Protocol):
    """The store, as far as the driver needs it."""

    def begin(self, commit: Commit) -> CommitJob:
        """Begin to write at once. It is written to its end, whoever waits."""
        ...


class LinkOutput(Protocol):
    """A link's way out. Both calls return at once."""

    def send_messages(self, messages: Iterable[bytes]) -> None: ...

    def close(self, code: str, detail: str) -> None: ...


class _Waiting:
    """One caller waiting for its answer."""

    __slots__ = ("answer", "done")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.answer: Answer | None = None


class DeviceDriver:
    """Owns the machine's conversation with store, links and the owner's clients."""

    def __init__(
        self,
        machine: DeviceMachine,
        store: CommitSink,
        clock: Clock,
        emit: Callable[[Iterable[Event]], None],
    ) -> None:
        self.machine = machine
        self._store = store
        self._clock = clock
        self._emit = emit
        self._links: dict[LinkNumber, LinkOutput] = {}
        self._waiting: dict[RequestNumber, _Waiting] = {}
        self._flying: tuple[int, CommitJob] | None = None
        "token and job of the commit that is being written"
        self._work = trio.Event()
        self._rescheduled = trio.Event()
        self._planned_ms: float = inf
        "when `_keep_time` will look again"
        self._next_request = 0
        self._next_link = 0

    def now(self) -> Instant:
        return self._clock.now()

    def perform(self, effects: Iterable[Effect]) -> None:
        """Carry out effects in order. A commit is begun; `run` reports its end."""
        for effect in effects:
            match effect:
                case CommitBatch():
                    assert self._flying is None, "at most one commit is in flight"
                    self._flying = effect.token, self._store.begin(effect.commit)
                    self._work.set()
                case SendMessages():
                    if (link := self._links.get(effect.link)) is not None:
                        link.send_messages(effect.messages)
                case Emit():
                    self._emit(effect.events)
                case Answer():
                    if (waiting := self._waiting.pop(effect.request, None)) is not None:
                        waiting.answer = effect
                        waiting.done.set()
                case CloseLink():
                    if (link := self._links.get(effect.link)) is not None:
                        link.close(effect.code, effect.detail)
        wakeup = self.machine.next_wakeup
        if wakeup is not None and wakeup.mono_ms < self._planned_ms:
            self._rescheduled.set()

    async def request(self, call: Callable[[RequestNumber, Instant], list[Effect]]) -> Any:
        """Make a request of the machine and wait for its answer.

        Raises the answer's error. A cancelled caller may still have been obeyed: what was begun
        is finished.
        """
        self._next_request += 1
        number = RequestNumber(self._next_request)
        waiting = self._waiting[number] = _Waiting()
        try:
            self.perform(call(number, self.now()))
            await waiting.done.wait()
        finally:
            self._waiting.pop(number, None)
        answer = waiting.answer
        assert answer is not None
        if answer.error is not None:
            raise answer.error
        return answer.value

    def add_link(self, output: LinkOutput) -> LinkNumber:
        """Register a link's way out and give it its number."""
        self._next_link += 1
        number = LinkNumber(self._next_link)
        self._links[number] = output
        return number

    def remove_link(self, number: LinkNumber) -> None:
        """Forget a link that has ended and tell the machine."""
        if self._links.pop(number, None) is not None:
            self.perform(self.machine.link_down(number, self.now()))

    async def run(self) -> None:
        """Report what came of commits, and wake the machine when it asked for it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_time)
            while True:
                if self._flying is None:
                    self._work = trio.Event()
                    await self._work.wait()
                assert self._flying is not None
                await self._landing(*self._flying)

    async def _landing(self, token: int, job: CommitJob) -> None:
        try:
            await job.result()
        except HostError as error:
            self._flying = None
            log.error("commit failed", code=error.code)
            failure = error if isinstance(error, StoreError) else StoreError(error.detail)
            self.perform(self.machine.commit_failed(token, failure, self.now()))
        else:
            self._flying = None
            self.perform(self.machine.committed(token, self.now()))

    async def _keep_time(self) -> None:
        while True:
            self._rescheduled = trio.Event()
            wakeup = self.machine.next_wakeup
            self._planned_ms = inf if wakeup is None else wakeup.mono_ms
            delay_ms = max(0, self._planned_ms - self.now().mono_ms)
            with trio.move_on_after(delay_ms / 1000) as waiting:
                await self._rescheduled.wait()
            if waiting.cancelled_caught:
                self.perform(self.machine.tick(self.now()))
