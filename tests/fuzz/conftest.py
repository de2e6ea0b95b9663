"""`make fuzz`: every test of this folder again and again, until its share of the time is used.

`PRESENCED_FUZZ_SECONDS` is the time for all of them; without it each runs once, as in `make test`.
Hypothesis draws anew in every round and keeps what failed in its database.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from pathlib import Path

import pytest

SECONDS = float(os.environ.get("PRESENCED_FUZZ_SECONDS", "0"))
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test its share, and a time-out that is longer."""
    ours = [item for item in items if item.path.parent == HERE]
    for item in ours:
        share = SECONDS * WORKERS / len(ours)
        item.stash[SHARE] = share
        if SECONDS:
            item.add_marker(pytest.mark.timeout(share + 300))


SHARE = pytest.StashKey[float]()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Call a test again while its share lasts."""
    begun = time.monotonic()
    result = yield
    share = pyfuncitem.stash.get(SHARE, 0.0)
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    while time.monotonic() - begun < share:
        pyfuncitem.obj(**arguments)
    return result
