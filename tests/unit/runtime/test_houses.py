"""Whole daemons over memory: enrolment, links that come up at once, and what goes wrong."""

from __future__ import annotations

import pytest
import trio

from presenced.device.edits import Follow
from presenced.errors import StoreFull
from presenced.testing.enrolments import A, B, C, enrol, houses, linked, linked_houses
from presenced.testing.memory_house import MemoryNet, MemoryStore, open_house, until

FEED = "https://one.example/feed.xml"


@pytest.mark.parametrize("show", ["sponsor", "joiner"])
async def test_a_freshly_added_device_is_linked_at_once_on_both_sides(
    autojump_clock: trio.testing.MockClock, show: str
) -> None:
    async with houses() as (_, first, second):
        await enrol(first, second, shower=show)
        with trio.fail_after(2):
            await until(lambda: first.linked == {second.device}, "the sponsor's link")
            await until(lambda: second.linked == {first.device}, "the joiner's link")
        await first.home.edit([Follow(uri=FEED, title="One")])
        with trio.fail_after(2):
            await until(lambda: second.store.reader.follow_rows, "the edit")
        assert [fact.device for fact in first.linking.facts()] == [second.device]


async def test_a_link_shows_the_evidence_of_the_other_device(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with linked_houses() as (_, first, second):
        for house, other in ((first, second), (second, first)):
            seen = house.linking.seen[other.device]
            assert seen.appraisal is not None
            assert seen.appraisal.status.value == "affirming"
            assert seen.last_seen_ms > 0


async def test_links_come_back_after_they_were_held_down(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with linked_houses() as (net, first, second):
        for house in (first, second):
            await house.linking.hold(down=True)
            assert house.linking.held_down
            assert house.linking.facts() == []
        dials = net.dials
        await trio.sleep(300)
        assert net.dials == dials, "nobody dials meanwhile"
        for house in (first, second):
            await house.linking.hold(down=False)
        await linked(first, second, seconds=2)


async def test_whoever_was_held_down_dials_by_itself_afterwards(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with linked_houses() as (net, first, second):
        dialler = first if not any(fact.inbound for fact in first.linking.facts()) else second
        await dialler.linking.hold(down=True)
        await trio.sleep(60)
        dials = net.dials
        await dialler.linking.hold(down=False)
        await linked(first, second, seconds=3)
        assert net.dials > dials


async def test_a_lost_link_comes_back_soon(autojump_clock: trio.testing.MockClock) -> None:
    async with linked_houses() as (_, first, second):
        await trio.sleep(100)
        for stream in list(first.endpoint.streams):
            stream.cut()
        await until(lambda: not first.linked, "the loss")
        await linked(first, second, seconds=2)


async def test_a_third_device_is_made_known_to_the_first_and_named_on_its_link(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It dials the first before anybody told the first that it was added."""
    async with linked_houses() as (net, first, second), open_house(net, C) as third:
        first.endpoint.pause()
        await until(lambda: not first.linked, "the first is away")
        await enrol(second, third, "Phone")
        second.endpoint.pause()
        first.endpoint.resume()
        third.linking.try_address(A)
        with trio.fail_after(30):
            await until(lambda: third.device in first.linked, "a link with the first")
        assert [fact.device for fact in first.linking.facts()] == [third.device]
        assert first.linking.seen[third.device].appraisal is not None
        assert first.discovery.changes == 2, "each time it hears of a device, it announces anew"


async def test_membership_changes_reach_discovery_once_they_are_on_disk(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with houses() as (_, first, second):
        assert first.discovery.changes == 0
        await enrol(first, second)
        assert first.discovery.changes == 1


async def test_a_full_disk_ends_no_link_driver_and_no_daemon(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with linked_houses() as (_, first, second):
        first.store.full = StoreFull("no room")
        with pytest.raises(StoreFull):
            await first.home.edit([Follow(uri=FEED)])
        await trio.sleep(30)  # links come and go: counters and addresses cannot be kept either
        first.store.full = None
        await first.home.edit([Follow(uri=FEED, title="One")])
        await until(lambda: second.store.reader.follow_rows, "the edit", seconds=30)


async def test_a_dial_whose_counter_cannot_be_kept_leaves_no_stream(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with linked_houses() as (_, first, second):
        for house in (first, second):
            house.store.full = StoreFull("no room")
        for stream in list(first.endpoint.streams):
            stream.cut()
        await trio.sleep(60)
        for house in (first, second):
            house.endpoint.pause()
        await trio.sleep(6)
        assert first.endpoint.open_streams == second.endpoint.open_streams == 0


async def test_a_home_that_was_set_up_before_links_again_after_a_start(
    autojump_clock: trio.testing.MockClock,
) -> None:
    net = MemoryNet()
    stores = MemoryStore(), MemoryStore()
    async with open_house(net, A, stores[0]) as first, open_house(net, B, stores[1]) as second:
        await first.home.init("Laptop")
        await enrol(first, second)
        await linked(first, second)
        await trio.sleep(5)
    async with open_house(net, A, stores[0]) as first, open_house(net, B, stores[1]) as second:
        await linked(first, second, seconds=3)


async def test_a_bug_in_a_machine_ends_the_daemon_loudly(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def session() -> None:
        async with houses() as (_, first, second):
            await enrol(first, second)
            await linked(first, second)

            def broken(*_: object, **__: object) -> None:
                raise AssertionError("a bug")

            monkeypatch.setattr(type(first.home.driver.machine), "link_message", broken)
            await second.home.edit([Follow(uri=FEED)])
            await trio.sleep(5)

    with pytest.raises(BaseExceptionGroup) as caught:
        await session()
    assert caught.value.split(AssertionError)[1] is None


async def test_a_stranger_who_says_nothing_or_nonsense_ends_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with linked_houses() as (net, first, second):
        stranger = open_house(net, C)
        async with stranger as third:
            for said in (b"", b"GET / HTTP/1.1\r\n\r\n", bytes(5000), b"\x00\x02\x01\xc0"):
                stream = await third.endpoint.dial(A)
                if said:
                    await stream.send_all(said)
                    assert await stream.receive_some() is not None
                stream.cut()
            await trio.sleep(10)
        assert first.linked == {second.device}
