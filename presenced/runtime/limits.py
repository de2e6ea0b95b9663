"""Bounds of the drivers."""

from __future__ import annotations

from typing import Final

OUTGOING_BYTES_MAX: Final = 32 * 1024 * 1024
"bytes that wait for a peer to read them; the windows of a link that is read hold half of it"

PROMPT_BYTES_MAX: Final = 16 * 1024
"bytes of one link that are sent at once, without a turn of the scheduler; more waits its turn"

CLOSE_SECONDS_MAX: Final = 1.0
"how long a last frame may take to leave when a connection ends"

READ_BYTES: Final = 512 * 1024
"""taken from a link at a time, about one bulk message: a commit that ended meanwhile is followed
by the next one before more is read"""

REST_SECONDS_MAX: Final = 2.0
"what a stopping daemon waits for the disk to take the places that players have reached"
