"""The store on a real disk that fills up, and under kill -9."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from presenced.crypto.database_key import DatabaseKey
from presenced.store import open_store
from presenced.testing.stored import LOG, log_head, stored_entry

pytestmark = pytest.mark.system

KEY = DatabaseKey(bytes(range(32)))

WRITER = """
import sys
from pathlib import Path
import trio
from presenced.crypto.database_key import DatabaseKey
from presenced.store import open_store
from presenced.testing.stored import single_edit

async def main():
    async with open_store(Path(sys.argv[1]), DatabaseKey(bytes(range(32)))) as store:
        heads = store.reader.log_heads("follows")
        seq = heads[0].held_seq if heads else 0
        while True:
            seq += 1
            await store.commit(single_edit(seq))
            sys.stdout.write(f"{seq}\\n")
            sys.stdout.flush()

trio.run(main)
"""

FULL = """
import resource, sys
from pathlib import Path
import trio
from presenced.crypto.database_key import DatabaseKey
from presenced.device.commit import Commit
from presenced.errors import StoreFull
from presenced.store import open_store
from presenced.testing.stored import log_head, single_edit, stored_entry, stored_follow

async def main():
    path = Path(sys.argv[1])
    async with open_store(path, DatabaseKey(bytes(range(32)))) as store:
        await store.commit(single_edit(1))
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
        seq = 1
        try:
            while True:
                await store.commit(single_edit(seq + 1))
                seq += 1
        except StoreFull as error:
            assert str(path) in error.detail, error.detail
            assert "not recorded" in error.hint, error.hint
        assert seq > 2
        assert [head.held_seq for head in store.reader.log_heads("follows")] == [seq]
        assert store.reader.counts().follows == seq
        for _ in range(3):  # it stays usable, and says so again
            try:
                await store.commit(Commit(follows=[stored_follow(n) for n in range(2_000)]))
            except StoreFull:
                continue
            raise AssertionError("a large commit fitted")
        assert store.reader.counts().follows == seq
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        await store.commit(single_edit(seq + 1))
        print(seq + 1)

trio.run(main)
"""


def run(script: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    )


async def held(path: Path) -> int:
    """The last seq, after checking that all entries up to it are there, each with its row."""
    async with open_store(path, KEY) as store:
        heads = store.reader.log_heads("follows")
        if not heads:
            return 0
        seq = heads[0].held_seq
        assert heads == [log_head(seq)]
        raws = store.reader.entries("follows", LOG, 1, bytes_max=10**9)
        assert list(raws) == [stored_entry(number).raw for number in range(1, seq + 1)]
        assert store.reader.counts().follows == seq
        return seq


async def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "presenced.db"
    chance = random.Random(9)
    for turn in range(8):
        acknowledged = await held(path) if turn else 0
        with run(WRITER, path) as process:
            assert process.stdout is not None
            for _ in range(chance.randrange(1, 400)):
                acknowledged = int(process.stdout.readline())
            os.kill(process.pid, signal.SIGKILL)
            rest = process.stdout.read().split()  # acknowledged before it died, not yet read
        if rest:
            acknowledged = max(acknowledged, int(rest[-1]))
        found = await held(path)
        assert acknowledged <= found <= acknowledged + 1


async def test_a_full_disk_is_told_loses_nothing_and_is_got_over(tmp_path: Path) -> None:
    path = tmp_path / "presenced.db"
    with run(FULL, path) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert await held(path) == int(said)
