"""Pure functions of a simulated world, remembered: what one device worked out holds for all.

Rules of this file: only functions whose result follows from their arguments alone, and which are
dear: a statement parsed and a signature verified. A failure is not remembered.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import Final

from presenced.replica import ledger
from presenced.trust import dag

_PURE: Final[tuple[tuple[ModuleType, str], ...]] = (
    (dag, "parse_statement"),
    (ledger, "verify_entry"),
)
"module, and the name by which it calls the function"

_REMEMBERED_MAX: Final = 4_096


@contextmanager
def remembered() -> Iterator[None]:
    """While this lasts no statement and no entry is verified twice."""
    before = [(module, name, getattr(module, name)) for module, name in _PURE]
    try:
        for module, name, function in before:
            setattr(module, name, lru_cache(_REMEMBERED_MAX)(function))
        yield
    finally:
        for module, name, function in before:
            setattr(module, name, function)
