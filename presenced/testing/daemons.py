"""Real daemons in scratch homes: for system tests, the demo and the bench.

Everything here goes through what people and programs use: the commands `presenced` and
`presence`, and the owner socket. Nothing imports a room of the daemon.

Rules of this file:
1. a daemon that dies too early is reported with the end of its log;
2. leaving the block kills what was started and removes the homes.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from presenced.testing.conversation import (
    COMMAND_SECONDS_MAX,
    Conversation,
    JsonLines,
    Told,
    TooLate,
    wait_until,
)
from presenced.testing.owner_connection import OwnerConnection

READY_SECONDS_MAX: Final = 30.0
"for a daemon to say that it is ready, on a machine that is busy with other tests"

_LOG_TAIL_CHARS: Final = 4_000


_OUTER: Final = (
    "PRESENCED_",
    "NOTIFY_SOCKET",
    "WATCHDOG_",
    "CREDENTIALS_",
    "COVERAGE_",
    "COV_CORE_",
)
"variables of a daemon or a test around us"


class ScratchDaemon:
    """One daemon with a home of its own; `start` it, `kill` it, `start` it again."""

    def __init__(
        self,
        home: Path,
        *,
        peers: Sequence[str] = (),
        mdns: bool = False,
        listen: str = "127.0.0.1:0",
        programs: Path | None = None,
    ) -> None:
        self.home = home
        self.peers = list(peers)
        self.mdns = mdns
        self.listen = listen
        self.programs = programs or Path(sys.executable).parent
        self.log_file = home.with_name(f"{home.name}.log")
        self.variables: dict[str, str] = {}
        "of its environment, besides what it takes from ours"
        self.process: subprocess.Popen[bytes] | None = None
        self.ready: dict[str, Any] = {}

    # --- the daemon ---

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def port(self) -> int:
        port: int = self.ready["port"]
        return port

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def socket(self) -> Path:
        return Path(self.ready["socket"])

    @property
    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start `presenced run` and wait for nothing."""
        command = [os.fspath(self.programs / "presenced"), "run", "--listen", self.listen]
        for peer in self.peers:
            command += ["--peer", peer]
        if not self.mdns:
            command += ["--no-mdns"]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        return self.process

    def start(self, *, seconds: float = READY_SECONDS_MAX) -> Self:
        """Start it and wait until it is ready. Keeps its port from one start to the next."""
        process = self.spawn()
        assert process.stdout is not None
        lines = JsonLines(process.stdout)
        try:
            ready = lines.next(seconds=seconds)
        except TooLate as late:
            self.kill()
            raise TooLate(f"no ready line: {late}\n{self.log[-_LOG_TAIL_CHARS:]}") from None
        if ready is None:
            process.wait()
            raise AssertionError(
                f"the daemon ended with {process.returncode}\n{self.log[-_LOG_TAIL_CHARS:]}"
            )
        assert ready["event"] == "ready", ready
        self.ready = ready
        host, _, _ = self.listen.rpartition(":")
        self.listen = f"{host}:{self.port}"
        return self

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self, *, seconds: float = 20.0) -> int:
        """Ask it to end; the exit status."""
        return self._end(signal.SIGTERM, seconds=seconds)

    def _end(self, how: signal.Signals, *, seconds: float = 20.0) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(how)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise TooLate(f"it did not end within {seconds:g} s of {how.name}") from None
        finally:
            if process.stdout is not None:
                process.stdout.close()
        return code

    # --- its owner ---

    def environment(self) -> dict[str, str]:
        """The environment of its programs: this home, and nothing of an outer daemon."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OUTER)}
        return kept | {"PRESENCED_HOME": str(self.home), "NO_COLOR": "1"} | self.variables

    def presence(
        self, *arguments: str, text: str = "", seconds: float = COMMAND_SECONDS_MAX
    ) -> Told:
        """Run `presence --json ARGUMENTS` to its end, with `text` on its standard input."""
        done = subprocess.run(
            [self.programs / "presence", "--json", *arguments],
            env=self.environment(),
            input=text,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return Told(code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def ask(self, *arguments: str, text: str = "", seconds: float = COMMAND_SECONDS_MAX) -> Any:
        """The JSON document of a `presence` command that must succeed."""
        told = self.presence(*arguments, text=text, seconds=seconds)
        assert told.code == 0, f"presence {' '.join(arguments)}: {told.code}\n{told.stderr}"
        return told.document

    def say(self, *arguments: str, seconds: float = COMMAND_SECONDS_MAX) -> str:
        """What `presence ARGUMENTS` prints for a person; it must succeed."""
        done = subprocess.run(
            [self.programs / "presence", *arguments],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def begin(self, *arguments: str) -> Conversation:
        """Start `presence --json ARGUMENTS` and talk with it."""
        return Conversation(
            subprocess.Popen(
                [self.programs / "presence", "--json", *arguments],
                env=self.environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )

    def owner(self) -> OwnerConnection:
        """A connection of its own to the owner API."""
        return OwnerConnection(self.socket)

    def status(self) -> Any:
        with self.owner() as owner:
            return owner.get("/v1/status")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """What both screens said while two devices were paired."""

    code: str
    shown_to_old: dict[str, Any]
    shown_to_new: dict[str, Any]
    device: str


def pair(old: ScratchDaemon, new: ScratchDaemon, *, via: str | None = None) -> Paired:
    """Let `old` show a code and `new` join with it, dialling `via` (else `old` itself)."""
    adding = old.begin("devices", "add", "--yes")
    joining = None
    try:
        code = adding.until("code")["code"]
        joining = new.begin(
            "join", code, "--yes", "--name", new.home.name, "--peer", via or old.address
        )
        shown_to_new = joining.until("candidate")
        shown_to_old = adding.until("candidate")
        added = adding.until("added")
        joined = joining.until("added")
        assert added["device"] == joined["device"], (added, joined)
        assert (adding.ended().code, joining.ended().code) == (0, 0)
    finally:
        for conversation in (adding, joining):
            if conversation is not None:
                conversation.close()
    return Paired(
        code=code, shown_to_old=shown_to_old, shown_to_new=shown_to_new, device=added["device"]
    )


def digests_agree(*daemons: ScratchDaemon) -> bool:
    """Whether all show the same digest of every collection and have nothing pending."""
    shown = [daemon.status() for daemon in daemons]
    quiet = all(not any(status["pending"].values()) for status in shown)
    return quiet and all(status["digest"] == shown[0]["digest"] for status in shown)


def wait_converged(*daemons: ScratchDaemon, seconds: float = 30.0) -> dict[str, str]:
    """Wait until digests agree; the digest of each collection."""
    wait_until(lambda: digests_agree(*daemons), "equal digests, nothing pending", seconds=seconds)
    digest: dict[str, str] = daemons[0].status()["digest"]
    return digest


def wait_linked(*daemons: ScratchDaemon, seconds: float = 20.0) -> None:
    """Wait until each has a link."""
    wait_until(
        lambda: all(daemon.status()["links"] for daemon in daemons), "links", seconds=seconds
    )


@contextmanager
def scratch_daemons(*names: str, programs: Path | None = None) -> Iterator[list[ScratchDaemon]]:
    """Daemons that are not started yet, in homes that are removed afterwards."""
    with ExitStack() as stack:
        # Not below the test's own directory: a socket path has 107 bytes at most.
        directory = Path(tempfile.mkdtemp(prefix="presenced-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        daemons = []
        for name in names:
            daemon = ScratchDaemon(directory / name, programs=programs)
            stack.callback(daemon.kill)
            daemons.append(daemon)
        yield daemons


@contextmanager
def paired_daemons(
    *, programs: Path | None = None
) -> Iterator[tuple[ScratchDaemon, ScratchDaemon]]:
    """Two daemons of one person, `laptop` and `box`, linked and equal. The box dials."""
    with scratch_daemons("laptop", "box", programs=programs) as (laptop, box):
        laptop.start()
        laptop.ask("init", "--name", "laptop")
        box.peers = [laptop.address]
        box.start()
        pair(laptop, box)
        wait_linked(laptop, box)
        wait_converged(laptop, box)
        yield laptop, box
