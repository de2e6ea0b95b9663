"""Bounds of the owner API, each with its unit and why it exists (DESIGN §12)."""

from __future__ import annotations

from typing import Final

BODY_BYTES_MAX: Final = 1024 * 1024
"one request body: 1,000 edits with long titles fit"

IMPORT_BYTES_MAX: Final = 32 * 1024 * 1024
"an import, streamed: 100,000 follows with long names fit; it is never held as a whole"

IMPORT_LINE_BYTES_MAX: Final = 64 * 1024
"one line of an import: one follow with its tags"

IMPORT_CHUNK_EDITS: Final = 1_000
"follows of an import that are committed together: the operations of one entry"

IMPORT_SKIPPED_MAX: Final = 100
"lines of an import that are reported one by one; the rest is counted"

EDITS_MAX: Final = 1_000
"edits of one request: they become one entry, whose operations are bounded likewise"

PAGE_ROWS_MAX: Final = 1_000
"rows of one page of a list"

EVENTS_UNREAD_MAX: Final = 10_000
"events kept for one reader that does not read; then it is told to start over (`reset`)"

EVENTS_REPLAY_MAX: Final = 10_000
"events kept for a reader that comes back with its last id"

COMMENT_SECONDS: Final = 15.0
"between two comments on a quiet event stream, so that a dead connection is noticed"

REQUEST_SECONDS_MAX: Final = 30.0
"for the head of a request to arrive once it has begun, and between two parts of its body"

IDLE_SECONDS_MAX: Final = 300.0
"a connection kept alive without a request"

WRITE_SECONDS_MAX: Final = 60.0
"for a reader to take one write; a stuck one is closed"

CONNECTIONS_MAX: Final = 64
"open connections: one person's own programs; more wait in the listen queue"

HEAD_BYTES_MAX: Final = 16 * 1024
"request line and headers together"

REFERENCE_CHARS_MAX: Final = 4_096
"a session or record named by id, prefix or URI"
