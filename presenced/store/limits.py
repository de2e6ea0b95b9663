"""Bounds of the store, with unit and reason."""

from __future__ import annotations

from typing import Final

CACHE_KIB: Final = 1_024
"page cache of one connection: lists and single edits touch few pages"

BULK_ROWS: Final = 2_000
"a commit with more view rows than this gets the larger cache"

BULK_CACHE_KIB: Final = 8_192
"""page cache of the writer during a bulk: the index over 100,000 hashed ids stays in memory
(0.32 s against 0.44 s for 100,000 rows); given back at the next quiet moment"""

ROWS_TOGETHER: Final = (512, 64, 8, 1)
"""rows written by one statement, as many as there are: after each one the thread has to wait for
the interpreter while the main thread is busy, so that one by one nothing is written meanwhile"""

CHECKPOINT_QUIET_PAGES: Final = 256
"1 MiB of log: copied into the database file once nobody is writing"

CHECKPOINT_PAGES_MAX: Final = 8_192
"32 MiB of log, more than 100,000 edits: copied into the database file at once, between commits"

LOG_BYTES_KEPT: Final = 1024 * 1024
"""the -wal file keeps about this much: written over, it needs no new blocks, so syncing it is
cheap; a file twice as long is emptied at a quiet moment"""

QUIET_SECONDS: Final = 1.0
"without a commit for this long, the writer has time to tidy up"

QUICK_CHECK_BYTES_MAX: Final = 4 * 1024 * 1024
"a smaller file is checked whole when it is opened; a larger one page by page as it is read"

VERIFY_SECONDS_MAX: Final = 3.0
"a check of the whole file ends after this long, since commits wait for it (100,000 records: 0.3 s)"

TOLD_AGAIN_SECONDS: Final = 10.0
"a step of a migration that takes longer is told again: a service manager waits for a sign of life"

PROGRESS_STEPS: Final = 1_000
"steps of SQLite's machine between two looks at the clock (about 0.1 ms)"

BUSY_MS: Final = 2_000
"how long a connection waits for the other one (never in WAL, but for recovery after a crash)"

SEQ_BITS: Final = 40
"an entry's place is its log's number above this many bits of seq"

ENTRY_START_BYTES: Final = 20
"of an entry: the version and the epoch, the same for thousands of entries"

STARTS_KEPT: Final = 256
"starts of entries that a connection remembers; there is one per epoch"

KNOWN_BATCH: Final = 500
"ids looked up with one statement"
