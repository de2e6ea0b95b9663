"""How the database key is kept, found again, and never made anew by mistake."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trio
from nacl.pwhash import argon2id

from presenced.config import Config, KeyChoice
from presenced.errors import HostError
from presenced.host import keys
from presenced.host.key_file import KeyDamaged, KeyOpen, KeyProtection
from presenced.host.keys import KeyMissing, NoPassphrase, WrongPassphrase, obtain_key
from presenced.host.os_keyring import KeyringUnavailable


@dataclass
class MemoryKeyring:
    """A keyring in memory that can be missing, silent or forgetful."""

    secrets: dict[str, str] = field(default_factory=dict)
    missing: bool = False
    silent: bool = False
    forgetful: bool = False
    asked: int = 0

    async def get(self, account: str) -> str | None:
        await self._answer()
        return self.secrets.get(account)

    async def put(self, account: str, secret: str) -> None:
        await self._answer()
        if not self.forgetful:
            self.secrets[account] = secret

    async def remove(self, account: str) -> None:
        await self._answer()
        del self.secrets[account]

    async def _answer(self) -> None:
        self.asked += 1
        if self.silent:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        if self.missing:
            raise KeyringUnavailable("this session has no keyring")


@pytest.fixture(autouse=True)
def quick_stretching(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass over 8 KiB; one test below measures the real limits."""
    quick = (argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN)
    monkeypatch.setattr(keys, "LIMITS", {"moderate": quick, "interactive": quick})


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A system home: the keyring comes first."""
    return Config(
        home_is_explicit=False,
        config_file=tmp_path / "presenced.toml",
        database=tmp_path / "presenced.db",
        key_file=tmp_path / "presenced.key",
        socket=tmp_path / "api.sock",
        lock_file=tmp_path / "presenced.lock",
    )


def with_passphrase(config: Config, passphrase: str = "correct horse\n") -> Config:
    path = config.data_directory / "passphrase"
    path.touch(0o600)
    path.write_text(passphrase)
    return replace(config, passphrase_file=path)


def kept_values(config: Config) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(config.key_file.read_text())
    return values


async def test_a_keyring_comes_first_and_the_disk_has_no_key(config: Config) -> None:
    keyring = MemoryKeyring()
    made = await obtain_key(config, keyring)
    assert made.protection is KeyProtection.OS_KEYRING
    assert list(keyring.secrets.values()) == [made.key.raw.hex()]
    assert made.key.raw.hex() not in config.key_file.read_text()
    assert await obtain_key(config, keyring) == made


async def test_a_named_home_has_a_key_file_and_asks_no_keyring(config: Config) -> None:
    keyring = MemoryKeyring()
    config = replace(config, home_is_explicit=True)
    made = await obtain_key(config, keyring)
    assert made.protection is KeyProtection.KEY_FILE
    assert await obtain_key(config, keyring) == made
    assert keyring.asked == 0


async def test_a_named_home_may_be_configured_to_use_the_keyring(config: Config) -> None:
    config = replace(config, home_is_explicit=True, key_protection=KeyChoice.KEYRING)
    made = await obtain_key(config, MemoryKeyring())
    assert made.protection is KeyProtection.OS_KEYRING


@pytest.mark.parametrize("trouble", ["missing", "forgetful"])
async def test_without_a_keyring_that_works_there_is_a_key_file(
    config: Config, trouble: str
) -> None:
    keyring = MemoryKeyring(**{trouble: True})
    made = await obtain_key(config, keyring)
    assert made.protection is KeyProtection.KEY_FILE
    assert stat.S_IMODE(config.key_file.stat().st_mode) == 0o600
    assert await obtain_key(config, keyring) == made


async def test_a_keyring_that_never_answers_holds_up_a_first_start_for_a_while_only(
    config: Config, autojump_clock: trio.testing.MockClock
) -> None:
    began = trio.current_time()
    made = await obtain_key(config, MemoryKeyring(silent=True))
    assert made.protection is KeyProtection.KEY_FILE
    assert trio.current_time() - began == keys.KEYRING_PROBE_SECONDS_MAX


async def test_a_passphrase_file_is_a_choice(config: Config) -> None:
    keyring = MemoryKeyring()
    config = with_passphrase(config)
    made = await obtain_key(config, keyring)
    assert made.protection is KeyProtection.PASSPHRASE
    text = config.key_file.read_text()
    assert made.key.raw.hex() not in text
    assert "horse" not in text
    assert await obtain_key(config, keyring) == made
    assert keyring.asked == 0


async def test_a_line_end_after_the_passphrase_does_not_count(config: Config) -> None:
    made = await obtain_key(with_passphrase(config, "correct horse\n"))
    assert await obtain_key(with_passphrase(config, "correct horse")) == made
    assert await obtain_key(with_passphrase(config, "correct horse\r\n")) == made


async def test_a_wrong_passphrase_is_told_and_changes_nothing(config: Config) -> None:
    await obtain_key(with_passphrase(config))
    before = config.key_file.read_bytes()
    with pytest.raises(WrongPassphrase) as refused:
        await obtain_key(with_passphrase(config, "battery staple"))
    assert "battery" not in str(refused.value) + refused.value.hint
    assert config.key_file.read_bytes() == before


@pytest.mark.parametrize("content", [None, "", "\n"])
async def test_without_the_passphrase_it_says_how_to_give_it(
    config: Config, content: str | None
) -> None:
    wrapped = with_passphrase(config)
    await obtain_key(wrapped)
    if content is None:
        assert wrapped.passphrase_file is not None
        wrapped.passphrase_file.unlink()
    else:
        with_passphrase(config, content)
    for without in (wrapped, config):
        with pytest.raises(NoPassphrase) as refused:
            await obtain_key(without)
        assert "PRESENCED_PASSPHRASE_FILE" in refused.value.hint


async def test_a_passphrase_has_a_bound(config: Config) -> None:
    longest = "p" * keys.PASSPHRASE_BYTES_MAX
    made = await obtain_key(with_passphrase(config, longest))
    assert await obtain_key(with_passphrase(config, longest)) == made
    with pytest.raises(HostError, match="longer than"):
        await obtain_key(with_passphrase(config, longest + "p"))


async def test_a_passphrase_that_others_can_read_is_refused(config: Config) -> None:
    config = with_passphrase(config)
    assert config.passphrase_file is not None
    config.passphrase_file.chmod(0o640)
    with pytest.raises(KeyOpen):
        await obtain_key(config)
    assert not config.key_file.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of root's")
async def test_a_credential_that_root_gives_to_us_alone_is_accepted(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = with_passphrase(config)
    assert config.passphrase_file is not None
    config.passphrase_file.chmod(0o440)
    with pytest.raises(KeyOpen):
        await obtain_key(config)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)  # as if root had made it for us
    assert (await obtain_key(config)).protection is KeyProtection.PASSPHRASE


async def test_the_real_limits_are_those_of_libsodium(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert keys.LIMITS["moderate"] == (3, 256 * 1024**2)
    assert keys.LIMITS["interactive"] == (2, 64 * 1024**2)
    monkeypatch.setattr(keys, "_memory_bytes", lambda: keys.MODERATE_MEMORY_BYTES_MIN - 1)
    config = with_passphrase(config)
    made = await obtain_key(config)
    assert kept_values(config)["limits"] == "interactive"
    monkeypatch.setattr(keys, "_memory_bytes", lambda: keys.MODERATE_MEMORY_BYTES_MIN)
    assert await obtain_key(config) == made, "opened with the limits it was made with"


async def test_more_memory_stretches_more(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_memory_bytes", lambda: keys.MODERATE_MEMORY_BYTES_MIN)
    config = with_passphrase(config)
    await obtain_key(config)
    assert kept_values(config)["limits"] == "moderate"


async def test_too_little_memory_for_the_passphrase_is_told(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = with_passphrase(config)
    await obtain_key(config)

    def out_of_memory(*_: object, **__: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(argon2id, "kdf", out_of_memory)
    with pytest.raises(HostError, match="not enough memory") as refused:
        await obtain_key(config)
    assert refused.value.hint


async def test_a_database_that_cannot_be_looked_at_is_not_taken_for_missing(
    config: Config, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    config = replace(config, database=tmp_path / "file" / "presenced.db")
    with pytest.raises(HostError, match="cannot look at"):
        await obtain_key(config, MemoryKeyring())
    assert not config.key_file.exists()


async def test_a_lost_key_is_an_error_and_never_a_new_key(config: Config) -> None:
    await obtain_key(config, MemoryKeyring())
    config.database.write_bytes(b"an encrypted database")
    config.key_file.unlink()
    with pytest.raises(KeyMissing) as refused:
        await obtain_key(config, MemoryKeyring())
    assert str(config.key_file) in refused.value.detail
    assert "presence join" in refused.value.hint
    assert not config.key_file.exists()


async def test_an_empty_database_file_holds_nothing_that_needs_a_key(config: Config) -> None:
    config.database.touch()
    assert (await obtain_key(config, MemoryKeyring())).key


async def test_a_keyring_that_lost_the_key_is_an_error_and_never_a_new_key(config: Config) -> None:
    await obtain_key(config, MemoryKeyring())
    before = config.key_file.read_bytes()
    other = MemoryKeyring()
    with pytest.raises(KeyMissing):
        await obtain_key(config, other)
    assert other.secrets == {}
    assert config.key_file.read_bytes() == before


@pytest.mark.parametrize("secret", ["", "zz", "00" * 31, "00" * 32])
async def test_another_secret_in_the_keyring_is_not_taken_for_the_key(
    config: Config, secret: str
) -> None:
    keyring = MemoryKeyring()
    await obtain_key(config, keyring)
    keyring.secrets = dict.fromkeys(keyring.secrets, secret)
    with pytest.raises(KeyDamaged):
        await obtain_key(config, keyring)


async def test_a_locked_keyring_is_waited_for_and_then_named(
    config: Config, autojump_clock: trio.testing.MockClock
) -> None:
    keyring = MemoryKeyring()
    await obtain_key(config, keyring)
    keyring.silent = True
    began = trio.current_time()
    with pytest.raises(KeyringUnavailable) as refused:
        await obtain_key(config, keyring)
    assert trio.current_time() - began == keys.KEYRING_SECONDS_MAX
    assert "Unlock" in refused.value.hint


async def test_a_keyring_that_was_asked_for_and_is_missing_is_an_error(config: Config) -> None:
    config = replace(config, key_protection=KeyChoice.KEYRING)
    with pytest.raises(KeyringUnavailable):
        await obtain_key(config, MemoryKeyring(missing=True))
    assert not config.key_file.exists()


@pytest.mark.parametrize("choice", [KeyChoice.KEYRING, KeyChoice.PASSPHRASE, KeyChoice.KEY_FILE])
@pytest.mark.parametrize("before", [KeyChoice.KEYRING, KeyChoice.PASSPHRASE, KeyChoice.KEY_FILE])
async def test_another_protection_is_changed_to_and_the_key_stays(
    config: Config, before: KeyChoice, choice: KeyChoice
) -> None:
    keyring = MemoryKeyring()
    config = with_passphrase(config)
    made = await obtain_key(replace(config, key_protection=before), keyring)
    config.database.write_bytes(b"an encrypted database")
    changed = await obtain_key(replace(config, key_protection=choice), keyring)
    assert changed.key == made.key
    assert (changed.protection == made.protection) is (choice is before)
    assert bool(keyring.secrets) is (choice is KeyChoice.KEYRING)
    assert (made.key.raw.hex() in config.key_file.read_text()) is (choice is KeyChoice.KEY_FILE)
    assert await obtain_key(config, keyring) == changed, "it stays when nothing is asked for"


async def test_a_change_that_fails_leaves_the_key_where_it_was(config: Config) -> None:
    keyring = MemoryKeyring()
    made = await obtain_key(replace(config, key_protection=KeyChoice.KEY_FILE), keyring)
    keyring.missing = True
    with pytest.raises(KeyringUnavailable):
        await obtain_key(replace(config, key_protection=KeyChoice.KEYRING), keyring)
    assert await obtain_key(config, keyring) == made


async def test_the_key_is_in_no_repr(config: Config) -> None:
    made = await obtain_key(config, MemoryKeyring(missing=True))
    assert made.key.raw.hex() not in repr(made)
    assert repr(made.key.raw)[2:-1] not in repr(made)


async def test_two_first_starts_make_two_keys(config: Config) -> None:
    first = await obtain_key(config, MemoryKeyring(missing=True))
    config.key_file.unlink()
    second = await obtain_key(config, MemoryKeyring(missing=True))
    assert first.key != second.key
