from __future__ import annotations

from pathlib import Path

import pytest

from presenced.crypto.database_key import DatabaseKey


@pytest.fixture
def key() -> DatabaseKey:
    return DatabaseKey(bytes(range(32)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "presenced.db"
