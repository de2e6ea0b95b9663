"""Whatever bytes a stranger sends to links and pairing: a `PeerError` or a value, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenced.errors import PeerError
from presenced.testing.byte_pair import START
from presenced.testing.link_doubles import (
    EVIDENCE,
    Device,
    MemoryPeers,
    SeededEntropy,
    joiner,
    link_machine,
    link_pair,
    pairing_pair,
    sponsor,
)
from presenced.trust.attestation import parse_evidence
from presenced.trust.frames import FrameBuffer, frame, split_clear
from presenced.trust.hello import Hello, parse_hello
from presenced.trust.inbound import Arrived, Inbound, Refused
from presenced.trust.link import LinkClosed
from presenced.trust.pairing_messages import (
    Approval,
    Introduction,
    Party,
    Statements,
    encode_message,
    introduce,
    parse_message,
)
from presenced.wire import encode

LAPTOP, BOX = Device("laptop"), Device("box")

JSONISH: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)

GOOD = {
    parse_hello: Hello(versions=(1,), mode="link", nonce=b"n" * 16, tags=b"t" * 256).encode(),
    parse_evidence: EVIDENCE.encode(),
}


def _message(raw: bytes) -> Any:
    return parse_message(raw, b"h" * 64)


MESSAGES = [
    introduce(
        Introduction(party=Party.JOINER, name="box", signing=BOX.signing.public),
        BOX.signing,
        b"h" * 64,
    ),
    encode_message(Approval(b"certificate")),
    encode_message(Statements((b"one", b"two"), True)),
]


@pytest.mark.parametrize("parse", [parse_hello, parse_evidence, _message, split_clear])
@given(raw=st.binary(min_size=1, max_size=400) | JSONISH.map(encode))
def test_a_decoder_gives_a_value_or_blames_the_peer(
    parse: Callable[[bytes], object], raw: bytes
) -> None:
    try:
        parse(raw)
    except PeerError:
        pass


@pytest.mark.parametrize(
    ("parse", "good"), [*GOOD.items(), *((_message, message) for message in MESSAGES)]
)
@given(data=st.data())
def test_a_changed_byte_gives_another_value_or_blames_the_peer(
    parse: Callable[[bytes], object], good: bytes, data: st.DataObject
) -> None:
    changed = bytearray(good)
    changed[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        value = parse(bytes(changed))
    except PeerError:
        return
    assert (value == parse(good)) == (bytes(changed) == good)


@given(
    bodies=st.lists(st.binary(min_size=1, max_size=300), max_size=8),
    cuts=st.lists(st.integers(1, 50), min_size=1, max_size=20),
)
def test_frames_are_the_same_however_they_are_cut(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(frame, bodies))
    buffer, taken, at, turn = FrameBuffer(), [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        buffer.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
        while (body := buffer.next()) is not None:
            taken.append(body)
    assert taken == bodies
    assert buffer.taken_bytes == len(stream)


@given(chunks=st.lists(st.binary(max_size=200), max_size=6))
def test_machines_survive_any_bytes(chunks: list[bytes]) -> None:
    answers = link_machine(BOX, MemoryPeers(BOX, [LAPTOP]), initiator=False)
    shows = pairing_pair(joiner(BOX), sponsor(LAPTOP)).machines[1]
    inbound = Inbound(enrolling=True, linking=True, entropy=SeededEntropy(1), now=START)
    for chunk in chunks:
        for effect in answers.receive_bytes(chunk, START):
            assert not isinstance(effect, LinkClosed) or answers.next_wakeup is None
        shows.receive_bytes(chunk, START)
        assert isinstance(inbound.receive_bytes(chunk, START), Arrived | Refused | None)


@given(junk=st.binary(min_size=1, max_size=300))
def test_junk_on_a_link_that_is_up_ends_it_and_brings_no_message(junk: bytes) -> None:
    pair = link_pair(Device("laptop"), Device("box"))
    pair.run()
    effects = pair.machines[1].receive_bytes(frame(junk), START)
    assert isinstance(effects[-1], LinkClosed)
    assert not any(type(effect).__name__ == "MessageReceived" for effect in effects)
