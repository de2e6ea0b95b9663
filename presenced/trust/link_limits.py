"""Bounds of links and pairing (DESIGN §12): each with unit and reason."""

from __future__ import annotations

from typing import Final

PREAUTH_BYTES_MAX: Final = 4 * 1024
"bytes that a stranger may make us read before it has proved who it is"

PREAUTH_MS_MAX: Final = 5_000
"milliseconds that a stranger may keep a connection without proving who it is"

HELLO_BYTES_MAX: Final = 1024
"one hello: 32 tags of 8 bytes and room for later versions"

HELLO_VERSIONS_MAX: Final = 16
"versions that one hello may list"

MESSAGE_BYTES_MAX: Final = 1024 * 1024
"one message over its fragments; what one peer can make us hold for reassembly"

CLOSE_CODE_BYTES_MAX: Final = 32
"a code, never a detail: `wrong-code`, `limit-exceeded`"

EVIDENCE_BYTES_MAX: Final = 1024
"attestation evidence, inside the pre-authentication budget"

EVIDENCE_TEXT_BYTES_MAX: Final = 128
"one text claim of the evidence, UTF-8"

TAGS: Final = 32
"tags in one announcement or hello, whatever the number of peers"

CODE_MS_MAX: Final = 5 * 60 * 1000
"milliseconds for which a shown code may be entered, and in which both people must decide"

CODE_TRIES_MAX: Final = 3
"runs of the PAKE that one code allows: 3 guesses in 4 million"

FINISH_MS_MAX: Final = 30_000
"milliseconds for admitting, sending and storing once both sides approved"

NAME_CHARS_MAX: Final = 64
"a device's name on the other's screen"

JOIN_STATEMENTS_MAX: Final = 20_000
"statements that a sponsor may send to a joiner"

JOIN_BYTES_MAX: Final = 16 * 1024 * 1024
"bytes of those statements, held in memory until the last has come"

JOIN_BATCH_BYTES: Final = 512 * 1024
"statements are sent in messages of about this size, below MESSAGE_BYTES_MAX"
