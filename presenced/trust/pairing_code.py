"""The pairing code that people say aloud, `number-word-word`, and how often it may be tried.

The number is public: it finds the device on the network. The two words (BIP-39 English, 22 bits)
are the secret and alone feed the PAKE. Attempts outlive a connection: each run of the PAKE is one
guess, three runs or five minutes end the code, and a run that proved the code is no guess.
Source: DESIGN §4 (enrolment).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import parse_qsl, urlencode

from presenced.clock import Entropy, Instant
from presenced.crypto.phrase import random_words, word_indexes
from presenced.errors import CallerError
from presenced.trust.link_limits import CODE_MS_MAX, CODE_TRIES_MAX

NUMBER_MIN: Final = 100
NUMBER_MAX: Final = 999
URI_ADDRESSES_MAX: Final = 8
"addresses in one pairing link: more do not fit a QR code that a terminal can show"

_URI_PREFIX: Final = "presenced:pair?"
_SHAPE: Final = re.compile(r"([1-9][0-9]{2})[-\s]+([a-z]+)[-\s]+([a-z]+)")


class MalformedCode(CallerError):
    """Text that is not a pairing code."""

    code = "malformed-code"
    status = 422
    hint = "A pairing code looks like 123-word-word; copy it from the other device's screen."


@dataclass(frozen=True, slots=True, repr=False)
class PairingCode:
    """One code. Its words are secret: `repr` shows the number only."""

    number: int
    words: tuple[str, str]

    def __repr__(self) -> str:
        return f"PairingCode({self.number}-…)"

    @property
    def text(self) -> str:
        """As shown and entered."""
        return f"{self.number}-{self.words[0]}-{self.words[1]}"

    @property
    def password(self) -> bytes:
        """What the PAKE is fed with."""
        return "-".join(self.words).encode("ascii")


def new_code(entropy: Entropy) -> PairingCode:
    """A fresh code."""
    span = NUMBER_MAX - NUMBER_MIN + 1
    number = NUMBER_MIN + int.from_bytes(entropy(8), "big") % span
    first, second = random_words(entropy, 2)
    return PairingCode(number, (first, second))


def parse_code(text: str) -> PairingCode:
    """The code that a person typed, whatever its case; blanks do for dashes.

    Raises `MalformedCode` and never repeats what was typed.
    """
    found = _SHAPE.fullmatch(text.strip().lower())
    if found is None:
        raise MalformedCode("not a pairing code")
    first, second = found[2], found[3]
    for word in (first, second):
        if word not in word_indexes():
            raise MalformedCode("a word of the code is not in the word list")
    return PairingCode(int(found[1]), (first, second))


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What a person enters: a code, and where to dial if that is known (`host:port`)."""

    code: PairingCode
    addresses: tuple[str, ...] = ()

    @property
    def uri(self) -> str:
        """What the QR code says: `presenced:pair?v=1&code=…&addr=…`."""
        query = [("v", "1"), ("code", self.code.text)]
        query += [("addr", address) for address in self.addresses]
        return f"{_URI_PREFIX}{urlencode(query, safe=':[]')}"


def parse_invitation(text: str) -> Invitation:
    """A typed code, or the URI of a QR code. Raises `MalformedCode`."""
    stripped = text.strip()
    if not stripped.lower().startswith(_URI_PREFIX):
        return Invitation(code=parse_code(stripped))
    try:
        fields = parse_qsl(stripped[len(_URI_PREFIX) :], max_num_fields=URI_ADDRESSES_MAX + 2)
    except ValueError:
        raise MalformedCode("too many fields in a pairing link") from None
    codes = [value for name, value in fields if name == "code"]
    if ("v", "1") not in fields or len(codes) != 1:
        raise MalformedCode("not a pairing link of version 1")
    addresses = tuple(value for name, value in fields if name == "addr")
    return Invitation(code=parse_code(codes[0]), addresses=addresses)


class CodeState(Enum):
    """Whether a shown code may still be entered."""

    OPEN = "open"
    EXPIRED = "expired"
    SPENT = "spent"


class PairingAttempts:
    """The tries of one shown code, over all connections."""

    __slots__ = ("_deadline_ms", "_tries")

    def __init__(self, shown_at: Instant) -> None:
        self._deadline_ms = shown_at.mono_ms + CODE_MS_MAX
        self._tries = 0

    @property
    def tries_left(self) -> int:
        return CODE_TRIES_MAX - self._tries

    @property
    def deadline_mono_ms(self) -> int:
        """When the code expires, on the monotonic clock of `shown_at`."""
        return self._deadline_ms

    def state(self, now: Instant) -> CodeState:
        if now.mono_ms >= self._deadline_ms:
            return CodeState.EXPIRED
        return CodeState.SPENT if self._tries >= CODE_TRIES_MAX else CodeState.OPEN

    def begin(self, now: Instant) -> bool:
        """Count one run of the PAKE; false when the code is over and no run may begin."""
        if self.state(now) is not CodeState.OPEN:
            return False
        self._tries += 1
        return True

    def proved(self) -> None:
        """The run that began showed that the peer knows the code: it was no guess."""
        self._tries -= 1
