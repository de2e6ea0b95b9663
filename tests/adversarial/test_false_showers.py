"""What one can do who answers in the place of the device that shows a code.

Whoever announces the code's number is dialled by the device where the code was entered, and each
run of the PAKE with it is one guess at the words, which its first handshake message proves right or
wrong. So there must be one for each time that a person enters the code.
"""

from __future__ import annotations

import pytest
import trio
from spake2 import SPAKE2_A
from trio.testing import MockClock

from presenced.crypto.noise import HandshakeState
from presenced.testing.byte_pair import START
from presenced.testing.enrolments import B, C, enter, failed
from presenced.testing.link_doubles import Device, joiner, pairing_pair, sponsor
from presenced.testing.memory_house import (
    House,
    MemoryEndpoint,
    MemoryNet,
    MemoryStream,
    open_house,
)
from presenced.trust.frames import FrameBuffer, Kind, clear_frame, split_clear
from presenced.trust.hello import Hello
from presenced.trust.pairing_terms import CandidateSeen, FailureType, PairingFailed

OLD, NEW = Device("laptop"), Device("box")
HELLO = clear_frame(Kind.HELLO, Hello(versions=(1,), mode="enrol", nonce=b"n" * 16).encode())
EXPIRED = clear_frame(Kind.FAILURE, b"expired")


class FalseShower:
    """Answers every dial, guesses, and then says what makes the other look further."""

    def __init__(self, net: MemoryNet, *, parting: bytes = EXPIRED) -> None:
        self.guesses = 0
        self._endpoint = MemoryEndpoint(net, C)
        self._parting = parting

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(self._answer, await self._endpoint.accept())

    async def _answer(self, stream: MemoryStream) -> None:
        frames = FrameBuffer()
        while data := await stream.receive_some():
            frames.feed(data)
            while (body := frames.next()) is not None:
                kind, _ = split_clear(body)
                if kind is Kind.HELLO:
                    await stream.send_all(HELLO)
                elif kind is Kind.PAKE:
                    guess = SPAKE2_A(b"abandon-abandon").start()
                    await stream.send_all(clear_frame(Kind.PAKE, guess))
                else:  # the message that tells whether the guess was right
                    self.guesses += 1
                    if self._parting:
                        await stream.send_all(self._parting)
                    stream.cut()
                    return


@pytest.mark.parametrize(
    "parting",
    [EXPIRED, b"", HELLO, clear_frame(Kind.FAILURE, b"?")],
    ids=["over", "", "hello", "?"],
)
async def test_one_who_pretends_to_show_the_code_has_one_guess_for_each_time_it_is_entered(
    parting: bytes, autojump_clock: MockClock
) -> None:
    net = MemoryNet()
    shower = FalseShower(net, parting=parting)
    net.codes[123] = C
    async with trio.open_nursery() as nursery, open_house(net, B) as house:
        nursery.start_soon(shower.run)
        await _enter_and_fail(house)
        assert shower.guesses == 1
        nursery.cancel_scope.cancel()


async def _enter_and_fail(house: House) -> None:
    entered = enter(house, "123-zoo-zoo")
    assert (await failed(entered)).type in ("interrupted", "wrong_code")
    await trio.sleep(60)


def test_that_the_code_is_over_is_believed_before_a_guess_and_not_after() -> None:
    machine = pairing_pair(joiner(NEW), sponsor(OLD)).machines[0]
    machine.start(START)
    told = machine.receive_bytes(HELLO + EXPIRED, START)
    assert told[-1].type is FailureType.EXPIRED
    machine = pairing_pair(joiner(NEW), sponsor(OLD)).machines[0]
    machine.start(START)
    guess = clear_frame(Kind.PAKE, SPAKE2_A(b"abandon-abandon").start())
    told = machine.receive_bytes(HELLO + guess + EXPIRED, START)
    assert told[-1].type is FailureType.INTERRUPTED


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_handshake_of_an_enrolment_carries_nothing(
    place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who sits between could try payloads until the four words are the same on both screens."""
    write = HandshakeState.write_message
    written = 0

    def write_more(self: HandshakeState, payload: bytes = b"") -> bytes:
        nonlocal written
        written += 1
        return write(self, b"ground" if written == place + 1 else payload)

    monkeypatch.setattr(HandshakeState, "write_message", write_more)
    pair = pairing_pair(joiner(NEW), sponsor(OLD))
    pair.run()
    reader = 1 - place % 2
    assert not [one for one in pair.seen[reader] if isinstance(one, CandidateSeen)]
    ended = pair.seen[reader][-1]
    assert isinstance(ended, PairingFailed)
    assert ended.type is FailureType.INTERRUPTED
