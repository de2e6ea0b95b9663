"""Framing of a link's byte stream: 2-byte big-endian length, then 1 to 65,535 bytes.

Invariant: never more than one unfinished frame is held, and a frame that announces more than the
caller allows now is refused before its bytes are awaited.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from presenced.errors import LimitExceeded, Malformed
from presenced.limits import FRAME_BYTES_MAX


@dataclass(frozen=True, slots=True)
class SendBytes:
    """Effect of link and pairing machines: write to the stream."""

    data: bytes


class Kind(IntEnum):
    """First byte of a frame before the transport phase; transport frames are Noise messages."""

    HELLO = 1
    PAKE = 2
    NOISE = 3
    FAILURE = 4


def frame(body: bytes) -> bytes:
    """The body with its length in front."""
    assert 0 < len(body) <= FRAME_BYTES_MAX
    return len(body).to_bytes(2, "big") + body


def clear_frame(kind: Kind, body: bytes) -> bytes:
    """A frame of the phases before transport."""
    return frame(bytes([kind]) + body)


def split_clear(body: bytes) -> tuple[Kind, bytes]:
    """Kind and content of such a frame. Raises `Malformed` for an unknown kind."""
    try:
        return Kind(body[0]), body[1:]
    except ValueError:
        raise Malformed("unknown kind of frame") from None


class FrameBuffer:
    """Bytes in, frames out; arrival in any fragments gives the same frames."""

    __slots__ = ("_held", "taken_bytes")

    def __init__(self) -> None:
        self._held = bytearray()
        self.taken_bytes = 0
        "bytes of all frames taken so far, lengths included"

    def feed(self, data: bytes) -> None:
        self._held += data

    def next(self, bytes_max: int = FRAME_BYTES_MAX) -> bytes | None:
        """The next whole frame, or None. Raises for one that is empty or above `bytes_max`."""
        held = self._held
        if len(held) < 2:
            return None
        size = held[0] << 8 | held[1]
        if size == 0:
            raise Malformed("empty frame")
        if size > bytes_max:
            raise LimitExceeded("preauth-bytes", "frame too long at this point")
        if len(held) < size + 2:
            return None
        body = bytes(held[2 : size + 2])
        del held[: size + 2]
        self.taken_bytes += size + 2
        return body
