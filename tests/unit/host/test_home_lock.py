"""One daemon per home, in directories that only their owner can read."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from presenced.config import Config
from presenced.errors import HostError
from presenced.host.home_lock import HomeInUse, HomeOpen, hold_home


def config_in(home: Path, socket: Path | None = None) -> Config:
    return Config(
        home_is_explicit=True,
        config_file=home / "presenced.toml",
        database=home / "presenced.db",
        key_file=home / "presenced.key",
        socket=socket or home / "api.sock",
        lock_file=home / "presenced.lock",
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_home_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    config = config_in(tmp_path / "a" / "home", tmp_path / "run" / "presenced" / "api.sock")
    umask = os.umask(0)
    try:
        with hold_home(config):
            assert mode(config.data_directory) == 0o700
            assert mode(config.socket.parent) == 0o700
            assert mode(config.lock_file) == 0o600
    finally:
        os.umask(umask)


@pytest.mark.parametrize("wide", [0o750, 0o705, 0o710, 0o701, 0o770, 0o777])
def test_a_home_that_others_can_enter_is_refused_and_not_changed(tmp_path: Path, wide: int) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(wide)
    with pytest.raises(HomeOpen) as refused, hold_home(config_in(home)):
        pass
    assert refused.value.code == "home-open"
    assert f"chmod 700 {home}" in refused.value.hint
    assert mode(home) == wide
    assert not list(home.iterdir())


def test_a_home_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: home.stat().st_uid + 1)
    with pytest.raises(HomeOpen, match="another user"), hold_home(config_in(home)):
        pass


def test_a_file_in_place_of_the_home_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(HostError, match="not a directory"), hold_home(config_in(tmp_path / "home")):
        pass


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    home = tmp_path / "file" / "home"
    with pytest.raises(HostError) as refused, hold_home(config_in(home)):
        pass
    assert str(home) in refused.value.detail
    assert "PRESENCED_HOME" in refused.value.hint


def test_a_chosen_socket_directory_may_be_readable_but_not_writable_by_others(
    tmp_path: Path,
) -> None:
    home, run = tmp_path / "home", tmp_path / "run"
    run.mkdir()
    config = config_in(home, run / "api.sock")
    for good in (0o700, 0o755, 0o1777):
        run.chmod(good)
        with hold_home(config):
            pass
    for bad in (0o775, 0o757, 0o777):
        run.chmod(bad)
        with pytest.raises(HomeOpen) as refused, hold_home(config):
            pass
        assert "PRESENCED_SOCKET" in refused.value.hint


def test_a_second_daemon_is_told_the_process_that_has_the_home(tmp_path: Path) -> None:
    config = config_in(tmp_path / "home")
    with hold_home(config):
        with pytest.raises(HomeInUse) as refused, hold_home(config):
            pass
        assert refused.value.pid == os.getpid()
        assert f"kill {os.getpid()}" in refused.value.hint
        assert refused.value.code == "home-in-use"
    with hold_home(config):
        pass


def test_two_homes_do_not_disturb_each_other(tmp_path: Path) -> None:
    with hold_home(config_in(tmp_path / "a")), hold_home(config_in(tmp_path / "b")):
        pass


def test_a_daemon_that_fails_gives_the_home_back(tmp_path: Path) -> None:
    config = config_in(tmp_path / "home")
    with pytest.raises(ZeroDivisionError), hold_home(config):
        _ = 1 // 0
    with hold_home(config):
        pass


def test_a_lock_file_that_a_killed_daemon_left_is_no_obstacle(tmp_path: Path) -> None:
    config = config_in(tmp_path / "home")
    program = (
        "import os, signal, sys; from pathlib import Path;"
        "from presenced.config import read_config; from presenced.host.home_lock import hold_home;"
        "lock = hold_home(read_config()); lock.__enter__();"
        "print('held', flush=True); sys.stdin.read()"
    )
    daemon = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PRESENCED_HOME": str(config.data_directory)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "held\n"
        with pytest.raises(HomeInUse) as refused, hold_home(config):
            pass
        assert refused.value.pid == daemon.pid
        daemon.send_signal(signal.SIGKILL)
        daemon.wait(30)
    assert config.lock_file.read_text() == f"{daemon.pid}\n"
    with hold_home(config):
        assert config.lock_file.read_text() == f"{os.getpid()}\n"
    assert config.lock_file.read_text() == ""


@pytest.mark.parametrize("content", ["", "garbage", "-1", "9" * 400])
def test_what_lies_in_the_lock_file_is_not_believed(tmp_path: Path, content: str) -> None:
    config = config_in(tmp_path / "home")
    with hold_home(config):
        config.lock_file.write_text(content)
        with pytest.raises(HomeInUse) as refused, hold_home(config):
            pass
        assert refused.value.pid is None
        assert "PRESENCED_HOME" in refused.value.hint


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    home = config_in(tmp_path / "home")
    with pytest.raises(HostError, match="No locks") as refused, hold_home(home):
        pass
    assert not isinstance(refused.value, HomeInUse)


def test_a_link_in_place_of_the_lock_file_is_not_followed(tmp_path: Path) -> None:
    config = config_in(tmp_path / "home")
    config.data_directory.mkdir(mode=0o700)
    other = tmp_path / "precious"
    other.write_text("precious")
    config.lock_file.symlink_to(other)
    with pytest.raises(HostError), hold_home(config):
        pass
    assert other.read_text() == "precious"
