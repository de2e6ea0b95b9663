"""Looking for the device that shows a code: dials wherever it may be, until one answers.

Rules of this file:
1. all places are dialled at once, so that one where nobody answers costs the others no time;
2. one enrolment runs at a time, as each run costs a try of the code, and two places may be one
   device. Whoever answers meanwhile is let go and dialled again when it is its turn: the other side
   does not wait for a stranger;
3. the search ends early when it is plain that nobody will answer: an address that a person named is
   given less time than the network's announcements.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import trio

from presenced.errors import HostError
from presenced.local.pairing import address_shown
from presenced.local.progress import Failed
from presenced.net.errors import DialRefused
from presenced.runtime.streams import ByteStream, closed_after

Address = tuple[str, int]

FIND_SECONDS_MAX: Final = 60.0
"how long an enterer looks for the device that shows the code"

FIND_AGAIN_SECONDS: Final = 0.5
"pause between two looks at what was found, and between two dials of one address"

NO_CODE_SECONDS: Final = 5.0
"how long an enterer asks on when all that answer show no code: another may be found meanwhile"

NAMED_SECONDS_MAX: Final = 12.0
"how long addresses that a person named may stay silent: two dials of 5 s, and the round between"

REFUSED_SECONDS: Final = 1.0
"the same if the network says that nobody is there: time for mDNS to find the device elsewhere"


class SearchNetwork(Protocol):
    """What a search needs of the network; see `enrolment.EnrolmentNetwork`."""

    async def dial(self, address: Address) -> ByteStream: ...

    def found(self, number: int) -> Sequence[Address]: ...


class Search:
    """One search. `failure` says how it stands, and at the end why nobody was found."""

    def __init__(
        self,
        *,
        network: SearchNetwork,
        number: int,
        named: Sequence[Address],
        configured: Sequence[Address],
        attempt: Callable[[Address, ByteStream], Awaitable[Failed | None]],
    ) -> None:
        """`number`: of the code. `named`: where a person said that the device is.

        `attempt` runs an enrolment with whoever answered at an address; a failure that it returns
        means that this was not the device.
        """
        self._network = network
        self._number = number
        self._named = list(named)
        self._configured = list(configured)
        self._attempt = attempt
        self._trying: set[Address] = set()
        self._silent: dict[Address, HostError] = {}
        "where nobody answered the last dial"
        self._others: dict[Address, Failed] = {}
        "who answered, and was not the one"
        self._turn = trio.Lock()

    async def run(self, over: trio.Event) -> None:
        """Dial until `over`, or until it is plain that nobody will answer."""
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            while not over.is_set() and not self._is_hopeless(trio.current_time() - begun):
                for address in self._places():
                    if address not in self._trying:
                        self._trying.add(address)
                        nursery.start_soon(self._try, address)
                with trio.move_on_after(FIND_AGAIN_SECONDS):
                    await over.wait()
            nursery.cancel_scope.cancel()

    @property
    def failure(self) -> Failed:
        if self._others:
            return list(self._others.values())[-1]
        if not self._named:
            detail = "no device that shows this code was found"
        else:
            detail = "; ".join(
                f"{address_shown(*address)}: {silent.detail if silent else 'no answer'}"
                for address in self._named
                for silent in [self._silent.get(address)]
            )
        return Failed(type="unreachable", detail=detail)

    def _places(self) -> list[Address]:
        found = self._network.found(self._number)
        return list(dict.fromkeys([*self._named, *self._configured, *found]))

    def _is_hopeless(self, elapsed: float) -> bool:
        if self._turn.locked():
            return False
        if self._others:
            is_none = all(one.type == "expired" for one in self._others.values())
            return is_none and elapsed >= NO_CODE_SECONDS
        if not self._named or self._network.found(self._number):
            return False
        silent = [self._silent.get(address) for address in self._named]
        if all(isinstance(one, DialRefused) for one in silent):
            return elapsed >= REFUSED_SECONDS
        return elapsed >= NAMED_SECONDS_MAX

    async def _try(self, address: Address) -> None:
        try:
            await self._dial(address)
        except HostError as error:
            self._silent[address] = error
            self._others.pop(address, None)
        finally:
            self._trying.discard(address)

    async def _dial(self, address: Address) -> None:
        stream = await self._network.dial(address)
        is_its_turn = not self._turn.locked()
        async with closed_after(stream):
            if is_its_turn:
                async with self._turn:
                    await self._meet(address, stream)
                return
        async with self._turn:
            stream = await self._network.dial(address)
            async with closed_after(stream):
                await self._meet(address, stream)

    async def _meet(self, address: Address, stream: ByteStream) -> None:
        failed = await self._attempt(address, stream)
        self._silent.pop(address, None)
        if failed is not None:
            self._others[address] = failed
