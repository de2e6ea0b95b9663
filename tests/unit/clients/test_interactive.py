"""With a person at the terminal: questions, the QR code, more than one try."""

from __future__ import annotations

import secrets
import sys
from typing import Any

import pytest

from presenced.clients.cli.commands import Session
from presenced.clients.cli.failure import Exit
from presenced.ids import show_id
from presenced.local.owner import Work
from presenced.testing.fake_owner import CODE, OTHER, PHRASE


@pytest.fixture
def person(presence: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(Session, "interactive", property(lambda session: not session.json))
    monkeypatch.setattr(secrets.SystemRandom, "sample", lambda *_: [24, 1])
    return presence


def test_init_asks_for_two_words_and_forgets_the_phrase(person: Any) -> None:
    person.fake.name = None
    ran = person("init", "--name", "box", stdin="abandon\nart\n")
    assert ran.code == Exit.OK
    assert "24. art" in ran.out
    assert "forgotten" in ran.err
    assert person.fake.phrase_open is False


def test_wrong_words_may_be_tried_again_three_times(person: Any) -> None:
    ran = person("phrase", stdin="zoo\nzoo\n" * 3 + "abandon\nart\n")
    assert ran.code == Exit.OK
    assert ran.err.count("not the words") == 3
    assert person.fake.phrase_open is True
    assert person("phrase", stdin="zoo\nzoo\nabandon\nart\n").code == Exit.OK
    assert person.fake.phrase_open is False


def test_the_words_may_be_confirmed_later(person: Any) -> None:
    ran = person("phrase", stdin="\n\n")
    assert "presence phrase" in ran.err
    assert person.fake.phrase_open is True
    assert PHRASE.split()[0] in ran.out


def test_without_a_person_init_names_the_command_to_confirm(presence: Any) -> None:
    presence.fake.name = None
    ran = presence("init", "--name", "box")
    assert "`presence phrase`" in ran.err
    assert presence.fake.phrase_open is True


def test_join_asks_for_the_code(person: Any) -> None:
    ran = person("join", "--yes", stdin=f"{CODE}\n")
    assert ran.code == Exit.OK
    assert CODE not in ran.out
    assert "acid bean crab dune" in ran.err


def test_join_without_a_code_shows_one(person: Any) -> None:
    ran = person("join", "--yes", stdin="\n")
    assert (ran.code, ran.out) == (Exit.OK, f"{CODE}\n")
    assert f"presence devices add {CODE}" in ran.err


def test_a_terminal_shows_a_qr_code(person: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    ran = person("devices", "add", stdin="y\n")
    assert ran.code == Exit.OK
    assert "\u2588" in ran.err
    assert "follows, sessions" in ran.err


def test_status_says_what_needs_attention(person: Any) -> None:
    person.fake.down = True
    person.fake.work = [Work(kind="rebuild", done=3, total=9)]
    ran = person("status")
    assert "held down" in ran.out
    assert "rebuild: 3 of 9 edits" in ran.out
    assert "not written down" in ran.out


def test_devices_are_listed_and_shown_in_words(person: Any) -> None:
    listed = person("devices", "list").out.splitlines()
    assert listed[0].startswith("laptop")
    assert "this device" in listed[0]
    assert "linked" in listed[1]
    shown = person("devices", "show", show_id(OTHER)).out
    assert "software-only" in shown
    person.fake.down = True
    assert "last seen" in person("devices", "list").out


def test_watch_shows_lines_for_people(person: Any) -> None:
    before = person.fake.events.last_id
    person("follow", "https://example.org/feed.xml")
    ran = person("watch", "--after", before, "--count", "1")
    assert ran.out.startswith("follow changed")
    assert "(laptop)" in ran.out


def test_version_and_help_need_no_daemon(offline: Any) -> None:
    assert offline("--version").code == Exit.OK
    ran = offline()
    assert ran.code == Exit.USAGE
    assert "presence init --name laptop" in ran.out + ran.err
