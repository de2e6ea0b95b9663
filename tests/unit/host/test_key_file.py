"""The file that says how the database key is kept."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from presenced.crypto.database_key import DATABASE_KEY_BYTES, DatabaseKey
from presenced.errors import HostError
from presenced.host import key_file
from presenced.host.key_file import (
    KEY_FILE_BYTES_MAX,
    Keeping,
    KeyDamaged,
    KeyOpen,
    KeyringKey,
    PlainKey,
    WrappedKey,
    read_key_file,
    write_key_file,
)

KEY = DatabaseKey(bytes(range(DATABASE_KEY_BYTES)))
PLAIN = PlainKey(marker=KEY.marker, key=KEY.raw)
WRAPPED = WrappedKey(
    marker=KEY.marker, limits="moderate", salt=b"s" * 16, sealed=b"x" * key_file.SEALED_BYTES
)
IN_KEYRING = KeyringKey(marker=KEY.marker, account="abc")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "presenced.key"


@pytest.mark.parametrize("keeping", [PLAIN, WRAPPED, IN_KEYRING])
def test_what_was_written_is_read(path: Path, keeping: Keeping) -> None:
    umask = os.umask(0)
    try:
        write_key_file(path, keeping)
    finally:
        os.umask(umask)
    assert read_key_file(path) == keeping
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_no_file_is_no_key(path: Path) -> None:
    assert read_key_file(path) is None


def test_what_a_crash_left_beside_it_does_not_matter(path: Path) -> None:
    unfinished = path.with_name("presenced.key.new")
    unfinished.write_text("half")
    assert read_key_file(path) is None
    write_key_file(path, PLAIN)
    assert read_key_file(path) == PLAIN
    assert not unfinished.exists()


def test_it_is_on_disk_before_its_name_is_and_both_when_writing_returns(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []

    def fsync(descriptor: int) -> None:
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        order.append(("directory" if is_directory else "file", path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_key_file(path, PLAIN)
    assert order == [("file", False), ("directory", True)]


def test_a_write_that_fails_leaves_the_old_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_key_file(path, PLAIN)

    def fsync(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(HostError, match="No space left") as refused:
        write_key_file(path, WRAPPED)
    assert str(path) in refused.value.detail
    assert "space" in refused.value.hint
    monkeypatch.undo()
    assert read_key_file(path) == PLAIN
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("wide", [0o640, 0o604, 0o620, 0o602, 0o777])
def test_a_file_that_others_can_read_is_refused_and_not_changed(path: Path, wide: int) -> None:
    write_key_file(path, PLAIN)
    path.chmod(wide)
    with pytest.raises(KeyOpen) as refused:
        read_key_file(path)
    assert f"chmod 600 {path}" in refused.value.hint
    assert stat.S_IMODE(path.stat().st_mode) == wide


def test_a_file_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_key_file(path, PLAIN)
    if os.geteuid() == 0:
        os.chown(path, 1234, 1234)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 1234)
    with pytest.raises(KeyOpen, match="another user"):
        read_key_file(path)


def _changed(**values: object) -> bytes:
    plain = {"version": 1, "protection": "key-file", "marker": KEY.marker.hex()}
    return json.dumps(plain | {"key": KEY.raw.hex()} | values).encode()


_WRAPPED = {
    "protection": "passphrase",
    "limits": "moderate",
    "salt": "00" * 16,
    "sealed": "00" * key_file.SEALED_BYTES,
}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 4_000,
        _changed(protection="tpm"),
        _changed(protection=["key-file"]),
        _changed(marker=""),
        _changed(marker=7),
        _changed(key="00" * 31),
        _changed(key="zz" * 32),
        _changed(key=None),
        _changed(**_WRAPPED | {"limits": "sensitive"}),
        _changed(**_WRAPPED | {"limits": [9, 1 << 40]}),
        _changed(**_WRAPPED | {"salt": ""}),
        _changed(**_WRAPPED | {"sealed": "00"}),
        _changed(protection="os-keyring"),
        _changed(protection="os-keyring", account=""),
        _changed(protection="os-keyring", account=5),
        _changed(protection="os-keyring", account="a" * 65),
    ],
)
def test_a_damaged_file_is_told_and_not_touched(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyDamaged) as refused:
        read_key_file(path)
    assert str(path) in refused.value.detail
    assert "copy" in refused.value.hint
    assert path.read_bytes() == content


def test_a_newer_version_is_told(path: Path) -> None:
    path.write_bytes(_changed(version=2))
    path.chmod(0o600)
    with pytest.raises(HostError, match="newer presenced"):
        read_key_file(path)


def test_it_has_a_bound(path: Path) -> None:
    content = _changed()
    path.write_bytes(content + b" " * (KEY_FILE_BYTES_MAX - len(content)))
    path.chmod(0o600)
    assert read_key_file(path) == PLAIN
    path.write_bytes(content + b" " * (KEY_FILE_BYTES_MAX - len(content) + 1))
    with pytest.raises(HostError, match="longer than"):
        read_key_file(path)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_told(path: Path, make: Callable[[Path, int], None]) -> None:
    make(path, 0o700)
    with pytest.raises(HostError, match="not a file"):
        read_key_file(path)


@pytest.mark.parametrize("keeping", [PLAIN, WRAPPED])
def test_no_secret_is_in_its_repr(keeping: PlainKey | WrappedKey) -> None:
    secret = keeping.key if isinstance(keeping, PlainKey) else keeping.sealed
    assert repr(secret) not in repr(keeping)
