"""Enrolment: either device may show the code, both people decide, nobody claims what is half."""

from __future__ import annotations

import pytest

from presenced.clock import Instant
from presenced.crypto import derive
from presenced.ids import COLLECTIONS
from presenced.testing.byte_pair import START, BytePair
from presenced.testing.link_doubles import (
    CODE,
    MEMBERSHIP,
    SPACE,
    Device,
    Person,
    SeededEntropy,
    joiner,
    pairing_pair,
    sponsor,
    with_people,
)
from presenced.trust.link_limits import (
    CODE_MS_MAX,
    CODE_TRIES_MAX,
    FINISH_MS_MAX,
    JOIN_BYTES_MAX,
    PREAUTH_MS_MAX,
)
from presenced.trust.pairing import PairingMachine
from presenced.trust.pairing_code import (
    URI_ADDRESSES_MAX,
    CodeState,
    Invitation,
    MalformedCode,
    PairingAttempts,
    PairingCode,
    new_code,
    parse_code,
    parse_invitation,
)
from presenced.trust.pairing_terms import (
    TRANSITIONS,
    Added,
    Admit,
    CandidateSeen,
    FailureType,
    Heard,
    Joined,
    PairingFailed,
    State,
)

OLD, NEW = Device("laptop"), Device("box")
WRONG = PairingCode(123, ("abandon", "zebra"))


def _machine(pair: BytePair, side: int) -> PairingMachine:
    machine = pair.machines[side]
    assert isinstance(machine, PairingMachine)
    return machine


def _failure(pair: BytePair, side: int) -> PairingFailed:
    last = pair.seen[side][-1]
    assert isinstance(last, PairingFailed)
    return last


def _pair(sponsor_enters: bool, **options: object) -> tuple[BytePair, int, int]:
    """The pair, the sponsor's side, the joiner's side."""
    if sponsor_enters:
        return pairing_pair(sponsor(OLD), joiner(NEW), **options), 0, 1  # type: ignore[arg-type]
    return pairing_pair(joiner(NEW), sponsor(OLD), **options), 1, 0  # type: ignore[arg-type]


@pytest.mark.parametrize("sponsor_enters", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_either_device_may_show_the_code(sponsor_enters: bool, seed: int) -> None:
    pair, old, new = _pair(sponsor_enters, seed=seed)
    people = with_people(pair)
    pair.run()
    assert pair.seen[old][-1] == Added(NEW.device)
    assert pair.seen[new][-1] == Added(NEW.device)
    (admitted,) = people[old].committed
    (joined,) = people[new].committed
    assert isinstance(admitted, Admit)
    assert isinstance(joined, Joined)
    assert admitted.certificate.device == NEW.device
    assert admitted.name == "box"
    assert joined.statements == MEMBERSHIP
    assert (joined.space, joined.sponsor) == (SPACE, OLD.device)
    assert joined.sponsor_static == OLD.static.public


def test_both_screens_show_each_other_and_the_same_words() -> None:
    pair, old, new = _pair(False)
    pair.run()
    (at_old,), (at_new,) = pair.seen[old], pair.seen[new]
    assert isinstance(at_old, CandidateSeen)
    assert isinstance(at_new, CandidateSeen)
    assert at_old.words == at_new.words
    assert (at_old.name, at_new.name) == ("box", "laptop")
    assert at_old.fingerprint == derive.fingerprint(NEW.signing.public)
    assert at_new.fingerprint == derive.fingerprint(OLD.signing.public)
    assert at_old.receives == at_new.receives == COLLECTIONS


def test_two_pairings_show_different_words() -> None:
    shown = set()
    for seed in range(10):
        pair, old, _ = _pair(False, seed=seed)
        pair.run()
        shown.add(pair.seen[old][0].words)
    assert len(shown) == 10


@pytest.mark.parametrize("approving", [0, 1])
def test_one_yes_is_not_enough(approving: int) -> None:
    pair, old, _ = _pair(False)
    pair.run()
    pair.perform(approving, _machine(pair, approving).approve(START))
    pair.settle()
    assert all(isinstance(effect, CandidateSeen) for effect in pair.seen[0] + pair.seen[1])
    assert _machine(pair, old).state is State.DECIDING


@pytest.mark.parametrize("refusing", [0, 1])
def test_a_no_on_either_screen_ends_it_on_both(refusing: int) -> None:
    pair, _, _ = _pair(False)
    with_people(pair, approve=(refusing != 0, refusing != 1))
    pair.run()
    assert [_failure(pair, side).type for side in (0, 1)] == [FailureType.REFUSED] * 2
    assert "other device" in _failure(pair, 1 - refusing).detail


@pytest.mark.parametrize(
    ("party", "reason"), [(sponsor, "already have an identity"), (joiner, "presence init")]
)
def test_two_of_a_kind_are_told_why_it_cannot_be(party: object, reason: str) -> None:
    pair = pairing_pair(party(OLD), party(NEW))  # type: ignore[operator]
    pair.run()
    for side in (0, 1):
        assert _failure(pair, side).type is FailureType.REFUSED
        assert reason in _failure(pair, side).detail


def test_a_wrong_code_is_named_on_both_screens_and_spends_a_try() -> None:
    attempts = PairingAttempts(START)
    pair, _, _ = _pair(False, entered=WRONG, attempts=attempts)
    pair.run()
    assert [_failure(pair, side).type for side in (0, 1)] == [FailureType.WRONG_CODE] * 2
    assert attempts.tries_left == CODE_TRIES_MAX - 1


def test_three_wrong_tries_end_the_code_for_the_right_one_too() -> None:
    attempts = PairingAttempts(START)
    for seed in range(CODE_TRIES_MAX):
        pair, _, _ = _pair(False, entered=WRONG, attempts=attempts, seed=seed)
        pair.run()
    assert attempts.state(START) is CodeState.SPENT
    pair, _, _ = _pair(False, attempts=attempts)
    with_people(pair)
    pair.run()
    assert [_failure(pair, side).type for side in (0, 1)] == [FailureType.EXPIRED] * 2


def test_a_proved_code_that_was_interrupted_may_be_entered_again() -> None:
    attempts = PairingAttempts(START)
    pair, _, _ = _pair(False, attempts=attempts)
    pair.run()
    pair.cut()
    assert attempts.tries_left == CODE_TRIES_MAX
    again, old, _ = _pair(False, attempts=attempts, seed=1)
    with_people(again)
    again.run()
    assert again.seen[old][-1] == Added(NEW.device)


def test_a_code_lives_five_minutes() -> None:
    attempts = PairingAttempts(START)
    almost = Instant(START.mono_ms + CODE_MS_MAX - 1, 0)
    over = Instant(START.mono_ms + CODE_MS_MAX, 0)
    assert attempts.state(almost) is CodeState.OPEN
    assert attempts.state(over) is CodeState.EXPIRED
    assert not attempts.begin(over)


def test_nobody_deciding_for_five_minutes_expires_on_both_sides() -> None:
    pair, _, _ = _pair(False)
    pair.run()
    pair.pass_time(CODE_MS_MAX - 1)
    assert pair.kinds(0) == ["CandidateSeen"]
    pair.pass_time(1)
    assert [_failure(pair, side).type for side in (0, 1)] == [FailureType.EXPIRED] * 2


def test_no_answer_within_five_seconds_is_unreachable() -> None:
    lonely = pairing_pair(joiner(NEW), sponsor(OLD)).machines[0]
    lonely.start(START)
    effects = lonely.tick(Instant(START.mono_ms + PREAUTH_MS_MAX, 0))
    assert effects[-1].type is FailureType.UNREACHABLE


def test_a_connection_that_ends_before_an_answer_is_unreachable() -> None:
    machine = pairing_pair(joiner(NEW), sponsor(OLD)).machines[0]
    machine.start(START)
    assert machine.end_of_stream(START)[-1].type is FailureType.UNREACHABLE


@pytest.mark.parametrize("versions", [((1,), (2,)), ((2,), (1,))])
def test_a_version_apart_is_named_on_both_screens(
    versions: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    pair, _, _ = _pair(False, versions=versions)
    pair.run()
    assert [_failure(pair, side).type for side in (0, 1)] == [FailureType.VERSION] * 2
    older = 0 if versions[0] < versions[1] else 1
    assert "this device is older" in _failure(pair, older).detail
    assert "the other device is older" in _failure(pair, 1 - older).detail


def test_a_silent_peer_after_the_decision_is_given_up() -> None:
    pair, old, new = _pair(False)
    with_people(pair)
    pair.react[old] = lambda effect: (
        _machine(pair, old).approve(START) if isinstance(effect, CandidateSeen) else []
    )
    pair.run()
    assert _machine(pair, old).state is State.ADMITTING
    assert _machine(pair, old).next_wakeup is None  # our own commit takes what it takes
    pair.pass_time(FINISH_MS_MAX)
    assert _failure(pair, new).type is FailureType.INTERRUPTED


def test_our_own_failure_to_commit_interrupts_the_other_side() -> None:
    pair, old, new = _pair(False)
    with_people(pair)
    pair.react[new] = lambda effect: (
        _machine(pair, new).fail("disk full")
        if isinstance(effect, Joined)
        else Person(_machine(pair, new))(effect)
    )
    pair.run()
    assert _failure(pair, old).type is FailureType.INTERRUPTED
    assert _failure(pair, old).admitted
    assert not _failure(pair, new).admitted


@pytest.mark.parametrize("sponsor_enters", [False, True])
def test_cut_after_any_byte_nobody_claims_what_the_other_did_not_finish(
    sponsor_enters: bool,
) -> None:
    whole, _, _ = _pair(sponsor_enters)
    with_people(whole)
    whole.run()
    total = sum(map(len, whole.sent))
    for cut_after in range(0, total + 1, max(1, total // 150)):
        pair, old, new = _pair(sponsor_enters)
        people = with_people(pair)
        pair.cut_after = cut_after
        pair.run()
        if not pair.is_cut:
            pair.cut()
        added = [isinstance(pair.seen[side][-1], Added) for side in (0, 1)]
        if any(added):  # then both have it on disk
            assert people[old].committed
            assert people[new].committed
        for side in (0, 1):
            last = pair.seen[side][-1]
            assert isinstance(last, Added | PairingFailed)
            if isinstance(last, PairingFailed):
                assert last.type in (FailureType.INTERRUPTED, FailureType.UNREACHABLE)
                assert last.admitted <= bool(people[side].committed)
        if added[new]:
            assert added[old]


def _admit_with(pair: BytePair, statements: list[bytes]) -> None:
    """Both approve; the sponsor (side 1) then sends these statements."""
    with_people(pair)
    pair.react[1] = lambda effect: (
        _machine(pair, 1).admitted(statements, START)
        if isinstance(effect, Admit)
        else Person(_machine(pair, 1))(effect)
    )
    pair.run()


def test_a_large_membership_travels_in_several_messages() -> None:
    statements = [bytes([number]) * 200_000 for number in range(20)]
    pair, _, new = _pair(False)
    _admit_with(pair, statements)
    (joined,) = [effect for effect in pair.seen[new] if isinstance(effect, Joined)]
    assert list(joined.statements) == statements
    assert pair.seen[new][-1] == Added(NEW.device)


def test_a_membership_above_the_bound_is_not_taken() -> None:
    pair, _, new = _pair(False)
    _admit_with(pair, [b"s" * 400_000] * (JOIN_BYTES_MAX // 400_000 + 1))
    assert "join-statements" in _failure(pair, new).detail


def test_codes_are_spread_and_read_back() -> None:
    entropy = SeededEntropy(1)
    codes = [new_code(entropy) for _ in range(200)]
    assert len({code.text for code in codes}) == 200
    for code in codes:
        assert 100 <= code.number <= 999
        assert parse_code(code.text) == code
        assert parse_code(f"  {code.text.upper().replace('-', ' ')} ") == code


@pytest.mark.parametrize(
    "text",
    ["", "abandon-zoo", "99-abandon-zoo", "1234-abandon-zoo", "123-abandon", "123-xyzzy-zoo"],
)
def test_other_text_is_no_code_and_is_never_repeated(text: str) -> None:
    with pytest.raises(MalformedCode) as caught:
        parse_code(text)
    assert "xyzzy" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize("addresses", [(), ("192.168.1.5:4242",), ("[fe80::1%25eth0]:1", "a.b:2")])
def test_a_qr_code_carries_the_code_and_where_to_dial(addresses: tuple[str, ...]) -> None:
    invitation = Invitation(code=CODE, addresses=addresses)
    assert invitation.uri.startswith("presenced:pair?v=1&code=123-abandon-zoo")
    assert parse_invitation(f" {invitation.uri}\n") == invitation
    assert parse_invitation(CODE.text) == Invitation(code=CODE)


@pytest.mark.parametrize(
    "text",
    [
        "presenced:pair?v=2&code=123-abandon-zoo",
        "presenced:pair?code=123-abandon-zoo",
        "presenced:pair?v=1",
        "presenced:pair?v=1&code=123-abandon-zoo&code=123-abandon-zoo",
        "presenced:pair?v=1&code=123-abandon-zoo" + "&addr=a:1" * (URI_ADDRESSES_MAX + 1),
        "https://example.org/?v=1&code=123-abandon-zoo",
    ],
)
def test_another_link_is_no_invitation(text: str) -> None:
    with pytest.raises(MalformedCode):
        parse_invitation(text)


def test_a_code_does_not_show_its_words_in_a_log() -> None:
    assert "abandon" not in repr(CODE)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("heard", Heard)
def test_every_pair_of_state_and_input_is_listed_or_is_the_peers_fault(
    state: State, heard: Heard
) -> None:
    machine = _machine(pairing_pair(joiner(NEW), sponsor(OLD)), 0)
    machine._state = state
    if (state, heard) in TRANSITIONS:
        machine._advance(heard)
        assert machine.state is TRANSITIONS[state, heard]
    else:
        with pytest.raises(Exception, match=heard.name):
            machine._advance(heard)
