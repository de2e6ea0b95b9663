"""Finding devices on the LAN: a hint for known devices, matched again when devices are added."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from presenced.ids import DeviceId
from presenced.net.lan_find import Found, TagStrings
from presenced.runtime.discovery import CODES_MAX, Discovery
from presenced.testing.link_doubles import SeededEntropy
from presenced.testing.memory_house import House, MemoryNet, TrioClock, open_house
from presenced.trust.identity import new_device_secrets
from presenced.trust.tags import hour_of, tag_keys, tag_set

A = ("a", 1)
LAPTOP, BOX = ("192.0.2.1", 4000), ("192.0.2.2", 4000)


class FakeLan:
    """A LAN on which a test says what is found."""

    def __init__(self) -> None:
        self.say, self.found = trio.open_memory_channel[Found](100)
        self.state = SimpleNamespace(value="open")
        self.detail = ""
        self.tags: Callable[[], TagStrings] | None = None
        self.announced: list[str | None] = []
        self.announcements = 0
        self.reopened = 0

    def announce(self, tags: Callable[[], TagStrings] | None) -> None:
        self.tags = tags
        self.announcements += 1

    def announce_pairing(self, number: str | None) -> None:
        self.announced.append(number)

    def reopen(self) -> None:
        self.reopened += 1


class Setting:
    def __init__(self, house: House) -> None:
        self.house = house
        self.lan = FakeLan()
        self.hints: list[tuple[tuple[tuple[str, int], ...], DeviceId]] = []
        self.discovery = Discovery(
            open_lan=self._open,  # type: ignore[arg-type]
            home=house.home,
            clock=TrioClock(),
            hint=lambda addresses, device: self.hints.append((tuple(addresses), device)),
        )

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[FakeLan]:
        yield self.lan


@asynccontextmanager
async def setting() -> AsyncIterator[Setting]:
    async with open_house(MemoryNet(), A) as house, trio.open_nursery() as nursery:
        one = Setting(house)
        nursery.start_soon(one.discovery.run)
        await wait_all_tasks_blocked()
        yield one
        nursery.cancel_scope.cancel()


def found(instance: str, **fields: object) -> Found:
    given: dict[str, object] = {
        "instance": instance,
        "addresses": (LAPTOP,),
        "tags": None,
        "pairing": None,
    }
    return Found(**(given | fields))  # type: ignore[arg-type]


class Prepared:
    """A device that will be added: its tags are known before."""

    def __init__(self, one: Setting) -> None:
        self._one = one
        membership = one.house.home.driver.machine.membership
        self._secrets = new_device_secrets(SeededEntropy("box"))
        self.device = self._secrets.device
        statics = {membership.device: membership.secrets.static.public}
        keys = tag_keys(self._secrets.static, statics)
        self.tags = tag_set(self.device, b"d" * 32, keys, hour_of(TrioClock().now()))

    async def add(self) -> None:
        driver = self._one.house.home.driver
        membership = driver.machine.membership
        certificate = self._secrets.certificate(membership.space, membership.device)
        await driver.request(
            lambda number, now: driver.machine.admit(number, certificate, ["follows"], now)
        )


async def test_nothing_is_announced_before_there_is_an_identity(
    autojump_clock: MockClock,
) -> None:
    async with setting() as one:
        assert one.lan.announcements == 0
        one.discovery.membership_changed()
        assert one.lan.announcements == 0
        await one.house.home.init("Laptop")
        await wait_all_tasks_blocked()
        assert one.lan.announcements == 1
        assert one.lan.tags is not None
        assert [len(part) for part in one.lan.tags()] == [128, 128]


async def test_a_device_of_ours_is_hinted_at_by_its_tags(
    autojump_clock: MockClock,
) -> None:
    async with setting() as one:
        await one.house.home.init("Laptop")
        await wait_all_tasks_blocked()
        driver = one.house.home.driver
        other = Prepared(one)
        await other.add()
        await one.lan.say.send(found("box", addresses=(BOX,), tags=other.tags))
        await wait_all_tasks_blocked()
        assert one.hints == [((BOX,), other.device)]
        assert other.device in driver.machine.membership.siblings


async def test_what_nobody_knew_is_matched_again_when_a_device_was_added(
    autojump_clock: MockClock,
) -> None:
    async with setting() as one:
        await one.house.home.init("Laptop")
        one.house.home.on_membership(one.discovery.membership_changed)
        await wait_all_tasks_blocked()
        prepared = Prepared(one)
        await one.lan.say.send(found("box", addresses=(BOX,), tags=prepared.tags))
        await wait_all_tasks_blocked()
        assert one.hints == []
        before = one.lan.announcements
        await prepared.add()
        await wait_all_tasks_blocked()
        assert one.hints == [((BOX,), prepared.device)]
        assert one.lan.announcements == before + 1, "its own tags are others now"


async def test_strangers_on_the_lan_are_remembered_within_a_bound_and_never_dialled(
    autojump_clock: MockClock,
) -> None:
    async with setting() as one:
        await one.house.home.init("Laptop")
        await wait_all_tasks_blocked()
        for number in range(CODES_MAX * 3):
            noise = (bytes([number]) * 128, bytes(128))
            await one.lan.say.send(found(f"stranger-{number}", tags=noise))
        await wait_all_tasks_blocked()
        assert one.hints == []
        assert len(one.discovery._unmatched) == CODES_MAX


async def test_codes_on_the_lan_are_found_by_their_number_within_a_bound(
    autojump_clock: MockClock,
) -> None:
    async with setting() as one:
        for number in range(200, 200 + CODES_MAX * 2):
            await one.lan.say.send(found(f"code-{number}", pairing=str(number)))
        await one.lan.say.send(found("late", addresses=(BOX,), pairing="123"))
        await wait_all_tasks_blocked()
        assert one.discovery.pairing(123) == (BOX,)
        assert one.discovery.pairing(200) == ()
        assert len(one.discovery._codes) == CODES_MAX


async def test_a_code_is_announced_while_it_is_shown(autojump_clock: MockClock) -> None:
    async with setting() as one:
        one.discovery.announce_pairing(123)
        one.discovery.announce_pairing(None)
        assert one.lan.announced == ["123", None]


async def test_what_is_wrong_with_the_lan_is_said(autojump_clock: MockClock) -> None:
    async with setting() as one:
        assert one.discovery.problem == ""
        one.lan.state.value, one.lan.detail = "unavailable", "no such device"
        assert "no such device" in one.discovery.problem
        one.discovery.reopen()
        assert one.lan.reopened == 1
        off = Discovery(open_lan=None, home=one.house.home, clock=TrioClock(), hint=lambda *_: None)
        assert "switched off" in off.problem
        await off.run()
        off.reopen()
        off.announce_pairing(123)
        off.membership_changed()
