"""The store on disk and its doubles in memory answer alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from presenced.crypto.database_key import DatabaseKey
from presenced.device.commit import Commit
from presenced.ids import COLLECTIONS
from presenced.replica.rows import BaseChunk, Outcome
from presenced.store import open_store
from presenced.testing.conformance_reader import (
    DEVICE_CHECKS,
    REPLICA_CHECKS,
    DeviceCheck,
    ReplicaCheck,
    check_name,
)
from presenced.testing.memory_reader import MemoryReader
from presenced.testing.sim_disk import SimDisk


@pytest.mark.parametrize("check", DEVICE_CHECKS, ids=check_name)
async def test_the_store_on_disk_conforms(check: DeviceCheck, tmp_path: Path) -> None:
    async with open_store(tmp_path / "presenced.db", DatabaseKey(bytes(32))) as store:
        await check(store.reader, store.commit)


@pytest.mark.parametrize("check", DEVICE_CHECKS, ids=check_name)
async def test_the_simulated_disk_conforms(check: DeviceCheck) -> None:
    disk = SimDisk()

    async def commit(rows: Commit) -> None:
        disk.apply(rows)

    await check(disk, commit)


@pytest.mark.parametrize("check", REPLICA_CHECKS, ids=check_name)
async def test_the_replicas_memory_conforms(check: ReplicaCheck) -> None:
    memory = MemoryReader()

    async def commit(rows: Commit) -> None:
        for collection in COLLECTIONS:
            chunks = rows.base.get(collection)
            memory.commit(
                collection,
                Outcome(
                    cuts=[one for one in rows.cuts if one.collection == collection],
                    entries=[row for row in rows.entries if row.collection == collection],
                    heads=[row for row in rows.heads if row.collection == collection],
                    overlay_put=[row for row in rows.overlay_put if row.collection == collection],
                    overlay_drop=rows.overlay_drop.get(collection),
                    base=None
                    if chunks is None
                    else [BaseChunk(collection, index, raw) for index, raw in enumerate(chunks)],
                ),
            )

    await check(memory, commit)
