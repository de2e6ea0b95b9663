"""Whom to dial and when, by seeds: back-off, resets, races, bounds for what is not verified."""

from __future__ import annotations

import itertools
import random

import pytest

from presenced.clock import Instant
from presenced.ids import DeviceId
from presenced.net.dialing import Address, Dialer
from presenced.net.limits import (
    CANDIDATE_DIALS_MAX,
    CANDIDATE_DIALS_MS,
    CANDIDATE_FORGET_MS,
    CANDIDATES_MAX,
    DEVICE_ADDRESSES_MAX,
    DIALS_AT_ONCE_MAX,
    HINT_RESET_MS,
    RACE_STAGGER_MS,
    RETRY_FIRST_MS,
    RETRY_LAST_MS,
    UNVERIFIED_DIALS_MAX,
)

A = DeviceId(b"A" * 16)
B = DeviceId(b"B" * 16)
HOME: Address = ("192.0.2.1", 4000)
OTHER: Address = ("192.0.2.2", 4000)


def at(mono_ms: int) -> Instant:
    return Instant(mono_ms, 1_760_000_000_000 + mono_ms)


def make(seed: int = 0) -> Dialer:
    return Dialer(random.Random(seed).randbytes)


def addresses(dialer: Dialer, now_ms: int) -> list[Address]:
    return [dial.address for dial in dialer.due(at(now_ms))]


def run_failing(dialer: Dialer, until_ms: int, *, from_ms: int = 0) -> list[tuple[int, Address]]:
    """Every dial fails at once. What was dialled when, from wake-up to wake-up."""
    dialled: list[tuple[int, Address]] = []
    now_ms = from_ms
    while now_ms <= until_ms:
        for dial in dialer.due(at(now_ms)):
            dialled.append((now_ms, dial.address))
            dialer.failed(dial.address, at(now_ms))
        wakeup = dialer.next_wakeup(at(now_ms))
        assert wakeup is not None
        now_ms = max(now_ms + 1, wakeup.mono_ms)
    return dialled


def test_a_configured_address_is_dialled_at_once_and_knows_nobody() -> None:
    dialer = make()
    dialer.configure([HOME], at(0))
    (dial,) = dialer.due(at(0))
    assert (dial.address, dial.device) == (HOME, None)
    assert dialer.due(at(0)) == []
    assert dialer.next_wakeup(at(0)) is None


@pytest.mark.parametrize("seed", range(20))
def test_failures_double_the_delay_up_to_a_minute_with_jitter(seed: int) -> None:
    dialer = make(seed)
    dialer.configure([HOME], at(0))
    dialled = run_failing(dialer, 10 * 60_000)
    gaps = [after - before for (before, _), (after, _) in itertools.pairwise(dialled)]
    for failures, gap in enumerate(gaps):
        nominal = min(RETRY_FIRST_MS * 2**failures, RETRY_LAST_MS)
        assert nominal // 2 <= gap <= nominal
    assert len(set(gaps)) > len(gaps) // 2


def test_two_devices_do_not_stay_in_step() -> None:
    first, second = make(1), make(2)
    for dialer in (first, second):
        dialer.configure([HOME], at(0))
    times = [{when for when, _ in run_failing(dialer, 60_000)} for dialer in (first, second)]
    assert len(times[0] & times[1]) <= 2


@pytest.mark.parametrize("seed", range(20))
def test_a_lost_link_is_redialled_within_a_tenth_of_a_second(seed: int) -> None:
    dialer = make(seed)
    dialer.configure([HOME], at(0))
    dialer.due(at(0))
    dialer.succeeded(HOME, A, at(5))
    assert dialer.next_wakeup(at(5)) is None
    dialer.unlinked(A, at(60_000))
    wakeup = dialer.next_wakeup(at(60_000))
    assert wakeup is not None
    assert RETRY_FIRST_MS // 2 <= wakeup.mono_ms - 60_000 <= RETRY_FIRST_MS
    (dial,) = dialer.due(wakeup)
    assert (dial.address, dial.device) == (HOME, A)


def test_a_linked_device_is_not_dialled_whoever_dialled() -> None:
    dialer = make()
    dialer.remember(A, [HOME], at(0))
    dialer.remember(B, [OTHER], at(0))
    dialer.linked(A)
    assert addresses(dialer, 0) == [OTHER]


def test_network_change_and_waking_start_anew() -> None:
    dialer = make()
    dialer.configure([HOME], at(0))
    run_failing(dialer, 5 * 60_000)
    dialer.reset(at(400_000))
    assert addresses(dialer, 400_000) == [HOME]


def test_a_new_hint_starts_anew_but_a_replayed_one_does_not_drive_us() -> None:
    dialer = make()
    dialer.remember(A, [HOME], at(0))
    run_failing(dialer, 5 * 60_000)
    start = 5 * 60_000
    dialled = 0
    for now_ms in range(start, start + 60_000, 250):
        dialer.found(A, [HOME], at(now_ms))
        for dial in dialer.due(at(now_ms)):
            dialled += 1
            dialer.failed(dial.address, at(now_ms))
    # each reset allows the fast retries of its ten seconds: 100 + 200 + ... ms
    fast = (HINT_RESET_MS // RETRY_FIRST_MS).bit_length() + 1
    assert dialled <= (60_000 // HINT_RESET_MS) * fast


def test_the_last_good_address_leads_the_race() -> None:
    dialer = make()
    dialer.remember(A, [HOME, OTHER], at(0))
    assert addresses(dialer, 0) == [HOME]
    assert addresses(dialer, RACE_STAGGER_MS - 1) == []
    assert addresses(dialer, RACE_STAGGER_MS) == [OTHER]
    dialer.succeeded(OTHER, A, at(300))
    dialer.failed(HOME, at(5_000))
    dialer.unlinked(A, at(10_000))
    assert addresses(dialer, 10_100) == [OTHER]
    assert addresses(dialer, 10_100 + RACE_STAGGER_MS) == [HOME]
    assert dialer.addresses(A) == (OTHER,)


def test_a_failure_gives_the_next_address_its_turn() -> None:
    dialer = make()
    dialer.remember(A, [HOME, OTHER], at(0))
    assert addresses(dialer, 0) == [HOME]
    dialer.failed(HOME, at(1))
    wakeup = dialer.next_wakeup(at(1))
    assert wakeup is not None
    assert wakeup.mono_ms <= RACE_STAGGER_MS


def test_an_unverified_address_is_dialled_eight_times_a_minute_through_any_resets() -> None:
    dialer = make()
    dialer.found(A, [HOME], at(0))
    dialled = 0
    for now_ms in range(0, CANDIDATE_DIALS_MS, 100):
        dialer.reset(at(now_ms))
        for dial in dialer.due(at(now_ms)):
            dialled += 1
            dialer.failed(dial.address, at(now_ms))
    assert dialled == CANDIDATE_DIALS_MAX
    wakeup = dialer.next_wakeup(at(CANDIDATE_DIALS_MS - 1))
    assert wakeup is not None
    assert wakeup.mono_ms >= CANDIDATE_DIALS_MS
    dialer.reset(at(CANDIDATE_DIALS_MS + 1))
    assert addresses(dialer, CANDIDATE_DIALS_MS + 1) == [HOME]


def test_forged_addresses_that_come_and_go_are_bounded_together() -> None:
    dialer = make()
    dialled = 0
    for now_ms in range(0, CANDIDATE_DIALS_MS, 50):
        dialer.found(A, [("198.51.100.9", 1000 + now_ms // 50)], at(now_ms))
        for dial in dialer.due(at(now_ms)):
            dialled += 1
            dialer.failed(dial.address, at(now_ms))
    assert dialled <= UNVERIFIED_DIALS_MAX


def test_only_so_many_unverified_addresses_are_kept_and_good_ones_stay() -> None:
    dialer = make()
    dialer.configure([HOME], at(0))
    dialer.remember(A, [OTHER], at(0))
    for port in range(1, 200):
        dialer.found(B, [("198.51.100.1", port)], at(port))
    assert len(dialer._targets) == CANDIDATES_MAX + 2
    assert {HOME, OTHER} <= set(dialer._targets)


def test_an_unverified_address_is_forgotten_when_it_is_not_seen_again() -> None:
    dialer = make()
    dialer.found(A, [HOME], at(0))
    assert addresses(dialer, CANDIDATE_FORGET_MS) == []
    assert dialer.next_wakeup(at(CANDIDATE_FORGET_MS)) is None


def test_only_so_many_dials_are_in_flight() -> None:
    dialer = make()
    dialer.configure([("192.0.2.9", port) for port in range(1, 30)], at(0))
    first = addresses(dialer, 0)
    assert len(first) == DIALS_AT_ONCE_MAX
    assert dialer.next_wakeup(at(0)) is None
    dialer.failed(first[0], at(10))
    assert len(addresses(dialer, 10)) == 1


def test_only_the_last_good_addresses_of_a_device_are_remembered() -> None:
    dialer = make()
    for port in range(1, 20):
        dialer.found(A, [("192.0.2.1", port)], at(port))
        dialer.succeeded(("192.0.2.1", port), A, at(port))
    kept = dialer.addresses(A)
    assert len(kept) == DEVICE_ADDRESSES_MAX
    assert kept[0] == ("192.0.2.1", 19)
    assert len(dialer._targets) == DEVICE_ADDRESSES_MAX


def test_a_removed_device_is_not_dialled_any_more() -> None:
    dialer = make()
    dialer.configure([HOME], at(0))
    dialer.succeeded(HOME, A, at(0))
    dialer.remember(A, [OTHER], at(0))
    dialer.forget(A)
    (dial,) = dialer.due(at(0))
    assert (dial.address, dial.device) == (HOME, None)


def test_another_device_at_a_known_address_takes_it_over() -> None:
    dialer = make()
    dialer.remember(A, [HOME], at(0))
    dialer.due(at(0))
    dialer.succeeded(HOME, B, at(1))
    assert dialer.addresses(A) == ()
    assert dialer.addresses(B) == (HOME,)


def test_a_hint_does_not_rename_a_verified_address() -> None:
    dialer = make()
    dialer.remember(A, [HOME], at(0))
    dialer.due(at(0))
    dialer.succeeded(HOME, A, at(1))
    dialer.found(B, [HOME], at(2))
    assert dialer.addresses(A) == (HOME,)


@pytest.mark.parametrize("seed", range(50))
def test_in_a_random_world_no_bound_breaks_and_nothing_is_dialled_twice(seed: int) -> None:
    world = random.Random(seed)
    dialer = make(seed)
    pool = [("192.0.2.1", port) for port in range(1, 120)]
    flying: set[Address] = set()
    now_ms = 0
    for _ in range(400):
        now_ms += world.choice((0, 1, 50, 500, 20_000))
        device, address = world.choice((A, B)), world.choice(pool)
        match world.randrange(7):
            case 0:
                dialer.found(device, [address], at(now_ms))
            case 1:
                dialer.remember(device, [address], at(now_ms))
            case 2:
                dialer.linked(device)
            case 3:
                dialer.unlinked(device, at(now_ms))
            case 4:
                dialer.reset(at(now_ms))
            case 5 if flying:
                done = flying.pop()
                if world.random() < 0.5:
                    dialer.succeeded(done, device, at(now_ms))
                else:
                    dialer.failed(done, at(now_ms))
            case _:
                for dial in dialer.due(at(now_ms)):
                    assert dial.device not in dialer._linked
                    known = dialer._targets[dial.address]
                    assert known.is_dialling
                    flying.add(dial.address)
                wakeup = dialer.next_wakeup(at(now_ms))
                assert wakeup is None or wakeup.mono_ms > now_ms
        bounded = [target for target in dialer._targets.values() if target.is_bounded]
        assert len(bounded) <= CANDIDATES_MAX
        assert sum(t.is_dialling for t in dialer._targets.values()) <= DIALS_AT_ONCE_MAX
