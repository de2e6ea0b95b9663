"""Bounds that more than one room needs (DESIGN §12). A room's own bounds live in the room."""

from __future__ import annotations

from typing import Final

VALUE_BYTES_MAX: Final = 64 * 1024
"one field value, as canonical bytes"

NESTING_MAX: Final = 32
"depth of lists and maps in one value: yrs overflows its stack on deep ones"

NAME_BYTES_MAX: Final = 64
"a map or field name, as UTF-8"

ENTRY_OPERATIONS_MAX: Final = 1_000
"operations in one entry"

ENTRY_EXPANDED_BYTES_MAX: Final = 1024 * 1024
"plaintext of one entry after decompression"

ENTRY_SEALED_BYTES_MAX: Final = 256 * 1024
"one sealed entry as it travels and lies in the store"

FRAME_BYTES_MAX: Final = 65_535
"one Noise message, tag included (Noise revision 34 §3)"

RECORD_FIELDS_MAX: Final = 256
"fields of one record; tags and aliases are fields"

CLOCK_AHEAD_CLAMP_MS: Final = 5 * 60 * 1000
"how far a remote clock may move ours"

CLOCK_AHEAD_ALERT_MS: Final = 60 * 60 * 1000
"from here on a remote clock raises an alert"
