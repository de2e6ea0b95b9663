"""Drawn worlds, each in many orders: what people do, what breaks, and what is true afterwards."""

from __future__ import annotations

import pytest

from presenced.replica import replica, sync
from presenced.testing.scenarios import follow_shown, play, session_shown

pytestmark = pytest.mark.parametrize("seed", range(8))


def test_both_sides_of_a_partition_edit_one_field(seed: int) -> None:
    world = play(
        """
        A            | B
        found        |
        admit B      |
        follow       |
        part B       |
        title one    | title two
        rejoin B     |
        """,
        seed,
    )
    shown = follow_shown(world, "A")
    assert shown.title in ("one", "two")
    assert shown.conflicts == ("title",)


def test_followed_and_unfollowed_apart_stays_visible_and_asks(seed: int) -> None:
    world = play(
        """
        A            | B
        found        |
        admit B      |
        follow       |
        part B       |
        unfollow     | follow
        rejoin B     |
        """,
        seed,
    )
    shown = follow_shown(world, "B")
    assert (shown.state, shown.conflicts) == ("followed", ("state",))


def test_two_devices_take_one_session_over_apart(seed: int) -> None:
    world = play(
        """
        A             | B               | C
        found         |                 |
        admit B C     |                 |
        start 60000   |                 |
        part B C      | part C          |
                      | take            | take
        rejoin B C    | rejoin C        |
        """,
        seed,
    )
    shown = session_shown(world, "A")
    claims = {session_shown(world, name).holder for name in "ABC"}
    assert claims == {shown.holder}
    assert shown.claim == 2
    assert "holder" in shown.conflicts


def test_a_partition_heals_one_link_at_a_time(seed: int) -> None:
    world = play(
        """
        A            | B              | C            | D
        found        |                |              |
        admit B C D  |                |              |
        follow       |                |              |
        part B C D   | part C D       | part D       |
        title a      | title b        | title c      | unfollow
        rejoin B     |                |              |
        title a2     |                | rejoin D     |
                     | rejoin C       |              | title d
        """,
        seed,
    )
    assert len({follow_shown(world, name) for name in "ABCD"}) == 1


@pytest.mark.parametrize("at", ["lost", "kept", "sending"])
def test_a_crash_at_a_commit_loses_nothing_that_was_answered(at: str, seed: int) -> None:
    world = play(
        f"""
        A               | B
        found           |
        admit B         |
        follow          |
        crash {at}      |
        title one       | title two
        title three     |
        """,
        seed,
    )
    assert follow_shown(world, "B").title == "three"


@pytest.mark.parametrize("at", ["lost", "kept", "sending"])
def test_a_sponsor_that_crashes_while_it_admits_can_admit_again(at: str, seed: int) -> None:
    world = play(
        f"""
        A                   | B
        found               |
        follow              |
        crash {at}; admit B |
        admit B             |
        title one           |
        """,
        seed,
    )
    assert follow_shown(world, "B").title == "one"


def test_a_full_disk_refuses_edits_and_recovers(seed: int) -> None:
    world = play(
        """
        A            | B
        found        |
        admit B      |
        follow       |
        full; title lost | title two
        title three  |
        """,
        seed,
    )
    assert follow_shown(world, "B").title == "three"


def test_a_device_joins_while_others_are_apart(seed: int) -> None:
    world = play(
        """
        A            | B              | C
        found        |                |
        admit B      |                |
        follow       |                |
        part B       |                |
        title one    | admit C        |
                     |                | title three
        rejoin B     |                |
        """,
        seed,
    )
    assert follow_shown(world, "A").title in ("one", "three")


def test_two_sponsors_admit_at_once_and_pay_the_same_debts(seed: int) -> None:
    play(
        """
        A            | B              | C            | D
        found        |                |              |
        admit B      |                |              |
        part B       |                |              |
        admit C      | admit D        |              |
        follow       |                | rename C     | rename D
        rejoin B     |                |              |
        """,
        seed,
    )


def test_a_sleeper_wakes_to_what_it_missed(seed: int) -> None:
    world = play(
        """
        A            | B
        found        |
        admit B      |
        follow       | sleep
        title one    |
        title two    |
        title three  | wake
        """,
        seed,
    )
    assert follow_shown(world, "B").title == "three"


def test_a_clock_a_month_ahead_wins_nothing_that_was_seen(seed: int) -> None:
    world = play(
        """
        A            | B
        found        |
        admit B      |
                     | days 30
                     | follow
        title one    |
        """,
        seed,
    )
    assert follow_shown(world, "B").title == "one"
    assert follow_shown(world, "B").conflicts == ()


def test_finished_here_and_played_on_later_there_is_finished_and_asks(seed: int) -> None:
    world = play(
        """
        A             | B
        found         |
        admit B       |
        start 1000    |
        part B        |
        finish        |
                      | seek 900000
        rejoin B      |
        """,
        seed,
    )
    shown = session_shown(world, "A")
    assert (shown.done, shown.conflicts) == (True, ("progress",))


def test_crossed_and_doubled_dials_leave_one_link(seed: int) -> None:
    world = play(
        """
        A                      | B
        found                  |
        admit B                |
        dial B; dial B; follow | dial A
        cut B; title one       |
        dial B; title two      | dial A
        """,
        seed,
    )
    for device in world.members:
        assert device.machine is not None
        assert len(device.machine.links) == 1


def test_damage_ends_a_link_and_nothing_else(seed: int) -> None:
    world = play(
        """
        A                  | B
        found              |
        admit B            |
        follow             |
        damage; title one  | title two
        title three        | damage
        """,
        seed,
        sealed_links=True,
    )
    assert follow_shown(world, "B").title == "three"


def test_many_offline_edits_are_sealed_in_chunks(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "OVERLAY_FIELDS_MAX", 20)
    world = play(
        """
        A            | B
        found        |
        admit B      |
        part B       |
        many 70      | many 3
        many 5       |
        rejoin B     |
        """,
        seed,
    )
    assert len(world.devices[1].disk.follow_rows) == 78


def test_a_joiner_starts_from_a_snapshot_amid_edits(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "SNAPSHOT_SLOTS_MIN", 10)
    world = play(
        """
        A            | B              | C
        found        |                |
        admit B      |                |
        many 40      |                |
        admit C; many 3 | many 2      |
        title none   | many 2         |
        """,
        seed,
    )
    heads = world.devices[2].disk.log_heads("follows")
    assert any(head.base_seq for head in heads)
    assert len(world.devices[2].disk.follow_rows) == 47
