"""Which stranger may begin a handshake."""

from __future__ import annotations

from presenced.net.admission import Admission, TokenBucket, Verdict
from presenced.net.limits import (
    CHALLENGE_PENDING,
    NEWCOMERS_BURST,
    NEWCOMERS_PER_SECOND,
    NEWCOMERS_PER_SOURCE_BURST,
    NEWCOMERS_PER_SOURCE_PER_SECOND,
    PENDING_PER_SOURCE_MAX,
    SOURCES_REMEMBERED_MAX,
)


def test_one_source_has_so_many_pending() -> None:
    admission = Admission(0.0)
    for _ in range(PENDING_PER_SOURCE_MAX):
        assert admission.decide("a", has_proved_address=True, now=0.0) is Verdict.ADMIT
        admission.entered("a")
    assert admission.decide("a", has_proved_address=True, now=0.0) is Verdict.DROP
    assert admission.decide("b", has_proved_address=True, now=0.0) is Verdict.ADMIT
    admission.left("a")
    assert admission.decide("a", has_proved_address=True, now=0.0) is Verdict.ADMIT


def test_when_many_are_pending_a_newcomer_proves_its_address() -> None:
    admission = Admission(0.0)
    for number in range(CHALLENGE_PENDING):
        source = f"s{number}"
        assert admission.decide(source, has_proved_address=False, now=0.0) is Verdict.ADMIT
        admission.entered(source)
    assert admission.pending == CHALLENGE_PENDING
    assert admission.decide("new", has_proved_address=False, now=0.0) is Verdict.CHALLENGE
    assert admission.decide("new", has_proved_address=True, now=0.0) is Verdict.ADMIT


def test_one_source_cannot_use_up_everybodys_rate() -> None:
    admission = Admission(0.0)
    admitted = sum(
        admission.decide("flood", has_proved_address=True, now=now / 1000) is Verdict.ADMIT
        for now in range(10_000)
    )
    most = NEWCOMERS_PER_SOURCE_BURST + 10 * NEWCOMERS_PER_SOURCE_PER_SECOND
    assert admitted <= most + 1
    assert admission.decide("honest", has_proved_address=True, now=10.0) is Verdict.ADMIT


def test_all_sources_together_are_bounded() -> None:
    admission = Admission(0.0)
    admitted = sum(
        admission.decide(f"s{number}", has_proved_address=True, now=number / 1000) is Verdict.ADMIT
        for number in range(5_000)
    )
    assert admitted <= NEWCOMERS_BURST + 5 * NEWCOMERS_PER_SECOND + 1


def test_only_so_many_sources_are_remembered() -> None:
    admission = Admission(0.0)
    for number in range(SOURCES_REMEMBERED_MAX * 2):
        admission.decide(f"s{number}", has_proved_address=True, now=float(number))
    assert admission.sources_remembered == SOURCES_REMEMBERED_MAX


def test_a_bucket_fills_with_time_up_to_its_burst_and_never_from_a_clock_that_steps_back() -> None:
    bucket = TokenBucket(burst=2, per_second=1, now=0.0)
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]
    assert [bucket.take(1.0) for _ in range(2)] == [True, False]
    assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]
    assert not bucket.take(0.0)
