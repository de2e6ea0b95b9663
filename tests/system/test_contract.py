"""What scripts rely on: the JSON of each command, its exit code, and how fast `status` answers."""

from __future__ import annotations

import re
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from presenced.testing.daemons import ScratchDaemon, scratch_daemons

pytestmark = pytest.mark.system

ID = re.compile(r"[a-z2-7]{26}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")

STATUS_SECONDS_MAX = 0.15
"what `presence status` may take, from exec to exit"

OPML = """<?xml version="1.0" encoding="UTF-8"?>
<opml version="2.0"><head><title>Mine</title></head><body>
  <outline text="Talks">
    <outline type="rss" text="Über Züge" xmlUrl="https://example.org/trains.xml"/>
    <outline type="rss" text="Slow News" xmlUrl="https://example.org/slow.xml"/>
  </outline>
</body></opml>
"""


@pytest.fixture(scope="module")
def empty() -> Iterator[ScratchDaemon]:
    """A daemon without an identity."""
    with scratch_daemons("empty") as (daemon,):
        yield daemon.start()


@pytest.fixture(scope="module")
def founded() -> Iterator[tuple[ScratchDaemon, Any]]:
    """A daemon with an identity, and what `init` printed."""
    with scratch_daemons("laptop") as (daemon,):
        daemon.start()
        yield daemon, daemon.ask("init", "--name", "laptop")


@pytest.fixture
def daemon(founded: tuple[ScratchDaemon, Any]) -> ScratchDaemon:
    return founded[0]


def test_the_ready_line_names_the_socket_and_the_port(empty: ScratchDaemon) -> None:
    assert empty.ready.keys() >= {"event", "socket", "port"}
    assert empty.ready["event"] == "ready"
    assert Path(empty.ready["socket"]).is_socket()
    assert empty.ready["port"] > 0


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["follows"],
        ["follow", "https://example.org/x"],
        ["session", "list"],
        ["summary"],
        ["devices", "list"],
        ["devices", "add", "--yes"],
        ["phrase"],
        ["export"],
        ["import", "-"],
    ],
    ids=" ".join,
)
def test_before_set_up_a_command_ends_with_3_and_says_what_comes_next(
    empty: ScratchDaemon, command: list[str]
) -> None:
    told = empty.presence(*command, text='<opml version="2.0"><body/></opml>')
    if command == ["status"] and told.code == 0:
        assert told.document["identity"] is None
        return
    assert told.code == 3
    assert "presence init" in told.stderr
    assert "presence join" in told.stderr


def test_without_a_daemon_a_command_ends_with_3_and_says_how_to_start_it() -> None:
    with scratch_daemons("nobody") as (nobody,):
        told = nobody.presence("status")
    assert told.code == 3
    assert "presenced run" in told.stderr
    assert told.stdout == ""


def test_init_prints_identity_device_and_phrase(founded: tuple[ScratchDaemon, Any]) -> None:
    daemon, printed = founded
    assert printed.keys() == {"identity", "device", "phrase"}
    assert printed["identity"].startswith("did:key:z6Mk")
    assert ID.fullmatch(printed["device"])
    assert len(printed["phrase"].split()) == 24
    assert daemon.presence("init", "--name", "again").code == 6


def test_the_phrase_is_wrapped_until_two_of_its_words_are_confirmed() -> None:
    with scratch_daemons("phrase") as (daemon,):
        daemon.start()
        words = daemon.ask("init", "--name", "phrase")["phrase"].split()
        assert daemon.ask("status")["phrase_unconfirmed"] is True
        with daemon.owner() as owner:
            assert owner.get("/v1/phrase")["phrase"].split() == words
            status, _ = owner.request("POST", "/v1/phrase/confirm", {"words": {"1": "?", "2": "?"}})
            assert status == 403
            right = {"3": words[2], "17": words[16]}
            status, _ = owner.request("POST", "/v1/phrase/confirm", {"words": right})
            assert status == 200
            assert owner.get("/v1/phrase")["phrase"] is None
        assert daemon.ask("status")["phrase_unconfirmed"] is False


def test_status_has_digest_links_and_pending(daemon: ScratchDaemon) -> None:
    status = daemon.ask("status")
    assert status["digest"].keys() == {"directory", "follows", "sessions"}
    assert status["links"] == []
    assert all(count == 0 for name, count in status["pending"].items() if name != "unsent")
    assert status["key_protection"]
    assert status["port"] == daemon.port


def test_an_edit_that_nobody_else_has_is_pending_and_not_in_the_digest(
    daemon: ScratchDaemon,
) -> None:
    before = daemon.ask("status")
    daemon.ask("follow", "https://example.org/digest")
    after = daemon.ask("status")
    assert after["digest"] == before["digest"]
    assert after["pending"]["unsent"] > before["pending"]["unsent"]


def test_follows_is_an_array_of_objects_without_what_is_unfollowed(daemon: ScratchDaemon) -> None:
    uri = "https://example.org/contract"
    daemon.ask("follow", uri, "--title", "Contract", "--kind", "podcast")
    (row,) = [row for row in daemon.ask("follows") if row["uri"] == uri]
    assert (row["title"], row["kind"], row["state"]) == ("Contract", "podcast", "followed")
    assert ID.fullmatch(row["id"])
    daemon.ask("unfollow", uri)
    assert uri not in [row["uri"] for row in daemon.ask("follows")]


def test_lists_are_complete_beyond_a_page_and_limited_when_asked(daemon: ScratchDaemon) -> None:
    with daemon.owner() as owner:
        for first in range(0, 2_500, 500):
            owner.edit(
                *(
                    {"op": "follow", "uri": f"https://many.example/{number}"}
                    for number in range(first, first + 500)
                )
            )
    listed = daemon.ask("follows")
    many = {row["uri"] for row in listed if row["uri"].startswith("https://many.example/")}
    assert len(many) == 2_500
    assert len({row["id"] for row in listed}) == len(listed)
    assert len(daemon.ask("follows", "--limit", "7")) == 7


def test_sessions_are_listed_with_seconds_as_numbers(daemon: ScratchDaemon) -> None:
    uri = "https://example.org/film"
    daemon.ask(
        "session", "start", uri, "--title", "Film", "--duration", "5400.5", "--position", "12.25"
    )
    (row,) = [row for row in daemon.ask("session", "list") if row["uri"] == uri]
    assert row["title"] == "Film"
    assert row["position"] == 12.25
    assert row["duration"] == 5400.5
    assert row["state"] == "open"
    assert row["holder"] == daemon.ask("status")["device"]
    assert TIME.fullmatch(row["updated"])
    daemon.ask("session", "update", row["id"], "--position", "60")
    (row,) = [row for row in daemon.ask("session", "list") if row["uri"] == uri]
    assert row["position"] == 60
    daemon.ask("continue", row["id"])
    assert daemon.ask("session", "history", row["id"])


def test_an_opml_file_goes_in_and_comes_out(daemon: ScratchDaemon, tmp_path: Path) -> None:
    file = tmp_path / "mine.opml"
    file.write_text(OPML, encoding="utf-8")
    told = daemon.presence("import", str(file))
    assert told.code == 0
    assert told.lines[-1]["imported"] == 2
    again = daemon.presence("import", str(file))
    assert (again.lines[-1]["imported"], again.lines[-1]["already_followed"]) == (0, 2)
    titles = {row["title"] for row in daemon.ask("follows")}
    assert {"Über Züge", "Slow News"} <= titles
    exported = subprocess.run(
        [daemon.programs / "presence", "export"],
        env=daemon.environment(),
        capture_output=True,
        check=True,
        timeout=60,
    ).stdout.decode()
    assert 'xmlUrl="https://example.org/slow.xml"' in exported
    assert "Über Züge" in exported


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["no-such-command"], 2),
        (["follow"], 2),
        (["session", "update", "x" * 26, "--position", "ten"], 2),
        (["session", "show", "aaaaaaaaaaaaaaaaaaaaaaaaaa"], 5),
        (["continue", "aaaaaaaaaaaaaaaaaaaaaaaaaa"], 5),
        (["devices", "show", "aaaaaaaaaaaaaaaaaaaaaaaaaa"], 5),
        (["import", "/nonexistent/file.opml"], 5),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_what_cannot_be_done_has_its_exit_code(
    daemon: ScratchDaemon, command: list[str], code: int
) -> None:
    told = daemon.presence(*command)
    assert told.code == code
    assert told.stdout == ""
    assert told.stderr
    assert "Traceback" not in told.stderr


def test_summary_is_one_document_with_three_parts(daemon: ScratchDaemon) -> None:
    assert daemon.ask("summary").keys() >= {"elsewhere", "here", "both"}


def test_net_is_held_down_and_let_up_again(daemon: ScratchDaemon) -> None:
    assert daemon.ask("net", "down")["net"] == "down"
    assert daemon.ask("status")["net"] == "down"
    assert daemon.ask("net", "up")["net"] == "up"


def test_titles_uris_and_names_are_in_no_log_and_no_file(daemon: ScratchDaemon) -> None:
    secret = "Zanzibar-Quagmire"
    daemon.ask("follow", f"https://example.org/{secret}", "--title", f"The {secret} Hour")
    daemon.presence("follow", f"not-a-uri {secret}")
    assert secret not in daemon.log
    for file in daemon.home.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), file


def test_status_answers_fast(daemon: ScratchDaemon) -> None:
    # Processor time, because other tests share this machine; the bench has the wall clock.
    seconds = []
    for _ in range(7):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert daemon.presence("status").code == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < STATUS_SECONDS_MAX, seconds
