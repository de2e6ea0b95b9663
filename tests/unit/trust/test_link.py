"""Links: who gets through, what each side then knows, and what it may cost before that."""

from __future__ import annotations

import pytest

from presenced.clock import Instant
from presenced.errors import InvalidValue
from presenced.ids import SpaceId
from presenced.testing.byte_pair import START, BytePair
from presenced.testing.link_doubles import (
    EVIDENCE,
    Device,
    MemoryPeers,
    link_machine,
    link_pair,
)
from presenced.trust.attestation import Evidence, Policy, Status
from presenced.trust.link import (
    TRANSITIONS,
    Heard,
    LinkClosed,
    LinkMachine,
    LinkUp,
    MessageReceived,
    State,
    next_counter,
)
from presenced.trust.link_limits import MESSAGE_BYTES_MAX, PREAUTH_MS_MAX

LAPTOP, BOX, PHONE = Device("laptop"), Device("box"), Device("phone")


def _machine(pair: BytePair, side: int) -> LinkMachine:
    machine = pair.machines[side]
    assert isinstance(machine, LinkMachine)
    return machine


@pytest.mark.parametrize("seed", range(20))
def test_two_devices_link_in_any_fragments(seed: int) -> None:
    pair = link_pair(LAPTOP, BOX, seed=seed)
    pair.run()
    (first,), (second,) = pair.seen
    assert isinstance(first, LinkUp)
    assert isinstance(second, LinkUp)
    assert (first.peer, second.peer) == (BOX.device, LAPTOP.device)
    assert first.handshake_hash == second.handshake_hash
    assert first.known
    assert first.evidence == EVIDENCE
    assert first.appraisal.status is Status.AFFIRMING


@pytest.mark.parametrize("size", [0, 1, 65_518, 65_519, 200_000, MESSAGE_BYTES_MAX])
def test_messages_of_any_allowed_size_arrive_whole_and_in_order(size: int) -> None:
    pair = link_pair(LAPTOP, BOX)
    pair.run()
    message = b"m" * size
    for side in (0, 1):
        for sent in (message, b"after"):
            pair.perform(side, _machine(pair, side).send_message(sent))
    pair.settle()
    for side in (0, 1):
        assert pair.seen[side][1:] == [MessageReceived(message), MessageReceived(b"after")]


def test_a_message_above_one_mebibyte_is_our_own_mistake() -> None:
    pair = link_pair(LAPTOP, BOX)
    pair.run()
    with pytest.raises(InvalidValue):
        _machine(pair, 0).send_message(b"m" * (MESSAGE_BYTES_MAX + 1))


def test_nothing_is_sent_on_a_link_that_is_not_up() -> None:
    machine = link_machine(LAPTOP, MemoryPeers(LAPTOP, [BOX]), initiator=True)
    assert machine.send_message(b"early") == []


def test_messages_sent_behind_the_evidence_are_not_lost() -> None:
    """The dialler is up one flight earlier and may speak at once."""
    pair = link_pair(LAPTOP, BOX)
    pair.react[0] = lambda effect: (
        _machine(pair, 0).send_message(b"m" * 300_000) if isinstance(effect, LinkUp) else []
    )
    pair.run()
    assert pair.kinds(1) == ["LinkUp", "MessageReceived"]


def test_close_tells_the_peer_the_code_and_no_detail() -> None:
    pair = link_pair(LAPTOP, BOX)
    pair.run()
    pair.perform(0, _machine(pair, 0).close("removed", "a secret reason"))
    pair.settle()
    assert pair.seen[0][-1] == LinkClosed(code="removed", detail="a secret reason")
    assert pair.seen[1][-1] == LinkClosed(code="removed", by_peer=True)
    assert _machine(pair, 1).state is State.CLOSED


def test_a_stream_that_ends_without_a_close_was_cut() -> None:
    pair = link_pair(LAPTOP, BOX)
    pair.run()
    pair.cut()
    assert [effects[-1].code for effects in pair.seen] == ["interrupted", "interrupted"]


def test_after_the_end_everything_is_ignored() -> None:
    pair = link_pair(LAPTOP, BOX)
    pair.run()
    machine = _machine(pair, 0)
    machine.close("done")
    assert machine.receive_bytes(b"anything", START) == []
    assert machine.send_message(b"late") == []
    assert machine.close("again") == []
    assert machine.end_of_stream(START) == []
    assert machine.next_wakeup is None


def test_a_dialler_that_knows_only_an_address_learns_which_sibling_answers() -> None:
    peers = MemoryPeers(LAPTOP, [Device("other"), BOX, PHONE])
    pair = BytePair(
        link_machine(LAPTOP, peers, initiator=True),
        link_machine(BOX, MemoryPeers(BOX, [PHONE, LAPTOP]), initiator=False),
    )
    pair.run()
    assert pair.seen[0][0].peer == BOX.device


def test_a_dialler_that_meets_nobody_it_knows_sends_no_handshake() -> None:
    pair = BytePair(
        link_machine(LAPTOP, MemoryPeers(LAPTOP, [PHONE]), initiator=True),
        link_machine(BOX, MemoryPeers(BOX, [LAPTOP]), initiator=False),
    )
    pair.run()
    assert pair.seen[0][-1].code == "stranger"
    assert pair.kinds(1) == []


def test_an_answerer_that_was_away_links_with_a_device_it_does_not_know_yet() -> None:
    answerer_peers = MemoryPeers(BOX, [PHONE])
    pair = BytePair(
        link_machine(LAPTOP, MemoryPeers(LAPTOP, [BOX]), initiator=True, expected=BOX.device),
        link_machine(BOX, answerer_peers, initiator=False),
    )
    pair.run()
    assert pair.seen[0][0].peer == BOX.device
    up = pair.seen[1][0]
    assert not up.known
    assert up.static == LAPTOP.static.public
    assert answerer_peers.counters == {LAPTOP.static.public: LAPTOP.counter}


def test_two_spaces_do_not_link() -> None:
    pair = BytePair(
        link_machine(LAPTOP, MemoryPeers(LAPTOP, [BOX]), initiator=True),
        link_machine(
            BOX, MemoryPeers(BOX, [LAPTOP]), initiator=False, space=SpaceId(b"another space..!")
        ),
    )
    pair.run()
    assert "LinkUp" not in pair.kinds(0) + pair.kinds(1)


def test_a_device_does_not_link_with_itself() -> None:
    pair = BytePair(
        link_machine(LAPTOP, MemoryPeers(LAPTOP, [LAPTOP]), initiator=True, expected=LAPTOP.device),
        link_machine(LAPTOP, MemoryPeers(LAPTOP, [BOX]), initiator=False),
    )
    pair.run()
    assert pair.kinds(1) == ["LinkClosed"]
    assert "ourselves" in pair.seen[1][-1].detail


@pytest.mark.parametrize(("dials", "answers"), [((1,), (2, 3)), ((2, 3), (1,))])
def test_without_a_common_version_both_screens_name_the_older_device(
    dials: tuple[int, ...], answers: tuple[int, ...]
) -> None:
    pair = BytePair(
        link_machine(LAPTOP, MemoryPeers(LAPTOP, [BOX]), initiator=True, versions=dials),
        link_machine(BOX, MemoryPeers(BOX, [LAPTOP]), initiator=False, versions=answers),
    )
    pair.run()
    codes = [pair.seen[side][-1].code for side in (0, 1)]
    assert codes == ["version", "version"]
    older, newer = (0, 1) if max(dials) < max(answers) else (1, 0)
    assert "this device is older" in pair.seen[older][-1].detail
    assert "the other device is older" in pair.seen[newer][-1].detail


def test_the_highest_common_version_is_used() -> None:
    pair = BytePair(
        link_machine(LAPTOP, MemoryPeers(LAPTOP, [BOX]), initiator=True, versions=(1, 2, 5)),
        link_machine(BOX, MemoryPeers(BOX, [LAPTOP]), initiator=False, versions=(2, 1)),
    )
    pair.run()
    assert [pair.seen[side][0].version for side in (0, 1)] == [2, 2]


def test_a_policy_may_refuse_what_evidence_shows() -> None:
    strict = Policy(
        reference=EVIDENCE,
        versions_known_bad=frozenset({"0.1"}),
        refused=frozenset({Status.CONTRAINDICATED}),
    )
    bad = Evidence(version="0.1", distribution_digest=b"d" * 32)
    pair = BytePair(
        link_machine(LAPTOP, MemoryPeers(LAPTOP, [BOX]), initiator=True, evidence=bad),
        link_machine(BOX, MemoryPeers(BOX, [LAPTOP]), initiator=False, policy=strict),
    )
    pair.run()
    assert pair.kinds(1) == ["LinkClosed"]
    assert pair.seen[0][-1] == LinkClosed(code="attestation", by_peer=True)


def test_a_silent_peer_is_given_up_after_five_seconds() -> None:
    machine = link_machine(BOX, MemoryPeers(BOX, [LAPTOP]), initiator=False)
    wakeup = machine.next_wakeup
    assert wakeup is not None
    assert wakeup.mono_ms == START.mono_ms + PREAUTH_MS_MAX
    assert machine.tick(Instant(wakeup.mono_ms - 1, 0)) == []
    assert [effect.code for effect in machine.tick(wakeup)] == ["timeout"]  # type: ignore[union-attr]


def test_a_link_that_is_up_has_no_time_limit() -> None:
    pair = link_pair(LAPTOP, BOX)
    pair.run()
    pair.pass_time(PREAUTH_MS_MAX * 100)
    assert pair.kinds(0) == ["LinkUp"]


def test_counters_grow_and_are_led_by_the_clock() -> None:
    assert next_counter(0, Instant(0, 50)) == 50
    assert next_counter(99, Instant(0, 50)) == 100
    assert next_counter(100, Instant(0, -5)) == 101


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("heard", Heard)
def test_every_pair_of_state_and_input_is_listed_or_is_the_peers_fault(
    state: State, heard: Heard
) -> None:
    machine = link_machine(BOX, MemoryPeers(BOX, [LAPTOP]), initiator=False)
    machine._state = state
    if (state, heard) in TRANSITIONS:
        machine._advance(heard)
        assert machine.state is TRANSITIONS[state, heard]
    else:
        with pytest.raises(Exception, match=heard.name):
            machine._advance(heard)
        assert machine.state is state
