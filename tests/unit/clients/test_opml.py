from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenced.clients.cli import opml

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "uri": TEXT.map(lambda text: f"https://example.org/{text}"),
            "title": st.one_of(st.just(""), TEXT),
            "kind": st.sampled_from(sorted(opml.KINDS)),
            "tags": st.lists(TEXT, max_size=4, unique=True),
            "notify": st.sampled_from(sorted(opml.NOTIFY)),
        }
    ),
    max_size=5,
    unique_by=lambda row: row["uri"],
)


@given(ROWS)
def test_what_is_written_reads_back_exactly(rows: list[dict[str, Any]]) -> None:
    listed = opml.read(opml.write(rows).encode())
    assert listed.skipped == []
    back = [
        {
            "uri": follow.uri,
            "title": follow.title or "",
            "kind": follow.kind,
            "tags": list(follow.tags),
            "notify": follow.notify or "default",
        }
        for follow in listed.follows
    ]
    assert back == rows


def test_groups_and_categories_of_others_become_tags() -> None:
    listed = opml.read(
        b'<?xml version="1.0" encoding="ISO-8859-1"?><OPML version="1.1"><head/><body>'
        b'<outline text="News"><outline title="Gr\xfcn"><outline TEXT="A" xmlURL=" https://a/ "'
        b' category="x,/y/z,," custom:thing="1"/></outline></outline>'
        b'<outline text="Other"><outline text="A" xmlUrl="https://a/"/></outline></body></OPML>'
    )
    (follow,) = listed.follows
    assert (follow.uri, follow.title) == ("https://a/", "A")
    assert follow.tags == ("News", "Grün", "x", "y/z", "Other")


def test_what_cannot_be_followed_is_told() -> None:
    listed = opml.read(
        b'<opml><body><outline type="include" url="https://b/x.opml" text="L"/>'
        b'<outline type="rss" text="no address"/></body></opml>'
    )
    assert [item["uri"] for item in listed.skipped] == ["https://b/x.opml", "no address"]


def test_a_kind_of_a_newer_version_is_a_feed() -> None:
    document = opml.write([_row(kind="feed")]).replace("type=", 'presenced:kind="hologram" type=')
    assert opml.read(document.encode()).follows[0].kind == "feed"


@pytest.mark.parametrize(
    "exact", ["", "[", "[]", "7", '{"tags":"x"}', '{"tags":[1]}', '{"uri":1}', "[" * 100_000]
)
def test_a_damaged_attribute_of_ours_means_nothing(exact: str) -> None:
    quoted = exact.replace('"', "&quot;")
    document = (
        f'<opml><body><outline xmlUrl="https://a/" presenced:exact="{quoted}"/></body></opml>'
    )
    assert opml.read(document.encode()).follows[0].uri == "https://a/"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not xml",
        b"<html><body/></html>",
        b"<opml><body>",
        b'<?xml version="1.0" encoding="no-such"?><opml/>',
        b"\xff\xfe\x00\x00",
        b"<opml>" + b'<outline text="a">' * 100,
    ],
)
def test_what_is_not_opml_is_a_clear_failure(content: bytes) -> None:
    with pytest.raises(opml.NotOpml):
        opml.read(content)


def test_an_entity_bomb_is_refused_at_once() -> None:
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE opml [<!ENTITY l0 "ha">{levels}]><opml><body>&l11;</body></opml>'
    begun = time.monotonic()
    with pytest.raises(opml.NotOpml, match="entities"):
        opml.read(bomb.encode())
    assert time.monotonic() - begun < 1


def test_an_outside_entity_is_never_fetched() -> None:
    document = (
        b'<!DOCTYPE o [<!ENTITY e SYSTEM "file:///etc/passwd">]><opml><body>&e;</body></opml>'
    )
    with pytest.raises(opml.NotOpml, match="entities"):
        opml.read(document)


def test_depth_and_count_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    depth = opml.DEPTH_MAX
    fits = b"<opml><body>" + b'<outline text="g">' * depth + b"</outline>" * depth
    assert opml.read(fits + b"</body></opml>").follows == []
    deep = b"<opml><body>" + b'<outline text="g">' * (depth + 1)
    with pytest.raises(opml.NotOpml, match="deep"):
        opml.read(deep)
    monkeypatch.setattr(opml, "OUTLINES_MAX", 3)
    many = b"<opml><body>" + b'<outline text="g"/>' * 4 + b"</body></opml>"
    with pytest.raises(opml.NotOpml, match="outlines"):
        opml.read(many)


def test_tags_and_told_skips_are_bounded() -> None:
    tags = ",".join(f"t{number}" for number in range(opml.TAGS_MAX + 9))
    document = f'<opml><body><outline xmlUrl="https://a/" category="{tags}"/></body></opml>'
    assert len(opml.read(document.encode()).follows[0].tags) == opml.TAGS_MAX
    many = b"<opml><body>" + b'<outline type="rss"/>' * (opml.SKIPPED_MAX + 9) + b"</body></opml>"
    assert len(opml.read(many).skipped) == opml.SKIPPED_MAX


def test_a_line_for_the_daemon_says_only_what_there_is() -> None:
    assert opml.ListedFollow(uri="https://a/").to_json() == {"uri": "https://a/"}
    full = opml.ListedFollow(uri="https://a/", title="A", kind="podcast", tags=("x",), notify="all")
    assert json.loads(json.dumps(full.to_json()))["tags"] == ["x"]


def _row(**changes: Any) -> dict[str, Any]:
    row = {"uri": "https://a/", "title": "A", "kind": "feed", "tags": [], "notify": "default"}
    return {**row, **changes}
