"""An identity is a phrase; a device is its secrets."""

from __future__ import annotations

import random

import pytest

from presenced import wire
from presenced.crypto.keys import DhKey, SigningKey
from presenced.crypto.phrase import MalformedPhrase
from presenced.errors import PeerError
from presenced.testing.draw import drawn_device
from presenced.trust.dag import load_dag
from presenced.trust.identity import (
    DeviceSecrets,
    did_key,
    found_identity,
    new_device_secrets,
    root_key,
)
from presenced.trust.members import resolve_dag


def test_founding_makes_a_space_with_one_device_that_may_have_everything() -> None:
    founding = found_identity(random.Random(1).randbytes)
    dag = load_dag([founding.genesis.raw], founding.space)
    members = resolve_dag(dag)
    device = founding.secrets.device
    assert members.active == (device,)
    assert members.collections(device) == {"directory", "follows", "sessions"}
    assert founding.secrets.log("follows") in members.logs
    certificate = members.certificate(device)
    assert certificate is not None
    assert certificate.static == founding.secrets.static.public
    assert members.sealing_key(device) == founding.secrets.sealing[0].public


def test_the_phrase_is_the_root_key() -> None:
    founding = found_identity(random.Random(1).randbytes)
    assert len(founding.phrase.split()) == 24
    root = root_key(founding.phrase)
    assert did_key(root.public) == founding.identity
    assert root.public == founding.genesis.signer
    with pytest.raises(MalformedPhrase):
        root_key(founding.phrase.replace(founding.phrase.split()[0], "nonsense", 1))


def test_the_same_randomness_founds_the_same_identity_and_other_randomness_another() -> None:
    first, again, other = (found_identity(random.Random(n).randbytes) for n in (1, 1, 2))
    assert first.genesis.raw == again.genesis.raw
    assert first.identity == again.identity != other.identity
    assert first.space != other.space


def test_a_did_key_is_that_of_the_specification() -> None:
    """Example of the did:key method, §3.1.1 (Ed25519)."""
    public = bytes.fromhex("2e6fcce36701dc791488e0d0b1745cc1e33a4c1c9fcc41c63bd343dbbe0970e6")
    assert did_key(public) == "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"


def test_secrets_come_back_from_their_bytes() -> None:
    secrets = new_device_secrets(random.Random(1).randbytes)
    two = DeviceSecrets(
        signing=secrets.signing,
        static=secrets.static,
        sealing=(DhKey(b"\x01" * 32), *secrets.sealing),
        incarnation=secrets.incarnation,
    )
    again = DeviceSecrets.from_bytes(two.to_bytes())
    assert again.to_bytes() == two.to_bytes()
    assert again.device == two.device
    assert [key.public for key in again.sealing] == [key.public for key in two.sealing]


@pytest.mark.parametrize(
    "value",
    [
        [2, b"\x01" * 32, b"\x01" * 32, [b"\x01" * 32], b"\x01" * 16],
        [True, b"\x01" * 32, b"\x01" * 32, [b"\x01" * 32], b"\x01" * 16],
        [1, b"\x01" * 31, b"\x01" * 32, [b"\x01" * 32], b"\x01" * 16],
        [1, b"\x01" * 32, b"\x01" * 32, [], b"\x01" * 16],
        [1, b"\x01" * 32, b"\x01" * 32, [b"\x01" * 32] * 65, b"\x01" * 16],
        [1, b"\x01" * 32, b"\x01" * 32, [b"\x01" * 32], b""],
        [1],
    ],
)
def test_other_bytes_are_no_secrets(value: object) -> None:
    with pytest.raises(PeerError):
        DeviceSecrets.from_bytes(wire.encode(value))


def test_no_secret_is_shown() -> None:
    founding = found_identity(random.Random(1).randbytes)
    shown = repr(founding) + repr(founding.secrets) + repr(founding.secrets.signing)
    for secret in (
        founding.root_entropy,
        founding.secrets.signing.seed,
        founding.secrets.static.private,
        founding.secrets.sealing[0].private,
    ):
        assert secret.hex() not in shown
        assert repr(secret) not in shown
    assert founding.phrase not in shown


def test_drawn_devices_are_real_ones() -> None:
    keys = drawn_device("A")
    assert SigningKey(keys.signing.seed).public == keys.signing.public
