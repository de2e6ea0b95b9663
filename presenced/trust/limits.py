"""Bounds of the trust room, each with unit and reason (DESIGN §12). None may block a removal."""

from __future__ import annotations

from typing import Final

STATEMENT_BYTES_MAX: Final = 64 * 1024
"canonical bytes of one statement: a removal with cuts of 1,000 logs fits, 256 sealed keys too"

STATEMENT_HEADS_MAX: Final = 64
"heads that one statement cites; an author that knows more cites the highest"

STATEMENT_DEVICES_MAX: Final = 256
"devices in one statement (recipients of an epoch, devices of a recovery)"

STATEMENT_EPOCHS_MAX: Final = 512
"epochs in one statement (parents, keys of a share); more keys take several shares"

CUT_LOGS_MAX: Final = 1_000
"logs in the cuts of one statement; three collections of some hundred incarnations"

REASON_BYTES_MAX: Final = 256
"the reason of a removal, as UTF-8"

SEALED_KEY_BYTES_MAX: Final = 256
"a sealed epoch key; 80 bytes in version 1"

STATEMENT_TYPE_BYTES_MAX: Final = 32
"the name of a statement's type, as UTF-8; unknown ones are kept"

SYNC_MESSAGE_BYTES_MAX: Final = 1024 * 1024
"one message of the statement sync, as the link carries it"

SYNC_BATCH_BYTES_MAX: Final = 256 * 1024
"statements in one message as we send it, so that the other can keep up"

SYNC_BATCH_STATEMENTS_MAX: Final = 1_024
"statements in one message; bounds what one message may make us verify (0.1 ms each)"

SYNC_WINDOW_BATCHES: Final = 4
"messages with statements sent and not yet acknowledged"

SYNC_HEADS_MAX: Final = 4_096
"heads in one message; a space that has more names its highest"

SYNC_MARKERS_MAX: Final = 64
"earlier statements named in the first message, so that little is sent twice"

SYNC_WANTED_MAX: Final = 256
"statements asked for in one message"

SYNC_WAITING_MAX: Final = 1_024
"statements of one link that wait for an unknown head"

SYNC_WAITING_BYTES_MAX: Final = 4 * 1024 * 1024
"bytes of the statements of one link that wait for an unknown head"

SYNC_FAULTS_MAX: Final = 16
"statements of one link that do not verify, until the link is closed"

SYNC_NEW_BYTES_MAX: Final = 4 * 1024 * 1024
"""new statements taken from one link: some 15,000 honest ones, what 32 devices sign in ten years;
their pasts take 30 MiB, which grows with the square. The next link may go on"""

SEALING_KEYS_KEPT_MAX: Final = 64
"sealing keys of one device, current and former; they rotate monthly"
