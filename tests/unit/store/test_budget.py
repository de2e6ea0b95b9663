"""What an edit costs on disk. (Time is measured by the bench.)"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from presenced.crypto.database_key import DatabaseKey
from presenced.device.commit import Commit
from presenced.store import open_store
from presenced.testing.stored import log_head, single_edit, stored_entry, stored_follow

BULK = 20_000
SINGLE = 1_000

BULK_ENTRY_BYTES = 75
"of one operation in an entry of a thousand"


SINGLE_ENTRY_BYTES = 362
"of one edit whose URI and title have 150 bytes"


def edit_of_150_bytes(seq: int) -> Commit:
    row = stored_follow(seq + 1_000_000)
    title = row.title.ljust(150 - len(row.uri), ".")
    return replace(
        single_edit(seq),
        entries=[stored_entry(seq, SINGLE_ENTRY_BYTES)],
        follows=[row._replace(title=title)],
    )


def size(path: Path) -> int:
    return path.stat().st_size


async def test_bulk_and_single_edits_stay_within_their_budget_of_bytes(
    path: Path, key: DatabaseKey
) -> None:
    async with open_store(path, key):
        pass
    empty = size(path)
    async with open_store(path, key) as store:
        for batch in range(BULK // 10_000):
            first = batch * 10 + 1
            await store.commit(
                Commit(
                    entries=[
                        stored_entry(seq, 1_000 * BULK_ENTRY_BYTES)
                        for seq in range(first, first + 10)
                    ],
                    heads=[log_head(first + 9)],
                    follows=[
                        stored_follow(number)
                        for number in range(batch * 10_000, (batch + 1) * 10_000)
                    ],
                )
            )
    full = size(path)
    assert (full - empty) / BULK <= 350
    async with open_store(path, key) as store:
        first = BULK // 1_000 + 1
        for seq in range(first, first + SINGLE):
            await store.commit(edit_of_150_bytes(seq))
    assert (size(path) - full) / SINGLE <= 600


async def test_rewriting_a_row_takes_no_space(path: Path, key: DatabaseKey) -> None:
    async with open_store(path, key) as store:
        await store.commit(Commit(follows=[stored_follow(number) for number in range(100)]))
    before = size(path)
    async with open_store(path, key) as store:
        for turn in range(50):
            await store.commit(
                Commit(follows=[stored_follow(number, updated_ms=turn) for number in range(100)])
            )
    assert size(path) == before
