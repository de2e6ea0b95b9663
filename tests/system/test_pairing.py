"""Enrolment between real daemons: either shows the code, and what goes wrong says what."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest
import trio

from presenced.net.endpoint import DialFailed, open_endpoint
from presenced.net.limits import PENDING_PER_SOURCE_MAX
from presenced.testing.daemons import (
    ScratchDaemon,
    pair,
    scratch_daemons,
    wait_converged,
    wait_linked,
)
from presenced.trust.frames import Kind, clear_frame
from presenced.trust.hello import NONCE_BYTES, PROTOCOL_VERSIONS, Hello, Mode

pytestmark = pytest.mark.system

Pair = tuple[ScratchDaemon, ScratchDaemon]


@pytest.fixture
def strangers() -> Iterator[Pair]:
    """A laptop with an identity and a box with none; neither knows the other's address."""
    with scratch_daemons("laptop", "box") as (laptop, box):
        laptop.start()
        laptop.ask("init", "--name", "laptop")
        box.start()
        yield laptop, box


def test_both_screens_show_the_same_words_and_each_other_s_name(strangers: Pair) -> None:
    laptop, box = strangers
    paired = pair(laptop, box)
    assert paired.shown_to_old["words"] == paired.shown_to_new["words"]
    assert len(paired.shown_to_old["words"].split()) == 4
    assert paired.shown_to_new["name"] == "laptop"
    assert paired.shown_to_old["fingerprint"] != paired.shown_to_new["fingerprint"]
    assert paired.device == box.ask("status")["device"]
    number, *words = paired.code.split("-")
    assert number.isdigit()
    assert len(words) == 2


def test_devices_list_names_both_and_show_tells_what_the_evidence_rests_on(strangers: Pair) -> None:
    laptop, box = strangers
    pair(laptop, box)
    wait_linked(laptop, box)
    wait_converged(laptop, box)
    listed = laptop.ask("devices", "list")
    assert [device["own"] for device in listed] == [True, False]
    shown = laptop.ask("devices", "show", listed[1]["id"])
    assert shown["evidence"]["status"] in ("affirming", "warning", "contraindicated", "none")
    assert {claim["name"] for claim in shown["evidence"]["claims"]}
    assert all(claim["basis"] for claim in shown["evidence"]["claims"])


def test_the_new_device_may_show_the_code_and_the_old_one_enter_it(strangers: Pair) -> None:
    laptop, box = strangers
    laptop.stop()
    laptop.peers = [box.address]
    laptop.start()
    joining = box.begin("join", "--yes")
    adding = None
    try:
        code = joining.until("code")["code"]
        adding = laptop.begin("devices", "add", code, "--yes")
        added = adding.until("added")
        assert joining.until("added") == added
        assert (adding.ended().code, joining.ended().code) == (0, 0)
    finally:
        joining.close()
        if adding is not None:
            adding.close()
    wait_linked(laptop, box)
    wait_converged(laptop, box)


def test_a_code_can_be_given_on_standard_input(strangers: Pair) -> None:
    laptop, box = strangers
    adding = laptop.begin("devices", "add", "--yes")
    try:
        code = adding.until("code")["code"]
        told = box.presence("join", "-", "--yes", "--peer", laptop.address, text=f"{code}\n")
        assert told.code == 0
        assert told.lines[-1]["event"] == "added"
        assert adding.until("added")["device"] == told.lines[-1]["device"]
    finally:
        adding.close()


def test_what_the_qr_code_says_is_a_code_with_the_way_there(strangers: Pair) -> None:
    laptop, box = strangers
    adding = laptop.begin("devices", "add", "--yes")
    try:
        link = f"presenced:pair?v=1&code={adding.until('code')['code']}&addr={laptop.address}"
        told = box.presence("join", link, "--yes", "--name", "box")
        assert told.code == 0, told.stderr
        assert told.lines[-1] == adding.until("added")
    finally:
        adding.close()


def test_the_side_that_is_asked_hears_that_the_other_was_interrupted(strangers: Pair) -> None:
    laptop, box = strangers
    adding = laptop.begin("devices", "add")
    joining = None
    try:
        code = adding.until("code")["code"]
        joining = box.begin("join", code, "--peer", laptop.address)
        adding.until("candidate")
        joining.until("candidate")
        joining.process.send_signal(signal.SIGINT)
        stopped = joining.ended()
        assert (stopped.code, stopped.lines[-1]["type"]) == (130, "interrupted")
        ended = adding.ended()  # though nobody answered there
        assert (ended.code, ended.lines[-1]["type"]) == (1, "interrupted")
    finally:
        adding.close()
        if joining is not None:
            joining.close()


def test_a_wrong_code_is_said_so_and_three_of_them_end_the_code(strangers: Pair) -> None:
    laptop, box = strangers
    adding = laptop.begin("devices", "add", "--yes")
    try:
        code = adding.until("code")["code"]
        number, first, second = code.split("-")
        wrong = f"{number}-{second}-{first}" if first != second else f"{number}-abandon-ability"
        for _ in range(3):
            told = box.presence("join", wrong, "--yes", "--peer", laptop.address)
            assert told.code not in (0, 2)
            assert told.lines[-1]["event"] == "failed"
            assert told.lines[-1]["type"] == "wrong_code"
            assert told.lines[-1]["detail"]
        ended = adding.ended()
        assert ended.code != 0
        assert ended.lines[-1] | {"detail": ""} == {
            "event": "failed",
            "type": "wrong_code",
            "detail": "",
        }
        told = box.presence("join", code, "--yes", "--peer", laptop.address)
        assert told.code != 0
        assert told.lines[-1]["event"] == "failed"
    finally:
        adding.close()
    assert [device["own"] for device in laptop.ask("devices", "list")] == [True]


def test_after_a_wrong_code_the_right_one_still_works(strangers: Pair) -> None:
    laptop, box = strangers
    adding = laptop.begin("devices", "add", "--yes")
    try:
        code = adding.until("code")["code"]
        number = code.split("-")[0]
        wrong = box.presence("join", f"{number}-zoo-zebra", "--yes", "--peer", laptop.address)
        assert wrong.lines[-1]["type"] == "wrong_code"
        right = box.presence("join", code, "--yes", "--peer", laptop.address)
        assert right.code == 0
        assert right.lines[-1]["event"] == "added"
    finally:
        adding.close()


async def test_strangers_who_ask_to_enrol_and_fall_silent_keep_nobody_out(strangers: Pair) -> None:
    laptop, box = strangers
    hello = Hello(versions=PROTOCOL_VERSIONS, mode=Mode.ENROL.value, nonce=bytes(NONCE_BYTES))
    adding = laptop.begin("devices", "add", "--yes")
    try:
        code = adding.until("code")["code"]
        async with open_endpoint("127.0.0.1", 0) as endpoint, trio.open_nursery() as nursery:

            async def stay_silent() -> None:
                while True:
                    with suppress(DialFailed, trio.BrokenResourceError):
                        stream = await endpoint.dial(("127.0.0.1", laptop.port))
                        await stream.send_all(clear_frame(Kind.HELLO, hello.encode()))
                        answered.release()
                        while await stream.receive_some():
                            pass
                    await trio.sleep(0.5)  # the endpoint lets in some each second

            answered = trio.Semaphore(0)
            for _ in range(PENDING_PER_SOURCE_MAX - 1):
                nursery.start_soon(stay_silent)
                await answered.acquire()
            told = await trio.to_thread.run_sync(
                partial(box.presence, "join", code, "--yes", "--peer", laptop.address)
            )
            nursery.cancel_scope.cancel()
        assert told.code == 0, told.stderr
        assert told.lines[-1]["event"] == "added"
    finally:
        adding.close()


def test_what_is_no_code_is_refused_before_anything_is_dialled(strangers: Pair) -> None:
    laptop, box = strangers
    told = box.presence("join", "not a code", "--yes", "--peer", laptop.address)
    assert told.code != 0
    assert told.stderr or told.stdout


def test_nobody_at_the_address_is_unreachable(strangers: Pair) -> None:
    laptop, box = strangers
    address = laptop.address
    laptop.stop()
    told = box.presence("join", "700-zoo-zebra", "--yes", "--peer", address)
    assert told.code == 7
    refused = {"event": "failed", "type": "unreachable", "detail": f"{address}: Connection refused"}
    assert told.lines[-1] == refused
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        told = box.presence("join", "700-zoo-zebra", "--yes", "--peer", address)
    assert told.code == 7
    assert told.lines[-1]["detail"] == f"{address}: no answer"


def test_a_device_that_has_an_identity_cannot_join_another(strangers: Pair) -> None:
    laptop, box = strangers
    box.ask("init", "--name", "box")
    adding = laptop.begin("devices", "add", "--yes")
    try:
        code = adding.until("code")["code"]
        told = box.presence("join", code, "--yes", "--peer", laptop.address)
        assert told.code == 6
    finally:
        adding.close()


def test_an_interrupted_enrolment_adds_nobody(strangers: Pair) -> None:
    laptop, box = strangers
    adding = laptop.begin("devices", "add")
    joining = None
    try:
        code = adding.until("code")["code"]
        joining = box.begin("join", code, "--yes", "--peer", laptop.address)
        adding.until("candidate")
        joining.until("candidate")
        box.stop()
        ended = adding.ended()  # nobody has to answer first
        assert ended.code != 0
        assert ended.lines[-1]["type"] == "interrupted"
    finally:
        adding.close()
        if joining is not None:
            joining.close()
    assert [device["own"] for device in laptop.ask("devices", "list")] == [True]
