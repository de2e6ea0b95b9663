"""Byte-for-byte agreement with the PyPI package `noiseprotocol` on random handshakes."""

from __future__ import annotations

import random
import warnings

import pytest

from presenced.crypto.keys import DhKey
from presenced.crypto.noise import PATTERNS, HandshakeState

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the package is old; its warnings are not ours
    from noise.connection import Keypair, NoiseConnection

KNOWN = ("N", "K", "X", "NN", "KN", "NK", "KK", "NX", "KX", "XN", "IN", "XK", "IK", "XX", "IX")


def _names() -> list[str]:
    names = []
    for pattern in KNOWN:
        count = len(PATTERNS[pattern].messages)
        places = [f"psk{place}" for place in range(count + 1)]
        names += [
            f"Noise_{pattern}{modifiers}_25519_ChaChaPoly_BLAKE2b"
            for modifiers in ["", *places, f"{places[0]}+{places[-1]}"]
        ]
    return names


class _Side:
    """One side, run by both libraries with the same keys."""

    def __init__(
        self, name: str, *, initiator: bool, draw: random.Random, peer: DhKey, psks: list[bytes]
    ) -> None:
        pattern = PATTERNS[name.split("_")[1].split("psk")[0]]
        self.static = DhKey(draw.randbytes(32)) if initiator else peer
        known = pattern.responder_known if initiator else pattern.initiator_known
        self.known_peer = bool(known)
        self.uses_static = pattern.uses_static(initiator=initiator)
        self.ephemeral = draw.randbytes(32)
        self.name, self.initiator, self.psks = name, initiator, psks

    def ours(self, prologue: bytes, peer: DhKey) -> HandshakeState:
        return HandshakeState(
            self.name,
            initiator=self.initiator,
            prologue=prologue,
            s=self.static.private if self.uses_static else None,
            e=self.ephemeral,
            rs=peer.public if self.known_peer else None,
            psks=self.psks,
        )

    def theirs(self, prologue: bytes, peer: DhKey) -> NoiseConnection:
        connection = NoiseConnection.from_name(self.name.encode())
        connection.set_prologue(prologue)
        if self.initiator:
            connection.set_as_initiator()
        else:
            connection.set_as_responder()
        if self.psks:
            connection.set_psks(psks=list(self.psks))
        if self.uses_static:
            connection.set_keypair_from_private_bytes(Keypair.STATIC, self.static.private)
        connection.set_keypair_from_private_bytes(Keypair.EPHEMERAL, self.ephemeral)
        if self.known_peer:
            connection.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, peer.public)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a given ephemeral key: that is the test
            connection.start_handshake()
        return connection


@pytest.mark.parametrize("name", _names())
def test_random_handshakes_agree_byte_for_byte(name: str) -> None:
    draw = random.Random(name)
    for _ in range(3):
        keys = [DhKey(draw.randbytes(32)) for _ in range(2)]
        psks = [draw.randbytes(32) for _ in range(name.count("psk"))]
        prologue = draw.randbytes(draw.randrange(80))
        first = _Side(name, initiator=True, draw=draw, peer=keys[1], psks=psks)
        second = _Side(name, initiator=False, draw=draw, peer=keys[1], psks=psks)
        ours = [first.ours(prologue, second.static), second.ours(prologue, first.static)]
        theirs = [first.theirs(prologue, second.static), second.theirs(prologue, first.static)]
        turn = 0
        while not ours[0].finished:
            payload = draw.randbytes(draw.randrange(200))
            message = ours[turn].write_message(payload)
            assert message == bytes(theirs[turn].write_message(payload))
            assert ours[1 - turn].read_message(message) == payload
            assert bytes(theirs[1 - turn].read_message(message)) == payload
            turn = 1 - turn
        assert ours[0].handshake_hash == ours[1].handshake_hash
        assert ours[0].handshake_hash == theirs[0].get_handshake_hash()
        one_way = PATTERNS[name.split("_")[1].split("psk")[0]].one_way
        for sender in (0,) if one_way else (0, 1):
            for rekeyed in (False, True):
                if rekeyed:
                    ours[sender].split()[sender].rekey()
                    theirs[sender].rekey_outbound_cipher()
                for _ in range(2):
                    payload = draw.randbytes(draw.randrange(200))
                    sealed = ours[sender].split()[sender].encrypt(b"", payload)
                    assert sealed == bytes(theirs[sender].encrypt(payload))
