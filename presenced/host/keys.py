"""The database key: in the OS keyring, wrapped by a passphrase, or in a 0600 key file.

Rules of this file:
1. a key is made only where there is no database yet: a lost key is an error, never a new key;
2. the key file decides where the key is; a protection that was asked for and differs is changed
   to, the new form on disk before the old one goes;
3. a passphrase comes from a file or a systemd credential, never from an argument or a variable;
4. what can block (keyring, Argon2id) runs in a thread, the keyring under a deadline.

Source: Argon2id as libsodium has it (RFC 9106); the key file's form is in `key_file`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeVar

import trio
from nacl import exceptions as nacl_errors
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from presenced.config import Config, KeyChoice
from presenced.crypto.database_key import DATABASE_KEY_BYTES, DatabaseKey
from presenced.errors import HostError
from presenced.host.key_file import (
    Keeping,
    KeyDamaged,
    KeyProtection,
    KeyringKey,
    PlainKey,
    WrappedKey,
    protection,
    read_key_file,
    read_private,
    write_key_file,
)
from presenced.host.os_keyring import KeyringUnavailable, OsKeyring, SecretStore
from presenced.ids import show_id

KEYRING_SECONDS_MAX: Final = 60.0
"a person may have to unlock it; systemd waits 90 s for a service to start"

KEYRING_PROBE_SECONDS_MAX: Final = 10.0
"for a first start that only asks whether there is a keyring"

PASSPHRASE_BYTES_MAX: Final = 1_024

MODERATE_MEMORY_BYTES_MIN: Final = 2 * 1024**3
"a machine with less memory stretches with the interactive limits: 64 MiB instead of 256 MiB"

LIMITS: Final[dict[Literal["moderate", "interactive"], tuple[int, int]]] = {
    "moderate": (argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE),
    "interactive": (argon2id.OPSLIMIT_INTERACTIVE, argon2id.MEMLIMIT_INTERACTIVE),
}
"""passes and bytes of Argon2id: 3 over 256 MiB (0.5 s on a laptop core), 2 over 64 MiB (0.1 s).
The key file holds the name, so that it cannot ask for more"""

_Result = TypeVar("_Result")


class KeyMissing(HostError):
    """There is a database and no key for it; nothing was made in its place."""

    code = "key-missing"


class NoPassphrase(HostError):
    """The key is wrapped, and there is nothing to unwrap it with."""

    code = "no-passphrase"
    hint = (
        "Set PRESENCED_PASSPHRASE_FILE to a file that holds it, or give the unit the credential "
        "`presenced-passphrase`."
    )


class WrongPassphrase(HostError):
    """The passphrase does not unwrap the key; nothing was changed."""

    code = "wrong-passphrase"
    hint = "Give the passphrase that was used when presenced was first started here."


@dataclass(frozen=True, slots=True)
class KeptKey:
    """The key, and how it is kept."""

    key: DatabaseKey
    protection: KeyProtection


async def obtain_key(config: Config, keyring: SecretStore | None = None) -> KeptKey:
    """The database's key, made if there is neither key nor database. Needs the home's lock.

    Raises `KeyMissing`, `KeyOpen`, `KeyDamaged`, `KeyringUnavailable`, `NoPassphrase`,
    `WrongPassphrase` or `HostError`; nothing was changed then.
    """
    keyring = keyring or OsKeyring()
    keeping = read_key_file(config.key_file)
    if keeping is None:
        if _has_content(config.database):
            raise KeyMissing(
                f"{config.database} is there, but its key {config.key_file} is not",
                hint=(
                    f"Put back {config.key_file.name}, or move the database and the files beside "
                    "it away and run `presence join`."
                ),
            )
        key = DatabaseKey(secrets.token_bytes(DATABASE_KEY_BYTES))
        keeping = await _keep_somewhere(key, config, keyring)
        write_key_file(config.key_file, keeping)
        return KeptKey(key, protection(keeping))
    key = await _open(keeping, config, keyring)
    wanted = _wanted(config)
    if wanted is None or wanted is protection(keeping):
        return KeptKey(key, protection(keeping))
    write_key_file(config.key_file, await _keep(key, wanted, config, keyring))
    if isinstance(keeping, KeyringKey):
        with suppress(KeyringUnavailable):  # what stays there is no more than was there before
            await _in_time(keyring.remove(keeping.account), KEYRING_SECONDS_MAX)
    return KeptKey(key, wanted)


def _wanted(config: Config) -> KeyProtection | None:
    """What the configuration insists on."""
    return {
        KeyChoice.AUTO: None,
        KeyChoice.KEYRING: KeyProtection.OS_KEYRING,
        KeyChoice.PASSPHRASE: KeyProtection.PASSPHRASE,
        KeyChoice.KEY_FILE: KeyProtection.KEY_FILE,
    }[config.key_protection]


async def _keep_somewhere(key: DatabaseKey, config: Config, keyring: SecretStore) -> Keeping:
    """Keep a new key as configured, else as well as this machine can."""
    wanted = _wanted(config)
    if wanted is None and config.passphrase_file is not None:
        wanted = KeyProtection.PASSPHRASE
    if wanted is None and config.home_is_explicit:
        wanted = KeyProtection.KEY_FILE
    if wanted is not None:
        return await _keep(key, wanted, config, keyring)
    try:
        return await _keep_in_keyring(key, keyring, KEYRING_PROBE_SECONDS_MAX)
    except KeyringUnavailable:
        return _plain(key)


async def _keep(
    key: DatabaseKey, wanted: KeyProtection, config: Config, keyring: SecretStore
) -> Keeping:
    match wanted:
        case KeyProtection.OS_KEYRING:
            return await _keep_in_keyring(key, keyring, KEYRING_SECONDS_MAX)
        case KeyProtection.PASSPHRASE:
            return await trio.to_thread.run_sync(_wrap, key, _passphrase(config))
        case KeyProtection.KEY_FILE:
            return _plain(key)


async def _open(keeping: Keeping, config: Config, keyring: SecretStore) -> DatabaseKey:
    match keeping:
        case PlainKey(key=raw):
            pass
        case WrappedKey():
            unwrap = partial(_unwrap, keeping, _passphrase(config), config.key_file)
            raw = await trio.to_thread.run_sync(unwrap)
        case KeyringKey(account=account):
            secret = await _in_time(keyring.get(account), KEYRING_SECONDS_MAX)
            raw = _from_keyring(secret, account)
    key = DatabaseKey(raw)
    if key.marker != keeping.marker:
        raise KeyDamaged(f"{config.key_file} names another key than it leads to")
    return key


def _plain(key: DatabaseKey) -> PlainKey:
    return PlainKey(marker=key.marker, key=key.raw)


async def _keep_in_keyring(key: DatabaseKey, keyring: SecretStore, seconds: float) -> KeyringKey:
    """Keep it there and read it back: some backends take what they cannot give."""
    account = show_id(secrets.token_bytes(16))

    async def keep() -> None:
        await keyring.put(account, key.raw.hex())
        if await keyring.get(account) != key.raw.hex():
            raise KeyringUnavailable("the keyring does not give back what it took")

    await _in_time(keep(), seconds)
    return KeyringKey(marker=key.marker, account=account)


def _from_keyring(secret: str | None, account: str) -> bytes:
    if secret is None:
        raise KeyMissing(
            f"the keyring has no entry {account} of presenced",
            hint="Log in as the user who set presenced up, with the keyring that was used then.",
        )
    try:
        raw = bytes.fromhex(secret)
    except ValueError:
        raw = b""
    if len(raw) != DATABASE_KEY_BYTES:
        raise KeyDamaged(f"the keyring's entry {account} of presenced is not a key")
    return raw


async def _in_time(call: Awaitable[_Result], seconds: float) -> _Result:
    with trio.move_on_after(seconds):
        return await call
    raise KeyringUnavailable(f"the keyring did not answer in {seconds:g} seconds")


def _passphrase(config: Config) -> bytes:
    path = config.passphrase_file
    if path is None:
        raise NoPassphrase("the database key is to be wrapped by a passphrase, and none is given")
    try:
        passphrase = read_private(path, bytes_max=PASSPHRASE_BYTES_MAX)
    except FileNotFoundError as error:
        raise NoPassphrase(f"{path} is not there") from error
    passphrase = passphrase.rstrip(b"\r\n")  # editors end a file with one
    if not passphrase:
        raise NoPassphrase(f"{path} is empty")
    return passphrase


def _wrap(key: DatabaseKey, passphrase: bytes) -> WrappedKey:
    salt = secrets.token_bytes(argon2id.SALTBYTES)
    limits: Literal["moderate", "interactive"] = (
        "moderate" if _memory_bytes() >= MODERATE_MEMORY_BYTES_MIN else "interactive"
    )
    box = SecretBox(_stretch(passphrase, salt, limits))
    return WrappedKey(
        marker=key.marker, limits=limits, salt=salt, sealed=bytes(box.encrypt(key.raw))
    )


def _unwrap(wrapped: WrappedKey, passphrase: bytes, path: Path) -> bytes:
    box = SecretBox(_stretch(passphrase, wrapped.salt, wrapped.limits))
    try:
        return box.decrypt(wrapped.sealed)
    except nacl_errors.CryptoError as error:
        raise WrongPassphrase(f"the passphrase does not open {path}") from error


def _stretch(passphrase: bytes, salt: bytes, limits: Literal["moderate", "interactive"]) -> bytes:
    passes, memory_bytes = LIMITS[limits]
    try:
        return argon2id.kdf(
            SecretBox.KEY_SIZE, passphrase, salt, opslimit=passes, memlimit=memory_bytes
        )
    except (nacl_errors.RuntimeError, MemoryError) as error:
        raise HostError(
            f"not enough memory to use the passphrase ({memory_bytes // 1024**2} MiB)",
            hint="Close other programs and start again.",
        ) from error


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _has_content(database: Path) -> bool:
    """An empty file holds nothing: it was made just before a crash."""
    try:
        return database.stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError as error:
        raise HostError(
            f"cannot look at {database}: {error.strerror}", hint="Check the disk."
        ) from error
