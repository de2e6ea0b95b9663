"""Names that come from content."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenced.errors import InvalidValue
from presenced.presence import naming
from presenced.presence.limits import TAG_BYTES_MAX, URI_BYTES_MAX
from presenced.presence.naming import (
    ContentNaming,
    NotATag,
    NotAUri,
    UriTooLong,
    follow_id,
    normal_uri,
    session_id,
    tag_field,
)

URI_TEXT = st.text(alphabet="abXZ019-._~%2eE7/:?#[]@!$&'()*+,;= é\n\\", max_size=40)


@given(
    scheme=st.sampled_from(["http", "HTTPS", "https", "urn", "at", "x-y"]),
    rest=st.one_of(URI_TEXT, URI_TEXT.map(lambda text: "//Ex.org" + text)),
)
def test_normalising_is_idempotent_and_the_fast_way_agrees(scheme: str, rest: str) -> None:
    uri = f"{scheme}:{rest}"
    try:
        normal = naming._normalise(uri)
    except InvalidValue:
        with pytest.raises(InvalidValue):
            normal_uri(uri)
        return
    assert normal_uri(uri) == normal
    assert normal_uri(normal) == normal
    assert naming._normalise(normal) == normal


def test_a_uri_may_be_as_long_as_the_limit_and_no_longer() -> None:
    base = "https://example.org/"
    for uri in (base, base + "%7e"):
        longest = uri + "a" * (URI_BYTES_MAX - len(uri))
        assert normal_uri(longest)
        with pytest.raises(UriTooLong) as refused:
            normal_uri(longest + "a")
        assert str(URI_BYTES_MAX) in refused.value.hint


def test_the_hint_says_how_a_uri_looks_and_the_text_is_not_repeated() -> None:
    with pytest.raises(NotAUri) as refused:
        normal_uri("secret place")
    assert "https://example.org/feed.xml" in refused.value.hint
    assert "secret" not in str(refused.value)


def test_spellings_of_one_uri_are_one_follow_and_kinds_are_two_sessions() -> None:
    assert follow_id("HTTPS://Example.org:443/%7Ea") == follow_id("https://example.org/~a")
    assert session_id("media", "urn:x:1") != session_id("reading", "urn:x:1")


@pytest.mark.parametrize("text", ["", "\ud800", "x" * (TAG_BYTES_MAX + 1), "é" * TAG_BYTES_MAX])
def test_text_that_is_no_tag_is_refused(text: str) -> None:
    with pytest.raises(NotATag):
        tag_field(text)


def test_a_tags_field_is_that_of_its_exact_text() -> None:
    assert tag_field("x" * TAG_BYTES_MAX)
    assert tag_field("News") != tag_field("news")
    assert len(tag_field("news").removeprefix("tag/")) == 26


@pytest.mark.parametrize(
    ("map_name", "core"),
    [
        ("follow", None), ("follow", []), ("follow", {}), ("follow", {"uri": 1}),
        ("follow", {"uri": "no uri"}), ("follow", {"uri": "https://é.org/"}),
        ("session", {"uri": "a:b"}), ("session", {"uri": "a:b", "kind": "call"}),
        ("session", {"uri": "a:b", "kind": ["media"]}), ("session", {"uri": "a:b", "kind": {}}),
        ("device", {"uri": "a:b"}), ("newer", {"uri": "a:b", "kind": "media"}),
    ],
)  # fmt: skip
def test_a_core_that_names_nothing_has_no_id_and_never_raises(map_name: str, core: Any) -> None:
    assert ContentNaming().derive(map_name, core) is None


def test_a_core_that_names_content_has_its_id() -> None:
    derive = ContentNaming().derive
    assert derive("follow", {"uri": "HTTP://x"}) == follow_id("http://x/")
    assert derive("session", {"uri": "a:b", "kind": "reading"}) == session_id("reading", "a:b")


@pytest.mark.parametrize("map_name", ["follow", "session", "other"])
def test_ids_of_many_are_those_of_each(map_name: str) -> None:
    plain = [{"uri": f"https://example.org/{n}", "kind": "media"} for n in range(70)]
    odd: list[object] = [
        {"uri": "HTTP://x"},
        {"uri": "https://example.org/a/../b"},
        {"uri": "not one"},
        {"uri": 7},
        {"uri": "https://example.org/" + "a" * 5_000},
        {},
        "text",
    ]
    for cores in ([*plain], [*plain, *odd], [*odd, *plain], [odd[0]], []):
        expected = [ContentNaming().derive(map_name, core) for core in cores]
        assert ContentNaming().derive_all(map_name, cores) == expected


def test_a_uri_of_two_lines_does_not_pass_for_two() -> None:
    cores = [{"uri": "https://a.example/\nhttps://b.example/"}, {"uri": "https://c.example/"}]
    assert ContentNaming().derive_all("follow", cores) == [None, follow_id("https://c.example/")]
