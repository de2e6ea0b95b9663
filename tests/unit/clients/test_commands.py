from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from presenced.clients.cli import http_client
from presenced.clients.cli.commands import LazyGroup
from presenced.clients.cli.failure import Exit
from presenced.clients.cli.program import COMMANDS
from presenced.clients.cli.program import presence as presence_group
from presenced.device.beginnings import Standing
from presenced.errors import StoreFull
from presenced.ids import show_id
from presenced.local.owner import SnapshotFacts
from presenced.local.progress import Failed
from presenced.presence.naming import follow_id
from presenced.presence.summary import LostValue, Side, Summary, SummaryRow
from presenced.testing.fake_owner import CODE, OTHER, OTHER_LOG, OWN, OWN_LOG, PHRASE, SAID_MS

FEED = "https://example.org/feed.xml"
FILM = "https://example.org/film.mp4"


# --- how commands end ---


def test_without_a_daemon_every_command_says_how_to_start_it(offline: Any) -> None:
    for arguments in (["status"], ["follows"], ["init"], ["watch"], ["devices", "add"]):
        ran = offline(*arguments)
        assert ran.code == Exit.NOT_READY
        assert "presenced run" in ran.err
        assert ran.out == ""


def test_a_dead_socket_is_the_same_as_none(offline: Any) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(offline.home / "api.sock"))
    left.close()
    assert offline("status").code == Exit.NOT_READY


def test_before_init_the_next_command_is_named(presence: Any) -> None:
    presence.fake.name = None
    ran = presence("--json", "status")
    assert ran.code == Exit.NOT_READY
    assert ran.json["identity"] is None
    ran = presence("follow", FEED)
    assert ran.code == Exit.NOT_READY
    assert "presence init" in ran.err
    assert "presence join" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["status"], Exit.OK),
        (["folow", "x"], Exit.USAGE),
        (["follow"], Exit.USAGE),
        (["follow", "not a uri"], Exit.USAGE),
        (["net", "sideways"], Exit.USAGE),
        (["session", "start", FILM, "--position", "soon"], Exit.USAGE),
        (["session", "start", FILM, "--place", "120%"], Exit.USAGE),
        (["unfollow", FEED], Exit.NOT_FOUND),
        (["session", "show", "zzzz"], Exit.NOT_FOUND),
        (["devices", "show", "nobody"], Exit.NOT_FOUND),
        (["devices", "show", "l"], Exit.CONFLICT),
        (["init", "--name", "again"], Exit.CONFLICT),
        (["phrase", "--confirm", "1=zoo", "--confirm", "2=zoo"], Exit.NOT_ALLOWED),
        (["phrase", "--confirm", "1=zoo"], Exit.USAGE),
        (["resolve", "abc"], Exit.NOT_FOUND),
        (["import", "/nonexistent"], Exit.NOT_FOUND),
    ],
)
def test_every_way_to_end_has_its_exit_code(
    presence: Any, arguments: list[str], code: Exit
) -> None:
    ran = presence(*arguments)
    assert ran.code == code
    if code is not Exit.OK:
        assert ran.out == ""
        assert ran.err
        ran = presence("--json", *arguments)
        assert ran.code == code
        problem = json.loads(ran.err)
        assert problem["exit_code"] == code
        assert problem["detail"]


def test_status_says_by_whose_word_a_collection_stands(presence: Any) -> None:
    presence.fake.snapshots = [
        SnapshotFacts(
            collection=collection, sponsor=OTHER, state=state, confirmer=None, against=[OTHER]
        )
        for collection, state in (("follows", Standing.DISPUTED), ("sessions", Standing.ONLY))
    ]
    lines = presence("status").out.splitlines()
    (line,) = [line for line in lines if line.startswith("snapshot")]
    assert line.endswith("another device has other content")
    assert "follows came from" in line
    told = presence("--json", "status").json["snapshots"]
    assert [one["state"] for one in told] == ["disputed", "only"]
    assert told[0]["disputed_by"] == [told[0]["sponsor"]]


def test_a_daemon_that_does_not_answer_is_a_timeout(
    offline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "ANSWER_SECONDS", 0.05)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(offline.home / "api.sock"))
        mute.listen(1)
        assert offline("status").code == Exit.NO_ANSWER


def test_a_daemon_that_hangs_up_is_a_failure(offline: Any) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(offline.home / "api.sock"))
        listener.listen(1)
        with subprocess.Popen(
            [sys.executable, "-m", "presenced.clients.cli.main", "status"],
            stderr=subprocess.PIPE,
            env=dict(os.environ),
        ) as process:
            connected, _ = listener.accept()
            connected.recv(10)
            connected.close()
            assert process.wait(20) == Exit.FAILED


def test_a_daemon_of_another_user_is_not_trusted(
    presence: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = os.getuid()
    monkeypatch.setattr(http_client.os, "getuid", lambda: 4_711)
    expected = Exit.OK if served == 0 else Exit.NOT_ALLOWED  # root's own daemon is trusted
    assert presence("status").code == expected
    packed = http_client._CREDENTIALS.pack(1, 1_234, 1_234)
    monkeypatch.setattr(socket.socket, "getsockopt", lambda *_: packed)
    assert presence("status").code == Exit.NOT_ALLOWED


def test_a_full_disk_is_a_failure_with_its_next_step(presence: Any) -> None:
    presence.fake.failure = StoreFull("no space")
    ran = presence("follow", FEED)
    assert ran.code == Exit.FAILED
    assert "Free some disk space" in ran.err


def test_json_is_accepted_before_and_after_the_command(presence: Any) -> None:
    assert presence("--json", "status").json == presence("status", "--json").json
    assert presence("devices", "--json", "list").json == presence("devices", "list", "--json").json


def test_every_command_has_help_with_an_example(offline: Any) -> None:
    def names(group: LazyGroup, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
        found = []
        for name in group.list_commands(None):  # type: ignore[arg-type]
            command = group.get_command(None, name)  # type: ignore[arg-type]
            found.append((*path, name))
            if isinstance(command, LazyGroup):
                found += names(command, (*path, name))
        return found

    assert isinstance(presence_group, LazyGroup)
    every = names(presence_group)
    assert len(every) > len(COMMANDS)
    for arguments in every:
        ran = offline(*arguments, "-h")
        assert ran.code == Exit.OK
        assert f"presence {' '.join(arguments)}" in ran.out
        assert "Examples:" in ran.out


def test_the_program_ends_with_130_when_interrupted(presence: Any) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "presenced.clients.cli.main", "watch"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=dict(os.environ),
    ) as process:
        assert process.stderr is not None
        assert b"Watching" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == Exit.INTERRUPTED


PROGRAM = f"{shlex.quote(sys.executable)} -m presenced.clients.cli.main"


@pytest.mark.parametrize("closed", ["", "2>&-"])
def test_the_program_leaves_nothing_unsaid_when_it_ends(offline: Any, closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{PROGRAM} --help {closed}"],
        capture_output=True,
        text=True,
        env=dict(os.environ),
    )
    assert done.returncode == Exit.OK
    assert done.stdout == offline("--help").out
    assert len(done.stdout) > 1_000


def test_the_program_fails_quietly_when_nobody_reads_it(offline: Any) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "presenced.clients.cli.main", "--help"],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=dict(os.environ),
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (Exit.FAILED, b"")


def test_the_program_imports_nothing_of_the_daemon(presence: Any) -> None:
    code = (
        "import sys; from presenced.clients.cli.program import run; run(['--json', 'status']);"
        "print([name for name in sys.modules if name.startswith('presenced')"
        " and not name.startswith('presenced.clients')], file=sys.stderr);"
        "print([n for n in ('trio','msgspec','nacl','http.client','asyncio') if n in sys.modules],"
        " file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ)
    )
    own, foreign = done.stderr.strip().splitlines()
    assert set(eval(own)) == {"presenced", "presenced.errors", "presenced.socket_path"}
    assert eval(foreign) == []


# --- follows ---


def test_follow_unfollow_and_list_print_the_promised_fields(presence: Any) -> None:
    row = presence("--json", "follow", FEED, "--title", "News", "--kind", "podcast").json
    assert (row["uri"], row["title"], row["kind"], row["state"]) == (
        FEED,
        "News",
        "podcast",
        "followed",
    )
    (listed,) = presence("--json", "follows").json
    assert listed == row
    assert presence("--json", "unfollow", FEED).json["state"] == "unfollowed"
    assert presence("--json", "follows").json == []
    assert len(presence("--json", "follows", "--state", "all").json) == 1


def test_a_list_without_limit_is_complete_and_with_one_is_cut(presence: Any) -> None:
    for number in range(2_345):
        _put(presence, f"{FEED}?{number}")
    assert len(presence("--json", "follows").json) == 2_345
    assert len(presence("--json", "follows", "--limit", "1500").json) == 1_500
    assert len(presence("--json", "follows", "--limit", "7").json) == 7


def test_a_title_cannot_move_the_cursor(presence: Any) -> None:
    hostile = "a\x1b[2Jb\u202ec\nd\x9be"
    ran = presence("follow", FEED, "--title", hostile)
    assert ran.code == Exit.OK
    ran = presence("follows")
    assert len(ran.out.splitlines()) == 1
    assert ran.out.strip().isprintable()
    assert presence("--json", "follows").json[0]["title"] == hostile
    assert "\x1b" not in presence("--json", "follows").out


# --- sessions ---


def test_a_session_goes_through_its_life(presence: Any) -> None:
    started = presence(
        "--json", "session", "start", FILM, "--title", "Film", "--duration", "1:30:00"
    ).json
    record = started["id"]
    assert (started["position"], started["duration"], started["state"]) == (0, 5_400, "open")
    assert started["holder"] == show_id(OWN)
    updated = presence("--json", "session", "update", record, "--position", "751.5").json
    assert updated["position"] == 751.5
    assert presence("--json", "session", "pause", record[:7]).json["lifecycle"] == "paused"
    assert presence("--json", "continue", FILM).json["claim"] == 2
    assert presence("--json", "session", "rewind", record, "--position", "0:30").code == Exit.OK
    assert presence("--json", "session", "finish", record).json["finished"] is True
    assert presence("--json", "session", "unfinish", record).json["finished"] is False
    for act in ("resume", "restart", "undo"):
        assert presence("--json", "session", act, record).code == Exit.OK
    acts = presence("--json", "session", "history", record).json
    assert acts[0]["kind"] == "undo"
    assert presence("--json", "session", "history", record, "--return", "1").code == Exit.OK
    assert presence("session", "history", record, "--return", "99").code == Exit.NOT_FOUND
    assert presence("--json", "session", "end", record).json["state"] == "ended"
    (listed,) = presence("--json", "session", "list").json
    assert set(listed) >= {"id", "title", "uri", "position", "state", "holder"}
    assert presence("--json", "session", "list", "--state", "open").json == []
    assert presence("session", "update", record).code == Exit.USAGE
    assert "Film" in presence("session", "show", record).out


# --- pairing ---


def test_devices_add_prints_the_promised_lines(presence: Any) -> None:
    ran = presence("--json", "devices", "add", "--yes")
    assert ran.code == Exit.OK
    assert ran.lines == [
        {"event": "code", "code": CODE},
        {
            "event": "candidate",
            "name": "living room",
            "fingerprint": "cccc dddd",
            "words": "acid bean crab dune",
        },
        {"event": "added", "device": show_id(OTHER)},
    ]


@pytest.mark.parametrize("arguments", [("join", CODE), ("devices", "add", CODE)])
def test_the_side_that_enters_the_code_shows_none(
    presence: Any, arguments: tuple[str, ...]
) -> None:
    events = [line["event"] for line in presence("--json", *arguments, "--yes").lines]
    assert events == ["candidate", "added"]


def test_the_code_can_come_from_standard_input(presence: Any) -> None:
    ran = presence("--json", "join", "-", stdin=f"{CODE}\ny\n")
    assert [line["event"] for line in ran.lines] == ["candidate", "added"]
    assert presence("--json", "join", "-", stdin="").code == Exit.USAGE


@pytest.mark.parametrize("answer", ["", "n\n", "what\n"])
def test_without_a_yes_nobody_is_added(presence: Any, answer: str) -> None:
    ran = presence("--json", "devices", "add", stdin=answer)
    assert ran.code == Exit.NOT_ALLOWED
    assert ran.lines[-1] == {"event": "failed", "type": "refused", "detail": ""}


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("wrong_code", Exit.FAILED),
        ("expired", Exit.NO_ANSWER),
        ("refused", Exit.NOT_ALLOWED),
        ("unreachable", Exit.NO_ANSWER),
        ("version", Exit.FAILED),
        ("interrupted", Exit.FAILED),
    ],
)
def test_a_failed_enrolment_has_type_and_exit_code(presence: Any, kind: Any, code: Exit) -> None:
    presence.fake.pairing_failure = Failed(type=kind, detail="why")
    ran = presence("--json", "join", CODE, "--yes")
    assert ran.lines == [{"event": "failed", "type": kind, "detail": "why"}]
    assert ran.code == code
    ran = presence("join", CODE, "--yes")
    assert (ran.code, ran.out) == (code, "")
    assert "why" in ran.err


def test_who_named_an_address_is_told_what_to_check_there(presence: Any) -> None:
    presence.fake.pairing_failure = Failed(type="unreachable", detail="192.0.2.7:4711: no answer")
    assert "--peer HOST:PORT" in presence("join", CODE, "--yes").err
    said = presence("join", CODE, "--yes", "--peer", "192.0.2.7:4711").err
    assert "192.0.2.7:4711: no answer" in said
    assert "presence status" in said
    assert "--peer HOST:PORT" not in said


def test_what_a_qr_code_says_is_a_code_with_its_addresses(presence: Any) -> None:
    uri = f"presenced:pair?v=1&code={CODE}&addr=192.0.2.7%3A4711&addr=%5B%3A%3A1%5D%3A4711"
    assert presence("--json", "join", uri, "--yes").code == Exit.OK
    assert presence("join", "presenced:pair?v=2&code=x", "--yes").code == Exit.USAGE


# --- identity, summary, the rest ---


def test_init_prints_identity_device_and_phrase_once(presence: Any) -> None:
    presence.fake.name = None
    ran = presence("--json", "init", "--name", "box")
    assert ran.json == {"identity": "did:key:zFake", "device": show_id(OWN), "phrase": PHRASE}
    assert presence.fake.name == "box"


def test_the_phrase_is_confirmed_by_two_words(presence: Any) -> None:
    assert presence("--json", "phrase").json == {"confirmed": False, "phrase": PHRASE}
    ran = presence("--json", "phrase", "--confirm", "1=abandon", "--confirm", "24=art")
    assert ran.json["confirmed"] is True
    assert "no phrase is kept here" in presence("phrase").out


def test_a_lost_value_is_one_command_from_being_restored(presence: Any) -> None:
    presence("follow", FEED)
    record = follow_id(FEED)
    lost = LostValue(log=OTHER_LOG, device=OTHER, ms=SAID_MS, value="Theirs", restorable=True)
    row = SummaryRow(
        side=Side.BOTH,
        map="follow",
        record=record,
        field="title",
        log=OWN_LOG,
        device=OWN,
        ms=SAID_MS,
        title="Ours\x1b[0m",
        value="Ours",
        rule="latest",
        asks=True,
        losing=(lost,),
    )
    presence.fake.told = Summary(
        elsewhere=(row,), here=(), both=(row,), elsewhere_more=0, here_more=0, both_more=0
    )
    ran = presence("summary")
    assert "the latest wins" in ran.out
    assert "\x1b" not in ran.out
    command = f"presence resolve {show_id(record)[:8]} title"
    assert command in ran.out
    told = presence("--json", *command.split()[1:], "--from", "living").json
    assert (told["field"], told["value"], told["instead_of"]) == ("title", "Theirs", "Ours")
    assert presence("resolve", show_id(record), "--from", "nobody").code == Exit.NOT_FOUND
    assert presence("summary", "--seen").code == Exit.OK
    assert presence("--json", "summary").json["elsewhere"] == []


def test_net_down_and_up(presence: Any) -> None:
    assert presence("--json", "net", "down").json == {"net": "down"}
    assert presence("--json", "status").json["links"] == []
    assert presence("--json", "net", "up").json == {"net": "up"}


def test_doctor_ends_with_8_if_something_needs_attention(presence: Any) -> None:
    assert presence("doctor").code == Exit.OK
    check = type(presence.fake.checks[0])(
        name="mdns", status="warn", detail="no multicast", next_step="Use --peer."
    )
    presence.fake.checks.append(check)
    ran = presence("doctor")
    assert ran.code == Exit.FINDINGS
    assert "Use --peer." in ran.out


def test_the_doctor_knows_an_old_daemon_that_an_upgrade_left_running(
    presence: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = SimpleNamespace(__version__="0.0.9")
    monkeypatch.setattr("presenced.local.machine.presenced", old)
    (version,) = [
        check for check in presence("--json", "doctor").json["checks"] if check["name"] == "version"
    ]
    assert version["status"] == "warn"
    assert "0.0.9" in version["detail"]


def test_watch_prints_one_object_per_event(presence: Any) -> None:
    before = presence.fake.events.last_id
    presence("follow", FEED)
    (event,) = presence("--json", "watch", "--after", before, "--count", "1").lines
    assert (event["event"], event["data"]["device"]) == ("follow.changed", show_id(OWN))
    ran = presence("watch", "--after", "gone-7", "--count", "1")
    assert ran.out.strip() == "reset"


def test_import_tells_what_was_skipped_and_export_gives_it_back(
    presence: Any, tmp_path: Path
) -> None:
    file = tmp_path / "list.opml"
    file.write_text(
        '<opml version="2.0"><body><outline text="News">'
        f'<outline type="rss" text="A" xmlUrl="{FEED}"/></outline>'
        '<outline type="rss" text="B" xmlUrl="no uri"/></body></opml>'
    )
    ran = presence("--json", "import", str(file))
    assert ran.code == Exit.FINDINGS
    assert (ran.json["imported"], ran.json["already_followed"]) == (1, 0)
    assert [item["uri"] for item in ran.json["skipped"]] == ["no uri"]
    again = presence("--json", "import", "-", stdin=file.read_text()).json
    assert (again["imported"], again["already_followed"]) == (0, 1)
    target = tmp_path / "out.opml"
    assert presence("export", str(target)).code == Exit.OK
    assert FEED in target.read_text()
    assert presence("export").out == target.read_text()


def _put(presence: Any, uri: str) -> None:
    from presenced.presence.views import FollowRow

    record = follow_id(uri)
    presence.fake.rows[record] = FollowRow(
        record, uri, "", "feed", "followed", "default", (), (), SAID_MS
    )
