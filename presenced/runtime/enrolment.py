"""One enrolment at a time: shows a code and waits, or enters one and dials.

Theory of operation. `begin` starts a task in the owner's nursery. A shower waits for incoming
connections whose hello asks to enrol (`answer`), until one succeeds or the code is over (three
tries, five minutes). Any number of them may be on the way, as many strangers as the endpoint lets
in: whoever says nothing keeps nobody out. The first that proved the code and introduced itself is
*chosen*: it is shown to the person, the others are let go. An enterer searches
(`search`) among what it was told and what is found on the network under the code's number. The
person's yes or no goes to the chosen one.

Rules of this file: the tries are counted where the PAKE runs, one for all connections, so that many
at once guess no more often than one after another; a code is not over while a run that it allowed
is still on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Protocol

import trio

from presenced.clock import Clock, Entropy
from presenced.errors import Conflict
from presenced.local.owner import PairingRequest
from presenced.local.progress import Added, Candidate, CodeShown, Failed, PairingProgress
from presenced.log import log
from presenced.runtime.pairing_driver import PairingDriver
from presenced.runtime.search import FIND_SECONDS_MAX, Search
from presenced.runtime.streams import ByteStream
from presenced.trust.pairing_code import (
    CodeState,
    PairingAttempts,
    PairingCode,
    new_code,
    parse_code,
)
from presenced.trust.pairing_terms import Added as AddedEffect
from presenced.trust.pairing_terms import (
    Admit,
    CandidateSeen,
    Entering,
    FailureType,
    Joined,
    Joiner,
    PairingFailed,
    Showing,
    Sponsor,
)

Address = tuple[str, int]


class EnrolmentHome(Protocol):
    """What an enrolment needs of this device."""

    def party(self, role: str, name: str | None) -> Sponsor | Joiner:
        """Who we are in it. Raises `NotSetUp` or `Conflict`."""
        ...

    async def admit(self, wanted: Admit) -> list[bytes]: ...

    async def joined(self, joined: Joined) -> None: ...


class EnrolmentNetwork(Protocol):
    """How an enrolment reaches the other device."""

    async def dial(self, address: Address) -> ByteStream:
        """Raises `HostError`."""
        ...

    def announce(self, number: int | None) -> None:
        """Let the code's number be found on the network; None: no longer."""
        ...

    def found(self, number: int) -> Sequence[Address]:
        """Where that number is announced now."""
        ...

    def enrolled(self, address: Address) -> None:
        """The device that answered there is a sibling now: link with it."""
        ...

    def addresses(self) -> Sequence[Address]:
        """Where this device can be dialled, for the QR code."""
        ...


class Enrolments:
    """Runs enrolments in a nursery. At most one at a time."""

    def __init__(
        self,
        *,
        home: EnrolmentHome,
        network: EnrolmentNetwork,
        nursery: trio.Nursery,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._home = home
        self._network = network
        self._nursery = nursery
        self._clock = clock
        self._entropy = entropy
        self._latest: _Enrolment | None = None

    def begin(self, request: PairingRequest, configured: Sequence[Address] = ()) -> PairingProgress:
        """Begin one. Raises `Conflict` while another runs, or what `party` raises."""
        if self._latest is not None and not self._latest.progress.over:
            raise Conflict(
                "an enrolment is running", hint="Finish it, or cancel it and begin again."
            )
        code = None if request.code is None else parse_code(request.code)
        enrolment = self._latest = _Enrolment(
            home=self._home,
            network=self._network,
            party=self._home.party(request.role, request.name),
            clock=self._clock,
            entropy=self._entropy,
        )
        if code is None:
            self._nursery.start_soon(self._show, enrolment)
        else:
            self._nursery.start_soon(enrolment.enter, code, request.peers, configured)
        return enrolment.progress

    def current(self) -> PairingProgress | None:
        """The running one's, or the last one's."""
        return None if self._latest is None else self._latest.progress

    def approve(self) -> None:
        if self._latest is not None and self._latest.chosen is not None:
            self._latest.chosen.approve()

    def refuse(self) -> None:
        if self._latest is not None and self._latest.chosen is not None:
            self._latest.chosen.refuse()

    def cancel(self) -> None:
        if self._latest is not None:
            self._latest.cancel()

    @property
    def answering(self) -> bool:
        """Whether an incoming connection may enrol now."""
        return self._latest is not None and self._latest.answering

    async def answer(self, stream: ByteStream, early: bytes) -> None:
        """An incoming connection asks to enrol: run it to its end."""
        assert self._latest is not None
        await self._latest.answer(stream, early)

    async def _show(self, enrolment: _Enrolment) -> None:
        code = new_code(self._entropy)
        self._network.announce(code.number)
        try:
            await enrolment.show(code)
        finally:
            if self._latest is enrolment:  # else the next one has announced its own already
                self._network.announce(None)


class _Enrolment:
    """One enrolment, over as many connections as it takes."""

    def __init__(
        self,
        *,
        home: EnrolmentHome,
        network: EnrolmentNetwork,
        party: Sponsor | Joiner,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self.progress = PairingProgress()
        self.chosen: PairingDriver | None = None
        "of the connection whose candidate the person sees"
        self._running: set[PairingDriver] = set()
        self._home = home
        self._network = network
        self._party = party
        self._clock = clock
        self._entropy = entropy
        self._showing: Showing | None = None
        self._over = trio.Event()
        self._scope = trio.CancelScope()
        self._finding = trio.CancelScope()

    def cancel(self) -> None:
        """The person gave up."""
        self._report(Failed(type="refused", detail="cancelled here"))
        self._scope.cancel()

    def _report(self, last: Added | Failed) -> None:
        """It is over; whoever is still on the way is let go."""
        self.progress.report(last)
        self._over.set()
        for driver in self._running:
            driver.cancel()

    # --- showing a code ---

    @property
    def answering(self) -> bool:
        if self._showing is None or self.chosen is not None or self.progress.over:
            return False
        return self._showing.attempts.state(self._clock.now()) is CodeState.OPEN

    @property
    def _is_under_way(self) -> bool:
        """Whether somebody began while the code was open and is not done."""
        return any(driver.is_under_way for driver in self._running)

    async def show(self, code: PairingCode) -> None:
        """Show a code until somebody enrolled, it was tried too often, or its time is up."""
        now = self._clock.now()
        attempts = PairingAttempts(now)
        self._showing = Showing(code=code, attempts=attempts)
        self.progress.report(CodeShown(code=code.text, addresses=self._network.addresses()))
        with self._scope:
            with trio.move_on_after((attempts.deadline_mono_ms - now.mono_ms) / 1000):
                await self._over.wait()
            if self._is_under_way:  # it began in time: its people decide
                await self._over.wait()
        self._report(Failed(type="expired", detail="nobody entered the code in time"))

    async def answer(self, stream: ByteStream, early: bytes) -> None:
        """An incoming connection asks to enrol: run it to its end.

        A stranger's connection, and a wrong code that was not the last try, end nothing else.
        """
        showing = self._showing
        assert showing is not None
        ended = await self._run(stream, showing, early)
        if isinstance(ended.result, AddedEffect):
            self._report(Added(device=ended.result.device))
            return
        if ended.result.type is FailureType.WRONG_CODE:
            log.warning("wrong code entered", left=showing.attempts.tries_left)
        state = showing.attempts.state(self._clock.now())
        if ended.is_decided:
            self._report(Failed(type=ended.result.type.value, detail=ended.result.detail))
        elif self._is_under_way:
            return
        elif state is CodeState.SPENT:
            self._report(Failed(type="wrong_code", detail="the code was tried too often"))
        elif state is CodeState.EXPIRED:
            self._report(Failed(type="expired", detail="nobody entered the code in time"))

    # --- entering a code ---

    async def enter(
        self, code: PairingCode, named: Sequence[Address], configured: Sequence[Address]
    ) -> None:
        """Dial until the device that shows the code answered, or the time for that is up."""
        search = Search(
            network=self._network,
            number=code.number,
            named=named,
            configured=configured,
            attempt=partial(self._try, code),
        )
        self._finding.deadline = trio.current_time() + FIND_SECONDS_MAX
        with self._scope, self._finding:
            await search.run(self._over)
        self._report(search.failure)

    async def _try(self, code: PairingCode, address: Address, stream: ByteStream) -> Failed | None:
        """Run it with whoever answered. Returns why it was not the one, or reports how it ended."""
        ended = await self._run(stream, Entering(code=code), b"")
        if isinstance(ended.result, AddedEffect):
            self._network.enrolled(address)
            self._report(Added(device=ended.result.device))
            return None
        failed = Failed(type=ended.result.type.value, detail=ended.result.detail)
        is_other = ended.result.type in (FailureType.UNREACHABLE, FailureType.EXPIRED)
        if is_other and not ended.was_shown:
            return failed
        self._report(failed)
        return None

    # --- one connection ---

    async def _run(self, stream: ByteStream, part: Showing | Entering, early: bytes) -> _Ended:
        from presenced.trust.pairing import PairingMachine  # its PAKE takes 60 ms to import

        machine = PairingMachine(
            part=part, party=self._party, entropy=self._entropy, now=self._clock.now()
        )
        home = _Home(self._home, lambda seen: self._choose(driver, seen))
        driver = PairingDriver(machine=machine, stream=stream, home=home, clock=self._clock)
        self._running.add(driver)
        try:
            await driver.run(early)
        finally:
            self._running.discard(driver)
        cut = PairingFailed(type=FailureType.INTERRUPTED, detail="the connection ended")
        return _Ended(result=driver.result or cut, was_shown=driver is self.chosen)

    def _choose(self, driver: PairingDriver, seen: CandidateSeen) -> None:
        """The right device answered: from here on only its people's time counts."""
        self.chosen = driver
        for other in self._running - {driver}:
            other.cancel()
        self._finding.deadline = inf
        self.progress.report(
            Candidate(
                name=seen.name,
                fingerprint=seen.fingerprint,
                words=seen.words,
                receives=seen.receives,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """How one connection's enrolment ended."""

    result: AddedEffect | PairingFailed
    was_shown: bool
    "whether its candidate was shown to the person: it knew the code"

    @property
    def is_decided(self) -> bool:
        """Whether it ends the enrolment of the side that shows the code."""
        if isinstance(self.result, AddedEffect) or self.was_shown:
            return True
        return self.result.type in (FailureType.VERSION, FailureType.REFUSED)


class _Home:
    """`PairingHome` of one connection."""

    def __init__(self, home: EnrolmentHome, show: Callable[[CandidateSeen], None]) -> None:
        self.admit = home.admit
        self.joined = home.joined
        self.candidate = show
