"""What strangers who do not know the code can do to an enrolment that is shown: spend its tries."""

from __future__ import annotations

import pytest
import trio
from spake2 import SPAKE2_B
from trio.testing import MockClock, wait_all_tasks_blocked

from presenced.local.progress import Added, Failed
from presenced.testing.enrolments import (
    C,
    both_say_yes,
    candidates,
    ended,
    enter,
    failed,
    hello_at,
    houses,
    show,
    wrong,
)
from presenced.testing.memory_house import House, MemoryStream, open_house
from presenced.trust.frames import FrameBuffer, Kind, clear_frame, split_clear
from presenced.trust.link_limits import CODE_MS_MAX, CODE_TRIES_MAX, PREAUTH_MS_MAX

CROWD = 40
"strangers at once; the endpoint lets in at most 64"


async def kinds_heard(stream: MemoryStream) -> list[Kind]:
    """What the shower has answered so far."""
    await wait_all_tasks_blocked()
    buffer = FrameBuffer()
    buffer.feed(stream.take())
    heard = []
    while (body := buffer.next()) is not None:
        heard.append(split_clear(body)[0])
    return heard


async def guess_at(house: House, password: bytes = b"zoo-zoo") -> MemoryStream:
    """A stranger who runs the PAKE with some words and says nothing more."""
    stream = await hello_at(house)
    await stream.send_all(clear_frame(Kind.PAKE, SPAKE2_B(password).start()))
    return stream


async def test_a_crowd_that_says_nothing_keeps_nobody_out(autojump_clock: MockClock) -> None:
    async with houses() as (net, first, second), open_house(net, C) as stranger:
        shown, code = await show(first)
        crowd = [await hello_at(stranger) for _ in range(CROWD)]
        silent = [await stranger.endpoint.dial(("a", 1)) for _ in range(CROWD)]
        await wait_all_tasks_blocked()
        begun = trio.current_time()
        entered = enter(second, code)
        await candidates(shown, entered)
        assert trio.current_time() - begun < 1, "nobody waited for a stranger's time to be up"
        for stream in crowd:
            assert await kinds_heard(stream) == [Kind.HELLO]
            assert stream.ended, "once somebody proved the code, the others are let go"
        await both_say_yes(first, second)
        assert isinstance(await ended(shown), Added)
        assert len(first.home.driver.machine.membership.members.active) == 2
        for stream in silent:
            stream.cut()


async def test_strangers_that_come_again_and_again_keep_nobody_out(
    autojump_clock: MockClock,
) -> None:
    """One that begins anew the moment that it is let go, for all the time that a code lives."""
    async with houses() as (net, first, second), open_house(net, C) as stranger:
        shown, code = await show(first)

        async def insist() -> None:
            while True:
                stream = await hello_at(stranger)
                while await stream.receive_some():
                    pass
                await stream.aclose()
                await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(insist)
            await trio.sleep(CODE_MS_MAX / 1000 - 30)
            assert not shown.over
            entered = enter(second, code)
            await candidates(shown, entered)
            nursery.cancel_scope.cancel()
        await both_say_yes(first, second)
        assert isinstance(await ended(shown), Added)


@pytest.mark.parametrize("silent_runs", range(CODE_TRIES_MAX))
async def test_who_runs_the_pake_and_falls_silent_spends_a_try_and_keeps_nobody_out(
    autojump_clock: MockClock, silent_runs: int
) -> None:
    async with houses() as (net, first, second), open_house(net, C) as stranger:
        shown, code = await show(first)
        for _ in range(silent_runs):
            assert await kinds_heard(await guess_at(stranger)) == [Kind.HELLO, Kind.PAKE]
        entered = enter(second, code)
        await candidates(shown, entered)
        await both_say_yes(first, second)
        assert isinstance(await ended(shown), Added)


async def test_many_at_once_guess_no_more_often_than_one_after_another(
    autojump_clock: MockClock,
) -> None:
    async with houses() as (net, first, _), open_house(net, C) as stranger:
        shown, _ = await show(first)
        crowd = [await hello_at(stranger) for _ in range(CROWD)]
        for stream in crowd:
            assert await kinds_heard(stream) == [Kind.HELLO]
        for stream in crowd:
            await stream.send_all(clear_frame(Kind.PAKE, SPAKE2_B(b"zoo-zoo").start()))
        heard = [await kinds_heard(stream) for stream in crowd]
        assert heard.count([Kind.PAKE]) == CODE_TRIES_MAX
        assert heard.count([Kind.FAILURE]) == CROWD - CODE_TRIES_MAX
        assert not first.enrolments.answering
        assert (await failed(shown, seconds=PREAUTH_MS_MAX / 1000 + 1)).type == "wrong_code"


async def test_tries_that_were_spent_end_the_code_only_when_the_last_of_them_is_over(
    autojump_clock: MockClock,
) -> None:
    """The real device holds the third try while two strangers' wrong ones come to their end."""
    async with houses() as (net, first, second), open_house(net, C) as stranger:
        shown, code = await show(first)
        guesses = [await guess_at(stranger) for _ in range(CODE_TRIES_MAX - 1)]
        await wait_all_tasks_blocked()
        entered = enter(second, code)
        while first.enrolments.answering and not shown.over:  # its PAKE has arrived, no proof yet
            await trio.lowlevel.checkpoint()
        for stream in guesses:
            stream.cut()
        await candidates(shown, entered)
        await both_say_yes(first, second)
        assert isinstance(await ended(shown), Added)


async def test_a_silent_stranger_does_not_lengthen_a_code_s_life(autojump_clock: MockClock) -> None:
    async with houses() as (net, first, _), open_house(net, C) as stranger:
        shown, _ = await show(first)
        begun = trio.current_time()
        await trio.sleep(CODE_MS_MAX / 1000 - 1)
        late = await hello_at(stranger)
        assert (await failed(shown)).type == "expired"
        assert trio.current_time() - begun == pytest.approx(CODE_MS_MAX / 1000, abs=0.1)
        assert late.ended
        assert not first.enrolments.answering


async def test_a_wrong_guess_beside_a_shown_candidate_changes_nothing(
    autojump_clock: MockClock,
) -> None:
    async with houses() as (net, first, second), open_house(net, C) as stranger:
        shown, code = await show(first)
        entered = enter(second, code)
        await candidates(shown, entered)
        late = await guess_at(stranger)
        assert await kinds_heard(late) == [Kind.HELLO]
        other = enter(stranger, wrong(code), ("a", 1))
        assert isinstance(await ended(other), Failed)
        await both_say_yes(first, second)
        assert isinstance(await ended(shown), Added)
