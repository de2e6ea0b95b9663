"""Whether one who listens on two networks can know a device again by what it announces."""

from __future__ import annotations

import os

import pytest
import trio

from presenced.clock import Instant
from presenced.net.lan import Lan, open_lan
from presenced.net.limits import TAG_STRING_BYTES


class FixedClock:
    def now(self) -> Instant:
        return Instant(0, 1_000)


async def _seen(finder: Lan, *, tags: tuple[bytes, bytes], number: str, but: set[str]) -> set[str]:
    """The instances under which these tags and this number are announced, other than before."""
    link = pairing = ""
    async for found in finder.found:
        if found.instance in but:
            continue
        if found.tags == tags:
            link = found.instance
        if found.pairing == number:
            pairing = found.instance
        if link and pairing:
            break
    return {link, pairing}


async def test_names_on_one_network_say_nothing_of_those_on_the_next() -> None:
    tags = (os.urandom(TAG_STRING_BYTES), os.urandom(TAG_STRING_BYTES))
    number = str(100 + int.from_bytes(os.urandom(2), "big") % 900)
    async with (
        open_lan(4001, clock=FixedClock()) as finder,
        open_lan(4002, clock=FixedClock()) as lan,
    ):
        lan.announce(lambda: tags)
        lan.announce_pairing(number)
        here: set[str] = set()
        with trio.move_on_after(15):
            here = await _seen(finder, tags=tags, number=number, but=set())
        if not here:
            pytest.skip("this machine has no multicast")
        lan.reopen()
        with trio.fail_after(20):
            there = await _seen(finder, tags=tags, number=number, but=here)
        assert len(here | there) == 4
