"""docs/spec/vectors/derivations.json: every derivation of version 1 gives what it always gave."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from presenced.crypto import aead, derive
from presenced.crypto.keys import DhKey, SigningKey
from presenced.crypto.phrase import entropy_from_phrase, phrase_from_entropy
from presenced.ids import DeviceId, LogId, SpaceId, hash_bytes, parse_id, show_id
from presenced.trust.attestation import bind

FILE = Path(__file__).parents[2] / "docs" / "spec" / "vectors" / "derivations.json"
CASES: list[dict[str, Any]] = json.loads(FILE.read_text())["cases"]

Given = Mapping[str, Any]


def _bytes(given: Given, name: str) -> bytes:
    return bytes.fromhex(given[name])


DERIVATIONS: dict[str, Callable[[Given], Any]] = {
    "hash": lambda g: hash_bytes(
        g["domain"].encode(), *map(bytes.fromhex, g["parts"]), size=g["size"], key=_bytes(g, "key")
    ),
    "id shown": lambda g: show_id(_bytes(g, "id")),
    "device id": lambda g: derive.device_id(_bytes(g, "signing_public")),
    "space id": lambda g: derive.space_id(_bytes(g, "genesis")),
    "epoch id": lambda g: derive.epoch_id(_bytes(g, "record")),
    "log id": lambda g: derive.log_id(
        DeviceId(_bytes(g, "device")), _bytes(g, "incarnation"), g["collection"]
    ),
    "yjs client": lambda g: derive.client_id(LogId(_bytes(g, "log"))),
    "phrase": lambda g: phrase_from_entropy(_bytes(g, "entropy")),
    "root seed": lambda g: derive.root_seed(_bytes(g, "entropy")),
    "signing public": lambda g: SigningKey(_bytes(g, "seed")).public,
    "signature": lambda g: SigningKey(_bytes(g, "seed")).sign(
        g["domain"].encode(), _bytes(g, "message")
    ),
    "dh public": lambda g: DhKey(_bytes(g, "private")).public,
    "dh secret": lambda g: DhKey(_bytes(g, "private")).exchange(_bytes(g, "public")),
    "pair psk": lambda g: derive.pair_psk(_bytes(g, "dh_secret"), SpaceId(_bytes(g, "space"))),
    "code psk": lambda g: derive.code_psk(_bytes(g, "pake_key"), _bytes(g, "prologue")),
    "entry key": lambda g: derive.entry_key(_bytes(g, "epoch_key")),
    "entry nonce key": lambda g: derive.entry_nonce_key(_bytes(g, "epoch_key")),
    "epoch key commitment": lambda g: aead.commitment(_bytes(g, "epoch_key")),
    "sealed": lambda g: aead.seal(
        _bytes(g, "key"),
        _bytes(g, "header"),
        _bytes(g, "plaintext"),
        nonce_key=_bytes(g, "nonce_key"),
    ),
    "fingerprint": lambda g: derive.fingerprint(_bytes(g, "signing_public")),
    "confirmation words": lambda g: " ".join(
        derive.confirmation_words(_bytes(g, "handshake_hash"))
    ),
    "tag key": lambda g: derive.tag_key(_bytes(g, "dh_secret")),
    "tag": lambda g: derive.pair_tag(
        _bytes(g, "tag_key"), g["hour"], DeviceId(_bytes(g, "device"))
    ),
    "hello tag": lambda g: derive.hello_tag(
        _bytes(g, "tag_key"), _bytes(g, "nonces"), DeviceId(_bytes(g, "device"))
    ),
    "evidence frame": lambda g: bind(
        _bytes(g, "evidence"), _bytes(g, "handshake_hash"), initiator=g["initiator"]
    ),
}


def _shown(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["what"])
def test_derivation_gives_the_frozen_bytes(case: dict[str, Any]) -> None:
    assert _shown(DERIVATIONS[case["what"]](case["given"])) == case["gives"]


def test_every_derivation_has_a_frozen_vector() -> None:
    assert {case["what"] for case in CASES} == set(DERIVATIONS)


def test_what_is_shown_reads_back() -> None:
    for case in CASES:
        if case["what"] == "phrase":
            assert entropy_from_phrase(case["gives"]).hex() == case["given"]["entropy"]
        if case["what"] == "id shown":
            assert parse_id(case["gives"]).hex() == case["given"]["id"]
