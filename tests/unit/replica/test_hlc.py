"""The hybrid clock: always forward, and moved by others only so far."""

from __future__ import annotations

from presenced.limits import CLOCK_AHEAD_CLAMP_MS
from presenced.replica.hlc import Hlc, HybridClock, hlc_counter, hlc_ms, make_hlc

NOW_MS = 1_795_424_400_000


def test_stamps_rise_although_the_wall_clock_steps_back() -> None:
    clock = HybridClock()
    stamps = [clock.tick(wall_ms) for wall_ms in (NOW_MS, NOW_MS, NOW_MS - 10**10, 0, NOW_MS + 1)]
    assert stamps == sorted(set(stamps))
    assert hlc_counter(stamps[3]) == 3
    assert stamps[4] == make_hlc(NOW_MS + 1)


def test_a_clock_started_from_the_highest_stamp_kept_never_repeats_it() -> None:
    assert HybridClock(make_hlc(NOW_MS, 7)).tick(5) == make_hlc(NOW_MS, 8)


def test_a_remote_stamp_within_the_clamp_is_passed() -> None:
    clock = HybridClock()
    remote = make_hlc(NOW_MS + CLOCK_AHEAD_CLAMP_MS, 0)
    assert clock.observe(remote, NOW_MS) == CLOCK_AHEAD_CLAMP_MS
    assert clock.tick(NOW_MS) == remote + 1


def test_a_remote_stamp_years_ahead_moves_the_clock_to_the_clamp_and_no_further() -> None:
    clock = HybridClock()
    remote = make_hlc(NOW_MS + 10**11, 9)
    assert clock.observe(remote, NOW_MS) == 10**11
    stamp = clock.tick(NOW_MS)
    assert (hlc_ms(stamp), hlc_counter(stamp)) == (NOW_MS + CLOCK_AHEAD_CLAMP_MS, 1)


def test_a_remote_stamp_behind_changes_nothing() -> None:
    clock = HybridClock()
    clock.tick(NOW_MS)
    assert clock.observe(Hlc(1), NOW_MS) == 0
    assert clock.last == make_hlc(NOW_MS)
