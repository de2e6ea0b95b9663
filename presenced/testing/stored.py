"""Rows for tests of stores: numbered, distinct, of realistic size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from presenced.device.commit import Commit
from presenced.ids import Collection, EntryHash, LogId, RecordId, hash_bytes
from presenced.presence.views import FollowRow, SessionRow
from presenced.replica.rows import LogHead, StoredEntry

LOG = LogId(b"a log of 16 byte")


EPOCH_START: Final = b"\x96\x01\xc4\x10" + hash_bytes(b"pd/test-epoch", size=16)
"what the entries of an epoch begin with"


def record_id(number: int) -> RecordId:
    return RecordId(hash_bytes(b"pd/test-record", number.to_bytes(8, "big"), size=16))


def entry_hash(number: int) -> EntryHash:
    return EntryHash(hash_bytes(b"pd/test-entry", number.to_bytes(8, "big")))


def stored_follow(
    number: int,
    *,
    title: str | None = None,
    kind: str = "feed",
    state: str = "followed",
    tags: Sequence[str] = (),
    conflicts: Sequence[str] = (),
    updated_ms: int | None = None,
) -> FollowRow:
    """A follow whose URI has 60 to 70 characters and whose title about 30."""
    path = hash_bytes(b"pd/test-path", number.to_bytes(8, "big"), size=12).hex()
    return FollowRow(
        record=record_id(number),
        uri=f"https://feeds{number % 800}.example.org/shows/{path}/episodes.xml",
        title=f"The weekly show, number {number:06d}" if title is None else title,
        kind=kind,
        state=state,
        notify="default",
        tags=tuple(tags),
        conflicts=tuple(conflicts),
        updated_ms=1_700_000_000_000 + number if updated_ms is None else updated_ms,
    )


def stored_session(
    number: int,
    *,
    title: str | None = None,
    state: str = "open",
    aliases: Sequence[str] = (),
    conflicts: Sequence[str] = (),
    updated_ms: int | None = None,
) -> SessionRow:
    return SessionRow(
        record=record_id(number),
        kind="media",
        uri=f"https://media.example.org/episodes/{number}.mp3",
        title=f"Episode {number:06d}" if title is None else title,
        aliases=tuple(aliases),
        duration_ms=3_600_000,
        at=number * 1_000,
        done=False,
        of=3_600_000,
        speed=1_250,
        state=state,
        lifecycle="paused",
        holder=LOG,
        claim=3,
        phase="paused",
        conflicts=tuple(conflicts),
        updated_ms=1_700_000_000_000 + number if updated_ms is None else updated_ms,
    )


def stored_entry(seq: int, size: int = 300, *, collection: Collection = "follows") -> StoredEntry:
    """An entry of `LOG` of one epoch; its other bytes do not compress and say which it is."""
    filler = b"".join(
        hash_bytes(b"pd/test-bytes", seq.to_bytes(8, "big"), part.to_bytes(4, "big"))
        for part in range(size // 32 + 1)
    )
    return StoredEntry(collection, LOG, seq, entry_hash(seq), (EPOCH_START + filler)[:size])


def log_head(seq: int, *, collection: Collection = "follows") -> LogHead:
    """`LOG` held and applied up to `seq`."""
    return LogHead(collection, LOG, seq, entry_hash(seq), seq, entry_hash(seq), seq, 0, 0)


def single_edit(seq: int) -> Commit:
    """What one edit of 150 bytes writes: an entry, the log's head, the record's row."""
    return Commit(
        entries=[stored_entry(seq)], heads=[log_head(seq)], follows=[stored_follow(1_000_000 + seq)]
    )
