"""The frozen names: normal form of URIs and the ids made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from presenced.errors import InvalidValue
from presenced.ids import show_id
from presenced.presence.naming import (
    FOLLOW_DOMAIN,
    LABEL_DOMAIN,
    SESSION_DOMAIN,
    alias_field,
    follow_id,
    normal_uri,
    session_id,
    tag_field,
)

VECTORS = Path(__file__).parents[2] / "docs" / "spec" / "vectors"
URIS: dict[str, Any] = json.loads((VECTORS / "uris.json").read_text())
IDS: dict[str, Any] = json.loads((VECTORS / "record_ids.json").read_text())


@pytest.mark.parametrize("vector", URIS["uris"], ids=lambda vector: vector["given"])
def test_uri_has_its_frozen_normal_form_and_normalising_again_changes_nothing(
    vector: dict[str, str],
) -> None:
    assert normal_uri(vector["given"]) == vector["normal"]
    assert normal_uri(vector["normal"]) == vector["normal"]


@pytest.mark.parametrize("vector", URIS["refused"], ids=lambda vector: vector["why"])
def test_text_that_is_no_uri_is_refused_with_a_hint(vector: dict[str, str]) -> None:
    with pytest.raises(InvalidValue) as refused:
        normal_uri(vector["given"])
    assert refused.value.hint
    assert not vector["given"] or vector["given"] not in str(refused.value)


def test_record_and_label_ids_are_the_frozen_ones() -> None:
    assert IDS["domains"] == {
        "follow": FOLLOW_DOMAIN.decode(),
        "session": SESSION_DOMAIN.decode(),
        "label": LABEL_DOMAIN.decode(),
    }
    for vector in IDS["follow"]:
        assert show_id(follow_id(vector["uri"])) == vector["id"]
    for vector in IDS["session"]:
        assert show_id(session_id(vector["kind"], vector["uri"])) == vector["id"]
    for vector in IDS["tag"]:
        assert tag_field(vector["text"]) == vector["field"]
    for vector in IDS["alias"]:
        assert alias_field(vector["uri"]) == vector["field"]
