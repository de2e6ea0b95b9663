"""The encrypted channel of a link after its handshake: messages over Noise frames.

Theory of operation. Every frame is one Noise transport message; the first byte of its plaintext
says what it is. A message of at most 1 MiB is cut into full frames (`MORE`) and a last one
(`LAST`). `EVIDENCE` and `CLOSE` are single frames. Noise's nonces order the frames, so a lost,
repeated, swapped or altered one does not decrypt and ends the link. The end of the stream is
authenticated: without a `CLOSE` frame it was cut.

Invariants: at most one unfinished frame and one unfinished message of 1 MiB are held; there is
one way to cut a message, so a peer cannot send it in a million crumbs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final, TypeAlias

from presenced.crypto.noise import CipherState
from presenced.errors import InvalidValue, LimitExceeded, Malformed
from presenced.limits import FRAME_BYTES_MAX
from presenced.trust.frames import FrameBuffer, frame
from presenced.trust.link_limits import CLOSE_CODE_BYTES_MAX, MESSAGE_BYTES_MAX

PIECE_BYTES_MAX: Final = FRAME_BYTES_MAX - 16 - 1
"bytes of a message in one frame: what the tag and the first byte leave"


class _Part(IntEnum):
    LAST = 0
    MORE = 1
    CLOSE = 2
    EVIDENCE = 3


class Received(Enum):
    """What a frame completed."""

    MESSAGE = "message"
    EVIDENCE = "evidence"
    CLOSE = "close"


Item: TypeAlias = tuple[Received, bytes]


@dataclass(slots=True, kw_only=True)
class Channel:
    """Both directions of one link. `frames` may already hold bytes that came early."""

    sending: CipherState
    receiving: CipherState
    frames: FrameBuffer
    _pieces: list[bytes] | None = None
    _pieces_bytes: int = 0

    def seal_message(self, message: bytes) -> bytes:
        """The bytes to send. Raises `InvalidValue` above 1 MiB."""
        if len(message) > MESSAGE_BYTES_MAX:
            raise InvalidValue("message above 1 MiB")
        sealed = []
        at = 0
        while len(message) - at > PIECE_BYTES_MAX:
            sealed.append(self._seal(_Part.MORE, message[at : at + PIECE_BYTES_MAX]))
            at += PIECE_BYTES_MAX
        sealed.append(self._seal(_Part.LAST, message[at:] if at else message))
        return b"".join(sealed)

    def seal_evidence(self, evidence: bytes) -> bytes:
        """The bytes of the attestation frame."""
        return self._seal(_Part.EVIDENCE, evidence)

    def seal_close(self, code: str) -> bytes:
        """The bytes of an authenticated end; the peer learns the code only."""
        return self._seal(_Part.CLOSE, code.encode("ascii")[:CLOSE_CODE_BYTES_MAX])

    def next(self, bytes_max: int = FRAME_BYTES_MAX) -> Item | None:
        """What the bytes held so far complete next, or None. Any `PeerError` ends the link."""
        while (sealed := self.frames.next(bytes_max)) is not None:
            plaintext = self.receiving.decrypt(b"", sealed)
            if not plaintext:
                raise Malformed("frame without a kind")
            if (item := self._take(plaintext[0], plaintext[1:])) is not None:
                return item
        return None

    def _take(self, part: int, content: bytes) -> Item | None:
        if part in (_Part.LAST, _Part.MORE):
            return self._take_piece(content, last=part == _Part.LAST)
        if self._pieces is not None:
            raise Malformed("a message was not finished")
        if part == _Part.EVIDENCE:
            return Received.EVIDENCE, content
        if part == _Part.CLOSE:
            if len(content) > CLOSE_CODE_BYTES_MAX or not content.isascii():
                raise Malformed("not a close code")
            return Received.CLOSE, content
        raise Malformed("unknown kind of frame")

    def _take_piece(self, content: bytes, *, last: bool) -> Item | None:
        if last and self._pieces is None:
            return Received.MESSAGE, content
        if not last and len(content) != PIECE_BYTES_MAX:
            raise Malformed("a message cut into smaller pieces than needed")
        if last and not content:
            raise Malformed("an empty last piece")
        self._pieces_bytes += len(content)
        if self._pieces_bytes > MESSAGE_BYTES_MAX:
            raise LimitExceeded("message-bytes")
        pieces = [] if self._pieces is None else self._pieces
        pieces.append(content)
        if not last:
            self._pieces = pieces
            return None
        self._pieces, self._pieces_bytes = None, 0
        return Received.MESSAGE, b"".join(pieces)

    def _seal(self, part: _Part, content: bytes) -> bytes:
        return frame(self.sending.encrypt(b"", bytes([part]) + content))
