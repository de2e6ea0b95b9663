from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from presenced.clients.cli.program import run
from presenced.device.effects import Event
from presenced.testing.fake_owner import FakeOwner, serve_fake


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Presence:
    """Runs `presence` in this process."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    home: Path
    fake: FakeOwner = field(default_factory=FakeOwner)
    token: trio.lowlevel.TrioToken | None = None

    def publish(self, *events: Event) -> None:
        """As the daemon would, in its thread."""
        assert self.token is not None
        self.token.run_sync_soon(self.fake.events.publish, events)

    def __call__(self, *arguments: str, stdin: str = "") -> Ran:
        source = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
        self.monkeypatch.setattr(sys, "stdin", source)
        self.monkeypatch.setattr(sys, "argv", ["presence", *arguments])
        code = run(list(arguments))
        printed = self.capsys.readouterr()
        return Ran(int(code), printed.out, printed.err)


@pytest.fixture
def offline(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Presence:
    """`presence` where no daemon runs."""
    monkeypatch.setenv("PRESENCED_HOME", str(tmp_path))
    monkeypatch.delenv("PRESENCED_SOCKET", raising=False)
    return Presence(monkeypatch, capsys, tmp_path)


@pytest.fixture
def presence(offline: Presence) -> Iterator[Presence]:
    """`presence` with a fake owner behind a real socket, in a thread of its own."""
    started = threading.Event()
    ended: list[trio.CancelScope] = []

    async def main() -> None:
        offline.token = trio.lowlevel.current_trio_token()
        offline.fake = FakeOwner()
        async with trio.open_nursery() as nursery:
            ended.append(nursery.cancel_scope)
            await nursery.start(serve_fake, offline.fake, offline.home / "api.sock")
            started.set()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    assert started.wait(10)
    yield offline
    assert offline.token is not None
    offline.token.run_sync_soon(ended[0].cancel)
    thread.join(10)
    assert not thread.is_alive()
