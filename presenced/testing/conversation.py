"""Commands that print JSON lines, and waiting for what they say, always with a deadline.

Rule of this file: every wait has a deadline and names what it waited for.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, Final, TypeVar

T = TypeVar("T")

COMMAND_SECONDS_MAX: Final = 60.0
"for one `presence` command"

POLL_SECONDS: Final = 0.02
"between two questions of `wait_until`"


class TooLate(AssertionError):
    """A deadline passed; the message says what was waited for."""


def wait_until(ask: Callable[[], T | None], what: str, *, seconds: float = 20.0) -> T:
    """Ask until the answer is neither None nor false. Raises `TooLate` naming `what`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer is not None and answer is not False:
            return answer
        if time.monotonic() >= deadline:
            raise TooLate(f"not within {seconds:g} s: {what}")
        time.sleep(POLL_SECONDS)


class JsonLines:
    """JSON documents from a pipe, one per line, each awaited with a deadline."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._buffer = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(pipe, selectors.EVENT_READ)

    def next(self, *, seconds: float) -> dict[str, Any] | None:
        """The next line, or None at the end. Raises `TooLate`."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not self._selector.select(left):
                raise TooLate(f"no line within {seconds:g} s; so far {self._buffer!r}")
            data = os.read(self._pipe.fileno(), 65_536)
            if not data:
                return None
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        document: dict[str, Any] = json.loads(line)
        return document

    def close(self) -> None:
        self._selector.close()
        self._pipe.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a command that ended said."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """Its one JSON document."""
        return json.loads(self.stdout)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Its JSON lines."""
        return [json.loads(line) for line in self.stdout.splitlines()]


class Conversation:
    """A command that runs on: `devices add`, `join`, `watch`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self.process = process
        self._lines = JsonLines(process.stdout)

    def next(self, *, seconds: float = COMMAND_SECONDS_MAX) -> dict[str, Any] | None:
        """Its next JSON line, or None at the end."""
        return self._lines.next(seconds=seconds)

    def until(self, event: str, *, seconds: float = COMMAND_SECONDS_MAX) -> dict[str, Any]:
        """Its next line with this `event`. An end or a `failed` before it is an error."""
        while (line := self.next(seconds=seconds)) is not None:
            if line["event"] == event:
                return line
            if line["event"] == "failed":
                raise AssertionError(f"failed while waiting for {event}: {line}")
        raise AssertionError(f"ended before {event}: {self.ended().stderr}")

    def say(self, text: str) -> None:
        """Type a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n".encode())
        self.process.stdin.flush()

    def ended(self, *, seconds: float = COMMAND_SECONDS_MAX) -> Told:
        """Wait for its end. Lines that nobody read are in `stdout`."""
        unread = []
        while (line := self.next(seconds=seconds)) is not None:
            unread.append(json.dumps(line))
        assert self.process.stderr is not None
        stderr = self.process.stderr.read().decode()
        code = self.process.wait(seconds)
        self.close()
        return Told(code=code, stdout="\n".join(unread), stderr=stderr)

    def close(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._lines.close()
        for pipe in (self.process.stdin, self.process.stderr):
            if pipe is not None:
                pipe.close()
