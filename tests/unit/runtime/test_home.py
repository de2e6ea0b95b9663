"""The home of a device: founding, the phrase, names, counters and what needs an identity."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from presenced.device.edits import Follow
from presenced.errors import Conflict, InvalidValue, NotAllowed, NotSetUp, StoreFull
from presenced.runtime.home import PhraseGone
from presenced.runtime.peer_directory import COUNTERS, STRANGERS_MAX, PeerDirectory
from presenced.testing.memory_house import MemoryNet, MemoryStore, open_house

A = ("a", 1)


async def test_before_an_identity_everything_says_what_to_do(autojump_clock: MockClock) -> None:
    async with open_house(MemoryNet(), A) as house:
        with pytest.raises(NotSetUp, match="no identity"):
            await house.home.edit([Follow(uri="https://a.example/")])
        with pytest.raises(NotSetUp):
            _ = house.home.peers
        with pytest.raises(NotSetUp):
            _ = house.home.settled_reader
        assert house.home.phrase() is None
        assert house.home.name == ""


async def test_an_identity_is_founded_once(autojump_clock: MockClock) -> None:
    async with open_house(MemoryNet(), A) as house:
        founded = await house.home.init("Laptop")
        assert house.home.settled.is_set()
        assert house.home.name == "Laptop"
        await trio.testing.wait_all_tasks_blocked()
        assert house.home.driver.machine.name_of(founded.device) == "Laptop"
        with pytest.raises(Conflict):
            await house.home.init("Again")


async def test_two_at_once_found_one_identity(autojump_clock: MockClock) -> None:
    async with open_house(MemoryNet(), A) as house:
        refused: list[Conflict] = []

        async def init() -> None:
            try:
                await house.home.init("Laptop")
            except Conflict as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(init)
            nursery.start_soon(init)
        assert len(refused) == 1


@pytest.mark.parametrize("name", ["", "   ", "\ud800"])
async def test_a_name_that_is_none_founds_nothing(autojump_clock: MockClock, name: str) -> None:
    async with open_house(MemoryNet(), A) as house:
        with pytest.raises(InvalidValue):
            await house.home.init(name)
        assert not house.home.settled.is_set()


async def test_a_full_disk_founds_nothing(autojump_clock: MockClock) -> None:
    async with open_house(MemoryNet(), A) as house:
        house.store.full = StoreFull("no room")
        with pytest.raises(StoreFull):
            await house.home.init("Laptop")
        assert not house.home.settled.is_set()
        house.store.full = None
        await house.home.init("Laptop")


async def test_the_phrase_is_erased_once_two_of_its_words_were_repeated(
    autojump_clock: MockClock,
) -> None:
    async with open_house(MemoryNet(), A) as house:
        founded = await house.home.init("Laptop")
        words = founded.phrase.split()
        for wrong in (
            {},
            {1: words[0]},
            {1: words[0], 2: "wrong"},
            {0: words[0], 1: words[0]},
            {1: words[0], 25: words[0]},
        ):
            with pytest.raises(NotAllowed):
                await house.home.confirm_phrase(wrong)
            assert house.home.phrase() == founded.phrase
        await house.home.confirm_phrase({3: f" {words[2].upper()} ", 24: words[23]})
        assert house.home.phrase() is None
        with pytest.raises(PhraseGone):
            await house.home.confirm_phrase({1: words[0], 2: words[1]})


async def test_counters_of_dials_only_rise_over_restarts_and_clocks_that_step_back(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore()
    async with open_house(MemoryNet(), A, store) as house:
        await house.home.init("Laptop")
        first = await house.home.next_link_counter()
        second = await house.home.next_link_counter()
        assert first < second
    autojump_clock.jump(0)
    async with open_house(MemoryNet(), A, store) as house:
        assert await house.home.next_link_counter() > second


async def test_a_counter_is_on_disk_before_it_is_used(autojump_clock: MockClock) -> None:
    async with open_house(MemoryNet(), A) as house:
        await house.home.init("Laptop")
        counter = await house.home.next_link_counter()
        membership = house.home.driver.machine.membership
        kept = PeerDirectory(membership, house.store.reader.meta(COUNTERS))
        assert kept.own_counter == counter


async def test_counters_of_strangers_are_not_kept(autojump_clock: MockClock) -> None:
    async with open_house(MemoryNet(), A) as house:
        await house.home.init("Laptop")
        membership = house.home.driver.machine.membership
        directory = PeerDirectory(membership, None)
        directory.record_counter(b"s" * 32, 7)
        assert not directory.changed
        assert directory.last_counter(b"s" * 32) == 7
        assert PeerDirectory(membership, directory.to_bytes()).last_counter(b"s" * 32) == 0
        for number in range(STRANGERS_MAX):
            directory.record_counter(number.to_bytes(32, "big"), 7)
        assert directory.last_counter(bytes(32)) == 7
        assert directory.last_counter(b"s" * 32) == 0
