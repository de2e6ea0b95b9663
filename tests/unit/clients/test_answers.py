"""Commands that did less than was meant say so; what is refused names what would do."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from presenced.clients.cli.failure import Exit
from presenced.presence.naming import session_id
from presenced.testing.fake_owner import OTHER_LOG

FEED = "https://example.org/feed.xml"
FILM = "https://example.org/film.mp4"


def test_a_kind_that_was_named_before_stays_and_that_is_said(presence: Any) -> None:
    presence("follow", FEED)
    ran = presence("--json", "follow", FEED, "--kind", "podcast")
    assert (ran.code, ran.json["kind"]) == (Exit.OK, "feed")
    assert "It stays a feed" in ran.err
    assert presence("follow", FEED).err == ""


def test_pasted_letters_outside_ascii_name_the_same_follow_and_session(presence: Any) -> None:
    pasted = "https://müller.example/ü"
    row = presence("--json", "follow", pasted).json
    assert row["uri"] == "https://xn--mller-kva.example/%C3%BC"
    assert presence("--json", "unfollow", pasted).json["id"] == row["id"]
    begun = presence("--json", "session", "start", pasted, "--alias", FILM).json
    assert presence("--json", "session", "show", pasted).json["id"] == begun["id"]


@pytest.mark.parametrize("act", ["pause", "resume"])
def test_only_who_has_a_session_can_pause_it_and_how_to_have_it_is_said(
    presence: Any, act: str
) -> None:
    row = presence("--json", "session", "start", FILM).json
    record = session_id("media", FILM)
    presence.fake.fenced = True
    for phase in ("active", "paused"):
        presence.fake.played[record] = replace(
            presence.fake.played[record], holder=OTHER_LOG, phase=phase
        )
        ran = presence("session", act, row["id"])
        assert (ran.code, ran.out) == (Exit.CONFLICT, "")
        assert "living room has it" in ran.err
        assert f"presence continue {row['id'][:8]}" in ran.err


def test_who_had_it_last_is_not_said_of_what_is_over(presence: Any) -> None:
    row = presence("--json", "session", "start", FILM, "--title", "Film").json
    assert "active on laptop" in presence("session", "list").out
    assert "finished  " in presence("session", "finish", row["id"]).out
    assert " on laptop" not in presence("session", "list").out


def test_what_was_so_already_is_said(presence: Any) -> None:
    row = presence("--json", "session", "start", FILM).json
    presence.fake.fenced = True
    assert "no decision to take back" in presence("session", "undo", row["id"]).err
    assert "has it already" in presence("continue", row["id"]).err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["init", "--name", ""], "1 to 256 characters"),
        (["init", "--name", "x" * 257], "1 to 256 characters"),
        (["join", "123-apple-zebra", "--name", " "], "1 to 256 characters"),
        (["session", "start", FILM, "--position", "1e300"], "longer than anything lasts"),
        (["session", "start", FILM, "--pages", str(2**64)], "not in the range"),
        (["session", "show", ""], "no session is named"),
        (["net"], "Missing argument"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value)[:20],
)
def test_what_cannot_be_meant_is_refused_in_words(
    presence: Any, arguments: list[str], word: str
) -> None:
    ran = presence(*arguments)
    assert ran.code == Exit.USAGE
    assert word in ran.err
    assert "$" not in ran.err, "no path of a JSON document"
    assert "\n\t" not in ran.err


def test_status_counts_in_whole_sentences_and_names_where_the_key_is(presence: Any) -> None:
    out = presence("status").out
    assert "not written down" in out
    assert "key        key file" in out


def program(*arguments: str, stdout: Any = subprocess.PIPE, **environment: str) -> Any:
    """Run `presence ARGUMENTS` as a program."""
    return subprocess.run(
        [sys.executable, "-m", "presenced.clients.cli.main", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        check=False,
    )


def test_an_argument_that_is_not_utf_8_is_a_usage_error(presence: Any) -> None:
    done = program("follow", os.fsdecode(b"https://a.example/\xff"), PYTHONUTF8="1")
    assert done.returncode == Exit.USAGE
    assert b"not UTF-8" in done.stderr


def test_an_answer_that_cannot_be_written_is_a_failure_without_a_traceback(presence: Any) -> None:
    with open("/dev/full", "wb") as full:
        done = program("status", stdout=full)
    assert done.returncode == Exit.FAILED
    assert b"cannot write the answer" in done.stderr
    assert b"Traceback" not in done.stderr


def test_an_interrupt_while_it_is_loading_is_no_traceback(presence: Any) -> None:
    interrupted = (
        "import sys, builtins; real = builtins.__import__\n"
        "def at_click(name, *rest):\n"
        "    if name == 'click': raise KeyboardInterrupt\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = at_click\n"
        "from presenced.clients.cli.main import main; main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", interrupted], capture_output=True, env=dict(os.environ)
    )
    assert (done.returncode, done.stdout, done.stderr) == (Exit.INTERRUPTED, b"", b"")


def test_letters_that_the_terminal_lacks_end_nothing(presence: Any) -> None:
    presence("follow", FEED, "--title", "Зима 🎧")
    done = program("follows", PYTHONIOENCODING="latin-1")
    assert done.returncode == Exit.OK
    assert b"\\u0417" in done.stdout
