"""What one could do with a signature or hash that was made for something else."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

import presenced
from presenced.crypto.keys import SigningKey, verify_hash
from presenced.errors import Unauthorized
from presenced.testing.byte_pair import START
from presenced.testing.link_doubles import Device, MemoryPeers, link_machine
from presenced.trust.frames import SendBytes
from presenced.trust.link import LinkClosed, LinkUp

_ORDER = 2**252 + 27742317777372353535851937790883648493
_DOMAIN = re.compile(r'^[A-Z_]+_DOMAIN(?:: Final)? = b"([^"]*)"', re.MULTILINE)


def test_every_domain_of_every_room_stands_for_one_thing_and_fits_blake2b() -> None:
    """One that stood twice would let a signature or an id pass for another kind of thing."""
    package = Path(presenced.__file__).parent
    found = Counter(
        domain
        for file in package.rglob("*.py")
        if "testing" not in file.parts
        for domain in _DOMAIN.findall(file.read_text(encoding="utf-8"))
    )
    assert len(found) > 30
    assert {domain for domain, times in found.items() if times > 1} == set()
    assert all(re.fullmatch(r"pd/[a-z-]+/1", domain) for domain in found)
    assert all(len(domain) <= 16 for domain in found)


def test_a_signature_cannot_be_written_in_a_second_way() -> None:
    """Else somebody could make a second statement id out of another's statement."""
    key = SigningKey(b"k" * 32)
    digest = b"d" * 32
    signature = key.sign_hash(digest)
    verify_hash(key.public, digest, signature)
    scalar = int.from_bytes(signature[32:], "little")
    for changed in (scalar + _ORDER, scalar + 2 * _ORDER, scalar ^ (1 << 255)):
        with pytest.raises(Unauthorized):
            verify_hash(key.public, digest, signature[:32] + changed.to_bytes(32, "little"))


def test_a_device_that_is_led_to_itself_links_with_nobody() -> None:
    """A forged announcement, or one who sends back what it hears."""
    own, sibling = Device("laptop"), Device("box")
    peers = MemoryPeers(own, [sibling])
    dials = link_machine(own, peers, initiator=True, expected=sibling.device)
    answers = link_machine(own, peers, initiator=False)
    sides = (dials, answers)
    said = [one.data for one in dials.start(START) if isinstance(one, SendBytes)]
    ended = []
    turn = 1
    while said:
        effects = [one for sent in said for one in sides[turn].receive_bytes(sent, START)]
        ended += [one for one in effects if isinstance(one, LinkClosed)]
        assert not any(isinstance(one, LinkUp) for one in effects)
        said = [one.data for one in effects if isinstance(one, SendBytes)]
        turn = 1 - turn
    assert ended
    mirrored = link_machine(own, peers, initiator=True, expected=sibling.device)
    (hello,) = mirrored.start(START)
    assert isinstance(hello, SendBytes)
    effects = mirrored.receive_bytes(hello.data, START)
    (sent,) = [one for one in effects if isinstance(one, SendBytes)]
    assert isinstance(mirrored.receive_bytes(sent.data, START)[-1], LinkClosed)
