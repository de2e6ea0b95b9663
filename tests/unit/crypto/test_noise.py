"""Noise: the validity rules, and what a caller can get wrong."""

from __future__ import annotations

from typing import Any

import pytest

from presenced.crypto.keys import DhKey
from presenced.crypto.noise import PATTERNS, CipherState, HandshakeState, NoiseMisuse
from presenced.crypto.noise.cipherstate import NONCE_MAX
from presenced.crypto.noise.patterns import pattern_of
from presenced.errors import CallerError, LimitExceeded, Malformed, Unauthorized
from presenced.limits import FRAME_BYTES_MAX

SUITE = "25519_ChaChaPoly_BLAKE2b"
S, RS, E = b"s" * 32, DhKey(b"r" * 32), b"e" * 32


def _nn() -> tuple[HandshakeState, HandshakeState]:
    return (
        HandshakeState(f"Noise_NN_{SUITE}", initiator=True),
        HandshakeState(f"Noise_NN_{SUITE}", initiator=False),
    )


def _xx() -> tuple[HandshakeState, HandshakeState]:
    return (
        HandshakeState(f"Noise_XX_{SUITE}", initiator=True, s=S),
        HandshakeState(f"Noise_XX_{SUITE}", initiator=False, s=S),
    )


def _finished() -> tuple[HandshakeState, HandshakeState]:
    first, second = _nn()
    second.read_message(first.write_message())
    first.read_message(second.write_message())
    return first, second


def test_all_patterns_of_the_specification_are_there() -> None:
    one_way, interactive, deferred = 3, 12, 23
    assert len(PATTERNS) == one_way + interactive + deferred
    assert [name for name, pattern in PATTERNS.items() if pattern.one_way] == ["N", "K", "X"]


@pytest.mark.parametrize(("name", "pattern"), PATTERNS.items())
def test_every_pattern_is_valid(name: str, pattern: object) -> None:
    """§7.3: keys are known or sent before use, and no DH or key is repeated."""
    pattern = PATTERNS[name]
    known = {("i", token) for token in pattern.initiator_known}
    known |= {("r", token) for token in pattern.responder_known}
    mixed: set[str] = set()
    for place, tokens in enumerate(pattern.messages):
        side = "i" if place % 2 == 0 else "r"
        for token in tokens:
            if token in ("e", "s"):
                assert (side, token) not in known
                known.add((side, token))
            else:
                assert token not in mixed
                mixed.add(token)
                assert ("i", token[0]) in known
                assert ("r", token[1]) in known
    if not pattern.one_way:
        assert "ee" in mixed
    for initiator, letter, use in ((True, name[0], "s"), (False, name.replace("1", "")[-1], "s")):
        if not pattern.one_way:
            assert pattern.uses_static(initiator=initiator) == (letter != "N"), use


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Noise_XX",
        f"Noise_QQ_{SUITE}",
        f"Noise_XX1X_{SUITE}",
        f"noise_XX_{SUITE}",
        "Noise_XX_25519_AESGCM_BLAKE2b",
        "Noise_XX_448_ChaChaPoly_BLAKE2b",
        "Noise_XX_25519_ChaChaPoly_SHA256",
        f"Noise_XXpsk4_{SUITE}",
        f"Noise_NNpsk3_{SUITE}",
        f"Noise_XXpsk00_{SUITE}",
        f"Noise_XXpsk0+psk0_{SUITE}",
        f"Noise_XXpsk0psk1_{SUITE}",
        f"Noise_XXpsk0+_{SUITE}",
        f"Noise_XXhfs_{SUITE}",
        f"Noise_IKfallback_{SUITE}",
        f"Noise_Nfallback_{SUITE}",
        f"Noise_XX_{SUITE}é",
    ],
)
def test_other_names_are_the_callers_mistake(name: str) -> None:
    with pytest.raises(NoiseMisuse) as caught:
        HandshakeState(name, initiator=True, s=S, rs=RS.public)
    assert isinstance(caught.value, CallerError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("pattern", "initiator", "keys", "says"),
    [
        ("XX", True, {}, "static key s"),
        ("XX", False, {}, "static key s"),
        ("NK", True, {}, "rs"),
        ("IK", True, {"s": S}, "rs"),
        ("KK", False, {"s": S}, "rs"),
        ("NN", True, {"rs": RS.public}, "rs is not used"),
        ("NN", True, {"re": RS.public}, "re"),
        ("NNpsk0", True, {}, "1 psks"),
        ("NNpsk0+psk2", True, {"psks": (S,)}, "2 psks"),
        ("NN", True, {"psks": (S,)}, "0 psks"),
        ("XX", True, {"s": S[:31]}, "s has 32 bytes"),
        ("NK", True, {"rs": S + b"x"}, "rs has 32 bytes"),
        ("NNpsk0", True, {"psks": (b"short",)}, "psk has 32 bytes"),
        ("XXfallback", True, {"s": S}, "ephemeral key e"),
        ("XXfallback", False, {"s": S}, "re"),
    ],
)
def test_a_missing_or_superfluous_key_is_named(
    pattern: str, initiator: bool, keys: dict[str, object], says: str
) -> None:
    with pytest.raises(NoiseMisuse, match=says):
        HandshakeState(f"Noise_{pattern}_{SUITE}", initiator=initiator, **keys)  # type: ignore[arg-type]


def test_out_of_turn_calls_change_nothing() -> None:
    first, second = _nn()
    with pytest.raises(NoiseMisuse, match="turn"):
        second.write_message()
    with pytest.raises(NoiseMisuse, match="turn"):
        first.read_message(b"")
    with pytest.raises(NoiseMisuse, match="not finished"):
        first.split()
    assert second.read_message(first.write_message(b"p")) == b"p"


def test_after_the_last_message_there_is_only_split() -> None:
    first, second = _finished()
    assert first.finished
    assert second.finished
    for side in (first, second):
        with pytest.raises(NoiseMisuse, match="finished"):
            side.write_message()
        with pytest.raises(NoiseMisuse, match="finished"):
            side.read_message(b"")
    assert first.split()[0] is first.split()[0]  # no nonce starts again


@pytest.mark.parametrize("payload", ["text", None, 7])
def test_a_payload_that_is_no_bytes_changes_nothing(payload: Any) -> None:
    ours, theirs = _xx()
    with pytest.raises(TypeError):
        ours.write_message(payload)
    with pytest.raises(TypeError):
        theirs.read_message(payload)
    for writer, reader in ((ours, theirs), (theirs, ours), (ours, theirs)):
        assert reader.read_message(writer.write_message(b"goes on")) == b"goes on"


def test_a_buffer_that_is_used_again_changes_no_key_that_was_read_from_it() -> None:
    ours, theirs = _xx()
    for writer, reader in ((ours, theirs), (theirs, ours), (ours, theirs)):
        buffer = bytearray(writer.write_message(b"payload"))
        payload = reader.read_message(memoryview(buffer))  # type: ignore[arg-type]
        assert type(payload) is bytes
        buffer[:] = bytes(len(buffer))
    assert ours.handshake_hash == theirs.handshake_hash
    assert type(theirs.remote_static) is bytes


def test_messages_are_at_most_65535_bytes() -> None:
    first, second = _nn()
    with pytest.raises(NoiseMisuse, match="65535"):
        first.write_message(bytes(FRAME_BYTES_MAX - 31))
    message = first.write_message(bytes(FRAME_BYTES_MAX - 32))
    assert len(message) == FRAME_BYTES_MAX
    with pytest.raises(LimitExceeded):
        second.read_message(message + b"x")
    first, second = _finished()
    sealed = first.split()[0].encrypt(b"", bytes(FRAME_BYTES_MAX - 16))
    assert len(second.split()[0].decrypt(b"", sealed)) == FRAME_BYTES_MAX - 16
    with pytest.raises(NoiseMisuse):
        first.split()[0].encrypt(b"", bytes(FRAME_BYTES_MAX - 15))
    with pytest.raises(Unauthorized):
        second.split()[0].decrypt(b"", bytes(FRAME_BYTES_MAX + 1))


@pytest.mark.parametrize("pattern", ["XX", "XXpsk0", "IK", "X1X1psk4", "KK"])
def test_the_length_limit_counts_keys_and_tags(pattern: str) -> None:
    name = f"Noise_{pattern}_{SUITE}"
    data = pattern_of(name)
    keys = [DhKey(b"1" * 32), DhKey(b"2" * 32)]
    psks = [b"p" * 32] * data.psks
    sides = [
        HandshakeState(
            name,
            initiator=initiator,
            s=keys[0 if initiator else 1].private,
            rs=keys[1 if initiator else 0].public,
            psks=psks,
        )
        for initiator in (True, False)
    ]
    turn = 0
    while not sides[0].finished:
        low, high = 0, FRAME_BYTES_MAX
        tokens = data.messages[sides[0]._place]
        while low < high:
            middle = (low + high + 1) // 2
            fits = sides[turn]._message_bytes(tokens, middle) <= FRAME_BYTES_MAX
            low, high = (middle, high) if fits else (low, middle - 1)
        with pytest.raises(NoiseMisuse):
            sides[turn].write_message(bytes(low + 1))
        message = sides[turn].write_message(bytes(low))
        assert len(message) == FRAME_BYTES_MAX
        assert sides[1 - turn].read_message(message) == bytes(low)
        turn = 1 - turn


def test_a_message_that_does_not_decrypt_ends_the_handshake() -> None:
    first, second = _nn()
    second.read_message(first.write_message())
    reply = bytearray(second.write_message(b"p"))
    reply[-1] ^= 1
    with pytest.raises(Unauthorized):
        first.read_message(bytes(reply))
    reply[-1] ^= 1
    with pytest.raises(NoiseMisuse, match="failed"):
        first.read_message(bytes(reply))
    with pytest.raises(NoiseMisuse, match="failed"):
        first.write_message()
    assert not first.finished


@pytest.mark.parametrize("size", [0, 1, 31])
def test_a_truncated_message_is_malformed(size: int) -> None:
    _, second = _nn()
    with pytest.raises(Malformed):
        second.read_message(bytes(size))


def test_a_public_key_of_small_order_is_refused_where_it_is_used() -> None:
    first, second = _nn()
    second.read_message(bytes(32))
    with pytest.raises(Malformed, match="small order"):
        second.write_message()
    with pytest.raises(NoiseMisuse, match="failed"):
        second.write_message()
    first = HandshakeState(f"Noise_N_{SUITE}", initiator=True, rs=bytes(32))
    with pytest.raises(Malformed):
        first.write_message()


def test_an_expected_static_key_is_a_pin() -> None:
    right, wrong = DhKey(b"1" * 32), DhKey(b"2" * 32)
    for pinned, good in ((right, True), (wrong, False)):
        first = HandshakeState(f"Noise_NX_{SUITE}", initiator=True, rs=pinned.public)
        second = HandshakeState(f"Noise_NX_{SUITE}", initiator=False, s=right.private)
        assert first.remote_static is None
        second.read_message(first.write_message())
        reply = second.write_message()
        if good:
            first.read_message(reply)
            assert first.remote_static == right.public
        else:
            with pytest.raises(Unauthorized):
                first.read_message(reply)


def test_a_psk_can_follow_when_message_one_has_named_the_peer() -> None:
    keys = DhKey(b"1" * 32), DhKey(b"2" * 32)
    name, psk = f"Noise_IKpsk2_{SUITE}", b"p" * 32
    first = HandshakeState(name, initiator=True, s=keys[0].private, rs=keys[1].public, psks=(psk,))
    second = HandshakeState(name, initiator=False, s=keys[1].private, psks=(None,))
    second.read_message(first.write_message())
    assert second.remote_static == keys[0].public
    with pytest.raises(NoiseMisuse, match="not set"):
        second.write_message()
    with pytest.raises(NoiseMisuse):
        second.set_psk(1, psk)
    second.set_psk(0, psk)
    first.read_message(second.write_message())
    with pytest.raises(NoiseMisuse):
        second.set_psk(0, psk)
    assert first.handshake_hash == second.handshake_hash


@pytest.mark.parametrize("modifiers", ["fallback", "fallback+psk0", "fallback+psk2"])
def test_fallback_begins_with_the_responder_and_a_known_ephemeral_key(modifiers: str) -> None:
    name = f"Noise_XX{modifiers}_{SUITE}"
    psks = [b"p" * 32] * modifiers.count("psk")
    alice = HandshakeState(name, initiator=True, s=S, e=E, psks=psks)
    bob = HandshakeState(name, initiator=False, s=b"b" * 32, re=DhKey(E).public, psks=psks)
    assert bob.writes_next
    alice.read_message(bob.write_message(b"1"))
    bob.read_message(alice.write_message(b"2"))
    assert alice.finished
    assert bob.finished
    assert alice.handshake_hash == bob.handshake_hash
    assert alice.split()[0].encrypt(b"", b"x") == bob.split()[0].encrypt(b"", b"x")


def test_two_fresh_ephemeral_keys_differ() -> None:
    assert _nn()[0].write_message() != _nn()[0].write_message()


def test_the_way_back_of_a_one_way_pattern_is_refused() -> None:
    first = HandshakeState(f"Noise_N_{SUITE}", initiator=True, rs=RS.public)
    second = HandshakeState(f"Noise_N_{SUITE}", initiator=False, s=RS.private)
    second.read_message(first.write_message())
    assert second.split()[0].decrypt(b"", first.split()[0].encrypt(b"", b"x")) == b"x"
    with pytest.raises(NoiseMisuse, match="one-way"):
        second.split()[1].encrypt(b"", b"x")
    with pytest.raises(NoiseMisuse, match="one-way"):
        first.split()[1].decrypt(b"", b"x" * 16)


def test_secrets_are_in_no_repr() -> None:
    state = HandshakeState(f"Noise_NNpsk0_{SUITE}", initiator=True, e=E, psks=(b"p" * 32,))
    for shown in (repr(state), repr(DhKey(S)), repr(CipherState(b"k" * 32))):
        assert "6565" not in shown
        assert "kkk" not in shown
        assert S.hex() not in shown


# --- CipherState ---


def test_a_cipher_without_a_key_passes_bytes_through() -> None:
    cipher = CipherState()
    assert not cipher.has_key
    assert cipher.encrypt(b"", b"x") == b"x"
    assert cipher.decrypt(b"", b"x") == b"x"
    with pytest.raises(NoiseMisuse):
        cipher.rekey()


def test_nonces_grow_by_one_and_the_last_is_never_used() -> None:
    cipher = CipherState(b"k" * 32)
    cipher.encrypt(b"", b"x")
    assert cipher.nonce == 1
    cipher.set_nonce(NONCE_MAX - 1)
    sealed = cipher.encrypt(b"", b"x")
    with pytest.raises(NoiseMisuse, match="used up"):
        cipher.encrypt(b"", b"x")
    reader = CipherState(b"k" * 32)
    reader.set_nonce(NONCE_MAX - 1)
    assert reader.decrypt(b"", sealed) == b"x"
    with pytest.raises(NoiseMisuse, match="used up"):
        reader.decrypt(b"", sealed)
    with pytest.raises(NoiseMisuse):
        cipher.set_nonce(NONCE_MAX + 1)


def test_a_failed_decryption_leaves_the_nonce() -> None:
    writer, reader = CipherState(b"k" * 32), CipherState(b"k" * 32)
    sealed = writer.encrypt(b"ad", b"x")
    for bad in (b"", sealed[:15], sealed[:-1] + b"\0", sealed + b"\0"):
        with pytest.raises(Unauthorized):
            reader.decrypt(b"ad", bad)
    with pytest.raises(Unauthorized):
        reader.decrypt(b"other", sealed)
    assert reader.decrypt(b"ad", sealed) == b"x"


def test_rekey_changes_the_key_and_keeps_the_nonce() -> None:
    writer, reader, old = (CipherState(b"k" * 32) for _ in range(3))
    writer.encrypt(b"", b"x")
    writer.rekey()
    reader.set_nonce(1)
    reader.rekey()
    old.set_nonce(1)
    sealed = writer.encrypt(b"", b"y")
    with pytest.raises(Unauthorized):
        old.decrypt(b"", sealed)
    assert reader.decrypt(b"", sealed) == b"y"
