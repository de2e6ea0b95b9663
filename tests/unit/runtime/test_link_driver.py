"""One link's driver: whatever ends the link ends `run`, closes the stream and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from presenced.device.effects import LinkNumber
from presenced.runtime.limits import CLOSE_SECONDS_MAX, PROMPT_BYTES_MAX, READ_BYTES
from presenced.runtime.link_driver import LinkDriver
from presenced.testing.link_doubles import Device, MemoryPeers, link_machine
from presenced.testing.memory_house import MemoryStream, TrioClock, stream_pair
from presenced.trust.link import LinkClosed, LinkUp
from presenced.trust.link_limits import PREAUTH_MS_MAX


class FakeDevice:
    """What a link driver needs of the device driver; notes what happens."""

    def __init__(self) -> None:
        self.machine = self
        self.output: Any = None
        self.happened: list[object] = []
        self.bug = False

    def add_link(self, output: object) -> LinkNumber:
        self.output = output
        return LinkNumber(1)

    def remove_link(self, number: LinkNumber) -> None:
        self.happened.append("down")
        self.output = None

    def perform(self, effects: Iterable[object]) -> None:
        assert list(effects) == []

    def link_up(
        self, number: object, device: object, static: bytes, now: object, *, inbound: bool
    ) -> list[object]:
        self.happened.append(("up", device, inbound))
        return []

    def link_message(self, number: object, message: bytes, now: object) -> list[object]:
        if self.bug:
            raise AssertionError("a bug")
        self.happened.append(message)
        return []


class End:
    """One side: its device, driver and stream."""

    def __init__(self, own: Device, other: Device, stream: MemoryStream, *, dials: bool) -> None:
        self.device = FakeDevice()
        self.stream = stream
        self.ups: list[LinkUp] = []
        self.closed: LinkClosed | None = None
        self.driver = LinkDriver(
            machine=link_machine(own, MemoryPeers(own, [other]), initiator=dials),
            stream=stream,
            inbound=not dials,
            device=self.device,  # type: ignore[arg-type]
            clock=TrioClock(),
            came_up=self.ups.append,
        )

    async def run(self) -> None:
        self.closed = await self.driver.run()


def ends() -> tuple[End, End]:
    laptop, box = Device("Laptop"), Device("Box")
    dialler, answerer = stream_pair()
    return End(laptop, box, dialler, dials=True), End(box, laptop, answerer, dials=False)


async def linked(nursery: trio.Nursery) -> tuple[End, End]:
    both = ends()
    for end in both:
        nursery.start_soon(end.run)
    await wait_all_tasks_blocked()
    assert both[0].ups
    assert both[1].ups
    return both


async def test_both_sides_come_up_and_messages_keep_their_order(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    first, second = await linked(nursery)
    assert first.stream.authenticated
    assert second.stream.authenticated
    assert first.device.happened == [("up", Device("Box").device, False)]
    first.device.output.send_messages([b"one", b"two" * 100_000, b"three"])
    await wait_all_tasks_blocked()
    assert second.device.happened[1:] == [b"one", b"two" * 100_000, b"three"]


async def test_others_have_their_turn_between_bulk_messages_that_came_together(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    first, second = await linked(nursery)
    heard_before: list[int] = []

    async def other() -> None:
        while len(second.device.happened) < 4:
            heard_before.append(len(second.device.happened))
            await trio.lowlevel.checkpoint()

    bulk = [bytes(READ_BYTES)] * 3
    second.stream.reads = False
    first.device.output.send_messages(bulk)
    await wait_all_tasks_blocked()
    assert len(second.stream._unread) > 3 * READ_BYTES
    second.stream.reads = True
    second.stream._wake()
    nursery.start_soon(other)
    await wait_all_tasks_blocked()
    assert second.device.happened[1:] == bulk
    assert {2, 3} & set(heard_before)


async def test_a_small_message_leaves_in_the_tick_that_caused_it(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    first, second = await linked(nursery)
    first.device.output.send_messages([b"small"])
    assert second.stream._unread
    await wait_all_tasks_blocked()
    first.device.output.send_messages([bytes(PROMPT_BYTES_MAX)])
    assert not second.stream._unread
    await wait_all_tasks_blocked()
    assert second.device.happened[1:] == [b"small", bytes(PROMPT_BYTES_MAX)]


async def test_a_close_reaches_the_other_with_its_code(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    first, second = await linked(nursery)
    first.device.output.close("duplicate", "not for the other's ears")
    await wait_all_tasks_blocked()
    assert first.closed == LinkClosed(code="duplicate", detail="not for the other's ears")
    assert second.closed == LinkClosed(code="duplicate", by_peer=True)
    for end in (first, second):
        assert end.device.happened[-1] == "down"
        assert end.stream.ended


async def test_a_cut_is_an_interruption_on_both_sides(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    first, second = await linked(nursery)
    first.stream.cut()
    await wait_all_tasks_blocked()
    for end in (first, second):
        assert end.closed is not None
        assert end.closed.code == "interrupted"
        assert end.device.happened[-1] == "down"


async def test_a_stream_that_breaks_while_sending_ends_the_link(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    first, second = await linked(nursery)
    second.stream.reads = False
    first.device.output.send_messages([b"x" * 900_000] * 3)
    await wait_all_tasks_blocked()
    assert first.closed is None
    first.stream.cut()
    await wait_all_tasks_blocked()
    assert first.closed is not None


async def test_a_peer_that_does_not_read_is_cut_once_the_link_is_closed(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    first, second = await linked(nursery)
    second.stream.reads = False
    first.device.output.send_messages([b"x" * 900_000] * 3)
    await trio.sleep(60)
    assert first.closed is None, "slow is not wrong"
    first.device.output.close("host-error", "")
    await trio.sleep(CLOSE_SECONDS_MAX + 0.1)
    assert first.closed is not None
    assert first.closed.code == "host-error"
    assert first.stream.ended


async def test_what_waits_for_a_peer_that_does_not_read_is_bounded(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("presenced.runtime.link_driver.OUTGOING_BYTES_MAX", 2_000_000)
    first, second = await linked(nursery)
    second.stream.reads = False
    for _ in range(10):
        if first.device.output is not None:
            first.device.output.send_messages([b"x" * 500_000])
        await trio.lowlevel.checkpoint()
    assert first.driver._outgoing_bytes < 3_000_000
    await trio.sleep(CLOSE_SECONDS_MAX + 0.1)
    assert first.closed is not None
    assert first.closed.code == "limit-exceeded"


async def test_a_stranger_who_does_not_speak_is_let_go_in_time(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    first, _ = ends()
    nursery.start_soon(first.run)
    await trio.sleep(PREAUTH_MS_MAX / 1000 - 0.1)
    assert first.closed is None
    await trio.sleep(0.2)
    assert first.closed == LinkClosed(code="timeout", detail="no handshake in time")
    assert first.stream.ended
    assert first.device.happened == [], "it never was a link"


async def test_what_breaks_the_protocol_ends_that_link_only(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    first, second = await linked(nursery)
    await first.stream.send_all(b"\x00\x20" + bytes(32))
    await wait_all_tasks_blocked()
    assert second.closed is not None
    assert second.closed.code in ("malformed", "unauthorized")
    assert second.device.happened[-1] == "down"


async def test_a_bug_comes_out_and_leaves_no_link_and_no_stream(mock_clock: MockClock) -> None:
    caught: list[BaseException] = []
    first, second = ends()

    async def buggy() -> None:
        try:
            await second.driver.run()
        except BaseExceptionGroup as group:
            caught.extend(group.exceptions)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.run)
        nursery.start_soon(buggy)
        await wait_all_tasks_blocked()
        second.device.bug = True
        first.device.output.send_messages([b"one"])
    assert [type(one) for one in caught] == [AssertionError]
    assert second.device.happened[-1] == "down"
    assert second.stream.ended
