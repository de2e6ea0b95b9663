"""Keys, sealed boxes, the AEAD and phrases: what opens, and what never does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenced.crypto import aead, derive
from presenced.crypto.keys import DhKey, SigningKey, open_sealed, seal_to, verify, verify_hash
from presenced.crypto.phrase import (
    MalformedPhrase,
    entropy_from_phrase,
    phrase_from_entropy,
    random_words,
    word_list,
)
from presenced.errors import Malformed, Unauthorized
from presenced.ids import LogId, hash_bytes
from presenced.testing.link_doubles import SeededEntropy

KEY = SigningKey(b"k" * 32)


@given(message=st.binary(max_size=200), bit=st.integers(0, 511))
def test_a_signature_is_good_for_its_message_domain_and_key_only(message: bytes, bit: int) -> None:
    signature = KEY.sign(b"pd/test/1", message)
    verify(KEY.public, b"pd/test/1", message, signature)
    flipped = bytearray(signature)
    flipped[bit // 8] ^= 1 << bit % 8
    for public, domain, text, signed in (
        (KEY.public, b"pd/test/2", message, signature),
        (KEY.public, b"pd/test/1", message + b"x", signature),
        (SigningKey(b"o" * 32).public, b"pd/test/1", message, signature),
        (KEY.public, b"pd/test/1", message, bytes(flipped)),
    ):
        with pytest.raises(Unauthorized):
            verify(public, domain, text, signed)


def test_a_hash_with_its_own_domain_is_signed_as_it_is() -> None:
    digest = hash_bytes(b"pd/test/1", b"message")
    assert KEY.sign_hash(digest) == KEY.sign(b"pd/test/1", b"message")
    verify_hash(KEY.public, digest, KEY.sign_hash(digest))


@pytest.mark.parametrize(
    ("public", "signature"),
    [(b"", b"s" * 64), (b"p" * 31, b"s" * 64), (b"p" * 32, b""), (b"p" * 32, b"s" * 65)],
)
def test_odd_lengths_verify_nothing(public: bytes, signature: bytes) -> None:
    with pytest.raises(Unauthorized):
        verify(public, b"pd/test/1", b"", signature)


@pytest.mark.parametrize("public", [bytes(32), b"\1" + bytes(31), b"\xff" * 32])
def test_a_key_of_small_order_signs_nothing(public: bytes) -> None:
    with pytest.raises(Unauthorized):
        verify(public, b"pd/test/1", b"", bytes(64))


@pytest.mark.parametrize(
    "public",
    [
        bytes(32),
        b"\1" + bytes(31),
        bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        b"short",
    ],
)
def test_an_exchange_with_a_key_of_small_order_is_refused(public: bytes) -> None:
    with pytest.raises(Malformed):
        DhKey(b"d" * 32).exchange(public)


def test_both_ends_of_an_exchange_agree() -> None:
    one, two = DhKey(b"1" * 32), DhKey(b"2" * 32)
    assert one.exchange(two.public) == two.exchange(one.public)


@pytest.mark.parametrize("make", [SigningKey, DhKey])
def test_keys_of_another_size_are_our_mistake_and_none_shows_its_secret(make: type) -> None:
    with pytest.raises(ValueError, match="32"):
        make(b"short")
    assert b"s".hex() * 32 not in repr(make(b"s" * 32))
    assert "ssss" not in repr(make(b"s" * 32))


def test_a_sealed_box_opens_for_its_receiver_only() -> None:
    receiver = DhKey(b"r" * 32)
    sealed = seal_to(receiver.public, b"secret")
    assert open_sealed(receiver, sealed) == b"secret"
    for key, box in (
        (DhKey(b"o" * 32), sealed),
        (receiver, sealed[:-1]),
        (receiver, b""),
        (receiver, sealed[:-1] + bytes([sealed[-1] ^ 1])),
    ):
        with pytest.raises(Unauthorized):
            open_sealed(key, box)


@given(
    header=st.binary(max_size=40), plaintext=st.binary(max_size=200), place=st.integers(0, 2**16)
)
def test_any_change_of_sealed_content_or_header_is_noticed(
    header: bytes, plaintext: bytes, place: int
) -> None:
    key, nonce_key = b"k" * 32, b"n" * 32
    sealed = aead.seal(key, header, plaintext, nonce_key=nonce_key)
    assert aead.open_(key, header, sealed) == plaintext
    changed = bytearray(sealed)
    changed[place // 8 % len(sealed)] ^= 1 << place % 8
    for other_key, other_header, other in (
        (key, header, bytes(changed)),
        (key, header + b"x", sealed),
        (b"o" * 32, header, sealed),
        (key, header, sealed[:39]),
    ):
        with pytest.raises(Unauthorized):
            aead.open_(other_key, other_header, other)


@given(st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9)), unique=True, max_size=20))
def test_no_nonce_serves_two_things(pairs: list[tuple[bytes, bytes]]) -> None:
    nonces = {
        aead.seal(b"k" * 32, header, text, nonce_key=b"n" * 32)[:24] for header, text in pairs
    }
    assert len(nonces) == len(pairs)


def test_a_commitment_fixes_the_key() -> None:
    assert aead.commitment(b"k" * 32) == aead.commitment(b"k" * 32)
    assert aead.commitment(b"k" * 32) != aead.commitment(b"K" * 32)


@given(st.binary(min_size=32, max_size=32))
def test_a_phrase_has_24_words_and_reads_back_in_any_case_and_spacing(entropy: bytes) -> None:
    phrase = phrase_from_entropy(entropy)
    assert len(phrase.split()) == 24
    assert entropy_from_phrase(phrase) == entropy
    assert entropy_from_phrase("  " + phrase.upper().replace(" ", "\n\t")) == entropy


@pytest.mark.parametrize(
    ("phrase", "says"),
    [
        ("", "0 words"),
        ("abandon " * 23, "23 words"),
        ("abandon " * 24, "checksum"),
        ("abandon " * 23 + "secretword", "word 24"),
    ],
)
def test_a_wrong_phrase_is_explained_without_repeating_it(phrase: str, says: str) -> None:
    with pytest.raises(MalformedPhrase, match=says) as caught:
        entropy_from_phrase(phrase)
    assert "secretword" not in str(caught.value)


def test_a_phrase_of_another_size_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        phrase_from_entropy(b"short")


def test_random_words_are_of_the_list_and_follow_the_entropy() -> None:
    words = random_words(SeededEntropy(1), 50)
    assert len(words) == 50
    assert set(words) <= set(word_list())
    assert random_words(SeededEntropy(1), 50) == words


def test_a_yjs_client_is_a_javascript_integer() -> None:
    assert derive.client_id(LogId(b"\xff" * 16)) == 2**53 - 1


def test_domains_differ_and_fit_blake2b() -> None:
    domains = [value for name, value in vars(derive).items() if name.endswith("_DOMAIN")] + [
        aead.NONCE_DOMAIN,
        aead.COMMITMENT_DOMAIN,
    ]
    assert len(set(domains)) == len(domains)
    assert all(len(domain) <= 16 for domain in domains)
