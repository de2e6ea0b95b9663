"""`presence devices add` and `join` with a real standard input: nobody is kept waiting in vain."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from presenced.clients.cli.failure import Exit
from presenced.local.progress import Failed
from presenced.testing.fake_owner import CODE

SECONDS = 20


def begun(*arguments: str) -> subprocess.Popen[bytes]:
    """`presence ARGUMENTS` whose standard input stays open."""
    return subprocess.Popen(
        [sys.executable, "-m", "presenced.clients.cli.main", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ),
    )


def test_who_is_asked_hears_that_the_other_device_gave_up(presence: Any) -> None:
    presence.fake.gives_up = Failed(type="interrupted", detail="the connection ended")
    with begun("--json", "devices", "add") as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert process.wait(SECONDS) == Exit.FAILED, "without an answer on standard input"
    assert [line["event"] for line in lines] == ["code", "candidate", "failed"]
    assert lines[-1]["type"] == "interrupted"


def test_an_answer_behind_the_code_on_standard_input_is_read(presence: Any) -> None:
    with begun("--json", "join", "-") as process:
        out, _ = process.communicate(f"{CODE}\ny\n".encode(), SECONDS)
    assert [json.loads(line)["event"] for line in out.splitlines()] == ["candidate", "added"]
    assert process.returncode == Exit.OK


def test_an_interrupted_enrolment_is_said_so_and_ends_with_130(presence: Any) -> None:
    with begun("--json", "devices", "add") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(2):
            process.stdout.readline()
        assert b"y/N" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == Exit.INTERRUPTED
        last = json.loads(process.stdout.read().splitlines()[-1])
    assert (last["event"], last["type"]) == ("failed", "interrupted")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("123-apple", "wrong_code"),
        ("123-apple-nosuchword", "wrong_code"),
        ("", "wrong_code"),
        ("presenced:pair?v=1&addr=192.0.2.7:4711", "wrong_code"),
        (f"presenced:pair?v=2&code={CODE}", "version"),
    ],
)
def test_what_no_device_shows_is_a_failed_event_and_a_usage_error(
    presence: Any, code: str, kind: str
) -> None:
    ran = presence("--json", "join", code, "--yes")
    assert ran.code == Exit.USAGE
    (event,) = ran.lines
    assert (event["event"], event["type"]) == ("failed", kind)
    assert presence("join", code, "--yes").out == ""


def test_who_said_yes_first_is_told_what_is_waited_for(presence: Any) -> None:
    ran = presence("devices", "add", stdin="y\n")
    assert ran.code == Exit.OK
    assert "Waiting for the yes on the other device" in ran.err
