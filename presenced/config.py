"""What a person chose: one frozen `Config`, read once when the daemon starts.

Rules of this file: the only reader of environment variables and of the config file; a choice that
cannot be understood is refused with what to write instead, never ignored.

Order: command line, then environment, then `presenced.toml`, then what is built in. With
`PRESENCED_HOME=DIR` everything lies in DIR; else config and data lie where the system keeps them
(XDG Base Directory, or `~/Library` on macOS).

    listen = "0.0.0.0:4000"             # HOST:PORT; ":4000" is every address; port 0 is any
    peers = ["box.lan:4000", "[fd00::2]:4000"]
    mdns = true
    key_protection = "auto"             # or keyring, passphrase, key-file
    log_level = "info"                  # or debug, warning, error
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import AddressValueError, IPv6Address
from pathlib import Path
from typing import Any, Final, TypeVar

from presenced.errors import CallerError
from presenced.socket_path import APPLICATION, home_directory, socket_path

CONFIG_NAME: Final = "presenced.toml"
DATABASE_NAME: Final = "presenced.db"
KEY_NAME: Final = "presenced.key"
LOCK_NAME: Final = "presenced.lock"

PASSPHRASE_CREDENTIAL: Final = "presenced-passphrase"  # noqa: S105 (a name)
"name of the systemd credential (LoadCredential=)"

CONFIG_BYTES_MAX: Final = 64 * 1024
"a longer config file is a mistake"

PEERS_MAX: Final = 64
"addresses named by hand; each is dialled again and again"

HOST_CHARS_MAX: Final = 253
"a DNS name (RFC 1035 §2.3.4)"


class BadConfig(CallerError):
    """The config file or an argument cannot be understood."""

    code = "bad-config"


class KeyChoice(Enum):
    """How the database key is to be kept."""

    AUTO = "auto"
    "as it is; a new one: passphrase file, key file in a named home, OS keyring, key file"
    KEYRING = "keyring"
    PASSPHRASE = "passphrase"  # noqa: S105 (a name)
    KEY_FILE = "key-file"


class LogLevel(Enum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the command line says; None or empty leaves it to the config file."""

    listen: str | None = None
    "HOST:PORT"
    peers: tuple[str, ...] = ()
    "HOST:PORT each; replaces the peers of the config file"
    mdns: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Every choice and every path. Paths are absolute."""

    home_is_explicit: bool
    "`PRESENCED_HOME` was set"
    config_file: Path
    "may be missing"
    database: Path
    key_file: Path
    "says how the database key is kept, and may hold it"
    socket: Path
    lock_file: Path
    listen_host: str | None = None
    "None: every address"
    listen_port: int = 0
    "UDP; 0: the one that was used before, else any"
    peers: tuple[tuple[str, int], ...] = ()
    mdns: bool = True
    key_protection: KeyChoice = KeyChoice.AUTO
    passphrase_file: Path | None = None
    log_level: LogLevel = LogLevel.INFO

    @property
    def data_directory(self) -> Path:
        return self.database.parent


def read_config(arguments: Arguments = Arguments()) -> Config:
    """The configuration of this process. Raises `BadConfig`; nothing is created."""
    environment = os.environ
    home = home_directory(environment)
    config_directory, data_directory = (home, home) if home else _system_directories()
    config_file = config_directory / CONFIG_NAME
    chosen = _Table(_load(config_file), config_file)
    listen = chosen.text("listen")
    host, port = (None, 0)
    if (value := arguments.listen) is not None:
        host, port = parse_listen(value, where="--listen")
    elif listen is not None:
        host, port = parse_listen(listen, where=f"`listen` in {config_file}")
    if arguments.peers:
        peers = tuple(parse_address(peer, where="--peer") for peer in arguments.peers)
    else:
        where = f"`peers` in {config_file}"
        peers = tuple(parse_address(peer, where=where) for peer in chosen.texts("peers"))
    if len(peers) > PEERS_MAX:
        raise BadConfig(f"{len(peers)} peers; at most {PEERS_MAX}", hint="Name fewer peers.")
    mdns = chosen.flag("mdns", default=True) if arguments.mdns is None else arguments.mdns
    return Config(
        home_is_explicit=home is not None,
        config_file=config_file,
        database=data_directory / DATABASE_NAME,
        key_file=data_directory / KEY_NAME,
        socket=socket_path(environment),
        lock_file=data_directory / LOCK_NAME,
        listen_host=host,
        listen_port=port,
        peers=peers,
        mdns=mdns,
        key_protection=chosen.choice("key_protection", KeyChoice.AUTO),
        passphrase_file=_passphrase_file(environment),
        log_level=chosen.choice("log_level", LogLevel.INFO),
    )


def parse_listen(text: str, *, where: str) -> tuple[str | None, int]:
    """`HOST:PORT`, `[::1]:PORT`, or `:PORT` for every address. Port 0 is any free one."""
    if text.startswith(":") and text.count(":") == 1:
        return None, _port(text[1:], where, lowest=0)
    return _address(text, where, lowest=0)


def parse_address(text: str, *, where: str) -> tuple[str, int]:
    """`HOST:PORT` or `[::1]:PORT` of somebody who listens. Raises `BadConfig`, naming `where`."""
    return _address(text, where, lowest=1)


def _address(text: str, where: str, *, lowest: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise _bad_address(text, where)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            IPv6Address(host)
        except AddressValueError:
            raise _bad_address(text, where) from None
    elif ":" in host:
        raise BadConfig(
            f"{where}: an IPv6 address needs brackets: {text}", hint="Write `[ADDRESS]:PORT`."
        )
    elif len(host) > HOST_CHARS_MAX or not host.isprintable() or any(c in host for c in " /[]@"):
        raise _bad_address(text, where)
    return host, _port(port, where, lowest=lowest)


def _port(text: str, where: str, *, lowest: int) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 5 and lowest <= int(text) <= 65_535:
        return int(text)
    raise BadConfig(
        f"{where}: not a port: {text!r}", hint=f"A port is a number from {lowest} to 65535."
    )


def _bad_address(text: str, where: str) -> BadConfig:
    return BadConfig(
        f"{where}: not an address: {text!r}",
        hint="Write `HOST:PORT`, for example `box.lan:4000` or `[fd00::2]:4000`.",
    )


def _system_directories() -> tuple[Path, Path]:
    """Config and data."""
    from platformdirs import PlatformDirs  # here: a named home does not need it

    places = PlatformDirs(APPLICATION, appauthor=False)
    return places.user_config_path, places.user_data_path


def _passphrase_file(environment: Mapping[str, str]) -> Path | None:
    named = environment.get("PRESENCED_PASSPHRASE_FILE")
    if named:
        return Path(named).absolute()
    credentials = environment.get("CREDENTIALS_DIRECTORY")
    if credentials:
        credential = Path(credentials) / PASSPHRASE_CREDENTIAL
        if credential.exists():
            return credential
    return None


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(CONFIG_BYTES_MAX + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadConfig(
            f"cannot read {path}: {error.strerror}", hint="Make it a file that you can read."
        ) from error
    if len(raw) > CONFIG_BYTES_MAX:
        raise BadConfig(f"{path} is longer than {CONFIG_BYTES_MAX} bytes", hint="Shorten it.")
    import tomllib  # here: most have no such file

    try:
        return tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error
        raise BadConfig(
            f"cannot understand {path}: {reason}", hint="Correct it; it is a TOML file."
        ) from error


_Choice = TypeVar("_Choice", bound=Enum)


class _Table:
    """The config file's values, each read as the type that it must have."""

    KEYS: Final = ("listen", "peers", "mdns", "key_protection", "log_level")

    def __init__(self, values: dict[str, Any], path: Path) -> None:
        self._values = values
        self._path = path
        for key in values:
            if key not in self.KEYS:
                raise BadConfig(f"{path} has an unknown key `{key}`", hint=_suggest(key, self.KEYS))

    def text(self, key: str) -> str | None:
        value = self._values.get(key)
        if value is not None and not isinstance(value, str):
            raise self._wrong(key, "a text in quotes")
        return value

    def texts(self, key: str) -> list[str]:
        value = self._values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(key, "a list of texts in quotes")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        value = self._values.get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def choice(self, key: str, default: _Choice) -> _Choice:
        value = self.text(key)
        if value is None:
            return default
        choices = {str(choice.value): choice for choice in type(default)}
        if value not in choices:
            raise BadConfig(
                f"`{key}` in {self._path} cannot be {value!r}", hint=_suggest(value, choices)
            )
        return choices[value]

    def _wrong(self, key: str, what: str) -> BadConfig:
        return BadConfig(f"`{key}` in {self._path} must be {what}", hint=f"Make it {what}.")


def _suggest(word: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    from difflib import get_close_matches  # here: for mistakes only

    close = get_close_matches(word, list(known), n=1)
    if close:
        return f"Did you mean `{close[0]}`?"
    return f"Known: {', '.join(known)}."
