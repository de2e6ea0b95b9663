"""Homes, sockets and ports that are not as they should be: a clear message, nothing lost."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator

import pytest

from presenced.config import PASSPHRASE_CREDENTIAL
from presenced.testing.conversation import wait_until
from presenced.testing.daemons import ScratchDaemon, scratch_daemons

pytestmark = pytest.mark.system


@pytest.fixture
def daemon() -> Iterator[ScratchDaemon]:
    with scratch_daemons("home") as (one,):
        yield one


@pytest.fixture
def set_up(daemon: ScratchDaemon) -> ScratchDaemon:
    """A daemon that ran, followed something and was stopped."""
    daemon.start()
    daemon.ask("init", "--name", "home")
    daemon.ask("follow", "https://example.org/kept", "--title", "Kept")
    assert daemon.stop() == 0
    return daemon


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


def still_there(daemon: ScratchDaemon) -> bool:
    daemon.start()
    return [follow["title"] for follow in daemon.ask("follows")] == ["Kept"]


def test_a_second_daemon_on_the_same_home_gives_up_and_the_first_goes_on(
    set_up: ScratchDaemon,
) -> None:
    set_up.start()
    second = ScratchDaemon(set_up.home)
    second.log_file = set_up.home.with_name("second.log")
    said = refused(second)
    assert str(set_up.pid) in said or str(set_up.home) in said
    assert set_up.status()["name"] == "home"


def test_a_port_in_use_is_named(set_up: ScratchDaemon) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        set_up.listen = f"127.0.0.1:{port}"
        assert str(port) in refused(set_up)
    assert still_there(set_up)


def test_a_socket_file_left_by_a_killed_daemon_is_replaced(set_up: ScratchDaemon) -> None:
    set_up.start()
    set_up.kill()
    assert set_up.socket.is_socket()
    assert still_there(set_up)


def test_what_is_no_socket_is_left_alone(set_up: ScratchDaemon) -> None:
    place = set_up.socket
    place.unlink(missing_ok=True)
    place.write_text("somebody's notes")
    assert str(place) in refused(set_up)
    assert place.read_text() == "somebody's notes"
    place.unlink()
    assert still_there(set_up)


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o707])
def test_a_home_that_others_can_enter_is_refused_and_not_narrowed(
    set_up: ScratchDaemon, mode: int
) -> None:
    set_up.home.chmod(mode)
    assert str(set_up.home) in refused(set_up)
    assert set_up.home.stat().st_mode & 0o777 == mode
    set_up.home.chmod(0o700)
    assert still_there(set_up)


def test_a_new_home_and_everything_in_it_is_the_owner_s_alone(set_up: ScratchDaemon) -> None:
    set_up.start()
    assert set_up.home.stat().st_mode & 0o777 == 0o700
    for file in set_up.home.rglob("*"):
        assert file.stat().st_mode & 0o077 == 0, file


def test_a_corrupt_database_is_named_and_not_touched(set_up: ScratchDaemon) -> None:
    (database,) = set_up.home.glob("*.db")
    good = database.read_bytes()
    page = 4096
    broken = good[:page] + bytes(byte ^ 0xFF for byte in good[page : 2 * page]) + good[2 * page :]
    database.write_bytes(broken)
    assert str(database) in refused(set_up)
    assert database.read_bytes() == broken
    database.write_bytes(good)
    assert still_there(set_up)


def test_damage_while_it_runs_is_found_by_the_doctor(set_up: ScratchDaemon) -> None:
    (database,) = set_up.home.glob("*.db")
    set_up.start()
    sound = {
        check["name"]: check["status"] for check in set_up.presence("doctor").document["checks"]
    }
    assert sound["database"] == "ok"
    page, good = 4096, database.read_bytes()
    for begin in range(page, len(good), page):
        with database.open("r+b") as file:
            file.seek(begin + 100)
            file.write(bytes([good[begin + 100] ^ 1]))
    told = set_up.presence("doctor")
    assert told.code == 8
    (found,) = [check for check in told.document["checks"] if check["name"] == "database"]
    assert found["status"] == "fail"
    assert str(database) in found["detail"]
    assert "presence join" in found["next_step"]


def test_a_wrong_key_is_named_and_the_database_not_touched(set_up: ScratchDaemon) -> None:
    (database,) = set_up.home.glob("*.db")
    (key,) = set_up.home.glob("*.key")
    good, content = key.read_bytes(), database.read_bytes()
    with scratch_daemons("other") as (other,):
        other.start()
        other.stop()
        (foreign,) = other.home.glob("*.key")
        key.write_bytes(foreign.read_bytes())
    said = refused(set_up)
    assert str(database) in said or str(key) in said
    assert database.read_bytes() == content
    key.write_bytes(good)
    assert still_there(set_up)


def credential_of(daemon: ScratchDaemon, passphrase: str) -> None:
    """Give it the credential as a service manager does: a directory, in it a file of that name."""
    directory = daemon.home.with_name("credentials")
    directory.mkdir(exist_ok=True)
    file = directory / PASSPHRASE_CREDENTIAL
    file.unlink(missing_ok=True)
    file.write_text(passphrase)
    file.chmod(0o400)
    daemon.variables = {"CREDENTIALS_DIRECTORY": str(directory)}


def test_a_passphrase_credential_wraps_the_key_and_is_asked_for_at_every_start(
    daemon: ScratchDaemon,
) -> None:
    credential_of(daemon, "correct horse\n")
    daemon.start()
    daemon.ask("init", "--name", "home")
    daemon.ask("follow", "https://example.org/kept", "--title", "Kept")
    assert daemon.status()["key_protection"] == "passphrase"
    assert daemon.stop() == 0
    daemon.variables = {}
    assert PASSPHRASE_CREDENTIAL in refused(daemon)
    credential_of(daemon, "battery staple\n")
    assert "passphrase" in refused(daemon)
    credential_of(daemon, "correct horse\n")
    assert still_there(daemon)


def test_a_key_file_becomes_a_wrapped_one_when_it_is_asked_for_and_a_file_again(
    set_up: ScratchDaemon,
) -> None:
    (key,) = set_up.home.glob("*.key")
    choice = set_up.home / "presenced.toml"
    for protection in ("passphrase", "key-file"):
        choice.write_text(f'key_protection = "{protection}"\n')
        credential_of(set_up, "correct horse")
        before = key.read_bytes()
        assert still_there(set_up)
        assert set_up.status()["key_protection"] == protection
        assert key.read_bytes() != before
        assert set_up.stop() == 0


def test_without_any_network_everything_local_works(set_up: ScratchDaemon) -> None:
    set_up.start()
    set_up.ask("follow", "https://example.org/alone")
    assert len(set_up.ask("follows")) == 2
    assert set_up.status()["links"] == []
    told = set_up.presence("doctor")
    assert told.code in (0, 8)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_daemon_that_is_asked_to_end_ends_well_and_removes_its_socket(
    set_up: ScratchDaemon, how: signal.Signals
) -> None:
    set_up.start()
    process, place = set_up.process, set_up.socket
    assert process is not None
    process.send_signal(how)
    assert process.wait(20) == 0
    assert not place.exists()


def test_what_a_running_player_reached_is_kept_when_the_daemon_ends(
    set_up: ScratchDaemon,
) -> None:
    """A player that plays on is written every five minutes; an end must not cost them."""
    set_up.start()
    session = set_up.ask(
        "session", "start", "https://example.org/film", "--title", "Film", "--duration", "5400"
    )["id"]
    with set_up.owner() as owner:
        for seconds in (15, 40):  # the first is written after ten seconds of play
            act = {"op": "session_act", "session": session, "act": "report"}
            owner.edit({**act, "position": seconds, "played": 25 if seconds == 40 else 15})
    assert set_up.stop() == 0
    set_up.start()
    [row] = set_up.ask("session", "list")
    assert row["position"] == 40


def test_a_daemon_whose_standard_output_is_closed_goes_on(set_up: ScratchDaemon) -> None:
    set_up.start()
    assert set_up.process is not None
    assert set_up.process.stdout is not None
    set_up.process.stdout.close()
    set_up.ask("follow", "https://example.org/after")
    wait_until(lambda: set_up.status()["follows"] == 2, "both follows")
