"""Addresses as people paste them, as URIs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenced.clients.cli.iri import uri_of


@pytest.mark.parametrize(
    ("pasted", "uri"),
    [
        (
            "https://müller.example/føø?q=ü#ä",
            "https://xn--mller-kva.example/f%C3%B8%C3%B8?q=%C3%BC#%C3%A4",
        ),
        ("https://例え.jp:8080/フ?q=%e3", "https://xn--r8jz45g.jp:8080/%E3%83%95?q=%e3"),
        ("https://a:b@bücher.example", "https://a:b@xn--bcher-kva.example"),
        ("https://[2001:db8::1]/ü", "https://[2001:db8::1]/%C3%BC"),
        ("urn:x:ü", "urn:x:%C3%BC"),
    ],
)
def test_letters_outside_ascii_are_written_as_a_uri_has_them(pasted: str, uri: str) -> None:
    assert uri_of(pasted) == uri


@pytest.mark.parametrize(
    "host", ["faß.example", "βόλος.example", "a\u200db.example", "ü" * 64 + ".example"]
)
def test_a_host_that_could_be_two_or_none_is_left_to_the_daemon_to_refuse(host: str) -> None:
    assert uri_of(f"https://{host}/") == f"https://{host}/"


@given(st.text(st.characters(max_codepoint=0x7F)))
def test_ascii_is_left_alone_right_or_wrong(text: str) -> None:
    assert uri_of(text) == text


@given(st.text())
def test_the_uri_of_a_uri_is_itself(text: str) -> None:
    uri = uri_of(text)
    assert uri_of(uri) == uri


@given(st.text(), st.text())
def test_no_text_is_refused_here(scheme: str, rest: str) -> None:
    uri_of(f"{scheme}://{rest}")
    uri_of(f"https://{rest}\udcff")
