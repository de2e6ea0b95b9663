"""Narrow bounds for small worlds, so that what happens at a bound happens in them.

Rules of this file: only bounds of this device's own choosing are narrowed, never one that a peer
relies on; a bound is narrowed in every file of the replica that reads it, and put back when the
world ends.
"""

from __future__ import annotations

import pkgutil
import random
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Final

from presenced import replica

_NARROW: Final[dict[str, tuple[int, ...]]] = {
    "OVERLAY_FIELDS_MAX": (8, 30),
    "SNAPSHOT_SLOTS_MIN": (1, 10, 40),
    "BATCH_BYTES_MAX": (600, 5_000),
    "UNACKNOWLEDGED_BYTES_MAX": (1_000, 20_000),
    "WAITING_ENTRIES_MAX": (2, 20),
    "RECENT_BYTES_MAX": (500, 10_000),
    "PAGE_BYTES": (500, 5_000),
    "BASE_TAIL_ENTRIES": (3, 20),
}
"bound, and what it may be narrowed to"


def _readers(name: str) -> list[ModuleType]:
    modules = (
        import_module(f"{replica.__name__}.{found.name}")
        for found in pkgutil.iter_modules(replica.__path__)
    )
    return [module for module in modules if hasattr(module, name)]


_READERS: Final = {name: _readers(name) for name in _NARROW}


@contextmanager
def narrowed(lots: random.Random, share: float) -> Iterator[tuple[str, ...]]:
    """Narrow each bound with the probability `share`; the names of those that were, with values."""
    before = [
        (module, name, getattr(module, name))
        for name, modules in _READERS.items()
        for module in modules
    ]
    told = []
    try:
        for name, choices in _NARROW.items():
            if lots.random() < share:
                value = lots.choice(choices)
                for module in _READERS[name]:
                    setattr(module, name, value)
                told.append(f"{name}={value}")
        yield tuple(told)
    finally:
        for module, name, value in before:
            setattr(module, name, value)
