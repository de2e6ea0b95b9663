from __future__ import annotations

import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from presenced.clients.cli import progress
from presenced.clients.cli.connection import Connection
from presenced.device.effects import Event
from presenced.local.owner import Work


class Watching(Connection):
    """A connection that says when its reader has begun to wait for events."""

    def __init__(self, path: Any) -> None:
        super().__init__(path)
        self.asked = threading.Event()

    def get(self, path: str, **query: Any) -> Any:
        told = super().get(path, **query)
        self.asked.set()
        return told


@pytest.mark.parametrize("last", [("work.done", {"kind": "first-sync"}), ("reset", {})])
def test_work_is_shown_until_it_is_done(
    presence: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    last: tuple[str, dict[str, Any]],
) -> None:
    monkeypatch.setattr(progress, "_SHOW_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(progress, "_REDRAW_SECONDS", 0.0)
    monkeypatch.setattr(progress.Bar.__init__, "__kwdefaults__", {"show_after": 0.0})
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    presence.fake.work = [Work(kind="first-sync", done=1, total=4)]
    connection = Watching(presence.home / "api.sock")
    thread = threading.Thread(target=progress.show_work, args=(connection, ("first-sync",)))
    thread.start()
    assert connection.asked.wait(10)
    data = {"kind": "first-sync", "done": 2, "total": 4, "unit": "edits"}
    other = {"kind": "rebuild", "done": 2, "total": 4, "unit": "edits"}
    presence.publish(Event("work.progress", other), Event("work.progress", data), Event(*last))
    thread.join(10)
    assert not thread.is_alive()
    connection.close()
    drawn = capsys.readouterr().err
    assert "50 % 2 of 4 edits" in drawn
    assert "rebuild" not in drawn
    assert drawn.endswith("\r\x1b[K")


def test_without_work_nothing_is_waited_for(presence: Any) -> None:
    connection = Connection(presence.home / "api.sock")
    progress.show_work(connection, ("first-sync",))
    connection.close()


class Answering:
    """A daemon's `/v1/status`, one answer after another; the last stays. Notes when it shows."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.shown: list[tuple[str, ...]] = []

    def get(self, _path: str) -> Any:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def show(self, _connection: Any, kinds: tuple[str, ...]) -> None:
        self.shown.append(kinds)


ALONE: dict[str, Any] = {"work": [], "links": []}
BEGUN: dict[str, Any] = {"work": [{"kind": "first-sync"}], "links": [{"in_sync": False}]}
LEVEL: dict[str, Any] = {"work": [], "links": [{"in_sync": True}]}


@pytest.mark.parametrize(
    ("answers", "shown"),
    [
        ((ALONE, ALONE, BEGUN), [("first-sync",)]),
        ((ALONE, LEVEL), []),
        ((BEGUN,), [("first-sync",)]),
    ],
)
def test_work_that_is_about_to_begin_is_waited_for_and_shown(
    monkeypatch: pytest.MonkeyPatch, answers: tuple[Any, ...], shown: list[Any]
) -> None:
    daemon = Answering(*answers)
    monkeypatch.setattr(progress, "show_work", daemon.show)
    monkeypatch.setattr(progress, "_LOOK_AGAIN_SECONDS", 0.0)
    progress.show_coming_work(daemon, ("first-sync",))  # type: ignore[arg-type]
    assert daemon.shown == shown
    assert len(daemon.answers) == 1, "it was looked at until the answer was plain"


def test_work_that_does_not_begin_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = iter(range(1_000))
    clock = SimpleNamespace(monotonic=lambda: float(next(now)), sleep=lambda _seconds: None)
    monkeypatch.setattr(progress, "time", clock)
    progress.show_coming_work(Answering(ALONE), ("first-sync",))  # type: ignore[arg-type]
    assert next(now) == progress.COMING_SECONDS_MAX + 1


def test_a_bar_draws_nothing_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bar = progress.Bar("import", show_after=0.0)
    bar.update(1, 2)
    bar.close()
    assert capsys.readouterr().err == ""
