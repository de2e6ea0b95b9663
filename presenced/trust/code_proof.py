"""The first half of an enrolment: both sides prove that they know the code.

Hellos, SPAKE2 over the words, then `XXpsk0` with SPAKE2's key as its psk, so that nothing on the
air can be guessed offline. The first Noise message proves the code to the side that shows it: if it
does not decrypt, the code was wrong and the try is spent.

Rules of this file: which frame may come when is the pairing machine's business; a try is counted
before the PAKE answers; what failed is a `ProofFailed`, what breaks the protocol a `PeerError`.
Source: DESIGN §4; RFC 9382's construction as the `spake2` package has it (a run takes about 15 ms
of big-integer arithmetic, not in constant time: acceptable for a code that lives three tries).
"""

from __future__ import annotations

from typing import Any, Final

from spake2 import SPAKE2_A, SPAKE2_B
from spake2.ed25519_basic import NotOnCurve
from spake2.spake2 import SPAKEError

from presenced.clock import Entropy, Instant
from presenced.crypto import derive
from presenced.crypto.keys import KEY_BYTES, DhKey
from presenced.crypto.noise import HandshakeState
from presenced.errors import Malformed, Unauthorized, VersionMismatch
from presenced.trust.frames import Kind, SendBytes, clear_frame
from presenced.trust.hello import (
    NONCE_BYTES,
    Hello,
    Mode,
    choose_version,
    parse_hello,
    prologue,
)
from presenced.trust.pairing_terms import Entering, FailureType, Showing

PAIRING_PROTOCOL: Final = "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b"
PAKE_BYTES: Final = 33
"one letter for the side, and a point"


class ProofFailed(Exception):
    """The enrolment ends here. `told`: what the other side is told in clear, if anything."""

    def __init__(
        self, type_: FailureType, detail: str, *, sends: tuple[SendBytes, ...] = (), told: str = ""
    ) -> None:
        super().__init__(detail)
        self.type = type_
        self.detail = detail
        self.sends = sends
        "frames that go out first"
        self.told = told


class CodeProof:
    """See the module. Each frame returns the frames that answer it."""

    def __init__(
        self,
        *,
        part: Showing | Entering,
        static: DhKey,
        entropy: Entropy,
        versions: tuple[int, ...],
    ) -> None:
        self._part = part
        self._static = static
        self._entropy = entropy
        self._versions = versions
        self._own_hello = Hello(
            versions=versions, mode=Mode.ENROL.value, nonce=entropy(NONCE_BYTES)
        ).encode()
        self._prologue = b""
        self._pake: Any = None
        self._is_proved = False
        self._noise: HandshakeState | None = None

    @property
    def noise(self) -> HandshakeState:
        """The handshake, once the PAKE is over; the proof is complete when it is `finished`."""
        assert self._noise is not None
        return self._noise

    @property
    def is_complete(self) -> bool:
        return self._noise is not None and self._noise.finished

    def hello(self) -> SendBytes:
        """What the side that dials begins with."""
        return SendBytes(clear_frame(Kind.HELLO, self._own_hello))

    def greeted(self, raw: bytes) -> list[SendBytes]:
        """The other's hello."""
        hello = parse_hello(raw)
        # The shower's hello goes out first, so that both screens can say which device is older.
        answers = isinstance(self._part, Showing)
        sends = [self.hello()] if answers else []
        try:
            version = choose_version(self._versions, hello.versions)
        except VersionMismatch as error:
            raise ProofFailed(FailureType.VERSION, error.detail, sends=tuple(sends)) from None
        if hello.mode != Mode.ENROL.value:
            raise ProofFailed(
                FailureType.EXPIRED,
                "the other device shows no code now: it ended, or was closed",
                sends=tuple(sends),
            )
        first, second = (raw, self._own_hello) if answers else (self._own_hello, raw)
        self._prologue = prologue(
            version=version,
            mode=Mode.ENROL,
            initiator_hello=first,
            responder_hello=second,
            space=b"",
        )
        if not answers:
            self._pake = SPAKE2_B(self._part.code.password, entropy_f=self._entropy)
            sends.append(SendBytes(clear_frame(Kind.PAKE, self._pake.start())))
        return sends

    def agreed(self, message: bytes, now: Instant) -> list[SendBytes]:
        """The other's PAKE message."""
        sends: list[SendBytes] = []
        if len(message) != PAKE_BYTES:
            raise Malformed("not a PAKE message")
        if isinstance(self._part, Showing):
            if not self._part.attempts.begin(now):
                raise ProofFailed(FailureType.EXPIRED, "the code is over", told="expired")
            self._pake = SPAKE2_A(self._part.code.password, entropy_f=self._entropy)
            sends.append(SendBytes(clear_frame(Kind.PAKE, self._pake.start())))
        try:
            key = self._pake.finish(message)
        except (SPAKEError, NotOnCurve, ValueError) as error:
            raise Malformed("not a PAKE message") from error
        enters = isinstance(self._part, Entering)
        self._noise = HandshakeState(
            PAIRING_PROTOCOL,
            initiator=enters,
            prologue=self._prologue,
            s=self._static.private,
            e=self._entropy(KEY_BYTES),
            psks=(derive.code_psk(key, self._prologue),),
        )
        if enters:
            sends.append(SendBytes(clear_frame(Kind.NOISE, self._noise.write_message())))
        return sends

    def proved(self, message: bytes) -> list[SendBytes]:
        """A message of the handshake."""
        noise = self.noise
        try:
            payload = noise.read_message(message)
        except Unauthorized:
            if self._is_proved:
                raise
            told = "wrong_code" if isinstance(self._part, Showing) else ""
            raise ProofFailed(FailureType.WRONG_CODE, "the code was wrong", told=told) from None
        if payload:  # one who sits between would try payloads until both screens show equal words
            raise Malformed("a handshake message that carries something")
        if isinstance(self._part, Showing) and not self._is_proved:
            self._part.attempts.proved()
        self._is_proved = True
        return (
            [SendBytes(clear_frame(Kind.NOISE, noise.write_message()))] if noise.writes_next else []
        )
