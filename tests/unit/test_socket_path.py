"""Where the owner socket is, who may connect, and paths that the kernel does not take."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from presenced import socket_path as place
from presenced.config import read_config


def test_a_chosen_socket_wins_over_everything() -> None:
    environment = {"PRESENCED_SOCKET": "/s", "PRESENCED_HOME": "/h", "RUNTIME_DIRECTORY": "/r"}
    assert place.socket_path(environment) == Path("/s")


def test_a_named_home_has_its_own_socket() -> None:
    environment = {"PRESENCED_HOME": "/h", "RUNTIME_DIRECTORY": "/r", "XDG_RUNTIME_DIR": "/"}
    assert place.socket_path(environment) == Path("/h/api.sock")


def test_a_system_unit_uses_the_first_of_its_runtime_directories() -> None:
    environment = {"RUNTIME_DIRECTORY": "/run/presenced:/run/other", "XDG_RUNTIME_DIR": "/"}
    assert place.socket_path(environment) == Path("/run/presenced/api.sock")


def test_a_session_uses_its_runtime_directory(tmp_path: Path) -> None:
    environment = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": "/home/a"}
    assert place.socket_path(environment) == tmp_path / "presenced" / "api.sock"


@pytest.mark.parametrize("runtime", ["", "relative", "/gone/with/the/session"])
def test_without_a_runtime_directory_it_lies_with_the_data(runtime: str) -> None:
    environment = {"XDG_RUNTIME_DIR": runtime, "XDG_DATA_HOME": "/d", "HOME": "/home/a"}
    assert place.socket_path(environment) == Path("/d/presenced/run/api.sock")


def test_a_command_in_a_session_finds_a_daemon_that_was_started_without_one(
    tmp_path: Path,
) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    environment = {"XDG_RUNTIME_DIR": str(runtime), "XDG_DATA_HOME": str(tmp_path)}
    in_session = runtime / "presenced" / "api.sock"
    assert place.existing_socket_path(environment) == in_session, "nobody runs"
    without = tmp_path / "presenced" / "run" / "api.sock"
    without.parent.mkdir(parents=True)
    with place.bind(without):
        assert place.existing_socket_path(environment) == without
        in_session.parent.mkdir()
        with place.bind(in_session):
            assert place.existing_socket_path(environment) == in_session


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"XDG_DATA_HOME": "/d"},
        {"XDG_DATA_HOME": "relative"},
        {"XDG_DATA_HOME": ""},
        {"HOME": "/elsewhere"},
        {"XDG_RUNTIME_DIR": "/"},
        {"RUNTIME_DIRECTORY": "/run/presenced"},
        {"PRESENCED_HOME": "/h"},
        {"PRESENCED_SOCKET": "relative.sock"},
    ],
)
def test_daemon_and_commands_agree(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name in list(os.environ):
        if name.startswith(("XDG_", "PRESENCED_", "RUNTIME_")):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert read_config().socket == place.socket_path(os.environ)
    assert place.data_directory(os.environ) == platformdirs.user_data_path(
        "presenced", appauthor=False
    )


def test_on_macos_data_lies_in_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    from platformdirs.macos import MacOS

    for name in list(os.environ):
        if name.startswith("XDG_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(place.sys, "platform", "darwin")
    assert place.data_directory(os.environ) == MacOS("presenced", False).user_data_path


def test_it_is_found_without_a_third_party_import() -> None:
    program = (
        "import sys; before = set(sys.modules); import presenced.socket_path;"
        "roots = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(roots - sys.stdlib_module_names))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert told.stdout == "['presenced']\n", told.stderr


def test_nobody_else_may_connect_from_the_first_moment(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    umask = os.umask(0)
    try:
        with place.bind(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert os.umask(0) == 0, "the umask is as it was"
    finally:
        os.umask(umask)


def _says_hello(path: Path) -> None:
    with place.bind(path) as listener, place.connect(path, seconds=5) as there:
        here, _ = listener.accept()
        with here:
            here.sendall(b"hello")
            assert there.recv(5) == b"hello"


def test_bound_and_reached(tmp_path: Path) -> None:
    _says_hello(tmp_path / "api.sock")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/fd")
@pytest.mark.parametrize("size", [107, 108, 250, 1_000])
def test_a_long_path_is_bound_and_reached(tmp_path: Path, size: int) -> None:
    directory = tmp_path
    while (missing := size - len(os.fsencode(directory)) - len("/api.sock")) > 0:
        if missing == 1:  # a name has at least one byte after its slash
            directory = directory.with_name(directory.name + "x")
        else:
            directory = directory / ("d" * min(missing - 1, 200))
        directory.mkdir()
    path = directory / "api.sock"
    assert len(os.fsencode(path)) >= size
    _says_hello(path)
    assert path.is_socket()


def test_a_name_that_no_directory_makes_short_enough_names_the_variable(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 120)
    with pytest.raises(place.SocketPathTooLong) as refused:
        place.bind(path)
    assert "PRESENCED_SOCKET" in refused.value.hint
    with pytest.raises(place.SocketPathTooLong):
        place.connect(path)


def test_elsewhere_a_long_path_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place.sys, "platform", "darwin")
    with pytest.raises(place.SocketPathTooLong, match="at most"):
        place.bind(tmp_path / ("d" * 100) / "api.sock")


def test_a_file_left_by_a_killed_daemon_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    place.bind(path).close()  # as kill -9 leaves it
    assert path.is_socket()
    _says_hello(path)


def test_a_living_daemon_keeps_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with place.bind(path):
        with pytest.raises(place.SocketInUse):
            place.bind(path)
        place.connect(path, seconds=5).close()


def test_a_daemon_that_accepts_nobody_keeps_its_socket_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "BACKLOG", 0)
    path = tmp_path / "api.sock"
    with place.bind(path), socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(os.fspath(path))  # fills its queue
        with pytest.raises(place.SocketInUse, match="does not answer"):
            place.bind(path)


@pytest.mark.parametrize("what", ["file", "directory", "link"])
def test_what_is_not_a_socket_is_left_alone(tmp_path: Path, what: str) -> None:
    path = tmp_path / "api.sock"
    if what == "file":
        path.write_text("mine")
    elif what == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(place.NotASocket):
        place.bind(path)
    assert path.is_symlink() or path.exists()


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(place.HostError, match="No such file"):
        place.bind(tmp_path / "missing" / "api.sock")


def test_nobody_listening_is_an_os_error_for_the_command_to_explain(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        place.connect(tmp_path / "api.sock")
    place.bind(tmp_path / "api.sock").close()
    with pytest.raises(ConnectionRefusedError):
        place.connect(tmp_path / "api.sock")
