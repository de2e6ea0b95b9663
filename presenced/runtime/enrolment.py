"""One enrolment at a time: shows a code and waits, or enters one and dials.

Theory of operation. `begin` starts a task in the owner's nursery. A shower waits for incoming
connections whose hello asks to enrol (`answer`), one after another, until one succeeds or the code
is over (three tries, five minutes). An enterer dials what it was told and what is found on the
network under the code's number, until one answers or the time for finding is up. The person's yes
or no goes to the connection that showed the candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Final, Protocol

import structlog
import trio

from presenced.clock import Clock, Entropy
from presenced.errors import Conflict, HostError
from presenced.local.owner import PairingRequest
from presenced.local.progress import Added, Candidate, CodeShown, Failed, PairingProgress
from presenced.runtime.pairing_driver import PairingDriver
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

log = structlog.get_logger(__name__)

FIND_SECONDS_MAX: Final = 60.0
"how long an enterer looks for the device that shows the code"

FIND_AGAIN_SECONDS: Final = 0.5
"pause between two rounds of dialling"

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
        self._progress: PairingProgress | None = None
        self._showing: Showing | None = None
        self._party: Sponsor | Joiner | None = None
        self._driver: PairingDriver | None = None
        self._scope: trio.CancelScope | None = None
        self._finding: trio.CancelScope | None = None
        self._over = trio.Event()

    # --- what a person does ---

    def begin(self, request: PairingRequest, configured: Sequence[Address] = ()) -> PairingProgress:
        """Begin one. Raises `Conflict` while another runs, or what `party` raises."""
        if self._progress is not None and not self._progress.over:
            raise Conflict(
                "an enrolment is running", hint="Finish it, or cancel it and begin again."
            )
        party = self._home.party(request.role, request.name)
        code = None if request.code is None else parse_code(request.code)
        progress = self._progress = PairingProgress()
        self._party = party
        self._over = trio.Event()
        if code is None:
            self._nursery.start_soon(self._show, progress)
        else:
            self._nursery.start_soon(self._enter, progress, code, (*request.peers, *configured))
        return progress

    def current(self) -> PairingProgress | None:
        return self._progress

    def approve(self) -> None:
        if self._driver is not None:
            self._driver.approve()

    def refuse(self) -> None:
        if self._driver is not None:
            self._driver.refuse()

    def cancel(self) -> None:
        if self._driver is not None:
            self._driver.cancel()
        if self._scope is not None:
            self._scope.cancel()

    # --- showing a code ---

    @property
    def answering(self) -> bool:
        """Whether an incoming connection may enrol now."""
        return self._showing is not None and self._driver is None

    async def answer(self, stream: ByteStream, early: bytes) -> None:
        """An incoming connection asks to enrol: run it to its end."""
        showing, progress = self._showing, self._progress
        assert showing is not None
        assert progress is not None
        result = await self._run(stream, showing, progress, early)
        if isinstance(result, AddedEffect):
            progress.report(Added(device=result.device))
        elif showing.attempts.state(self._clock.now()) is not CodeState.OPEN:
            progress.report(Failed(type="wrong_code", detail="the code was tried too often"))
        elif result.type is FailureType.WRONG_CODE:
            log.warning("wrong code entered", left=showing.attempts.tries_left)
            return
        elif result.type is FailureType.UNREACHABLE:
            return
        else:
            progress.report(Failed(type=result.type.value, detail=result.detail))
        self._over.set()

    async def _show(self, progress: PairingProgress) -> None:
        code = new_code(self._entropy)
        now = self._clock.now()
        attempts = PairingAttempts(now)
        self._showing = Showing(code=code, attempts=attempts)
        self._network.announce(code.number)
        progress.report(CodeShown(code=code.text, addresses=self._network.addresses()))
        scope = self._scope = trio.CancelScope()
        try:
            with scope:
                with trio.move_on_after((attempts.deadline_mono_ms - now.mono_ms) / 1000):
                    await self._over.wait()
                if self._driver is not None:  # it began in time: its people decide
                    await self._over.wait()
            if scope.cancelled_caught:
                progress.report(Failed(type="refused", detail="cancelled here"))
            progress.report(Failed(type="expired", detail="nobody entered the code in time"))
        finally:
            self._showing = None
            self._scope = None
            self._network.announce(None)

    # --- entering a code ---

    async def _enter(
        self, progress: PairingProgress, code: PairingCode, peers: Sequence[Address]
    ) -> None:
        failure = Failed(type="unreachable", detail="no device that shows this code was found")
        scope = self._scope = trio.CancelScope()
        finding = self._finding = trio.move_on_after(FIND_SECONDS_MAX)
        try:
            with scope, finding:
                while True:
                    for address in [*peers, *self._network.found(code.number)]:
                        failure = await self._try(progress, code, address) or failure
                        if progress.over:
                            return
                    await trio.sleep(FIND_AGAIN_SECONDS)
            if scope.cancelled_caught:
                failure = Failed(type="refused", detail="cancelled here")
            progress.report(failure)
        finally:
            self._scope = self._finding = None

    async def _try(
        self,
        progress: PairingProgress,
        code: PairingCode,
        address: Address,
    ) -> Failed | None:
        """Dial one address. Returns why it was not the one, or reports how it ended."""
        try:
            stream = await self._network.dial(address)
        except HostError:
            return None
        result = await self._run(stream, Entering(code=code), progress, b"")
        if isinstance(result, AddedEffect):
            self._network.enrolled(address)
            progress.report(Added(device=result.device))
            return None
        failed = Failed(type=result.type.value, detail=result.detail)
        if result.type is FailureType.UNREACHABLE:
            return failed
        progress.report(failed)
        return None

    def _found(self) -> None:
        """The right device answered: from here on only its people's time counts."""
        if self._finding is not None:
            self._finding.deadline = inf

    # --- one connection ---

    async def _run(
        self,
        stream: ByteStream,
        part: Showing | Entering,
        progress: PairingProgress,
        early: bytes,
    ) -> AddedEffect | PairingFailed:
        from presenced.trust.pairing import PairingMachine  # its PAKE takes 60 ms to import

        assert self._party is not None
        machine = PairingMachine(
            part=part, party=self._party, entropy=self._entropy, now=self._clock.now()
        )
        home = _Home(self._home, progress, self._found)
        driver = self._driver = PairingDriver(
            machine=machine, stream=stream, home=home, clock=self._clock
        )
        try:
            await driver.run(early)
        finally:
            self._driver = None
        return driver.result or PairingFailed(
            type=FailureType.INTERRUPTED, detail="the connection ended"
        )


class _Home:
    """`PairingHome` of one connection."""

    def __init__(
        self, home: EnrolmentHome, progress: PairingProgress, seen: Callable[[], None]
    ) -> None:
        self._home = home
        self._progress = progress
        self._seen = seen
        self.admit = home.admit
        self.joined = home.joined

    def candidate(self, seen: CandidateSeen) -> None:
        self._seen()
        self._progress.report(
            Candidate(
                name=seen.name,
                fingerprint=seen.fingerprint,
                words=seen.words,
                receives=seen.receives,
            )
        )
