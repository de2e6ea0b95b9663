"""mDNS for real: two responders on this machine find each other, where it has multicast."""

from __future__ import annotations

import itertools
import os
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable

import pytest
import trio

from presenced.clock import Instant
from presenced.net import lan as module
from presenced.net.lan import HOUR_MS, Lan, LanState, open_lan
from presenced.net.lan_find import Found
from presenced.net.limits import (
    LOOK_UPS_AT_ONCE_MAX,
    SIGHTINGS_MAX,
    SIGHTINGS_QUEUE_MAX,
    TAG_STRING_BYTES,
)

OWN = os.urandom(TAG_STRING_BYTES)
"in all that is announced here: other daemons of this network must not pass for ours"
TAGS = (b"a" * TAG_STRING_BYTES, OWN)
NUMBER = 1_000_000 + int.from_bytes(OWN[:2], "big")
"the first of the pairing numbers that are announced here"


class FixedClock:
    def __init__(self, wall_ms: int = 1_000) -> None:
        self.wall_ms = wall_ms

    def now(self) -> Instant:
        return Instant(0, self.wall_ms)


def multicast_works() -> bool:
    """A datagram to the group comes back to this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", 0))
        listener.settimeout(1)
        try:
            listener.setsockopt(
                socket.IPPROTO_IP,
                socket.IP_ADD_MEMBERSHIP,
                socket.inet_aton("224.0.0.251") + struct.pack("@I", socket.INADDR_ANY),
            )
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"x", ("224.0.0.251", listener.getsockname()[1]))
                return listener.recv(1) == b"x"
        except OSError:
            return False


needs_multicast = pytest.mark.skipif(not multicast_works(), reason="this machine has no multicast")


async def wait_for(lan: Lan, wanted: Callable[[Found], bool]) -> Found:
    async for found in lan.found:
        if wanted(found):
            return found
    raise AssertionError("closed")


async def reach(lan: Lan, state: LanState) -> None:
    while lan.state is not state:  # noqa: ASYNC110 - it is set in another thread
        await trio.sleep(0.01)


@pytest.fixture
async def finder() -> AsyncIterator[Lan]:
    async with open_lan(4001, clock=FixedClock(), listen_only=True) as lan:
        yield lan


@needs_multicast
async def test_two_on_one_machine_find_each_other_at_once(finder: Lan) -> None:
    with trio.fail_after(10):
        async with open_lan(4002, clock=FixedClock()) as lan:
            began = trio.current_time()
            lan.announce(lambda: TAGS)
            found = await wait_for(finder, lambda found: found.tags == TAGS)
            assert trio.current_time() - began < 1.5
            assert {port for _, port in found.addresses} == {4002}
            assert found.pairing is None
            assert lan.state is LanState.OPEN


@needs_multicast
async def test_a_late_comer_finds_who_is_there_already(finder: Lan) -> None:
    with trio.fail_after(10):
        async with open_lan(4002, clock=FixedClock()) as lan:
            lan.announce(lambda: TAGS)
            await wait_for(finder, lambda found: found.tags == TAGS)
            began = trio.current_time()
            async with open_lan(4001, clock=FixedClock(), listen_only=True) as late:
                await wait_for(late, lambda found: found.tags == TAGS)
                assert trio.current_time() - began < 1.5


@needs_multicast
async def test_a_pairing_code_has_an_announcement_of_its_own(finder: Lan) -> None:
    with trio.fail_after(15):
        async with open_lan(4002, clock=FixedClock()) as lan:
            lan.announce(lambda: TAGS)
            link = await wait_for(finder, lambda found: found.tags == TAGS)
            lan.announce_pairing(str(NUMBER))
            pairing = await wait_for(finder, lambda found: found.pairing == str(NUMBER))
            assert pairing.instance != link.instance
            assert pairing.tags is None
            lan.announce_pairing(None)
            lan.announce_pairing(str(NUMBER + 1))
            await wait_for(finder, lambda found: found.pairing == str(NUMBER + 1))


@needs_multicast
async def test_who_only_listens_is_not_found(finder: Lan) -> None:
    with trio.fail_after(10):
        async with open_lan(4002, clock=FixedClock(), listen_only=True) as quiet:
            quiet.announce(lambda: TAGS)
            quiet.announce_pairing(str(NUMBER))
            async with open_lan(4003, clock=FixedClock()) as loud:
                other = (b"c" * TAG_STRING_BYTES, OWN)
                loud.announce(lambda: other)
                seen: list[Found] = []
                await wait_for(
                    finder, lambda found: bool(seen.append(found)) or found.tags == other
                )
                await wait_for(quiet, lambda found: found.tags == other)
    assert all(4002 not in {port for _, port in found.addresses} for found in seen)


@needs_multicast
async def test_reopening_reports_everything_anew(finder: Lan) -> None:
    with trio.fail_after(15):
        async with open_lan(4002, clock=FixedClock()) as lan:
            lan.announce(lambda: TAGS)
            first = await wait_for(finder, lambda found: found.tags == TAGS)
            finder.reopen()
            again = await wait_for(finder, lambda found: found.tags == TAGS)
            assert again.instance == first.instance


@needs_multicast
async def test_tags_change_on_the_hour_and_only_then(finder: Lan) -> None:
    hours = itertools.count()
    clock = FixedClock(HOUR_MS - 200)

    def tags() -> tuple[bytes, bytes]:
        clock.wall_ms = 1_000  # the next hour is far
        return (bytes([next(hours)]) * TAG_STRING_BYTES, TAGS[1])

    def says(hour: int) -> Callable[[Found], bool]:
        return lambda found: found.tags == (bytes([hour]) * TAG_STRING_BYTES, OWN)

    with trio.fail_after(15):
        async with open_lan(4002, clock=clock) as lan:
            before = clock.wall_ms
            lan.announce(tags)
            clock.wall_ms = before
            first = await wait_for(finder, says(0))
            second = await wait_for(finder, says(1))
            assert first.instance == second.instance
            lan.announce_pairing(str(NUMBER))
            await wait_for(finder, lambda found: found.pairing == str(NUMBER))
            assert next(hours) == 2


async def test_without_interfaces_it_is_unavailable_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REOPEN_SECONDS", 0.05)
    hosts: list[list[str]] = []
    monkeypatch.setattr(module, "_hosts_by_adapter", lambda: hosts)
    with trio.fail_after(10):
        async with open_lan(4002, clock=FixedClock()) as lan:
            lan.announce(lambda: TAGS)
            await reach(lan, LanState.UNAVAILABLE)
            assert lan.detail == "no network interface has an address"
            hosts.append(["127.0.0.1"])
            await reach(lan, LanState.OPEN)


@needs_multicast
async def test_a_flood_of_records_is_bounded(finder: Lan) -> None:
    """Thousands of announcements: few are reported, the queue stays short, we go on finding."""
    from zeroconf import ServiceInfo
    from zeroconf._protocol.outgoing import DNSOutgoing

    def assert_bounded() -> None:
        assert len(finder._responder._sightings) <= SIGHTINGS_MAX
        assert len(finder._responder._look_ups) <= LOOK_UPS_AT_ONCE_MAX

    with trio.fail_after(30):
        await reach(finder, LanState.OPEN)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(2_000):
                info = ServiceInfo(
                    "_presenced._udp.local.",
                    f"forged{number}._presenced._udp.local.",
                    port=9,
                    properties={"v": b"1", "a": TAGS[0], "b": TAGS[1]},
                    server=f"forged{number}.local.",
                    parsed_addresses=["198.51.100.1"],
                )
                out = DNSOutgoing(0x8400)
                for record in (info.dns_pointer(), info.dns_service(), info.dns_text()):
                    out.add_answer_at_time(record, 0)
                for record in info.dns_addresses():
                    out.add_answer_at_time(record, 0)
                for packet in out.packets():
                    sender.sendto(packet, ("224.0.0.251", 5353))
                if number % 50 == 0:
                    await trio.to_thread.run_sync(assert_bounded)  # the responder has its turn
        seen: list[Found] = []
        async with open_lan(4002, clock=FixedClock()) as lan, trio.open_nursery() as nursery:

            def is_ours(found: Found) -> bool:
                return found.pairing is not None and int(found.pairing) >= NUMBER

            async def insist() -> None:
                for number in itertools.count(NUMBER):
                    lan.announce_pairing(str(number))
                    await trio.sleep(0.5)

            nursery.start_soon(insist)  # who says it again after a flood is found
            await wait_for(finder, lambda found: bool(seen.append(found)) or is_ours(found))
            nursery.cancel_scope.cancel()
        assert_bounded()
        assert 0 < sum(found.tags == TAGS for found in seen) <= SIGHTINGS_MAX + SIGHTINGS_QUEUE_MAX


@pytest.mark.parametrize("state", LanState)
async def test_leaving_the_block_ends_the_thread_also_when_cancelled(
    monkeypatch: pytest.MonkeyPatch, state: LanState
) -> None:
    hosts = [] if state is LanState.UNAVAILABLE else [["127.0.0.1"]]
    monkeypatch.setattr(module, "_hosts_by_adapter", lambda: hosts)
    before = threading.active_count()
    with trio.fail_after(20):
        with trio.CancelScope() as scope:
            async with open_lan(4002, clock=FixedClock()) as lan:
                lan.announce(lambda: TAGS)
                if state is not LanState.OPENING:  # it may be past that already
                    await reach(lan, state)
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert threading.active_count() == before
        with pytest.raises(KeyError):
            async with open_lan(4002, clock=FixedClock()):
                raise KeyError("the caller's own")
    assert threading.active_count() == before
