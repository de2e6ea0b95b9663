"""Narrow bounds for small worlds, so that what happens at a bound happens in them.

Rules of this file: only bounds of this device's own choosing are narrowed, never one that a peer
relies on; a bound is put back when the world ends.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from presenced.replica import arrivals, loading, replica, sync

_NARROW: Final[tuple[tuple[Any, str, tuple[int, ...]], ...]] = (
    (replica, "OVERLAY_FIELDS_MAX", (8, 30)),
    (sync, "SNAPSHOT_SLOTS_MIN", (1, 10, 40)),
    (sync, "BATCH_BYTES_MAX", (600, 5_000)),
    (sync, "UNACKNOWLEDGED_BYTES_MAX", (1_000, 20_000)),
    (arrivals, "WAITING_ENTRIES_MAX", (2, 20)),
    (loading, "RECENT_BYTES_MAX", (500, 10_000)),
    (loading, "PAGE_BYTES", (500, 5_000)),
)
"module, bound, what it may be narrowed to"


@contextmanager
def narrowed(lots: random.Random, share: float) -> Iterator[tuple[str, ...]]:
    """Narrow each bound with the probability `share`; the names of those that were, with values."""
    before = [(module, name, getattr(module, name)) for module, name, _ in _NARROW]
    told = []
    try:
        for module, name, choices in _NARROW:
            if lots.random() < share:
                value = lots.choice(choices)
                setattr(module, name, value)
                told.append(f"{name}={value}")
        yield tuple(told)
    finally:
        for module, name, value in before:
            setattr(module, name, value)
