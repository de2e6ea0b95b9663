"""What a person may write in the config file, the environment and the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from presenced.config import (
    CONFIG_BYTES_MAX,
    PEERS_MAX,
    Arguments,
    BadConfig,
    KeyChoice,
    LogLevel,
    parse_address,
    parse_listen,
    read_config,
)

_VARIABLES = (
    "PRESENCED_HOME",
    "PRESENCED_SOCKET",
    "PRESENCED_PASSPHRASE_FILE",
    "CREDENTIALS_DIRECTORY",
    "RUNTIME_DIRECTORY",
    "XDG_RUNTIME_DIR",
    "XDG_DATA_HOME",
    "XDG_CONFIG_HOME",
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in _VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PRESENCED_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def write(home: Path) -> Callable[[str], None]:
    def write(text: str) -> None:
        (home / "presenced.toml").write_text(text)

    return write


def test_a_named_home_holds_everything(home: Path) -> None:
    config = read_config()
    assert config.home_is_explicit
    assert config.data_directory == home
    places = {config.config_file, config.database, config.key_file, config.lock_file, config.socket}
    assert {place.parent for place in places} == {home}
    assert len(places) == 5


def test_a_relative_home_does_not_move_with_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRESENCED_HOME", "here")
    config = read_config()
    monkeypatch.chdir("/")
    assert config.database == tmp_path / "here" / "presenced.db"


def test_without_a_home_config_and_data_lie_where_the_system_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PRESENCED_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    config = read_config()
    assert not config.home_is_explicit
    assert config.database == tmp_path / "data" / "presenced" / "presenced.db"
    assert config.config_file == tmp_path / "config" / "presenced" / "presenced.toml"
    assert not (tmp_path / "data").exists(), "reading makes nothing"


def test_what_is_built_in_needs_no_file() -> None:
    config = read_config()
    assert (config.listen_host, config.listen_port) == (None, 0)
    assert config.peers == ()
    assert config.mdns
    assert config.key_protection is KeyChoice.AUTO
    assert config.log_level is LogLevel.INFO
    assert config.passphrase_file is None


def test_the_file_is_obeyed(write: Callable[[str], None]) -> None:
    write(
        """
        listen = "[::1]:4000"
        peers = ["box.lan:4001", "[fe80::1%eth0]:4002"]
        mdns = false
        key_protection = "key-file"
        log_level = "debug"
        """
    )
    config = read_config()
    assert (config.listen_host, config.listen_port) == ("::1", 4000)
    assert config.peers == (("box.lan", 4001), ("fe80::1%eth0", 4002))
    assert not config.mdns
    assert config.key_protection is KeyChoice.KEY_FILE
    assert config.log_level is LogLevel.DEBUG


def test_the_command_line_wins_over_the_file(write: Callable[[str], None]) -> None:
    write('listen = "127.0.0.1:1"\npeers = ["a:1", "b:2"]\nmdns = false\n')
    config = read_config(Arguments(listen="127.0.0.1:0", peers=("c:3",), mdns=True))
    assert (config.listen_host, config.listen_port) == ("127.0.0.1", 0)
    assert config.peers == (("c", 3),)
    assert config.mdns


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('lisen = "a:1"', "Did you mean `listen`?"),
        ("mnds = true", "Did you mean `mdns`?"),
        (
            "colour = 1",
            "Known: listen, peers, mdns, key_protection, log_level.",
        ),
        ('key_protection = "pasphrase"', "Did you mean `passphrase`?"),
        ('key_protection = "x"', "Known: auto, keyring, passphrase, key-file."),
        ('log_level = "warn"', "Did you mean `warning`?"),
        ("mdns = 1", "Make it true or false."),
        ("listen = 4000", "Make it a text in quotes."),
        ('peers = "a:1"', "Make it a list of texts in quotes."),
        ("peers = [4000]", "Make it a list of texts in quotes."),
        ("key_protection = true", "Make it a text in quotes."),
        ("mdns = ", "Correct it; it is a TOML file."),
        ("peers = " + "[" * 10_000, "Correct it; it is a TOML file."),
        ("[a]\nb = 1", "Known: listen, peers, mdns, key_protection, log_level."),
    ],
)
def test_what_cannot_be_understood_is_refused_with_a_way_out(
    write: Callable[[str], None], home: Path, text: str, hint: str
) -> None:
    write(text)
    with pytest.raises(BadConfig) as refused:
        read_config()
    assert refused.value.hint == hint
    assert str(home / "presenced.toml") in refused.value.detail


def test_a_file_that_is_not_text_is_refused(home: Path) -> None:
    (home / "presenced.toml").write_bytes(b'listen = "\xff"')
    with pytest.raises(BadConfig, match="not UTF-8"):
        read_config()


def test_a_config_file_has_a_bound(write: Callable[[str], None]) -> None:
    line = "mdns = true\n"
    write(line + "#" * (CONFIG_BYTES_MAX - len(line)))
    assert read_config().mdns
    write(line + "#" * (CONFIG_BYTES_MAX - len(line) + 1))
    with pytest.raises(BadConfig, match="longer than"):
        read_config()


def test_a_directory_in_place_of_the_config_file_is_refused(home: Path) -> None:
    (home / "presenced.toml").mkdir()
    with pytest.raises(BadConfig, match="cannot read"):
        read_config()


def test_peers_have_a_bound() -> None:
    peers = tuple(f"host-{number}:1" for number in range(PEERS_MAX + 1))
    assert len(read_config(Arguments(peers=peers[:-1])).peers) == PEERS_MAX
    with pytest.raises(BadConfig, match="at most"):
        read_config(Arguments(peers=peers))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("box.lan:4000", ("box.lan", 4000)),
        ("192.0.2.1:65535", ("192.0.2.1", 65_535)),
        ("[::1]:4000", ("::1", 4000)),
        ("[2001:db8::2]:1", ("2001:db8::2", 1)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text, where="--peer") == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "box",
        "box:",
        "box:0",
        "box:65536",
        "box:-1",
        "box:+1",
        "box:٣",
        "box:1e3",
        "box:000001",
        ":4000",
        "::1:4000",
        "[::1]",
        "[::1:4000",
        "[box]:4000",
        "[]:1",
        "http://box:1",
        "a b:1",
        "a\n:1",
        "user@box:1",
        "a" * 254 + ":1",
    ],
)
def test_an_address_that_is_none_is_refused_and_named(text: str) -> None:
    with pytest.raises(BadConfig) as refused:
        parse_address(text, where="--peer")
    assert refused.value.detail.startswith("--peer: ")
    assert refused.value.hint


def test_an_ipv6_address_without_brackets_says_so() -> None:
    with pytest.raises(BadConfig) as refused:
        parse_address("::1:4000", where="--peer")
    assert refused.value.hint == "Write `[ADDRESS]:PORT`."


def test_listening_may_leave_host_and_port_open() -> None:
    assert parse_listen(":4000", where="--listen") == (None, 4000)
    assert parse_listen("127.0.0.1:0", where="--listen") == ("127.0.0.1", 0)
    with pytest.raises(BadConfig):
        parse_listen("4000", where="--listen")


def test_the_passphrase_comes_from_a_file_or_a_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_config().passphrase_file is None, "the unit may have other credentials only"
    credential = tmp_path / "presenced-passphrase"
    credential.write_text("secret")
    assert read_config().passphrase_file == credential
    monkeypatch.setenv("PRESENCED_PASSPHRASE_FILE", str(tmp_path / "named"))
    assert read_config().passphrase_file == tmp_path / "named", "a named file is not guessed away"
