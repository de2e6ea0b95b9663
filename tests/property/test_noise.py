"""Every Noise pattern with every psk modifier: it round trips, and any flipped bit ends it."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presenced.crypto.keys import DhKey
from presenced.crypto.noise import PATTERNS, HandshakeState, NoiseMisuse
from presenced.crypto.noise.patterns import pattern_of
from presenced.errors import PeerError
from presenced.testing.link_doubles import SeededEntropy


def _names() -> list[str]:
    names = []
    for pattern, data in PATTERNS.items():
        places = [f"psk{place}" for place in range(len(data.messages) + 1)]
        for count in range(len(places) + 1):
            names += [
                f"Noise_{pattern}{'+'.join(chosen)}_25519_ChaChaPoly_BLAKE2b"
                for chosen in combinations(places, count)
            ]
    return names


NAMES = _names()


def sides(name: str, seed: object) -> tuple[HandshakeState, HandshakeState]:
    """Both sides of a handshake with keys from a seed."""
    entropy, pattern = SeededEntropy((name, seed)), pattern_of(name)
    first, second = DhKey(entropy(32)), DhKey(entropy(32))
    psks = [entropy(32) for _ in range(pattern.psks)]
    prologue = entropy(10)

    def side(own: DhKey, peer: DhKey, *, initiator: bool) -> HandshakeState:
        known = pattern.responder_known if initiator else pattern.initiator_known
        return HandshakeState(
            name,
            initiator=initiator,
            prologue=prologue,
            s=own.private if pattern.uses_static(initiator=initiator) else None,
            e=entropy(32),
            rs=peer.public if "s" in known else None,
            psks=psks,
        )

    return side(first, second, initiator=True), side(second, first, initiator=False)


@pytest.mark.parametrize("name", NAMES)
def test_every_pattern_and_psk_placement_round_trips(name: str) -> None:
    pair = sides(name, 0)
    turn = 0
    while not pair[0].finished:
        assert pair[turn].writes_next
        assert not pair[1 - turn].writes_next
        message = pair[turn].write_message(b"payload %d" % turn)
        assert pair[1 - turn].read_message(message) == b"payload %d" % turn
        turn = 1 - turn
    assert pair[1].finished
    assert pair[0].handshake_hash == pair[1].handshake_hash
    for direction in (0,) if pattern_of(name).one_way else (0, 1):
        sealed = pair[direction].split()[direction].encrypt(b"ad", b"text")
        assert pair[1 - direction].split()[direction].decrypt(b"ad", sealed) == b"text"


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(NAMES), data=st.data())
def test_any_flipped_bit_keeps_the_two_sides_from_agreeing(name: str, data: st.DataObject) -> None:
    """Clear fields are covered by the hash: at the latest the first sealed transport fails."""
    pair = sides(name, data.draw(st.integers(0, 3)))
    at = data.draw(st.integers(0, len(pattern_of(name).messages) - 1))
    turn = place = 0
    while not pair[0].finished:
        message = bytearray(pair[turn].write_message(b"payload"))
        if place == at:
            bit = data.draw(st.integers(0, len(message) * 8 - 1))
            message[bit // 8] ^= 1 << bit % 8
        try:
            pair[1 - turn].read_message(bytes(message))
        except PeerError:
            with pytest.raises(NoiseMisuse):
                pair[1 - turn].split()
            return
        turn, place = 1 - turn, place + 1
    assert pair[0].handshake_hash != pair[1].handshake_hash
    sealed = pair[0].split()[0].encrypt(pair[0].handshake_hash, b"text")
    with pytest.raises(PeerError):
        pair[1].split()[0].decrypt(pair[1].handshake_hash, sealed)


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(NAMES), junk=st.binary(max_size=300))
def test_junk_is_never_an_exception_of_ours(name: str, junk: bytes) -> None:
    _, responder = sides(name, 1)
    try:
        responder.read_message(junk)
    except PeerError:
        with pytest.raises(NoiseMisuse, match="failed"):
            responder.read_message(junk)
