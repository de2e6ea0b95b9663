"""Enrolment of a new device by a short code: SPAKE2, then Noise XXpsk0, then two people's yes.

Theory of operation. One device *shows* the code and answers, the other *enters* it and dials;
either may be the *sponsor* (it has the identity) or the *joiner*.

1. Hellos, as on a link (mode `enrol`).
2. SPAKE2 over the words, the shower is A; its key is the psk of `XXpsk0` (`code_proof`).
3. Both introduce themselves, signed over the handshake. Both screens show the other's name and
   fingerprint, what the joiner will receive, and the same four words of the handshake hash.
4. Both approve; the joiner's yes carries its certificate. The sponsor commits the admission
   (`Admit`, then `admitted`), then sends the whole membership; the joiner verifies and stores it
   (`Joined`, then `stored`) and says so; only then does the sponsor report `Added`, and its last
   word lets the joiner do so. Cut anywhere, a side that has not heard the other finish reports
   `interrupted`; `admitted` says whether its own part is already on disk and stays.

Rules of this file: which input is good in which state is in `pairing_terms.TRANSITIONS`. Until
the handshake is done the peer can make us read 4 KiB and wait 5 s. The shower's tries live in
`PairingAttempts`.
Source: DESIGN §4.
"""

from __future__ import annotations

from collections.abc import Sequence

from presenced.clock import Entropy, Instant
from presenced.crypto import derive
from presenced.errors import LimitExceeded, Malformed, PeerError, Unauthorized
from presenced.ids import DeviceId
from presenced.limits import FRAME_BYTES_MAX
from presenced.trust.certificate import Certificate, parse_certificate
from presenced.trust.channel import Channel, Received
from presenced.trust.code_proof import CodeProof, ProofFailed
from presenced.trust.frames import FrameBuffer, Kind, SendBytes, clear_frame, split_clear
from presenced.trust.hello import PROTOCOL_VERSIONS
from presenced.trust.link_limits import (
    CODE_MS_MAX,
    FINISH_MS_MAX,
    JOIN_BATCH_BYTES,
    JOIN_BYTES_MAX,
    JOIN_STATEMENTS_MAX,
    PREAUTH_BYTES_MAX,
    PREAUTH_MS_MAX,
)
from presenced.trust.pairing_messages import (
    Approval,
    Finished,
    Introduction,
    PairingMessage,
    Party,
    Refusal,
    Statements,
    Stored,
    encode_message,
    introduce,
    name_to_show,
    parse_message,
)
from presenced.trust.pairing_terms import (
    BEFORE_PAKE,
    OVER,
    TRANSITIONS,
    Added,
    Admit,
    CandidateSeen,
    Effect,
    Entering,
    FailureType,
    Heard,
    Joined,
    Joiner,
    PairingFailed,
    Showing,
    Sponsor,
    State,
)


class PairingMachine:
    """One enrolment over one connection. Every input returns the effects, in order."""

    def __init__(
        self,
        *,
        part: Showing | Entering,
        party: Sponsor | Joiner,
        entropy: Entropy,
        now: Instant,
        versions: tuple[int, ...] = PROTOCOL_VERSIONS,
    ) -> None:
        self._part = part
        self._party = party
        self._state = State.GREETING
        self._deadline = _after(now, PREAUTH_MS_MAX)
        self._frames = FrameBuffer()
        self._proof = CodeProof(part=part, static=party.static, entropy=entropy, versions=versions)
        self._channel: Channel | None = None
        self._peer: Introduction | None = None
        self._approved = False
        self._peer_approval: Approval | None = None
        self._statements: list[bytes] = []
        self._statements_bytes = 0
        self._new_device: DeviceId | None = None

    @property
    def state(self) -> State:
        return self._state

    @property
    def next_wakeup(self) -> Instant | None:
        """When `tick` has something to do. Our own commit is waited for as long as it takes."""
        waits_for_us = self._state in (State.ADMITTING, State.STORING)
        return None if waits_for_us or self._state in OVER else self._deadline

    def start(self, now: Instant) -> list[Effect]:
        """Begin; the side that shows the code has nothing to say yet."""
        if isinstance(self._part, Showing) or self._state is not State.GREETING:
            return []
        return [self._proof.hello()]

    def receive_bytes(self, data: bytes, now: Instant) -> list[Effect]:
        """Bytes of the stream, cut anywhere."""
        effects: list[Effect] = []
        try:
            if self._state not in OVER:
                self._frames.feed(data)
            while self._state not in OVER and self._take_next(effects, now):
                pass
        except PeerError as error:
            effects += self._fail(FailureType.INTERRUPTED, error.detail, tell=error.code)
        return effects

    def approve(self, now: Instant) -> list[Effect]:
        """Our person said yes to the candidate."""
        if self._state is not State.DECIDING or self._approved:
            return []
        self._approved = True
        certificate = b""
        if isinstance(self._party, Joiner):
            peer = self._introduced()
            adder = derive.device_id(peer.signing)
            certificate = self._party.make_certificate(adder, peer.space)
        return [self._say(encode_message(Approval(certificate))), *self._decide(now)]

    def refuse(self, now: Instant) -> list[Effect]:
        """Our person said no."""
        if self._state is not State.DECIDING or self._approved:
            return []
        said = self._say(encode_message(Refusal()))
        return [said, *self._fail(FailureType.REFUSED, "refused here", tell="refused")]

    def admitted(self, statements: Sequence[bytes], now: Instant) -> list[Effect]:
        """Sponsor: the admission is on disk; here is the whole membership, oldest first."""
        if self._state is not State.ADMITTING:
            return []
        self._state = State.CONFIRMING
        self._deadline = _after(now, FINISH_MS_MAX)
        batches = _batches(statements)
        return [
            self._say(encode_message(Statements(batch, last=place == len(batches))))
            for place, batch in enumerate(batches, 1)
        ]

    def stored(self, now: Instant) -> list[Effect]:
        """Joiner: the membership is verified and on disk."""
        if self._state is not State.STORING:
            return []
        self._state = State.CONFIRMING
        self._deadline = _after(now, FINISH_MS_MAX)
        return [self._say(encode_message(Stored()))]

    def fail(self, detail: str) -> list[Effect]:
        """Our side cannot go on (it could not commit, the person gave up, a bad membership)."""
        return self._fail(FailureType.INTERRUPTED, detail, tell="interrupted")

    def end_of_stream(self, now: Instant) -> list[Effect]:
        """The connection is gone."""
        if self._state is State.GREETING and not self._frames.taken_bytes:
            return self._fail(FailureType.UNREACHABLE, "nobody answered")
        return self._fail(FailureType.INTERRUPTED, "the connection ended")

    def tick(self, now: Instant) -> list[Effect]:
        """Time has passed."""
        wakeup = self.next_wakeup
        if wakeup is None or now.mono_ms < wakeup.mono_ms:
            return []
        if self._state in (State.INTRODUCING, State.DECIDING):
            return self._fail(FailureType.EXPIRED, "nobody decided in time", tell="expired")
        if self._state is State.GREETING:
            return self._fail(FailureType.UNREACHABLE, "nobody answered in time")
        return self._fail(FailureType.INTERRUPTED, "the other device is silent", tell="timeout")

    # --- what comes in ---

    def _take_next(self, effects: list[Effect], now: Instant) -> bool:
        if self._channel is not None:
            return self._take_sealed(self._channel, effects, now)
        left = max(0, PREAUTH_BYTES_MAX - self._frames.taken_bytes - 2)
        body = self._frames.next(left)
        if body is None:
            return False
        kind, content = split_clear(body)
        if kind is Kind.FAILURE:
            effects += self._told(content)
            return True
        try:
            effects += self._prove(kind, content, now)
        except ProofFailed as failed:
            effects += failed.sends
            effects += self._fail(failed.type, failed.detail, clear=failed.told)
        if self._proof.is_complete:
            effects.append(self._introduce(now))
        return True

    def _prove(self, kind: Kind, content: bytes, now: Instant) -> list[SendBytes]:
        if kind is Kind.HELLO:
            self._advance(Heard.HELLO)
            return self._proof.greeted(content)
        if kind is Kind.PAKE:
            self._advance(Heard.PAKE)
            return self._proof.agreed(content, now)
        self._advance(Heard.HANDSHAKE)
        return self._proof.proved(content)

    def _take_sealed(self, channel: Channel, effects: list[Effect], now: Instant) -> bool:
        item = channel.next(FRAME_BYTES_MAX)
        if item is None:
            return False
        received, content = item
        if received is Received.MESSAGE:
            message = parse_message(content, self._proof.noise.handshake_hash)
            effects += self._heard(message, now)
        elif received is Received.CLOSE:
            effects += self._closed(content.decode("ascii"))
        else:
            raise Malformed("a frame that pairing does not have")
        return True

    def _advance(self, heard: Heard) -> None:
        try:
            self._state = TRANSITIONS[self._state, heard]
        except KeyError:
            raise Malformed(f"{heard.name} in state {self._state.name}") from None

    def _introduce(self, now: Instant) -> Effect:
        noise = self._proof.noise
        forward, back = noise.split()
        enters = isinstance(self._part, Entering)
        sending, receiving = (forward, back) if enters else (back, forward)
        self._channel = Channel(sending=sending, receiving=receiving, frames=self._frames)
        self._state = State.INTRODUCING
        self._deadline = _after(now, CODE_MS_MAX)
        party = self._party
        name = name_to_show(party.name)
        own = Introduction(party=Party.JOINER, name=name, signing=party.signing.public)
        if isinstance(party, Sponsor):
            own = Introduction(
                party=Party.SPONSOR,
                name=name,
                signing=party.signing.public,
                space=party.space,
                receives=party.receives,
            )
        return self._say(introduce(own, party.signing, noise.handshake_hash))

    # --- messages ---

    def _heard(self, message: PairingMessage, now: Instant) -> list[Effect]:
        match message:
            case Introduction():
                self._advance(Heard.INTRODUCTION)
                return self._met(message)
            case Approval():
                self._advance(Heard.APPROVAL)
                return self._approved_there(message, now)
            case Refusal():
                if self._state is not State.DECIDING:
                    raise Malformed("a refusal after the decision")
                return self._fail(FailureType.REFUSED, "refused on the other device")
            case Statements():
                self._advance(Heard.STATEMENTS)
                return self._collect(message, now)
            case Stored():
                self._require(Sponsor)
                self._advance(Heard.STORED)
                said = self._say(encode_message(Finished()))
                return [said, self._added()]
            case Finished():
                self._require(Joiner)
                self._advance(Heard.FINISHED)
                return [self._added()]

    def _met(self, peer: Introduction) -> list[Effect]:
        own = Party.SPONSOR if isinstance(self._party, Sponsor) else Party.JOINER
        if peer.party is own:
            detail = (
                "both devices already have an identity: only a new one can be added"
                if own is Party.SPONSOR
                else "neither device has an identity: run `presence init` on one of them"
            )
            return self._fail(FailureType.REFUSED, detail)
        self._peer = peer
        sponsor = self._party if isinstance(self._party, Sponsor) else peer
        return [
            CandidateSeen(
                name=peer.name,
                fingerprint=derive.fingerprint(peer.signing),
                words=derive.confirmation_words(self._proof.noise.handshake_hash),
                receives=sponsor.receives,
            )
        ]

    def _approved_there(self, approval: Approval, now: Instant) -> list[Effect]:
        if self._peer_approval is not None:
            raise Malformed("approved twice")
        if isinstance(self._party, Sponsor):
            self._new_device = self._checked(approval.certificate, self._party).device
        elif approval.certificate:
            raise Malformed("a sponsor sends no certificate")
        self._peer_approval = approval
        return self._decide(now)

    def _checked(self, raw: bytes, sponsor: Sponsor) -> Certificate:
        certificate = parse_certificate(raw, sponsor.space)
        if certificate.signing != self._introduced().signing:
            raise Unauthorized("certificate of another device")
        if certificate.static != self._proof.noise.remote_static:
            raise Unauthorized("certificate with another static key than the handshake's")
        if certificate.adder != derive.device_id(sponsor.signing.public):
            raise Unauthorized("certificate for another adder")
        return certificate

    def _decide(self, now: Instant) -> list[Effect]:
        approval = self._peer_approval
        if not self._approved or approval is None:
            return []
        self._deadline = _after(now, FINISH_MS_MAX)
        if isinstance(self._party, Joiner):
            self._state = State.RECEIVING
            return []
        self._state = State.ADMITTING
        return [
            Admit(
                certificate=parse_certificate(approval.certificate, self._party.space),
                receives=self._party.receives,
                name=self._introduced().name,
            )
        ]

    def _collect(self, part: Statements, now: Instant) -> list[Effect]:
        self._statements += part.statements
        self._statements_bytes += sum(map(len, part.statements))
        if len(self._statements) > JOIN_STATEMENTS_MAX or self._statements_bytes > JOIN_BYTES_MAX:
            raise LimitExceeded("join-statements")
        if not part.last:
            return []
        static = self._proof.noise.remote_static
        assert static is not None
        self._state = State.STORING
        self._deadline = _after(now, FINISH_MS_MAX)
        peer = self._introduced()
        return [
            Joined(
                space=peer.space,
                statements=tuple(self._statements),
                sponsor=derive.device_id(peer.signing),
                sponsor_static=static,
            )
        ]

    def _added(self) -> Effect:
        if isinstance(self._party, Joiner):
            return Added(derive.device_id(self._party.signing.public))
        assert self._new_device is not None
        return Added(self._new_device)

    def _introduced(self) -> Introduction:
        assert self._peer is not None
        return self._peer

    def _require(self, kind: type[Sponsor | Joiner]) -> None:
        if not isinstance(self._party, kind):
            raise Malformed("a word that is not this party's to hear")

    # --- the end ---

    def _told(self, content: bytes) -> list[Effect]:
        """The shower's word in clear: a hint for our screen, believed for nothing else.

        That the code is over is said instead of a PAKE message. Said after one, it comes from
        somebody who guessed and would be dialled again to guess once more.
        """
        if isinstance(self._part, Showing):
            raise Malformed("only the side that shows the code says this")
        if content == FailureType.WRONG_CODE.value.encode():
            return self._fail(FailureType.WRONG_CODE, "the code was wrong")
        if content == FailureType.EXPIRED.value.encode() and self._state in BEFORE_PAKE:
            return self._fail(FailureType.EXPIRED, "the code is over")
        raise Malformed("unknown failure")

    def _closed(self, code: str) -> list[Effect]:
        if code == FailureType.EXPIRED.value:
            return self._fail(FailureType.EXPIRED, "nobody decided in time")
        return self._fail(FailureType.INTERRUPTED, f"the other device ended it: {code}")

    def _fail(
        self, type_: FailureType, detail: str, *, tell: str = "", clear: str = ""
    ) -> list[Effect]:
        """End it. `tell` goes into the channel if there is one, `clear` out in the open."""
        if self._state in OVER:
            return []
        admitted = self._state is State.CONFIRMING
        self._state = State.FAILED
        effects: list[Effect] = []
        if clear:
            effects.append(SendBytes(clear_frame(Kind.FAILURE, clear.encode("ascii"))))
        elif tell and self._channel is not None:
            effects.append(SendBytes(self._channel.seal_close(tell)))
        effects.append(PairingFailed(type=type_, detail=detail, admitted=admitted))
        return effects

    def _say(self, message: bytes) -> SendBytes:
        assert self._channel is not None
        return SendBytes(self._channel.seal_message(message))


def _after(now: Instant, delay_ms: int) -> Instant:
    return Instant(now.mono_ms + delay_ms, now.wall_ms + delay_ms)


def _batches(statements: Sequence[bytes]) -> list[tuple[bytes, ...]]:
    batches: list[tuple[bytes, ...]] = []
    batch: list[bytes] = []
    size = 0
    for statement in statements:
        if batch and size + len(statement) > JOIN_BATCH_BYTES:
            batches.append(tuple(batch))
            batch, size = [], 0
        batch.append(statement)
        size += len(statement)
    return [*batches, tuple(batch)]
