from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import trio

from presenced.errors import StoreFull
from presenced.ids import RecordId, parse_id, show_id
from presenced.local.limits import BODY_BYTES_MAX, EDITS_MAX, IMPORT_CHUNK_EDITS, PAGE_ROWS_MAX
from presenced.local.progress import Failed
from presenced.presence.naming import follow_id
from presenced.presence.summary import LostValue, Side, Summary, SummaryRow
from presenced.testing.fake_owner import CODE, OTHER, OTHER_LOG, OWN, OWN_LOG, PHRASE, SAID_MS

FEED = "https://example.org/feed.xml"
FILM = "https://example.org/film.mp4"
BOOK = "urn:isbn:9780141439518"


async def test_status_tells_ids_times_and_digests_as_text(client: Any) -> None:
    status = (await client.ask("GET", "/v1/status")).json
    assert status["device"] == show_id(OWN)
    assert status["digest"]["follows"] == "01" * 32
    assert status["links"][0]["since"] == "2025-06-15T15:06:40.000Z"
    assert status["net"] == "up"
    assert status["pending"] == {"unsent": 0, "waiting": 0, "quarantined": 0}


async def test_one_list_of_edits_follows_tags_and_starts_a_session(client: Any) -> None:
    edits = [
        {"op": "follow", "uri": FEED, "title": "News", "tags": ["a"], "notify": "all"},
        {"op": "change_follow", "uri": FEED, "tags_on": ["b"], "tags_off": ["a"], "title": "N"},
        {"op": "start_session", "uri": FILM, "title": "Film", "duration": 90.5, "position": 12.25},
        {"op": "name_device", "name": "desk"},
    ]
    results = (await client.ask("POST", "/v1/edits", edits)).json["results"]
    assert [result["written"] for result in results] == [True] * 4
    follows = (await client.ask("GET", "/v1/follows")).json["follows"]
    assert [(row["title"], row["tags"], row["notify"]) for row in follows] == [("N", ["b"], "all")]
    (session,) = (await client.ask("GET", "/v1/sessions")).json["sessions"]
    assert (session["position"], session["duration"], session["place"]) == (12.25, 90.5, None)
    assert (session["holder"], session["holder_name"]) == (show_id(OWN), "desk")
    assert (session["state"], session["lifecycle"]) == ("open", "active")


async def test_a_list_with_one_impossible_edit_leaves_nothing(served: Any, client: Any) -> None:
    edits = [{"op": "follow", "uri": FEED}, {"op": "unfollow", "uri": "https://else.example/"}]
    response = await client.ask("POST", "/v1/edits", edits)
    assert (response.status, response.json["code"]) == (404, "not-followed")
    assert "presence follows" in response.json["next_step"]
    assert served.fake.rows == {}


async def test_edits_beyond_the_bound_are_refused(served: Any, client: Any) -> None:
    edits = [{"op": "unfollow", "uri": FEED}] * (EDITS_MAX + 1)
    response = await client.ask("POST", "/v1/edits", edits)
    assert (response.status, response.json["code"]) == (413, "too-many-edits")
    edits = [{"op": "follow", "uri": FEED}] * EDITS_MAX
    assert (await (await served.connect()).ask("POST", "/v1/edits", edits)).status == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[", 400),
        (b'[{"op":"folow","uri":"x"}]', 400),
        (b'[{"op":"follow"}]', 400),
        (b'[{"op":"follow","uri":"https://a.example/","titel":"x"}]', 400),
        (b'{"op":"follow","uri":"https://a.example/"}', 400),
        (b'[{"op":"follow","uri":"https://a.example/","title":"\\ud800"}]', 400),
        (b"\xff\xfe", 400),
        (b'[{"op":"session_act","session":"short","act":"undo"}]', 400),
        (b'[{"op":"start_session","uri":"https://a.example/","position":-1}]', 400),
        (b'[{"op":"start_session","uri":"https://a.example/","position":1e999}]', 400),
    ],
)
async def test_a_bad_body_is_a_problem_and_the_connection_lives_on(
    client: Any, body: bytes, status: int
) -> None:
    response = await client.ask("POST", "/v1/edits", body)
    assert response.status == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json["code"]
    assert (await client.ask("GET", "/v1/status")).status == 200


async def test_an_oversize_body_is_refused_by_its_declared_length(client: Any) -> None:
    await client.send_head("POST", "/v1/edits", BODY_BYTES_MAX + 1)
    response = await client.read()
    assert (response.status, response.json["code"]) == (413, "too-large")
    assert response.headers["connection"] == "close"


async def test_an_oversize_chunked_body_is_refused_when_it_passes_the_bound(client: Any) -> None:
    await client.stream.send_all(
        b"POST /v1/edits HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    for _ in range(BODY_BYTES_MAX // 0x10000 + 1):
        await client.stream.send_all(chunk)
    data = bytes(await client.stream.receive_some(65_536))
    assert data.startswith(b"HTTP/1.1 413")


async def test_a_disk_failure_is_told_with_what_to_do(served: Any, client: Any) -> None:
    served.fake.failure = StoreFull("no space")
    response = await client.ask("POST", "/v1/edits", [{"op": "follow", "uri": FEED}])
    assert (response.status, response.json["code"]) == (507, "disk-full")
    assert "Free some disk space" in response.json["next_step"]


async def test_an_unforeseen_error_says_nothing_of_what_it_was_about(
    served: Any, client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(_edits: Any) -> Any:
        raise RuntimeError(f"secret {FEED}")

    served.fake.edit = broken
    response = await client.ask("POST", "/v1/edits", [{"op": "follow", "uri": FEED}])
    assert (response.status, response.json["code"]) == (500, "internal")
    assert FEED not in response.body.decode()
    printed = capsys.readouterr()
    assert FEED not in printed.out + printed.err


async def test_a_session_is_named_by_id_beginning_or_uri(client: Any) -> None:
    edits = [{"op": "start_session", "uri": FILM}, {"op": "start_session", "uri": FILM + "2"}]
    first, second = (await client.ask("POST", "/v1/edits", edits)).json["results"]
    for reference in (first["id"], first["id"][:6], "https%3A%2F%2Fexample.org%2Ffilm.mp4"):
        shown = await client.ask("GET", f"/v1/sessions/{reference}")
        assert shown.json["id"] == first["id"]
    assert first["id"][0] != second["id"][0]
    missing = await client.ask("GET", "/v1/sessions/zzzz")
    assert (missing.status, missing.json["code"]) == (404, "no-such-session")


async def test_a_beginning_that_fits_two_sessions_is_a_conflict(served: Any, client: Any) -> None:
    edits = [{"op": "start_session", "uri": f"{FILM}?{number}"} for number in range(40)]
    results = (await client.ask("POST", "/v1/edits", edits)).json["results"]
    letters = [result["id"][0] for result in results]
    twice = next(letter for letter in letters if letters.count(letter) > 1)
    response = await client.ask("GET", f"/v1/sessions/{twice}")
    assert (response.status, response.json["code"]) == (409, "ambiguous")


async def test_reading_has_places_and_pages_and_refuses_seconds(client: Any) -> None:
    start = {"op": "start_session", "uri": BOOK, "kind": "reading", "pages": 480, "place": 0.25}
    (result,) = (await client.ask("POST", "/v1/edits", [start])).json["results"]
    shown = (await client.ask("GET", f"/v1/sessions/{result['id']}")).json
    assert (shown["place"], shown["pages"], shown["position"]) == (0.25, 480, None)
    act = {"op": "session_act", "session": result["id"], "act": "seek", "position": 3}
    response = await client.ask("POST", "/v1/edits", [act])
    assert (response.status, response.json["code"]) == (422, "wrong-unit")
    assert "place" in response.json["next_step"]


async def test_a_player_that_opens_is_told_the_place_offered(client: Any) -> None:
    start = {"op": "start_session", "uri": FILM, "position": 5, "duration": 100}
    (begun,) = (await client.ask("POST", "/v1/edits", [start])).json["results"]
    act = {"op": "session_act", "session": begun["id"], "act": "open", "duration": 50}
    (opened,) = (await client.ask("POST", "/v1/edits", [act])).json["results"]
    assert (opened["position"], opened["place"], opened["approximate"]) == (5.0, None, True)
    assert (begun["position"], begun["approximate"]) == (None, False)
    start = {"op": "start_session", "uri": BOOK, "kind": "reading", "pages": 480, "place": 0.25}
    (begun,) = (await client.ask("POST", "/v1/edits", [start])).json["results"]
    act = {"op": "session_act", "session": begun["id"], "act": "open"}
    (opened,) = (await client.ask("POST", "/v1/edits", [act])).json["results"]
    assert (opened["position"], opened["place"], opened["approximate"]) == (None, 0.25, False)


async def test_history_tells_what_adopt_takes(client: Any) -> None:
    start = {"op": "start_session", "uri": FILM, "position": 5}
    (result,) = (await client.ask("POST", "/v1/edits", [start])).json["results"]
    act = {"op": "session_act", "session": result["id"], "act": "pause"}
    await client.ask("POST", "/v1/edits", [act])
    (row,) = (await client.ask("GET", f"/v1/sessions/{result['id']}/history")).json["acts"]
    assert (row["kind"], row["position"], row["device_name"]) == ("pause", 5.0, "laptop")
    adopt = {**act, "act": "adopt", "log": row["log"], "row": row["row"]}
    assert (await client.ask("POST", "/v1/edits", [adopt])).status == 200


async def test_wide_lists_come_in_pages_of_the_bound(served: Any, client: Any) -> None:
    for number in range(PAGE_ROWS_MAX + 5):
        uri = f"{FEED}?{number}"
        served.fake.rows[follow_id(uri)] = served.fake.rows.get(follow_id(uri)) or _row(uri)
    first = (await client.ask("GET", "/v1/follows?limit=999999")).json
    assert len(first["follows"]) == PAGE_ROWS_MAX
    rest = (await client.ask("GET", f"/v1/follows?after={first['next']}")).json
    assert (len(rest["follows"]), rest["next"]) == (5, None)


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "state=gone", "text=%ff"])
async def test_bad_list_parameters_are_usage_problems(client: Any, query: str) -> None:
    assert (await client.ask("GET", f"/v1/follows?{query}")).status == 400


async def test_a_session_of_an_unreachable_holder_is_suspended(served: Any, client: Any) -> None:
    start = {"op": "start_session", "uri": FILM}
    (result,) = (await client.ask("POST", "/v1/edits", [start])).json["results"]
    (record,) = served.fake.played
    served.fake.played[record] = replace(served.fake.played[record], holder=OTHER_LOG)
    shown = (await client.ask("GET", f"/v1/sessions/{result['id']}")).json
    assert (shown["holder"], shown["lifecycle"]) == (show_id(OTHER), "active")
    await client.ask("PUT", "/v1/net", {"state": "down"})
    shown = (await client.ask("GET", f"/v1/sessions/{result['id']}")).json
    assert shown["lifecycle"] == "suspended"


async def test_nobody_holds_a_session_that_is_free(served: Any, client: Any) -> None:
    await client.ask("POST", "/v1/edits", [{"op": "start_session", "uri": FILM}])
    (record,) = served.fake.played
    served.fake.played[record] = replace(served.fake.played[record], phase="free")
    (shown,) = (await client.ask("GET", "/v1/sessions")).json["sessions"]
    assert (shown["holder"], shown["lifecycle"]) == (None, "free")


async def test_a_device_is_named_by_the_beginning_of_its_name(client: Any) -> None:
    assert (await client.ask("GET", "/v1/devices/LIV")).json["id"] == show_id(OTHER)
    assert (await client.ask("GET", f"/v1/devices/{show_id(OWN)}")).json["own"] is True
    assert (await client.ask("GET", "/v1/devices/nobody")).status == 404
    assert (await client.ask("GET", "/v1/devices/l")).json["code"] == "ambiguous"
    shown = (await client.ask("GET", "/v1/devices/living%20room")).json
    assert shown["evidence"]["claims"][0] == {
        "name": "os",
        "value": "Linux",
        "basis": "software-only",
    }


async def test_import_streams_progress_and_skips_what_is_bad(served: Any, client: Any) -> None:
    lines = [json.dumps({"uri": f"{FEED}?{number}"}) for number in range(IMPORT_CHUNK_EDITS)]
    lines += ["not json", '{"uri":"no uri"}', json.dumps({"uri": f"{FEED}?0"}), ""]
    events = (await client.ask("POST", "/v1/import", "\n".join(lines).encode())).lines
    assert [event["event"] for event in events] == ["progress", "done"]
    done = events[-1]
    assert (done["imported"], done["already_followed"]) == (IMPORT_CHUNK_EDITS, 0)
    skipped = [item["line"] for item in done["skipped"]]
    assert skipped == [IMPORT_CHUNK_EDITS + 1, IMPORT_CHUNK_EDITS + 2]
    assert len(served.fake.rows) == IMPORT_CHUNK_EDITS


async def test_what_is_listed_twice_counts_once(client: Any) -> None:
    body = "\n".join(json.dumps({"uri": uri}) for uri in (FEED, FEED, f"{FEED}?b")).encode()
    for counts in ((2, 0), (0, 2)):
        done = (await client.ask("POST", "/v1/import", body)).lines[-1]
        assert (done["imported"], done["already_followed"]) == counts


@pytest.mark.parametrize("body", [b"", b'{"uri":"https://a.example/"}'])
async def test_an_import_before_set_up_says_so_also_of_nothing(
    served: Any, client: Any, body: bytes
) -> None:
    served.fake.name = None
    (event,) = (await client.ask("POST", "/v1/import", body)).lines
    assert (event["event"], event["problem"]["code"]) == ("failed", "not-set-up")


async def test_an_import_that_the_disk_ends_tells_what_is_kept(served: Any, client: Any) -> None:
    served.fake.failure = StoreFull("no space")
    events = (await client.ask("POST", "/v1/import", b'{"uri":"https://a.example/"}')).lines
    assert events[-1]["event"] == "failed"
    assert events[-1]["problem"]["code"] == "disk-full"
    assert events[-1]["imported"] == 0


async def test_summary_shows_values_in_the_units_of_the_api(served: Any, client: Any) -> None:
    await client.ask("POST", "/v1/edits", [{"op": "start_session", "uri": FILM}])
    (record,) = served.fake.played
    lost = LostValue(
        log=OTHER_LOG,
        device=OTHER,
        ms=SAID_MS,
        value={"at": 61_000, "done": True, "of": 0},
        restorable=True,
    )
    row = SummaryRow(
        side=Side.BOTH,
        map="session",
        record=record,
        field="progress",
        log=OWN_LOG,
        device=OWN,
        ms=SAID_MS,
        title="Film",
        value={"at": 1_500, "done": False, "of": 0},
        rule="furthest",
        asks=True,
        losing=(lost,),
    )
    served.fake.told = Summary(
        elsewhere=(), here=(), both=(row,), elsewhere_more=0, here_more=3, both_more=0
    )
    summary = (await client.ask("GET", "/v1/summary")).json
    (line,) = summary["both"]
    assert line["value"] == {"position": 1.5, "place": None, "finished": False}
    assert line["losing"][0]["value"]["finished"] is True
    assert line["losing"][0]["device_name"] == "living room"
    assert summary["here_more"] == 3
    assert (await client.ask("POST", "/v1/summary/seen")).status == 204


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("progress", {"at": "chapter 9"}),
        ("progress", {"place": "chapter 9"}),
        ("progress", {"at": 2**2000, "done": False, "of": 0}),
        ("progress", {"at": None, "done": False, "of": 0}),
        ("speed", 2**2000),
        ("speed", True),
        ("speed", 20_000),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_summary_shows_what_is_not_readable_here_as_it_stands(
    served: Any, client: Any, field: str, value: Any
) -> None:
    lost = LostValue(log=OTHER_LOG, device=OTHER, ms=SAID_MS, value=value, restorable=False)
    row = SummaryRow(
        side=Side.BOTH, map="session", record=RecordId(bytes(16)), field=field, log=None,
        device=None, ms=0, title="Film", value=None, rule="unreadable", losing=(lost,),
    )  # fmt: skip
    served.fake.told = Summary(
        elsewhere=(), here=(), both=(row,), elsewhere_more=0, here_more=0, both_more=0
    )
    (line,) = (await client.ask("GET", "/v1/summary")).json["both"]
    shown = line["losing"][0]["value"]
    assert (shown, type(shown)) == (value, type(value))


async def test_the_phrase_is_forgotten_after_two_right_words(served: Any, client: Any) -> None:
    assert (await client.ask("GET", "/v1/phrase")).json["phrase"] == PHRASE
    wrong = {"words": {"1": "zoo", "24": "art"}}
    assert (await client.ask("POST", "/v1/phrase/confirm", wrong)).status == 403
    for words in ({"1": "abandon"}, {"1": "a", "25": "b"}, {"1": "a", "01": "b"}):
        answer = await client.ask("POST", "/v1/phrase/confirm", {"words": words})
        assert answer.status in (400, 422)
    right = {"words": {"1": "Abandon ", "24": "art"}}
    assert (await client.ask("POST", "/v1/phrase/confirm", right)).json["confirmed"] is True
    assert (await client.ask("GET", "/v1/phrase")).json == {"confirmed": True, "phrase": None}


async def test_init_answers_once_and_then_conflicts(served: Any, client: Any) -> None:
    served.fake.name = None
    assert (await client.ask("GET", "/v1/summary")).json["code"] == "not-set-up"
    founded = await client.ask("POST", "/v1/init", {"name": "box"})
    assert (founded.status, founded.json["device"]) == (201, show_id(OWN))
    assert (await client.ask("POST", "/v1/init", {"name": "box"})).status == 409


async def test_pairing_streams_code_candidate_and_added(served: Any, client: Any) -> None:
    await client.send_head("POST", "/v1/pairing", 18)
    await client.stream.send_all(b'{"role":"sponsor"}')
    await client.head()
    lines: list[Any] = []
    while len(lines) < 2:
        data = bytes((await client.event()).data)
        lines += [json.loads(line) for line in data.splitlines() if line]
    assert lines[0] == {
        "event": "code",
        "code": CODE,
        "addresses": ["192.0.2.7:4711", "[::1]:4711"],
    }
    assert lines[1]["words"] == "acid bean crab dune"
    other = await served.connect()
    busy = await other.ask("POST", "/v1/pairing", {"role": "sponsor"})
    assert busy.status == 409
    assert (await other.ask("POST", "/v1/pairing/approve")).status == 204
    assert json.loads(bytes((await client.event()).data)) == {
        "event": "added",
        "device": show_id(OTHER),
    }
    assert (await other.ask("GET", "/v1/pairing")).json["over"] is True


async def test_an_enrolment_ends_with_the_screen_that_shows_it(served: Any, client: Any) -> None:
    await client.send_head("POST", "/v1/pairing", 18)
    await client.stream.send_all(b'{"role":"sponsor"}')
    await client.head()
    await client.stream.aclose()
    with trio.fail_after(5):
        await served.fake.cancelled.wait()


async def test_a_failed_enrolment_says_which_way(served: Any, client: Any) -> None:
    served.fake.pairing_failure = Failed(type="wrong_code")
    body = {"role": "joiner", "code": "123-apple-zebra", "peers": ["[fe80::1%2]:9", "box.local:9"]}
    events = (await client.ask("POST", "/v1/pairing", body)).lines
    assert events == [{"event": "failed", "type": "wrong_code", "detail": ""}]


@pytest.mark.parametrize("peer", ["host", "host:", ":9", "host:0", "host:70000", "fe80::1:9"])
async def test_an_address_that_is_none_is_refused(client: Any, peer: str) -> None:
    body = {"role": "joiner", "code": "123-apple-zebra", "peers": [peer]}
    response = await client.ask("POST", "/v1/pairing", body)
    assert (response.status, response.json["code"]) == (422, "bad-address")


async def test_unknown_paths_and_methods_say_so(client: Any) -> None:
    assert (await client.ask("GET", "/v2/status")).json["code"] == "no-such-path"
    response = await client.ask("DELETE", "/v1/status")
    assert (response.status, response.json["next_step"]) == (405, "Use GET.")


def _row(uri: str) -> Any:
    from presenced.presence.views import FollowRow

    return FollowRow(follow_id(uri), uri, "", "feed", "followed", "default", (), (), SAID_MS)


def test_ids_of_the_fake_are_ids() -> None:
    assert parse_id(show_id(OWN)) == OWN
