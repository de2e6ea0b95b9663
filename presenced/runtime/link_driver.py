"""Runs one link: bytes between a stream and the link machine, messages to the device machine.

The stream is the only thing awaited; machines are called between awaits. Whatever ends the link
(the peer's fault, a cut, our own close, a peer that stops reading) ends `run` and nothing else; a
bug in a machine comes out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from presenced.clock import Clock
from presenced.device.effects import LinkNumber
from presenced.ids import DeviceId, show_id
from presenced.log import log
from presenced.runtime.device_driver import DeviceDriver
from presenced.runtime.limits import (
    CLOSE_SECONDS_MAX,
    OUTGOING_BYTES_MAX,
    PROMPT_BYTES_MAX,
    READ_BYTES,
)
from presenced.runtime.streams import ByteStream, closed_after
from presenced.trust.link import (
    Effect,
    LinkClosed,
    LinkMachine,
    LinkUp,
    MessageReceived,
    SendBytes,
)


class LinkDriver:
    """One link's way out and its life. `LinkOutput` for the device driver."""

    def __init__(
        self,
        *,
        machine: LinkMachine,
        stream: ByteStream,
        inbound: bool,
        device: DeviceDriver,
        clock: Clock,
        came_up: Callable[[LinkUp], None],
    ) -> None:
        """`came_up` is called once the peer is authenticated, before anything is sent to it."""
        self._inbound = inbound
        self._tell_up = came_up
        self._machine = machine
        self._stream = stream
        self._device = device
        self._clock = clock
        self._number: LinkNumber | None = None
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self._wakeup = trio.Event()
        self._ended = trio.Event()
        self.closed: LinkClosed | None = None
        self.up: LinkUp | None = None

    @property
    def peer(self) -> DeviceId | None:
        """Whose link it is, as membership knows it now; None while it is nobody's."""
        if self._number is None:
            return None
        return self._device.machine.device_on(self._number)

    def send_messages(self, messages: Iterable[bytes]) -> None:
        self._perform(
            effect for message in messages for effect in self._machine.send_message(message)
        )

    def close(self, code: str, detail: str = "") -> None:
        self._perform(self._machine.close(code, detail))

    async def run(self, early: bytes = b"") -> LinkClosed:
        """Until the link has ended. Returns why. Cancellation cuts the stream."""
        async with closed_after(self._stream):
            try:
                async with trio.open_nursery() as nursery:
                    self._perform(self._machine.start(self._clock.now()))
                    if early:
                        self._perform(self._machine.receive_bytes(early, self._clock.now()))
                    nursery.start_soon(self._read)
                    nursery.start_soon(self._keep_time)
                    nursery.start_soon(self._cut_if_stuck, nursery.cancel_scope)
                    await self._write()
                    nursery.cancel_scope.cancel()
            finally:
                if self._number is not None:
                    self._device.remove_link(self._number)
        return self.closed or LinkClosed(code="interrupted")

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case SendBytes():
                    self._queue(effect.data)
                case MessageReceived():
                    if self._number is not None:
                        self._device.perform(
                            self._device.machine.link_message(
                                self._number, effect.message, self._clock.now()
                            )
                        )
                case LinkUp():
                    self._came_up(effect)
                case LinkClosed():
                    self.closed = effect
                    self._wakeup.set()
                    self._ended.set()
        self._send_queued()

    def _send_queued(self) -> None:
        """What is small leaves in the tick that caused it; the rest is the writing task's."""
        if not self._outgoing:
            return
        is_small = self._outgoing_bytes <= PROMPT_BYTES_MAX and self.closed is None
        if is_small and self._stream.send_nowait(b"".join(self._outgoing)):
            self._outgoing, self._outgoing_bytes = [], 0
        else:
            self._wakeup.set()

    def _queue(self, data: bytes) -> None:
        self._outgoing.append(data)
        self._outgoing_bytes += len(data)
        if self._outgoing_bytes > OUTGOING_BYTES_MAX and self.closed is None:
            self.close("limit-exceeded", "the peer does not read")

    def _came_up(self, effect: LinkUp) -> None:
        self.up = effect
        self._stream.mark_authenticated()
        self._tell_up(effect)
        self._number = self._device.add_link(self)
        log.info("link up", peer=show_id(effect.peer)[:8] if effect.peer else "unknown")
        self._device.perform(
            self._device.machine.link_up(
                self._number,
                effect.peer,
                effect.static,
                self._clock.now(),
                inbound=self._inbound,
            )
        )

    async def _read(self) -> None:
        while self.closed is None:
            data = await self._stream.receive_some()
            now = self._clock.now()
            if not data:
                self._perform(self._machine.end_of_stream(now))
                return
            for start in range(0, len(data), READ_BYTES):
                if start:
                    await trio.lowlevel.checkpoint()
                self._perform(self._machine.receive_bytes(data[start : start + READ_BYTES], now))

    async def _write(self) -> None:
        """Send what is queued, in order, until the link is closed and all is sent."""
        while True:
            if self._outgoing:
                data, self._outgoing, self._outgoing_bytes = b"".join(self._outgoing), [], 0
                try:
                    await self._stream.send_all(data)
                except trio.BrokenResourceError:
                    self._perform(self._machine.end_of_stream(self._clock.now()))
            elif self.closed is not None:
                return
            else:
                self._wakeup = trio.Event()
                await self._wakeup.wait()

    async def _cut_if_stuck(self, scope: trio.CancelScope) -> None:
        """Once closed, the last bytes have a moment to leave; a peer may have stopped reading."""
        await self._ended.wait()
        await trio.sleep(CLOSE_SECONDS_MAX)
        scope.cancel()

    async def _keep_time(self) -> None:
        while (wakeup := self._machine.next_wakeup) is not None:
            delay_ms = wakeup.mono_ms - self._clock.now().mono_ms
            await trio.sleep(max(0, delay_ms) / 1000)
            self._perform(self._machine.tick(self._clock.now()))
