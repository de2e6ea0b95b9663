"""The terms of an enrolment: states and what may be heard in them, effects, and who takes part.

The machine that uses them is `presenced.trust.pairing`, whose docstring has the theory of
operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

from presenced.crypto.keys import DhKey, SigningKey
from presenced.ids import Collection, DeviceId, SpaceId
from presenced.trust.certificate import Certificate
from presenced.trust.frames import SendBytes as SendBytes
from presenced.trust.pairing_code import PairingAttempts, PairingCode


class State(Enum):
    """How far the enrolment is."""

    GREETING = auto()
    AGREEING = auto()
    PROVING = auto()
    INTRODUCING = auto()
    DECIDING = auto()
    "one yes or both are missing"
    ADMITTING = auto()
    "sponsor: the admission is being committed"
    RECEIVING = auto()
    "joiner: the membership is coming"
    STORING = auto()
    "joiner: the membership is being committed"
    CONFIRMING = auto()
    "own part is on disk; the other's word is missing"
    DONE = auto()
    FAILED = auto()


class Heard(Enum):
    """What came in."""

    HELLO = auto()
    PAKE = auto()
    HANDSHAKE = auto()
    INTRODUCTION = auto()
    APPROVAL = auto()
    STATEMENTS = auto()
    STORED = auto()
    FINISHED = auto()


TRANSITIONS: Final[Mapping[tuple[State, Heard], State]] = {
    (State.GREETING, Heard.HELLO): State.AGREEING,
    (State.AGREEING, Heard.PAKE): State.PROVING,
    (State.PROVING, Heard.HANDSHAKE): State.PROVING,
    (State.INTRODUCING, Heard.INTRODUCTION): State.DECIDING,
    (State.DECIDING, Heard.APPROVAL): State.DECIDING,
    (State.RECEIVING, Heard.STATEMENTS): State.RECEIVING,
    (State.CONFIRMING, Heard.STORED): State.DONE,
    (State.CONFIRMING, Heard.FINISHED): State.DONE,
}
"""What the peer may say; an absent pair is `Malformed`. Our own steps: PROVING → INTRODUCING when
the handshake is finished, DECIDING → ADMITTING or RECEIVING when both approved, ADMITTING →
CONFIRMING by `admitted`, RECEIVING → STORING with the last statement, STORING → CONFIRMING by
`stored`. Refusal, failure, close, end of stream, time-out and any `PeerError` lead to FAILED."""

BEFORE_PAKE: Final = frozenset({State.GREETING, State.AGREEING})
"nothing was guessed yet"

OVER: Final = frozenset({State.DONE, State.FAILED})
"nothing more happens"


class FailureType(Enum):
    """Why an enrolment failed, as the owner API says it."""

    WRONG_CODE = "wrong_code"
    EXPIRED = "expired"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    VERSION = "version"
    INTERRUPTED = "interrupted"


# --- effects ---


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateSeen:
    """Show it and ask the person; then call `approve` or `refuse`."""

    name: str
    fingerprint: str
    words: tuple[str, str, str, str]
    receives: tuple[Collection, ...]
    "what the joiner will receive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admit:
    """Sponsor: sign and commit `add` and `share` for it, then call `admitted`."""

    certificate: Certificate
    receives: tuple[Collection, ...]
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Joiner: verify and commit, then call `stored`; or `fail` if it does not hold."""

    space: SpaceId
    statements: tuple[bytes, ...]
    sponsor: DeviceId
    sponsor_static: bytes
    "proved by the handshake: the certificate in the membership must say the same"


@dataclass(frozen=True, slots=True)
class Added:
    """Both sides have it on disk. `device` is the new device. The last effect."""

    device: DeviceId


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingFailed:
    """The last effect. `admitted`: our own part is on disk all the same and stays."""

    type: FailureType
    detail: str
    admitted: bool = False


Effect: TypeAlias = SendBytes | CandidateSeen | Admit | Joined | Added | PairingFailed


# --- who we are ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Sponsor:
    """The side that has the identity."""

    name: str
    signing: SigningKey
    static: DhKey
    space: SpaceId
    receives: tuple[Collection, ...]
    "collections that the new device may have, in the order of COLLECTIONS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Joiner:
    """The side that is to be added. `make_certificate(adder, space)` gives its encoded one."""

    name: str
    signing: SigningKey
    static: DhKey
    make_certificate: Callable[[DeviceId, SpaceId], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """Our screen shows the code: we answer, and count tries."""

    code: PairingCode
    attempts: PairingAttempts


@dataclass(frozen=True, slots=True, kw_only=True)
class Entering:
    """Our person entered the code: we dial."""

    code: PairingCode
