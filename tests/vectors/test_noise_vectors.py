"""Published Noise vectors run through `HandshakeState`, byte for byte, transport included."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from presenced.crypto.noise import HandshakeState

SHARED = Path(os.environ.get("PRESENCED_SHARED", Path(__file__).parents[2].parent / "shared"))
FILES = sorted((SHARED / "vectors" / "noise").glob("*.json"))


def _vectors() -> list[Any]:
    return [
        pytest.param(vector, id=vector["protocol_name"])
        for file in FILES
        for vector in json.loads(file.read_text())["vectors"]
    ]


def _side(vector: dict[str, Any], side: str) -> HandshakeState:
    def key(name: str) -> bytes | None:
        value = vector.get(f"{side}_{name}")
        return bytes.fromhex(value) if value else None

    return HandshakeState(
        vector["protocol_name"],
        initiator=side == "init",
        prologue=key("prologue") or b"",
        s=key("static"),
        e=key("ephemeral"),
        rs=key("remote_static"),
        psks=[bytes.fromhex(psk) for psk in vector.get(f"{side}_psks") or ()],
    )


@pytest.mark.skipif(not FILES, reason="the shared vectors are not on this machine")
@pytest.mark.parametrize("vector", _vectors())
def test_published_vector_is_reproduced(vector: dict[str, Any]) -> None:
    initiator, responder = _side(vector, "init"), _side(vector, "resp")
    one_way = vector["protocol_name"].split("_")[1][:2] in ("N", "K", "X")
    for turn, message in enumerate(vector["messages"]):
        payload = bytes.fromhex(message["payload"])
        ciphertext = bytes.fromhex(message["ciphertext"])
        forward = one_way or turn % 2 == 0
        writer, reader = (initiator, responder) if forward else (responder, initiator)
        if not writer.finished:
            assert writer.write_message(payload) == ciphertext
            assert reader.read_message(ciphertext) == payload
        else:
            direction = 0 if forward else 1
            assert writer.split()[direction].encrypt(b"", payload) == ciphertext
            assert reader.split()[direction].decrypt(b"", ciphertext) == payload
    assert initiator.finished
    assert responder.finished
    assert initiator.handshake_hash == responder.handshake_hash
    if expected := vector.get("handshake_hash"):
        assert initiator.handshake_hash.hex() == expected
