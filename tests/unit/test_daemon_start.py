"""What goes wrong at start is one clear message and exit code 1; a bug is seen whole."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from presenced import daemon
from presenced.__main__ import main
from presenced.errors import PresenceError, StoreCorrupt, StoreFull


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("PRESENCED_HOME", str(home))
    monkeypatch.setattr(daemon, "set_up_logs", lambda _level: None)
    monkeypatch.setattr(daemon.gc, "set_threshold", lambda *_: None)
    monkeypatch.setattr(daemon.gc, "freeze", lambda: None)


NOT_NEEDED_YET = {"aioquic", "cryptography", "pycrdt", "structlog", "tomllib", "zeroconf", "spake2"}
"each costs a start some percent, or a quarter"


def test_the_daemon_imports_only_what_its_api_begins_with() -> None:
    code = "import sys, presenced.daemon; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "trio" in loaded
    assert not loaded & NOT_NEEDED_YET


def fails_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    async def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(daemon, "_run", fails)


def nested(error: BaseException, depth: int) -> BaseException:
    for _ in range(depth):
        error = BaseExceptionGroup("of a nursery", [error])
    return error


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_an_expected_failure_is_one_message_however_deep_it_lies(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], depth: int
) -> None:
    error = StoreCorrupt("the file is damaged", hint="Put a copy back.")
    fails_with(monkeypatch, nested(error, depth))
    assert main(["run"]) == 1
    assert capsys.readouterr().err == "presenced: the file is damaged\nPut a copy back.\n"


def test_of_several_expected_failures_the_first_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ExceptionGroup("of a nursery", [StoreFull("no room"), StoreCorrupt("damaged")])
    fails_with(monkeypatch, both)
    assert main(["run"]) == 1
    assert capsys.readouterr().err.startswith("presenced: no room\n")


@pytest.mark.parametrize("beside", [[], [StoreFull("no room")]])
def test_a_bug_is_never_hidden_behind_a_message(
    monkeypatch: pytest.MonkeyPatch, beside: list[PresenceError]
) -> None:
    fails_with(monkeypatch, ExceptionGroup("of a nursery", [AssertionError("a bug"), *beside]))
    with pytest.raises(ExceptionGroup):
        main(["run"])


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_a_port_in_use_is_said_with_its_number(
    taken: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--no-mdns", "--listen", f"127.0.0.1:{taken}"]) == 1
    told = capsys.readouterr()
    assert str(taken) in told.err
    assert "Traceback" not in told.err
    assert told.out == "", "it is not ready"


def test_garbage_is_collected_once_the_daemon_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    async def runs(*_: Any) -> None:
        seen.append(gc.isenabled())

    monkeypatch.setattr(daemon, "_run", runs)
    assert main(["run"]) == 0
    assert seen == [True]


def test_an_address_that_is_not_ours_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--no-mdns", "--listen", "203.0.113.7:4711"]) == 1
    told = capsys.readouterr()
    assert told.err.startswith("presenced: ")
    assert "Traceback" not in told.err
