"""The simulated disk answers as the store does."""

from __future__ import annotations

import pytest

from presenced.device.commit import Commit
from presenced.testing.conformance_reader import (
    DEVICE_CHECKS,
    REPLICA_CHECKS,
    DeviceCheck,
    check_name,
)
from presenced.testing.sim_disk import SimDisk


@pytest.mark.parametrize("check", [*REPLICA_CHECKS, *DEVICE_CHECKS], ids=check_name)
async def test_the_simulated_disk_conforms(check: DeviceCheck) -> None:
    disk = SimDisk()

    async def commit(rows: Commit) -> None:
        disk.apply(rows)

    await check(disk, commit)
