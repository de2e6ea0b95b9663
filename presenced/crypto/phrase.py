"""Words for people: the recovery phrase and random words, from the BIP-39 English list.

The phrase encodes 32 bytes of entropy with BIP-39's checksum; its PBKDF2 seed is not used
(DESIGN §13), so the phrase carries exactly the entropy and nothing depends on a passphrase.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from mnemonic import Mnemonic

from presenced.clock import Entropy
from presenced.errors import CallerError

PHRASE_WORDS: Final = 24
ENTROPY_BYTES: Final = 32
WORD_BITS: Final = 11
"2,048 words in the list"


class MalformedPhrase(CallerError):
    """Words that are not a recovery phrase: a wrong count, an unknown word or a wrong checksum."""

    code = "malformed-phrase"
    status = 422
    hint = "The phrase has 24 words of the BIP-39 English list; check spelling and order."


@cache
def _mnemonic() -> Mnemonic:
    return Mnemonic("english")


@cache
def word_list() -> tuple[str, ...]:
    """The 2,048 words, in the order of BIP-39."""
    return tuple(_mnemonic().wordlist)


@cache
def word_indexes() -> dict[str, int]:
    """Each word's place in `word_list`."""
    return {word: index for index, word in enumerate(word_list())}


def phrase_from_entropy(entropy: bytes) -> str:
    """24 words, separated by single spaces, for 32 bytes."""
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError("a phrase encodes 32 bytes")
    return _mnemonic().to_mnemonic(entropy)


def entropy_from_phrase(phrase: str) -> bytes:
    """The 32 bytes of a phrase, whatever its case and spacing. Raises `MalformedPhrase`."""
    words = phrase.lower().split()
    if len(words) != PHRASE_WORDS:
        raise MalformedPhrase(f"{len(words)} words instead of {PHRASE_WORDS}")
    unknown = [place for place, word in enumerate(words, 1) if word not in word_indexes()]
    if unknown:
        raise MalformedPhrase(f"word {unknown[0]} is not in the list")
    try:
        return bytes(_mnemonic().to_entropy(words))
    except (ValueError, LookupError):
        raise MalformedPhrase("the checksum does not match") from None


def random_words(entropy: Entropy, count: int) -> tuple[str, ...]:
    """`count` words drawn evenly (11 bits each)."""
    words = word_list()
    drawn = entropy(2 * count)
    return tuple(
        words[int.from_bytes(drawn[2 * place : 2 * place + 2], "big") % len(words)]
        for place in range(count)
    )
