"""The file that says how the database key is kept, and holds what that needs.

Rules of this file: it is written whole or not at all, and is on disk when writing returns; a file
that somebody else can read is refused; what cannot be understood is an error, never a new key.

JSON object: `version` 1; `protection`; `marker` (hex, tells the right key from another and says
nothing about it); and by protection
  key-file    `key` (hex);
  passphrase  `limits` (of Argon2id: moderate or interactive), `salt`, `sealed` (hex: the key in a
              libsodium secret box);
  os-keyring  `account` (the entry of the service `presenced`).
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final, Literal

from presenced.crypto.database_key import DATABASE_KEY_BYTES, MARKER_BYTES
from presenced.errors import HostError

VERSION: Final = 1

KEY_FILE_BYTES_MAX: Final = 4_096
"the file is about 300 bytes"

SALT_BYTES: Final = 16
"salt of Argon2id in libsodium"

SEALED_BYTES: Final = 24 + 16 + DATABASE_KEY_BYTES
"nonce, tag and key"

ACCOUNT_CHARS_MAX: Final = 64


class KeyProtection(Enum):
    """How the database key is kept, as `status` and evidence show it."""

    OS_KEYRING = "os-keyring"
    PASSPHRASE = "passphrase"  # noqa: S105 (a name)
    KEY_FILE = "key-file"


class KeyOpen(HostError):
    """Somebody else can read a secret; nothing was changed."""

    code = "key-open"


class KeyDamaged(HostError):
    """The key file cannot be understood; it was not touched."""

    code = "key-damaged"
    hint = "Put back a copy of it. Without it the database beside it cannot be read."


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainKey:
    """The key itself, in a file that only its owner can read."""

    marker: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """The key, sealed under a passphrase."""

    marker: bytes
    limits: Literal["moderate", "interactive"]
    salt: bytes
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyringKey:
    """Where the OS keyring has the key."""

    marker: bytes
    account: str


Keeping = PlainKey | WrappedKey | KeyringKey


def protection(keeping: Keeping) -> KeyProtection:
    match keeping:
        case PlainKey():
            return KeyProtection.KEY_FILE
        case WrappedKey():
            return KeyProtection.PASSPHRASE
        case KeyringKey():
            return KeyProtection.OS_KEYRING


def read_key_file(path: Path) -> Keeping | None:
    """What the file says; None if there is none. Raises `KeyOpen`, `KeyDamaged` or `HostError`."""
    try:
        raw = read_private(path, bytes_max=KEY_FILE_BYTES_MAX)
    except FileNotFoundError:
        return None
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise KeyDamaged(f"{path} is not what presenced wrote") from error
    if not isinstance(values, dict):
        raise KeyDamaged(f"{path} is not what presenced wrote")
    version = values.get("version")
    if isinstance(version, int) and version > VERSION:
        raise HostError(
            f"{path} was written by a newer presenced",
            hint="Install the newer version again; this file was not touched.",
        )
    try:
        return _parse(values)
    except (KeyError, ValueError, TypeError) as error:
        raise KeyDamaged(f"{path} is not what presenced wrote") from error


def write_key_file(path: Path, keeping: Keeping) -> None:
    """Make or replace the file; on disk when it returns. Raises `HostError`, the old one intact."""
    values: dict[str, Any] = {
        "version": VERSION,
        "protection": protection(keeping).value,
        "marker": keeping.marker.hex(),
    }
    match keeping:
        case PlainKey(key=key):
            values |= {"key": key.hex()}
        case WrappedKey(limits=limits, salt=salt, sealed=sealed):
            values |= {"limits": limits, "salt": salt.hex(), "sealed": sealed.hex()}
        case KeyringKey(account=account):
            values |= {"account": account}
    unfinished = path.with_name(f"{path.name}.new")
    try:
        unfinished.unlink(missing_ok=True)
        _write_new(unfinished, json.dumps(values, indent=1).encode() + b"\n")
        unfinished.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise HostError(
            f"cannot write {path}: {error.strerror}",
            hint="Check that the disk is mounted, writable and has space.",
        ) from error


def read_private(path: Path, *, bytes_max: int) -> bytes:
    """A small file that nobody else can read.

    Root may own it and give it to us alone (a systemd credential, through an ACL, which shows as
    group bits). Raises `FileNotFoundError`, `KeyOpen` or `HostError`.
    """
    try:
        descriptor = os.open(
            path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        )  # a pipe may lie there
        try:
            _require_private(path, os.fstat(descriptor))
            raw = os.read(descriptor, bytes_max + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise HostError(
            f"cannot read {path}: {error.strerror}",
            hint="Check the disk, and that the file belongs to the user who runs presenced.",
        ) from error
    if len(raw) > bytes_max:
        raise HostError(f"{path} is longer than {bytes_max} bytes", hint="Name the right file.")
    return raw


def _require_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise HostError(f"{path} is not a file", hint="Name a regular file.")
    own = status.st_uid == os.geteuid()
    if not own and status.st_uid != 0:
        raise KeyOpen(
            f"{path} belongs to another user (id {status.st_uid})",
            hint="Run presenced as that user.",
        )
    if status.st_mode & (stat.S_IRWXO | (stat.S_IRWXG if own else 0)):
        raise KeyOpen(
            f"{path} is open to other users (mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"Run `chmod 600 {path}`, and look whether somebody has read it.",
        )


def _parse(values: dict[str, Any]) -> Keeping:
    marker = _hex(values, "marker", MARKER_BYTES)
    match KeyProtection(values["protection"]):
        case KeyProtection.KEY_FILE:
            return PlainKey(marker=marker, key=_hex(values, "key", DATABASE_KEY_BYTES))
        case KeyProtection.PASSPHRASE:
            limits = values["limits"]
            if limits not in ("moderate", "interactive"):  # a number here could ask for any memory
                raise ValueError("limits")
            return WrappedKey(
                marker=marker,
                limits=limits,
                salt=_hex(values, "salt", SALT_BYTES),
                sealed=_hex(values, "sealed", SEALED_BYTES),
            )
        case KeyProtection.OS_KEYRING:
            account = values["account"]
            if not isinstance(account, str) or not 0 < len(account) <= ACCOUNT_CHARS_MAX:
                raise ValueError("account")
            return KeyringKey(marker=marker, account=account)


def _hex(values: dict[str, Any], name: str, size: int) -> bytes:
    value = bytes.fromhex(values[name])
    if len(value) != size:
        raise ValueError(name)
    return value


def _write_new(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
