"""What a machine may do to a daemon: a home that others read, a full disk, damage, a second start.

Each is told clearly, costs a bounded effort and loses nothing.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from presenced.socket_path import SOCKET_PATH_BYTES_MAX, connect
from presenced.testing.daemons import ScratchDaemon, scratch_daemons

pytestmark = pytest.mark.system

PAGE_BYTES = 4_096


@pytest.fixture
def daemon() -> Iterator[ScratchDaemon]:
    """A daemon that runs and follows one thing."""
    with scratch_daemons("home") as (one,):
        one.start()
        with one.owner() as owner:
            status, told = owner.request("POST", "/v1/init", {"name": "home"})
            assert status in (200, 201), told
            owner.edit({"op": "follow", "uri": "https://example.org/kept", "title": "Kept"})
        yield one


def titles(daemon: ScratchDaemon) -> list[str]:
    with daemon.owner() as owner:
        return sorted(follow["title"] for follow in owner.get("/v1/follows")["follows"])


def refused(daemon: ScratchDaemon) -> str:
    """Start it, expecting that it gives up; what it said."""
    before = len(daemon.log)
    process = daemon.spawn()
    assert process.stdout is not None
    with process.stdout:
        assert process.wait(30) == 1
    daemon.process = None
    said = daemon.log[before:]
    assert "Traceback" not in said
    return said


@contextmanager
def full_disk(daemon: ScratchDaemon) -> Iterator[None]:
    """No file of the daemon may grow: what a full disk and a quota look like to a program."""
    largest = max(file.stat().st_size for file in daemon.home.iterdir() if file.is_file())
    soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (largest, hard))
    try:
        yield
    finally:
        if daemon.process is not None:
            resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(sys.platform != "linux", reason="asks about another process by prlimit(2)")
def test_a_crash_writes_no_keys_to_the_disk(daemon: ScratchDaemon) -> None:
    assert resource.prlimit(daemon.pid, resource.RLIMIT_CORE) == (0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process with prlimit(2)")
def test_on_a_full_disk_an_edit_is_refused_and_the_daemon_goes_on(daemon: ScratchDaemon) -> None:
    acknowledged = ["Kept"]
    with daemon.owner() as owner, full_disk(daemon):
        for number in range(1_000):
            title = f"Edit {number:04d}"
            edit = {"op": "follow", "uri": f"https://example.org/{number}", "title": title}
            status, told = owner.request("POST", "/v1/edits", [edit])
            if status != 200:
                break
            acknowledged.append(title)
        assert status == 507, told
        assert "disk" in f"{told}".lower() or "space" in f"{told}".lower()
        assert title not in f"{told}", "the problem quotes nothing of the edit"
        assert titles(daemon) == sorted(acknowledged), "the refused edit is not half there"
        assert owner.get("/v1/status")["follows"] == len(acknowledged)
    with daemon.owner() as owner:
        owner.edit({"op": "follow", "uri": "https://example.org/after", "title": "After"})
    acknowledged.append("After")
    assert titles(daemon) == sorted(acknowledged)
    daemon.kill()
    daemon.start()
    assert titles(daemon) == sorted(acknowledged)
    assert title not in daemon.log


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process with prlimit(2)")
def test_a_daemon_killed_on_a_full_disk_loses_nothing_acknowledged(daemon: ScratchDaemon) -> None:
    acknowledged = ["Kept"]
    with daemon.owner() as owner, full_disk(daemon):
        for number in range(1_000):
            edits = [
                {"op": "follow", "uri": f"https://example.org/{number}/{part}", "title": f"{part}"}
                for part in range(20)
            ]
            status, _ = owner.request("POST", "/v1/edits", edits)
            if status != 200:
                break
            acknowledged += [f"{part}" for part in range(20)]
        assert status == 507
        daemon.kill()
    daemon.start()
    assert titles(daemon) == sorted(acknowledged)


def test_a_corrupt_page_is_named_and_nothing_is_written(daemon: ScratchDaemon) -> None:
    daemon.stop()
    database = daemon.home / "presenced.db"
    good = database.read_bytes()
    for page in range(len(good) // PAGE_BYTES):
        damaged = bytearray(good)
        damaged[page * PAGE_BYTES + 700] ^= 1
        database.write_bytes(damaged)
        said = refused(daemon)
        assert f"{database} is damaged" in said
        assert "presence join" in said
        assert database.read_bytes() == damaged
        if page == 2:
            break  # the store's own tests damage the rest
    database.write_bytes(good)
    daemon.start()
    assert titles(daemon) == ["Kept"]


def test_a_key_that_is_gone_is_not_replaced(daemon: ScratchDaemon) -> None:
    daemon.stop()
    key = daemon.home / "presenced.key"
    content = key.read_bytes()
    key.unlink()
    said = refused(daemon)
    assert str(key) in said
    assert not key.exists()
    key.write_bytes(content)
    key.chmod(0o644)
    assert f"chmod 600 {key}" in refused(daemon)
    key.chmod(0o600)
    daemon.start()
    assert titles(daemon) == ["Kept"]


def test_a_wrapped_key_opens_with_its_passphrase_only(
    daemon: ScratchDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.stop()
    passphrase = daemon.home / "passphrase"
    passphrase.touch(0o600)
    passphrase.write_text("correct horse battery staple\n")
    (daemon.home / "presenced.toml").write_text('key_protection = "passphrase"\n')
    plain = daemon.environment()
    assert "PRESENCED_PASSPHRASE_FILE" in refused(daemon), "it says what to set"
    named = plain | {"PRESENCED_PASSPHRASE_FILE": str(passphrase)}
    monkeypatch.setattr(daemon, "environment", lambda: named)
    daemon.start()
    assert daemon.status()["key_protection"] == "passphrase"
    assert titles(daemon) == ["Kept"]
    daemon.stop()
    for file in ("presenced.key", "presenced.db"):
        assert b"horse" not in (daemon.home / file).read_bytes()
    passphrase.write_text("wrong\n")
    before = (daemon.home / "presenced.db").read_bytes()
    assert "passphrase does not open" in refused(daemon)
    assert (daemon.home / "presenced.db").read_bytes() == before
    assert "horse" not in daemon.log


def test_a_config_file_that_cannot_be_understood_is_named(daemon: ScratchDaemon) -> None:
    daemon.stop()
    config = daemon.home / "presenced.toml"
    config.write_text("mdsn = true\n")
    said = refused(daemon)
    assert str(config) in said
    assert "Did you mean `mdns`?" in said


@pytest.mark.parametrize("mode", [0o750, 0o701])
def test_a_home_that_others_can_enter_says_how_to_close_it(
    daemon: ScratchDaemon, mode: int
) -> None:
    daemon.stop()
    daemon.home.chmod(mode)
    assert f"chmod 700 {daemon.home}" in refused(daemon)
    assert daemon.home.stat().st_mode & 0o777 == mode
    daemon.home.chmod(0o700)
    daemon.start()
    assert titles(daemon) == ["Kept"]


def test_a_second_daemon_names_the_first_and_disturbs_nothing(daemon: ScratchDaemon) -> None:
    second = ScratchDaemon(daemon.home)
    second.log_file = daemon.home.with_name("second.log")
    said = refused(second)
    assert f"process {daemon.pid}" in said
    assert f"kill {daemon.pid}" in said
    assert titles(daemon) == ["Kept"]


def test_a_lock_and_a_socket_left_by_a_killed_daemon_are_no_obstacle(
    daemon: ScratchDaemon,
) -> None:
    daemon.kill()
    assert (daemon.home / "presenced.lock").read_text().strip().isdigit()
    assert (daemon.home / "api.sock").is_socket()
    daemon.start()
    assert titles(daemon) == ["Kept"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/fd")
def test_a_home_whose_path_is_too_long_for_a_socket_is_reached_all_the_same() -> None:
    with scratch_daemons("home") as (one,):
        one.home = one.home / ("d" * 120) / "home"
        one.start()
        assert len(str(one.socket)) > SOCKET_PATH_BYTES_MAX
        with connect(one.socket, seconds=10) as connection:
            connection.sendall(b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(9) == b"HTTP/1.1 "
        one.stop()
        assert not one.socket.exists()
