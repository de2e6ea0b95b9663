"""Enrolments between daemons in memory: two people who show, enter, compare and say yes.

Time is trio's: under a test's mock clock a minute of waiting takes none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import trio

from presenced.local.owner import PairingRequest
from presenced.local.progress import Added, Candidate, CodeShown, Failed, PairingProgress
from presenced.testing.memory_house import (
    Address,
    House,
    MemoryNet,
    MemoryStream,
    open_house,
    until,
)
from presenced.trust.frames import Kind, clear_frame
from presenced.trust.hello import NONCE_BYTES, PROTOCOL_VERSIONS, Hello, Mode

A: Final[Address] = ("a", 1)
B: Final[Address] = ("b", 2)
C: Final[Address] = ("c", 3)

Shown = tuple[PairingProgress, str]
"a shower's progress, and its code"

NAME: Final = "Box"
"what a joiner is called unless it is said"


@asynccontextmanager
async def houses() -> AsyncIterator[tuple[MemoryNet, House, House]]:
    """A laptop with an identity at `A`, and a daemon without one at `B`."""
    net = MemoryNet()
    async with open_house(net, A) as first, open_house(net, B) as second:
        await first.home.init("Laptop")
        yield net, first, second


@asynccontextmanager
async def linked_houses() -> AsyncIterator[tuple[MemoryNet, House, House]]:
    """Both belong to one identity, are linked, and have said what a new link has to say."""
    async with houses() as (net, first, second):
        await enrol(first, second)
        await linked(first, second)
        await trio.sleep(5)
        yield net, first, second


async def linked(first: House, second: House, *, seconds: float = 60.0) -> None:
    """Wait until both have a link."""
    await until(lambda: first.linked and second.linked, "links", seconds=seconds)


async def show(house: House, role: str = "sponsor", name: str = NAME) -> Shown:
    """Show a code there."""
    progress = house.enrolments.begin(PairingRequest(role=role, name=name))  # type: ignore[arg-type]
    await until(lambda: progress.reports, "the code")
    shown = progress.reports[0]
    assert isinstance(shown, CodeShown)
    return progress, shown.code


def enter(
    house: House, code: str, *peers: Address, role: str = "joiner", name: str = NAME
) -> PairingProgress:
    """Enter a code there."""
    return house.enrolments.begin(
        PairingRequest(role=role, code=code, name=name, peers=peers)  # type: ignore[arg-type]
    )


def wrong(code: str) -> str:
    """The same number with other words."""
    number, first, second = code.split("-")
    return f"{number}-{'zoo' if first != 'zoo' else 'abandon'}-{second}"


async def candidates(*all_progress: PairingProgress) -> None:
    """Wait until each screen shows the other device."""
    for progress in all_progress:
        await until(partial(_shows_candidate, progress), "a candidate")


def _shows_candidate(progress: PairingProgress) -> bool:
    return bool(progress.reports) and isinstance(progress.reports[-1], Candidate)


async def both_see(first: House, second: House) -> tuple[PairingProgress, PairingProgress]:
    """The first shows a code, the second enters it; nobody has said yes yet."""
    shown, code = await show(first)
    entered = enter(second, code)
    await candidates(shown, entered)
    return shown, entered


async def enrol(
    sponsor: House, joiner: House, name: str = NAME, *, shower: str = "sponsor"
) -> None:
    """A whole enrolment; `shower`: the role of the one that shows the code."""
    parts = {"sponsor": sponsor, "joiner": joiner}
    shows = parts.pop(shower)
    ((role, enters),) = parts.items()
    shown, code = await show(shows, shower, name)
    entered = enter(enters, code, role=role, name=name)
    await candidates(shown, entered)
    await both_say_yes(shows, enters)
    for progress in (shown, entered):
        assert isinstance(await ended(progress), Added), progress.reports


async def both_say_yes(first: House, second: House) -> None:
    """To the candidates that they see."""
    for house in (first, second):
        house.enrolments.approve()


async def ended(progress: PairingProgress, *, seconds: float = 120.0) -> Added | Failed:
    """How it ended, once it has."""
    await until(lambda: progress.over, "the end", seconds=seconds)
    last = progress.reports[-1]
    assert isinstance(last, Added | Failed)
    return last


async def failed(progress: PairingProgress, *, seconds: float = 120.0) -> Failed:
    """The same, for one that fails."""
    last = await ended(progress, seconds=seconds)
    assert isinstance(last, Failed), last
    return last


async def hello_at(house: House, target: Address = A) -> MemoryStream:
    """A stranger's connection that asked to enrol and says nothing more."""
    stream = await house.endpoint.dial(target)
    hello = Hello(versions=PROTOCOL_VERSIONS, mode=Mode.ENROL.value, nonce=bytes(NONCE_BYTES))
    await stream.send_all(clear_frame(Kind.HELLO, hello.encode()))
    return stream
