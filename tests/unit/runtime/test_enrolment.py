"""One enrolment at a time: who ends it, who does not, and what each side is told."""

from __future__ import annotations

import pytest
import trio

from presenced.errors import CallerError, Conflict, InvalidValue, NotSetUp, StoreFull
from presenced.local.owner import PairingRequest
from presenced.local.progress import Added, Candidate, Failed
from presenced.runtime.search import FIND_SECONDS_MAX, NAMED_SECONDS_MAX, NO_CODE_SECONDS
from presenced.testing.enrolments import (
    A,
    C,
    both_say_yes,
    both_see,
    candidates,
    ended,
    enter,
    failed,
    hello_at,
    houses,
    show,
    wrong,
)
from presenced.testing.memory_house import House, MemoryEndpoint, open_house, until
from presenced.trust.link_limits import CODE_MS_MAX, CODE_TRIES_MAX, PREAUTH_MS_MAX


async def test_both_see_the_same_words_and_the_other_s_name(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with houses() as (_, first, second):
        shown, entered = await both_see(first, second)
        at_sponsor, at_joiner = shown.reports[-1], entered.reports[-1]
        assert isinstance(at_sponsor, Candidate)
        assert isinstance(at_joiner, Candidate)
        assert at_sponsor.words == at_joiner.words
        assert (at_sponsor.name, at_joiner.name) == ("Box", "Laptop")
        assert at_sponsor.receives == at_joiner.receives == ("directory", "follows", "sessions")


async def test_one_yes_is_not_enough(autojump_clock: trio.testing.MockClock) -> None:
    async with houses() as (_, first, second):
        shown, entered = await both_see(first, second)
        first.enrolments.approve()
        await trio.sleep(5)
        assert not shown.over
        assert not entered.over
        second.enrolments.approve()
        assert isinstance(await ended(shown), Added)
        assert await ended(entered) == await ended(shown)


@pytest.mark.parametrize("who", [0, 1])
async def test_a_no_of_either_ends_it_as_refused_on_both(
    autojump_clock: trio.testing.MockClock, who: int
) -> None:
    async with houses() as (_, *pair):
        shown, entered = await both_see(pair[0], pair[1])
        pair[who].enrolments.refuse()
        for progress in (shown, entered):
            assert (await failed(progress)).type == "refused"
        assert not pair[1].home.settled.is_set()
        assert len(pair[0].home.driver.machine.membership.members.active) == 1


@pytest.mark.parametrize("who", [0, 1])
async def test_giving_up_with_a_candidate_on_the_screen_interrupts_the_other(
    autojump_clock: trio.testing.MockClock, who: int
) -> None:
    async with houses() as (_, *pair):
        progress = await both_see(pair[0], pair[1])
        pair[who].enrolments.cancel()
        mine, other = await ended(progress[who]), await ended(progress[1 - who])
        assert mine == Failed(type="refused", detail="cancelled here")
        assert isinstance(other, Failed)
        assert other.type == "interrupted"


async def test_giving_up_before_anybody_came_takes_the_code_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with houses() as (net, first, _):
        shown, _ = await show(first)
        first.enrolments.cancel()
        assert isinstance(await ended(shown), Failed)
        await until(lambda: not net.codes, "the number is withdrawn")
        assert not first.enrolments.answering
        first.enrolments.cancel()
        first.enrolments.approve()
        first.enrolments.refuse()  # nothing is left to decide


@pytest.mark.parametrize("who", [0, 1])
async def test_a_cut_with_a_candidate_on_the_screen_is_interrupted_on_both(
    autojump_clock: trio.testing.MockClock, who: int
) -> None:
    async with houses() as (_, *pair):
        shown, entered = await both_see(pair[0], pair[1])
        pair[who].enrolments.approve()
        for stream in pair[0].endpoint.streams:
            stream.cut()
        for progress in (shown, entered):
            assert (await failed(progress)).type == "interrupted"
        assert not pair[1].home.settled.is_set()


async def test_three_wrong_codes_end_it(autojump_clock: trio.testing.MockClock) -> None:
    async with houses() as (_, first, second):
        shown, code = await show(first)
        for count in range(1, CODE_TRIES_MAX + 1):
            assert (await failed(enter(second, wrong(code)))).type == "wrong_code"
            await trio.sleep(1)
            assert shown.over == (count == CODE_TRIES_MAX)
        assert await ended(shown) == Failed(
            type="wrong_code", detail="the code was tried too often"
        )
        last = await ended(enter(second, code, A))
        assert isinstance(last, Failed), "the right one comes too late"


async def test_after_two_wrong_codes_the_right_one_still_works(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with houses() as (_, first, second):
        shown, code = await show(first)
        for _ in range(2):
            await ended(enter(second, wrong(code)))
        entered = enter(second, code)
        await candidates(shown, entered)
        await both_say_yes(first, second)
        assert isinstance(await ended(shown), Added)


async def test_a_code_that_nobody_enters_expires_after_five_minutes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with houses() as (_, first, _):
        shown, _ = await show(first)
        await trio.sleep(CODE_MS_MAX / 1000 - 1)
        assert not shown.over
        await trio.sleep(2)
        assert (await failed(shown)).type == "expired"


async def test_people_who_do_not_decide_for_five_minutes_let_it_expire(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with houses() as (_, first, second):
        shown, code = await show(first)
        await trio.sleep(CODE_MS_MAX / 1000 - 10)
        entered = enter(second, code)
        await candidates(shown, entered)
        await trio.sleep(60)
        assert not shown.over, "it began in time"
        for progress in (shown, entered):
            assert (await failed(progress, seconds=600)).type == "expired"


async def test_a_late_no_is_a_no_and_not_a_wrong_code(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with houses() as (_, first, second):
        shown, code = await show(first)
        await trio.sleep(CODE_MS_MAX / 1000 - 10)
        entered = enter(second, code)
        await candidates(shown, entered)
        await trio.sleep(30)
        second.enrolments.refuse()
        assert (await failed(shown)).type == "refused"


async def test_a_wrong_code_in_the_last_seconds_does_not_keep_it_open_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with houses() as (_, first, second):
        shown, _ = await show(first)
        await trio.sleep(CODE_MS_MAX / 1000 - 2)
        stranger = await hello_at(second)  # it says nothing more
        assert (await failed(shown, seconds=20)).type == "expired"
        stranger.cut()


async def test_a_stranger_who_breaks_off_or_talks_nonsense_does_not_end_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with houses() as (_, first, second):
        shown, code = await show(first)
        for nonsense in (b"", b"\x00\x03\x02\x01\x00", b"\xff" * 100):
            stream = await hello_at(second)
            await trio.sleep(0.1)
            if nonsense:
                await stream.send_all(nonsense)
                await trio.sleep(0.1)
            stream.cut()
            await trio.sleep(0.1)
        assert not shown.over
        entered = enter(second, code)
        await candidates(shown, entered)
        await both_say_yes(first, second)
        assert isinstance(await ended(shown), Added)


async def unreachable_after(house: House, *peers: tuple[str, int]) -> tuple[float, str]:
    """Seconds until the search was given up, and what was said."""
    begun = trio.current_time()
    last = await failed(enter(house, "123-zoo-zoo", *peers))
    assert last.type == "unreachable"
    return trio.current_time() - begun, last.detail


async def test_nobody_found_is_unreachable_after_a_minute(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with houses() as (_, _, second):
        seconds, _ = await unreachable_after(second)
        assert seconds == pytest.approx(FIND_SECONDS_MAX, abs=1)


async def test_an_address_given_by_hand_where_nobody_answers_is_given_up_after_two_dials(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with houses() as (net, _, second):
        seconds, detail = await unreachable_after(second, ("192.0.2.7", 4711))
        assert seconds == pytest.approx(NAMED_SECONDS_MAX, abs=1)
        assert net.dials >= 2
        assert detail == "192.0.2.7:4711: no answer"


async def test_several_silent_addresses_take_no_longer_than_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with houses() as (_, first, second):
        many = [("2001:db8::1", port) for port in range(1, 9)]
        seconds, detail = await unreachable_after(second, *many)
        assert seconds == pytest.approx(NAMED_SECONDS_MAX, abs=1)
        assert "[2001:db8::1]:8: no answer" in detail
        shown, code = await show(first)
        begun = trio.current_time()
        await candidates(shown, enter(second, code, *many, A))
        assert trio.current_time() - begun < 1


async def test_a_refused_address_is_given_up_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with houses() as (net, _, second):
        net.refused.add(C)
        seconds, detail = await unreachable_after(second, C)
        assert seconds <= 2
        assert detail == "c:3: nobody listens there"
        seconds, _ = await unreachable_after(second, C, ("nowhere", 9))
        assert seconds == pytest.approx(NAMED_SECONDS_MAX, abs=1), "the other may still answer"


async def test_a_wrong_address_does_not_hide_the_device_that_the_network_finds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with houses() as (net, first, second):
        net.refused.add(C)
        for wrong_address in (C, ("nowhere", 9)):
            shown, code = await show(first)
            begun = trio.current_time()
            await candidates(shown, enter(second, code, wrong_address))
            assert trio.current_time() - begun < 1
            first.enrolments.cancel()
            second.enrolments.cancel()


async def test_one_device_at_two_addresses_spends_one_try_of_a_wrong_code(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with houses() as (net, first, second):
        net.endpoints[C] = net.endpoints[A]
        shown, code = await show(first)
        for count in range(1, CODE_TRIES_MAX + 1):
            assert (await failed(enter(second, wrong(code), A, C))).type == "wrong_code"
            assert shown.over == (count == CODE_TRIES_MAX)


async def test_who_answers_and_falls_silent_costs_the_right_device_five_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An impostor that announces the code's number: the right device has its turn after it."""
    async with houses() as (net, first, second):
        shown, code = await show(first)
        impostor = MemoryEndpoint(net, C)
        begun = trio.current_time()
        await candidates(shown, enter(second, code, C))
        assert impostor.streams
        assert trio.current_time() - begun < PREAUTH_MS_MAX / 1000 + 1


async def test_devices_that_show_no_code_are_passed_over_while_another_may_be_found(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with houses() as (net, first, second), open_house(net, C) as third:
        await third.home.init("Another")
        entered = enter(second, "123-zoo-zoo", C)
        await trio.sleep(NO_CODE_SECONDS - 1)
        assert not entered.over
        assert (await failed(entered)).type == "expired"
        shown, code = await show(first)
        entered = enter(second, code, C)
        await candidates(shown, entered)


async def test_a_second_one_is_refused_while_one_runs(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with houses() as (net, first, _):
        shown, _ = await show(first)
        with pytest.raises(Conflict):
            await show(first)
        first.enrolments.cancel()
        again, _ = await show(first)
        await trio.sleep(1)
        assert net.codes, "the one before did not take the new number back"
        assert first.enrolments.current() is again
        assert first.enrolments.answering
        assert shown.over


async def test_what_cannot_begin_says_why_and_leaves_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with houses() as (_, first, second):
        begin = second.enrolments.begin
        with pytest.raises(NotSetUp):
            begin(PairingRequest(role="sponsor"))
        with pytest.raises(CallerError):
            begin(PairingRequest(role="joiner", code="not a code"))
        with pytest.raises(InvalidValue):
            begin(PairingRequest(role="joiner", name="  "))
        with pytest.raises(Conflict):
            first.enrolments.begin(PairingRequest(role="joiner"))
        await show(second, role="joiner")


async def test_two_devices_with_an_identity_cannot_be_paired(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with houses() as (_, first, second):
        await second.home.init("Another")
        shown, code = await show(first)
        entered = second.enrolments.begin(PairingRequest(role="sponsor", code=code))
        for progress in (shown, entered):
            last = await ended(progress)
            assert isinstance(last, Failed)
            assert last.type == "refused"
            assert "identity" in last.detail


@pytest.mark.parametrize("who", [0, 1])
async def test_a_full_disk_on_either_side_adds_nobody(
    autojump_clock: trio.testing.MockClock, who: int
) -> None:
    async with houses() as (_, *pair):
        shown, entered = await both_see(pair[0], pair[1])
        pair[who].store.full = StoreFull("no room")
        for house in pair:
            house.enrolments.approve()
        for progress in (shown, entered):
            assert (await failed(progress)).type == "interrupted"
        assert not pair[1].home.settled.is_set()


async def test_an_identity_founded_while_joining_is_kept_and_the_joining_fails(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with houses() as (_, first, second):
        _, entered = await both_see(first, second)
        founded = await second.home.init("Mine")
        await both_say_yes(first, second)
        assert isinstance(await ended(entered), Failed)
        assert second.device == founded.device
