"""No bytes in a config file, key file or page cursor do anything but parse or be refused."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from presenced.config import BadConfig, parse_address, parse_listen, read_config
from presenced.device.commit import FollowQuery, SessionQuery
from presenced.errors import HostError, PresenceError
from presenced.host.key_file import read_key_file, write_key_file
from presenced.store.lists import BadCursor, follow_list, session_list
from presenced.wire import encode

T = TypeVar("T")

QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        monkeypatch.setenv("PRESENCED_HOME", directory)
        monkeypatch.delenv("PRESENCED_SOCKET", raising=False)
        yield Path(directory)


def parsed(parse: Callable[[], T], error: type[PresenceError]) -> T | None:
    """What it parses to; None if it was refused in the way that says what to do."""
    try:
        return parse()
    except error as refused:
        told = refused
    assert told.detail
    assert told.hint
    return None


keys = st.sampled_from(["listen", "peers", "mdns", "key_protection", "log_level", "x", '"\\u00e9"'])
literals = st.sampled_from(
    [
        "true",
        "0",
        "1e9",
        "nan",
        '""',
        '"[::1]:1"',
        '"a:1"',
        '["a:1", ""]',
        "[[",
        "{a=1}",
        "1979-05-27",
    ]
)
lines = st.builds("{} = {}\n".format, keys, literals | st.text(max_size=12))


@QUIET
@given(
    st.binary(max_size=80) | st.lists(lines, max_size=6).map(lambda all_: "".join(all_).encode())
)
@example(b"listen = " + b"[" * 5_000)
@example(b"a" + b".a" * 5_000 + b" = 1")
def test_any_config_file(home: Path, content: bytes) -> None:
    (home / "presenced.toml").write_bytes(content)
    config = parsed(read_config, BadConfig)
    if config is not None:
        assert 0 <= config.listen_port <= 65_535
        assert all(0 < port <= 65_535 and host for host, port in config.peers)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=70)
    | st.sampled_from(["key-file", "passphrase", "os-keyring", "moderate", "00" * 16, "00" * 32]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
key_names = ("version", "protection", "marker", "key", "limits", "salt", "sealed", "account")
key_values = st.fixed_dictionaries({}, optional=dict.fromkeys(key_names, json_values))


@QUIET
@given(st.binary(max_size=100) | key_values.map(lambda values: json.dumps(values).encode()))
@example(b"[" * 4_096)
def test_any_key_file(home: Path, content: bytes) -> None:
    path = home / "presenced.key"
    path.unlink(missing_ok=True)
    path.touch(0o600)
    path.write_bytes(content)
    keeping = parsed(lambda: read_key_file(path), HostError)
    assert path.read_bytes() == content
    if keeping is not None:
        write_key_file(path, keeping)
        assert read_key_file(path) == keeping


@QUIET
@given(st.text(max_size=40) | st.from_regex(r"\A\[?[a-z0-9:.%]{0,12}\]?:?[0-9]{0,6}\Z"))
def test_any_address(text: str) -> None:
    for parse in (parse_address, parse_listen):
        address = parsed(partial(parse, text, where="--peer"), BadConfig)
        if address is not None:
            host, port = address
            assert host is None or host
            assert 0 <= port <= 65_535


cursor_values = st.lists(
    st.sampled_from(["added", "title", "updated"]) | st.integers(-(2**63), 2**64 - 1) | st.text(),
    max_size=4,
)


@QUIET
@given(
    st.text(max_size=30)
    | st.binary(max_size=30).map(lambda raw: base64.urlsafe_b64encode(raw).decode())
    | cursor_values.map(lambda values: base64.urlsafe_b64encode(encode(values)).decode()),
    st.sampled_from(["added", "title", "updated"]),
)
def test_any_cursor(cursor: str, order: str) -> None:
    for page in (
        parsed(lambda: follow_list(FollowQuery(after=cursor, order=order)), BadCursor),
        parsed(lambda: session_list(SessionQuery(after=cursor, order=order)), BadCursor),
    ):
        assert page is None or "?" in page.sql


def test_the_environment_is_left_as_it_was(home: Path) -> None:
    before = dict(os.environ)
    read_config()
    assert dict(os.environ) == before
