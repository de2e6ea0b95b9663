"""The first frame of an incoming connection decides which machine continues.

Rules of this file: nothing is decided before a whole hello is here; a stranger gets at most 4 KiB
and 5 s for it. The chosen machine is given all bytes again and judges them itself, so that there
is one place where a hello is understood.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from presenced.clock import Entropy, Instant
from presenced.errors import Malformed, PeerError
from presenced.trust.frames import FrameBuffer, Kind, clear_frame, split_clear
from presenced.trust.hello import NONCE_BYTES, PROTOCOL_VERSIONS, Hello, Mode, parse_hello
from presenced.trust.link_limits import HELLO_BYTES_MAX, PREAUTH_MS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """Continue with a machine of this mode: give it `received` first."""

    mode: Mode
    received: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Send `answer` (may be empty), then close the connection."""

    code: str
    detail: str
    answer: bytes = b""


Decision: TypeAlias = Arrived | Refused


class Inbound:
    """One incoming connection until its hello is read. After a decision inputs are ignored."""

    def __init__(self, *, enrolling: bool, linking: bool, entropy: Entropy, now: Instant) -> None:
        self._offered = {Mode.LINK: linking, Mode.ENROL: enrolling}
        self._entropy = entropy
        self._deadline = Instant(now.mono_ms + PREAUTH_MS_MAX, now.wall_ms + PREAUTH_MS_MAX)
        self._frames = FrameBuffer()
        self._received = bytearray()
        self._decided = False

    @property
    def next_wakeup(self) -> Instant | None:
        return None if self._decided else self._deadline

    def receive_bytes(self, data: bytes, now: Instant) -> Decision | None:
        """A decision once the hello is whole, or wrong."""
        if self._decided:
            return None
        self._received += data
        try:
            self._frames.feed(data)
            body = self._frames.next(HELLO_BYTES_MAX + 1)
            if body is None:
                return None
            kind, content = split_clear(body)
            if kind is not Kind.HELLO:
                raise Malformed("the first frame is not a hello")
            hello = parse_hello(content)
        except PeerError as error:
            return self._refuse(error.code, error.detail)
        return self._decide(hello)

    def tick(self, now: Instant) -> Decision | None:
        """Time has passed."""
        if self._decided or now.mono_ms < self._deadline.mono_ms:
            return None
        return self._refuse("timeout", "no hello in time")

    def _decide(self, hello: Hello) -> Decision:
        for mode, offered in self._offered.items():
            if hello.mode == mode.value and offered:
                self._decided = True
                return Arrived(mode=mode, received=bytes(self._received))
        answer = Hello(
            versions=PROTOCOL_VERSIONS, mode=Mode.NONE.value, nonce=self._entropy(NONCE_BYTES)
        )
        return self._refuse(
            "mode",
            "asked for what this device does not do now",
            clear_frame(Kind.HELLO, answer.encode()),
        )

    def _refuse(self, code: str, detail: str, answer: bytes = b"") -> Refused:
        self._decided = True
        return Refused(code=code, detail=detail, answer=answer)
