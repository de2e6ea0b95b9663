"""Two real daemons of one person: what is edited on one is on the other, also after being apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from presenced.testing.conversation import wait_until
from presenced.testing.daemons import (
    ScratchDaemon,
    paired_daemons,
    wait_converged,
    wait_linked,
)

pytestmark = pytest.mark.system

Pair = tuple[ScratchDaemon, ScratchDaemon]


@pytest.fixture(scope="module")
def paired() -> Iterator[Pair]:
    with paired_daemons() as both:
        yield both


@pytest.fixture
def linked(paired: Pair) -> Pair:
    """Both run, linked and equal, whatever the test before did."""
    for daemon in paired:
        if daemon.process is None:
            daemon.start()
        daemon.ask("net", "up")
    wait_linked(*paired)
    wait_converged(*paired)
    return paired


def uris(daemon: ScratchDaemon) -> set[str]:
    return {follow["uri"] for follow in daemon.ask("follows")}


def session(daemon: ScratchDaemon, uri: str) -> dict[str, Any]:
    (found,) = [row for row in daemon.ask("session", "list") if row["uri"] == uri]
    shown: dict[str, Any] = found
    return shown


def part(*daemons: ScratchDaemon) -> None:
    """Hold the links of all down and wait until each has noticed."""
    for daemon in daemons:
        daemon.ask("net", "down")
    wait_until(lambda: not any(daemon.status()["links"] for daemon in daemons), "no link")


def reunite(*daemons: ScratchDaemon) -> dict[str, str]:
    """Let links come back; the digests that all agree on."""
    for daemon in daemons:
        daemon.ask("net", "up")
    wait_linked(*daemons)
    return wait_converged(*daemons)


def test_what_is_followed_on_either_is_followed_on_both(linked: Pair) -> None:
    laptop, box = linked
    laptop.ask("follow", "https://example.org/feed-a", "--title", "A")
    box.ask("follow", "https://example.org/feed-b", "--title", "B", "--kind", "podcast")
    wait_converged(laptop, box)
    assert {"https://example.org/feed-a", "https://example.org/feed-b"} <= uris(laptop)
    assert uris(laptop) == uris(box)
    laptop.ask("unfollow", "https://example.org/feed-b")
    wait_until(lambda: "https://example.org/feed-b" not in uris(box), "the unfollow on the box")


def test_a_session_goes_on_where_the_other_device_left_it(linked: Pair) -> None:
    laptop, box = linked
    uri = "https://example.org/film"
    laptop.ask("session", "start", uri, "--title", "Film", "--duration", "5400")
    identifier = session(laptop, uri)["id"]
    laptop.ask("session", "update", identifier, "--position", "1800.25")
    wait_converged(laptop, box)
    seen = session(box, uri)
    assert (seen["id"], seen["position"], seen["title"]) == (identifier, 1800.25, "Film")
    box.ask("continue", identifier)
    holder = box.ask("status")["device"]
    wait_until(lambda: session(laptop, uri)["holder"] == holder, "the laptop sees the new holder")
    assert session(laptop, uri)["position"] == 1800.25


def test_edits_made_apart_on_both_sides_merge_into_equal_digests(linked: Pair) -> None:
    laptop, box = linked
    contested = "https://example.org/contested"
    laptop.ask("follow", contested, "--title", "Contested")
    wait_converged(laptop, box)
    part(laptop, box)
    laptop.ask("unfollow", contested)
    laptop.ask("follow", "https://example.org/only-laptop")
    box.ask("unfollow", contested)
    box.ask("follow", contested)
    box.ask("follow", "https://example.org/only-box")
    assert contested not in uris(laptop)
    assert contested in uris(box)
    reunite(laptop, box)
    assert uris(laptop) == uris(box)
    assert {
        contested,
        "https://example.org/only-laptop",
        "https://example.org/only-box",
    } <= uris(laptop)


def test_the_summary_says_who_changed_what_and_which_rule_decided(linked: Pair) -> None:
    laptop, box = linked
    contested = "https://example.org/summary"
    laptop.ask("follow", contested, "--title", "Summary")
    wait_converged(laptop, box)
    part(laptop, box)
    laptop.ask("unfollow", contested)
    box.ask("unfollow", contested)
    box.ask("follow", contested)
    reunite(laptop, box)
    summary = laptop.ask("summary")
    lines = [line for line in summary["both"] if line["title"] == "Summary"]
    assert [line["field"] for line in lines] == ["state"]
    assert lines[0]["rule"]
    assert [lost["value"] for lost in lines[0]["losing"]] == ["unfollowed"]


def test_a_device_that_was_off_catches_up_when_it_comes_back(linked: Pair) -> None:
    laptop, box = linked
    assert box.stop() == 0
    wait_until(lambda: not laptop.status()["links"], "the laptop notices")
    laptop.ask("follow", "https://example.org/while-off")
    box.start()
    wait_linked(laptop, box)
    wait_converged(laptop, box)
    assert "https://example.org/while-off" in uris(box)


def test_the_answer_to_an_edit_that_is_made_twice_says_that_nothing_was_written(
    linked: Pair,
) -> None:
    laptop, _ = linked
    edit = {"op": "unfollow", "uri": "https://example.org/never-followed"}
    with laptop.owner() as owner:
        owner.edit({"op": "follow", "uri": edit["uri"]})
        assert owner.edit(edit)["results"][0]["written"]
        status, problem = owner.request("POST", "/v1/edits", [edit, {"op": "no-such-act"}])
        assert status in (400, 422)
        assert problem["next_step"] or problem["detail"]


def test_a_list_of_edits_is_carried_out_whole_or_not_at_all(linked: Pair) -> None:
    laptop, _ = linked
    good = {"op": "follow", "uri": "https://example.org/all-or-nothing"}
    bad = {"op": "follow", "uri": "not a uri"}
    with laptop.owner() as owner:
        status, _ = owner.request("POST", "/v1/edits", [good, bad])
    assert 400 <= status < 500
    assert good["uri"] not in uris(laptop)
