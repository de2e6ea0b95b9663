"""One link between two devices: hello, IKpsk2, evidence, then messages. Sans-IO.

Theory of operation. The dialler sends its hello; the answerer sends its own, whose tags tell the
dialler which of its peers this is. Then Noise `IKpsk2`: message 1 carries only the dialler's
counter, message 2 nothing. The psk is of the pair's static DH and the space, so both sides must
know the space. Then each side sends its evidence as its first transport frame; when the peer's is
appraised the link is up. For the answerer that frame is also the proof that message 1 was not a
replay: until then nothing is reported, and a counter that is not above the last one seen is
refused without an answer.

A dialler whose static key the answerer does not know (it was added while the answerer was away)
may complete the handshake; `LinkUp.known` is false then and the owner decides what it may do.

Rules of this file: which input is good in which state is in TRANSITIONS; whatever else comes is
the peer's fault and ends the link. Until the link is up the peer can make us read 4 KiB and wait
5 s. Inputs after the end are ignored. Effects are in the order in which they must be performed.
Source: DESIGN §4; Noise revision 34.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol, TypeAlias

from presenced.clock import Entropy, Instant
from presenced.crypto import derive
from presenced.crypto.keys import KEY_BYTES, DhKey
from presenced.crypto.noise import HandshakeState
from presenced.errors import Malformed, PeerError, Unauthorized, VersionMismatch
from presenced.ids import DeviceId, SpaceId
from presenced.limits import FRAME_BYTES_MAX
from presenced.trust.attestation import Appraisal, Evidence, Policy, appraise, bind, unbind
from presenced.trust.channel import Channel, Received
from presenced.trust.frames import FrameBuffer, Kind, clear_frame, split_clear
from presenced.trust.frames import SendBytes as SendBytes
from presenced.trust.hello import (
    NONCE_BYTES,
    PROTOCOL_VERSIONS,
    Hello,
    Mode,
    answering_peer,
    answering_tags,
    choose_version,
    parse_hello,
    prologue,
)
from presenced.trust.link_limits import PREAUTH_BYTES_MAX, PREAUTH_MS_MAX

LINK_PROTOCOL: Final = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2b"
COUNTER_BYTES: Final = 8


class State(Enum):
    """What is known of the peer."""

    GREETING = auto()
    HANDSHAKING = auto()
    APPRAISING = auto()
    UP = auto()
    CLOSED = auto()


class Heard(Enum):
    """What came in."""

    HELLO = auto()
    HANDSHAKE = auto()
    EVIDENCE = auto()
    MESSAGE = auto()
    CLOSE = auto()


TRANSITIONS: Final[Mapping[tuple[State, Heard], State]] = {
    (State.GREETING, Heard.HELLO): State.HANDSHAKING,
    (State.HANDSHAKING, Heard.HANDSHAKE): State.APPRAISING,
    (State.APPRAISING, Heard.EVIDENCE): State.UP,
    (State.APPRAISING, Heard.CLOSE): State.CLOSED,
    (State.UP, Heard.MESSAGE): State.UP,
    (State.UP, Heard.CLOSE): State.CLOSED,
}
"""An absent pair is a `Malformed` of the peer. Local close, time-out, end of stream and any
`PeerError` lead from every state to CLOSED."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkUp:
    """The peer is authenticated and appraised: messages may flow both ways from here."""

    peer: DeviceId | None
    "None when its static key belongs to no peer that is known here"
    static: bytes
    handshake_hash: bytes
    evidence: Evidence
    appraisal: Appraisal
    version: int

    @property
    def known(self) -> bool:
        return self.peer is not None


@dataclass(frozen=True, slots=True)
class MessageReceived:
    message: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkClosed:
    """The end; the last effect of a machine. `detail` is for our log only."""

    code: str
    detail: str = ""
    by_peer: bool = False


Effect: TypeAlias = SendBytes | LinkUp | MessageReceived | LinkClosed


class PeerDirectory(Protocol):
    """Whom this device may link with, and what it has seen of them."""

    def statics(self) -> Mapping[DeviceId, bytes]:
        """The X25519 static key of every peer; our own device is not among them."""
        ...

    def tag_keys(self) -> Mapping[DeviceId, bytes]:
        """`tags.tag_keys` of the same peers (kept, because a DH each is not free)."""
        ...

    def last_counter(self, static: bytes) -> int:
        """The highest counter recorded for a static key, 0 if none."""
        ...

    def record_counter(self, static: bytes, counter: int) -> None:
        """Remember it, durably in the end; a lost one only lets a replay be answered once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """What our side brings to a link. `counter` is `next_counter` of the last one used."""

    space: SpaceId
    static: DhKey
    device: DeviceId
    counter: int
    evidence: Evidence
    policy: Policy
    versions: tuple[int, ...] = PROTOCOL_VERSIONS
    expected: DeviceId | None = None
    "dialler: whom to try when no tag matches (a peer that may not know us yet)"


def next_counter(last: int, now: Instant) -> int:
    """The counter for a dial, to be stored before it is used.

    At least one more than the last; led by the clock so that a restored disk is not refused for
    ever by peers that saw more of it.
    """
    return max(last + 1, now.wall_ms)


class LinkMachine:
    """One link, either role. Every input returns the effects to perform, in order."""

    def __init__(
        self,
        *,
        initiator: bool,
        config: LinkConfig,
        peers: PeerDirectory,
        entropy: Entropy,
        now: Instant,
    ) -> None:
        self._initiator = initiator
        self._config = config
        self._peers = peers
        self._entropy = entropy
        self._deadline = Instant(now.mono_ms + PREAUTH_MS_MAX, now.wall_ms + PREAUTH_MS_MAX)
        self._frames = FrameBuffer()
        self._state = State.GREETING
        self._own_hello = Hello(
            versions=config.versions, mode=Mode.LINK.value, nonce=entropy(NONCE_BYTES)
        )
        self._version = 0
        self._heard_counter = 0
        self._noise: HandshakeState | None = None
        self._channel: Channel | None = None

    @property
    def state(self) -> State:
        return self._state

    @property
    def next_wakeup(self) -> Instant | None:
        """When `tick` has something to do."""
        return None if self._state in (State.UP, State.CLOSED) else self._deadline

    def start(self, now: Instant) -> list[Effect]:
        """Begin; the answerer has nothing to say yet."""
        if not self._initiator or self._state is not State.GREETING:
            return []
        return [SendBytes(clear_frame(Kind.HELLO, self._own_hello.encode()))]

    def receive_bytes(self, data: bytes, now: Instant) -> list[Effect]:
        """Bytes of the stream, cut anywhere."""
        if self._state is State.CLOSED:
            return []
        effects: list[Effect] = []
        try:
            self._frames.feed(data)
            while self._take_next(effects):
                pass
        except PeerError as error:
            effects += self._end(error.code, error.detail, tell=True)
        return effects

    def send_message(self, message: bytes) -> list[Effect]:
        """Send at most 1 MiB (else `InvalidValue`). Nothing happens unless the link is up."""
        if self._state is not State.UP:
            return []
        assert self._channel is not None
        return [SendBytes(self._channel.seal_message(message))]

    def close(self, code: str, detail: str = "") -> list[Effect]:
        """End the link; the peer learns the code."""
        return self._end(code, detail, tell=True)

    def end_of_stream(self, now: Instant) -> list[Effect]:
        """The stream ended without an authenticated close: it was cut."""
        return self._end("interrupted", "the stream ended without a close", tell=False)

    def tick(self, now: Instant) -> list[Effect]:
        """Time has passed."""
        wakeup = self.next_wakeup
        if wakeup is None or now.mono_ms < wakeup.mono_ms:
            return []
        return self._end("timeout", "no handshake in time", tell=False)

    # --- what comes in ---

    def _take_next(self, effects: list[Effect]) -> bool:
        if self._state is State.CLOSED:
            return False
        if self._channel is not None:
            return self._take_sealed(self._channel, effects)
        body = self._frames.next(self._frame_bytes_max())
        if body is None:
            return False
        kind, content = split_clear(body)
        if kind is Kind.HELLO:
            self._advance(Heard.HELLO)
            effects += self._greeted(content)
        elif kind is Kind.NOISE:
            self._advance(Heard.HANDSHAKE)
            effects += self._handshaken(content)
        else:
            raise Malformed("a frame that links do not have")
        return True

    def _take_sealed(self, channel: Channel, effects: list[Effect]) -> bool:
        item = channel.next(self._frame_bytes_max())
        if item is None:
            return False
        received, content = item
        if received is Received.MESSAGE:
            self._advance(Heard.MESSAGE)
            effects.append(MessageReceived(content))
        elif received is Received.EVIDENCE:
            self._advance(Heard.EVIDENCE)
            effects += self._appraised(content)
        else:
            self._advance(Heard.CLOSE)
            effects.append(LinkClosed(code=content.decode("ascii"), by_peer=True))
        return True

    def _advance(self, heard: Heard) -> None:
        try:
            self._state = TRANSITIONS[self._state, heard]
        except KeyError:
            raise Malformed(f"{heard.name} in state {self._state.name}") from None

    def _frame_bytes_max(self) -> int:
        if self._state is State.UP:
            return FRAME_BYTES_MAX
        return max(0, PREAUTH_BYTES_MAX - self._frames.taken_bytes - 2)

    # --- hello ---

    def _greeted(self, raw: bytes) -> list[Effect]:
        hello = parse_hello(raw)
        if self._initiator:
            self._version = choose_version(self._config.versions, hello.versions)
            if hello.mode != Mode.LINK.value:
                raise Unauthorized("the other device does not link now")
            return self._open_handshake(hello, raw)
        nonces = hello.nonce + self._own_hello.nonce
        answer = Hello(
            versions=self._config.versions,
            mode=Mode.LINK.value,
            nonce=self._own_hello.nonce,
            tags=answering_tags(self._config.device, self._peers.tag_keys(), nonces, self._entropy),
        ).encode()
        sent: list[Effect] = [SendBytes(clear_frame(Kind.HELLO, answer))]
        try:
            # Our hello goes out first, so that both screens can say which device is older.
            self._version = choose_version(self._config.versions, hello.versions)
        except VersionMismatch as error:
            return sent + self._end(error.code, error.detail, tell=False)
        self._noise = HandshakeState(
            LINK_PROTOCOL,
            initiator=False,
            prologue=self._prologue(raw, answer),
            s=self._config.static.private,
            e=self._entropy(KEY_BYTES),
            psks=(None,),
        )
        return sent

    def _open_handshake(self, hello: Hello, raw: bytes) -> list[Effect]:
        config = self._config
        nonces = self._own_hello.nonce + hello.nonce
        peer = answering_peer(hello.tags, self._peers.tag_keys(), nonces) or config.expected
        static = None if peer is None else self._peers.statics().get(peer)
        if static is None:
            return self._end("stranger", "nobody we know answers here", tell=False)
        self._noise = HandshakeState(
            LINK_PROTOCOL,
            initiator=True,
            prologue=self._prologue(self._own_hello.encode(), raw),
            s=config.static.private,
            e=self._entropy(KEY_BYTES),
            rs=static,
            psks=(derive.pair_psk(config.static.exchange(static), config.space),),
        )
        counter = config.counter.to_bytes(COUNTER_BYTES, "big")
        return [SendBytes(clear_frame(Kind.NOISE, self._noise.write_message(counter)))]

    def _prologue(self, initiator_hello: bytes, responder_hello: bytes) -> bytes:
        return prologue(
            version=self._version,
            mode=Mode.LINK,
            initiator_hello=initiator_hello,
            responder_hello=responder_hello,
            space=self._config.space,
        )

    # --- handshake and evidence ---

    def _handshaken(self, message: bytes) -> list[Effect]:
        noise = self._noise
        assert noise is not None
        payload = noise.read_message(message)
        if self._initiator:
            if payload:
                raise Malformed("message 2 carries something")
            return [SendBytes(self._open_channel(noise))]
        static = noise.remote_static
        assert static is not None
        self._check_dialler(static, payload)
        noise.set_psk(0, derive.pair_psk(self._config.static.exchange(static), self._config.space))
        answer = clear_frame(Kind.NOISE, noise.write_message())
        return [SendBytes(answer + self._open_channel(noise))]

    def _check_dialler(self, static: bytes, payload: bytes) -> None:
        if static == self._config.static.public:
            raise Unauthorized("this is ourselves")
        if len(payload) != COUNTER_BYTES:
            raise Malformed("message 1 without a counter")
        counter = int.from_bytes(payload, "big")
        if counter <= self._peers.last_counter(static):
            raise Unauthorized("counter seen before: a replay")
        self._heard_counter = counter
        if self._device_of(static) is not None:
            self._peers.record_counter(static, counter)

    def _open_channel(self, noise: HandshakeState) -> bytes:
        """The channel in both directions, and our first frame in it."""
        forward, back = noise.split()
        sending, receiving = (forward, back) if self._initiator else (back, forward)
        self._channel = Channel(sending=sending, receiving=receiving, frames=self._frames)
        return self._channel.seal_evidence(
            bind(self._config.evidence.encode(), noise.handshake_hash, initiator=self._initiator)
        )

    def _appraised(self, bound: bytes) -> list[Effect]:
        noise = self._noise
        assert noise is not None
        assert noise.remote_static is not None
        evidence = unbind(bound, noise.handshake_hash, initiator=not self._initiator)
        appraisal = appraise(evidence, self._config.policy)
        if appraisal.status in self._config.policy.refused:
            return self._end("attestation", appraisal.reason, tell=True)
        peer = self._device_of(noise.remote_static)
        if peer is None and not self._initiator:
            # Only now: a stranger that cannot finish must not make us remember anything.
            self._peers.record_counter(noise.remote_static, self._heard_counter)
        return [
            LinkUp(
                peer=peer,
                static=noise.remote_static,
                handshake_hash=noise.handshake_hash,
                evidence=evidence,
                appraisal=appraisal,
                version=self._version,
            )
        ]

    def _device_of(self, static: bytes) -> DeviceId | None:
        for device, known in self._peers.statics().items():
            if known == static:
                return device
        return None

    def _end(self, code: str, detail: str, *, tell: bool) -> list[Effect]:
        if self._state is State.CLOSED:
            return []
        self._state = State.CLOSED
        effects: list[Effect] = []
        if tell and self._channel is not None:
            effects.append(SendBytes(self._channel.seal_close(code)))
        effects.append(LinkClosed(code=code, detail=detail))
        return effects
