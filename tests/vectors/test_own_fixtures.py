"""Stories and drawings of this repository, for sentences that the public fixtures do not touch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from presenced.testing import fixtures

HERE = Path(__file__).parent
FIXTURES: list[Any] = [
    fixture
    for name in ("stories.json", "drawings.json")
    for fixture in fixtures.fixtures_in(json.loads((HERE / name).read_text(encoding="utf-8")))
]


@pytest.mark.parametrize("fixture", FIXTURES, ids=[fixture["name"] for fixture in FIXTURES])
def test_fixture(fixture: dict[str, Any]) -> None:
    assert fixtures.run(fixture) == []
