"""Handshake patterns as data (Noise revision 34 §7.4, §7.5, appendix 18.1) and their modifiers.

Rules of this file: a pattern is written as in the specification: pre-messages left of `...`,
messages separated by `;`. Modifiers make a new pattern (§9.4 for psk, §10.2 for fallback).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from presenced.crypto.noise.errors import NoiseMisuse

SUITE: Final = "25519_ChaChaPoly_BLAKE2b"

PSK_PLACES_MAX: Final = 4
"psk0 to psk4: the longest pattern has four messages"

_NAME = re.compile(r"([NKXI]1?[NKXI]1?|[NKX])([a-z][a-z0-9+]*)?")
_PSK = re.compile(r"psk(0|[1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A handshake: pre-message tokens per side and messages in order."""

    initiator_known: tuple[str, ...]
    "public keys of the initiator that the responder has beforehand"
    responder_known: tuple[str, ...]
    messages: tuple[tuple[str, ...], ...]
    initiator_first: bool = True
    "false after `fallback`: the responder writes the first message"
    one_way: bool = False

    @property
    def psks(self) -> int:
        """How many pre-shared keys it takes."""
        return sum(message.count("psk") for message in self.messages)

    def sends(self, token: str, *, initiator: bool) -> bool:
        """Whether that side's messages carry the token (`s` or `e`)."""
        first = 0 if initiator == self.initiator_first else 1
        return any(token in message for message in self.messages[first::2])

    def uses_static(self, *, initiator: bool) -> bool:
        """Whether that side has a static key."""
        known = self.initiator_known if initiator else self.responder_known
        return "s" in known or self.sends("s", initiator=initiator)


def _parse(text: str, *, one_way: bool = False) -> Pattern:
    before, _, after = text.rpartition("...")
    known = {"->": (), "<-": ()} | {
        part.split()[0]: _tokens(part) for part in before.split(";") if part.strip()
    }
    return Pattern(
        initiator_known=known["->"],
        responder_known=known["<-"],
        messages=tuple(_tokens(part) for part in after.split(";")),
        one_way=one_way,
    )


def _tokens(part: str) -> tuple[str, ...]:
    return tuple(part.replace(",", " ").split()[1:])


_ONE_WAY: Final = {
    "N": "<- s ... -> e, es",
    "K": "-> s; <- s ... -> e, es, ss",
    "X": "<- s ... -> e, es, s, ss",
}

_FUNDAMENTAL: Final = {
    "NN": "-> e; <- e, ee",
    "NK": "<- s ... -> e, es; <- e, ee",
    "NX": "-> e; <- e, ee, s, es",
    "KN": "-> s ... -> e; <- e, ee, se",
    "KK": "-> s; <- s ... -> e, es, ss; <- e, ee, se",
    "KX": "-> s ... -> e; <- e, ee, se, s, es",
    "XN": "-> e; <- e, ee; -> s, se",
    "XK": "<- s ... -> e, es; <- e, ee; -> s, se",
    "XX": "-> e; <- e, ee, s, es; -> s, se",
    "IN": "-> e, s; <- e, ee, se",
    "IK": "<- s ... -> e, es, s, ss; <- e, ee, se",
    "IX": "-> e, s; <- e, ee, se, s, es",
}

_DEFERRED: Final = {
    "NK1": "<- s ... -> e; <- e, ee, es",
    "NX1": "-> e; <- e, ee, s; -> es",
    "X1N": "-> e; <- e, ee; -> s; <- se",
    "X1K": "<- s ... -> e, es; <- e, ee; -> s; <- se",
    "XK1": "<- s ... -> e; <- e, ee, es; -> s, se",
    "X1K1": "<- s ... -> e; <- e, ee, es; -> s; <- se",
    "X1X": "-> e; <- e, ee, s, es; -> s; <- se",
    "XX1": "-> e; <- e, ee, s; -> es, s, se",
    "X1X1": "-> e; <- e, ee, s; -> es, s; <- se",
    "K1N": "-> s ... -> e; <- e, ee; -> se",
    "K1K": "-> s; <- s ... -> e, es; <- e, ee; -> se",
    "KK1": "-> s; <- s ... -> e; <- e, ee, se, es",
    "K1K1": "-> s; <- s ... -> e; <- e, ee, es; -> se",
    "K1X": "-> s ... -> e; <- e, ee, s, es; -> se",
    "KX1": "-> s ... -> e; <- e, ee, se, s; -> es",
    "K1X1": "-> s ... -> e; <- e, ee, s; -> se, es",
    "I1N": "-> e, s; <- e, ee; -> se",
    "I1K": "<- s ... -> e, es, s; <- e, ee; -> se",
    "IK1": "<- s ... -> e, s; <- e, ee, se, es",
    "I1K1": "<- s ... -> e, s; <- e, ee, es; -> se",
    "I1X": "-> e, s; <- e, ee, s, es; -> se",
    "IX1": "-> e, s; <- e, ee, se, s; -> es",
    "I1X1": "-> e, s; <- e, ee, s; -> se, es",
}

PATTERNS: Final[dict[str, Pattern]] = {
    **{name: _parse(text, one_way=True) for name, text in _ONE_WAY.items()},
    **{name: _parse(text) for name, text in (_FUNDAMENTAL | _DEFERRED).items()},
}


def pattern_of(protocol_name: str) -> Pattern:
    """The pattern of `Noise_PATTERNmodifiers_25519_ChaChaPoly_BLAKE2b`.

    Raises `NoiseMisuse` for another suite, an unknown pattern or a modifier that does not fit.
    """
    prefix, _, rest = protocol_name.partition("_")
    name, _, suite = rest.partition("_")
    if prefix != "Noise" or suite != SUITE:
        raise NoiseMisuse(f"only Noise protocols with the suite {SUITE} are known")
    found = _NAME.fullmatch(name)
    if found is None or found[1] not in PATTERNS:
        raise NoiseMisuse("unknown Noise pattern")
    pattern = PATTERNS[found[1]]
    modifiers = found[2].split("+") if found[2] else []
    if len(set(modifiers)) != len(modifiers):
        raise NoiseMisuse("a Noise modifier stands twice")
    for modifier in modifiers:
        pattern = _modified(pattern, modifier)
    return pattern


def _modified(pattern: Pattern, modifier: str) -> Pattern:
    if modifier == "fallback":
        return _fallback(pattern)
    found = _PSK.fullmatch(modifier)
    if found is None:
        raise NoiseMisuse("unknown Noise modifier")
    place = int(found[1])
    if place > min(len(pattern.messages), PSK_PLACES_MAX):
        raise NoiseMisuse("psk modifier beyond the last message")
    messages = list(pattern.messages)
    if place == 0:
        messages[0] = ("psk", *messages[0])
    else:
        messages[place - 1] = (*messages[place - 1], "psk")
    return _with(pattern, messages=tuple(messages))


def _fallback(pattern: Pattern) -> Pattern:
    first = pattern.messages[0]
    if pattern.one_way or not pattern.initiator_first or not set(first) <= {"e", "s"}:
        raise NoiseMisuse("fallback does not apply to this Noise pattern")
    return Pattern(
        initiator_known=(*pattern.initiator_known, *first),
        responder_known=pattern.responder_known,
        messages=pattern.messages[1:],
        initiator_first=False,
    )


def _with(pattern: Pattern, *, messages: tuple[tuple[str, ...], ...]) -> Pattern:
    return Pattern(
        initiator_known=pattern.initiator_known,
        responder_known=pattern.responder_known,
        messages=messages,
        initiator_first=pattern.initiator_first,
        one_way=pattern.one_way,
    )
