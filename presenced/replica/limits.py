"""Bounds of the replica (DESIGN §12). Those that other rooms share are in presenced/limits.py."""

from __future__ import annotations

from typing import Final

# --- entries ---

PAST_ITEMS_MAX: Final = 256
"logs, and membership heads, that one entry's past may name: far above any space's devices"

SEQ_MAX: Final = (1 << 40) - 1
"entries of one log, and operations of one log: a lifetime of a thousand edits a second"

# --- waiting ---

WAITING_ENTRIES_MAX: Final = 10_000
"entries per collection that wait for their past, statements or key"

WAITING_BYTES_MAX: Final = 16 * 1024 * 1024
"bytes of such entries per collection"

DEVICE_DAY_BYTES_MAX: Final = 256 * 1024 * 1024
"sealed bytes accepted from one device in one day (UTC); then its entries are not taken"

BRANCH_BYTES_MAX: Final = 64 * 1024 * 1024
"of an own log, what a peer has of it and differs from ours, gathered in memory: years of edits"

# --- overlay ---

OVERLAY_FIELDS_MAX: Final = 1_000
"distinct unsent fields before they are sealed without anyone to send to"

# --- base and snapshot ---

BASE_SLOTS_PER_CHUNK: Final = 4_000
"slots in one chunk: about half a megabyte of ordinary ones before compression"

BASE_CHUNK_EXPANDED_BYTES_MAX: Final = 768 * 1024
"plaintext of one chunk: the slots that fill it travel in one message even if incompressible"

BASE_CHUNKS_MAX: Final = 16_384
"chunks of one snapshot: their hashes fit one message, and 65 million slots are enough"

BASE_TAIL_ENTRIES: Final = 20_000
"entries replayed at start before a new base is worth its half second (about 40 us an entry)"

SNAPSHOT_SLOTS_MIN: Final = 5_000
"slots from which a device that has nothing asks for a snapshot instead of the log"

# --- sync ---

UNACKNOWLEDGED_BYTES_MAX: Final = 4 * 1024 * 1024
"entries or chunks sent on one link and not yet acknowledged"

BATCH_BYTES_MAX: Final = 512 * 1024
"raw entries in one message; a message is at most 1 MiB"

MESSAGE_BYTES_MAX: Final = 1024 * 1024
"one message of a link"

BATCH_ENTRIES_MAX: Final = 4_096
"entries in one message"

FRONTIER_LOGS_MAX: Final = 4_096
"logs in one frontier: every incarnation of every device that ever was"

QUIET_MS: Final = 1_000
"milliseconds without news after which peers with equal frontiers compare digests"

SNAPSHOT_BYTES_MAX: Final = 1024 * 1024 * 1024
"sealed bytes of one snapshot in transfer"
