"""What someone on the network can do to an enrolment without the code: spend a try."""

from __future__ import annotations

import random

import pytest

from presenced.clock import Instant
from presenced.errors import Malformed, PeerError, Unauthorized
from presenced.ids import DeviceId, SpaceId
from presenced.testing.byte_pair import START, BytePair
from presenced.testing.link_doubles import (
    CODE,
    Device,
    SeededEntropy,
    joiner,
    pairing_pair,
    sponsor,
    with_people,
)
from presenced.trust.frames import FrameBuffer, Kind, SendBytes, clear_frame, frame
from presenced.trust.hello import Hello
from presenced.trust.inbound import Inbound, Refused
from presenced.trust.link_limits import (
    CODE_TRIES_MAX,
    JOIN_STATEMENTS_MAX,
    PREAUTH_BYTES_MAX,
    PREAUTH_MS_MAX,
)
from presenced.trust.pairing import PairingMachine
from presenced.trust.pairing_code import CodeState, PairingAttempts
from presenced.trust.pairing_messages import (
    Approval,
    Finished,
    Introduction,
    Party,
    Refusal,
    Statements,
    Stored,
    encode_message,
    introduce,
    parse_message,
)
from presenced.trust.pairing_terms import (
    Added,
    Admit,
    CandidateSeen,
    Effect,
    FailureType,
    Joiner,
    PairingFailed,
    Showing,
    State,
)
from presenced.wire import encode

OLD, NEW, THIEF = Device("laptop"), Device("box"), Device("thief")
HELLO = clear_frame(Kind.HELLO, Hello(versions=(1,), mode="enrol", nonce=b"n" * 16).encode())


def _shower(attempts: PairingAttempts) -> PairingMachine:
    return PairingMachine(
        part=Showing(code=CODE, attempts=attempts),
        party=sponsor(OLD),
        entropy=SeededEntropy(1),
        now=START,
    )


def _pake_of(pair: BytePair, side: int) -> bytes:
    buffer = FrameBuffer()
    buffer.feed(bytes(pair.sent[side]))
    buffer.next()
    body = buffer.next()
    assert body is not None
    return frame(body)


def test_each_run_of_the_pake_is_one_guess_even_if_the_guesser_goes_away() -> None:
    recorded = pairing_pair(joiner(NEW), sponsor(OLD))
    recorded.run()
    attempts = PairingAttempts(START)
    for _ in range(CODE_TRIES_MAX):
        machine = _shower(attempts)
        machine.receive_bytes(HELLO + _pake_of(recorded, 0), START)
        machine.end_of_stream(START)
    assert attempts.state(START) is CodeState.SPENT
    last = _shower(attempts)
    effects = last.receive_bytes(HELLO + _pake_of(recorded, 0), START)
    assert effects[-1] == PairingFailed(type=FailureType.EXPIRED, detail="the code is over")


def test_a_hello_without_a_guess_spends_nothing() -> None:
    attempts = PairingAttempts(START)
    for _ in range(100):
        machine = _shower(attempts)
        machine.receive_bytes(HELLO, START)
        machine.end_of_stream(START)
    assert attempts.tries_left == CODE_TRIES_MAX


def test_a_replayed_enrolment_proves_nothing() -> None:
    recorded = pairing_pair(joiner(NEW), sponsor(OLD))
    with_people(recorded)
    recorded.run()
    attempts = PairingAttempts(START)
    effects = _shower(attempts).receive_bytes(bytes(recorded.sent[0]), START)
    assert not any(isinstance(effect, CandidateSeen | Admit) for effect in effects)
    assert isinstance(effects[-1], PairingFailed)
    assert effects[-1].type is FailureType.WRONG_CODE
    assert attempts.tries_left == CODE_TRIES_MAX - 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"B",
        b"A" + b"\1" * 32,
        b"B" + b"\0" * 32,
        b"B" + b"\xff" * 32,
        b"B" + b"\2" * 40,
        b"B\1" + b"\0" * 31,
    ],
)
def test_a_pake_message_that_is_none_ends_it_and_spends_at_most_the_try(content: bytes) -> None:
    attempts = PairingAttempts(START)
    effects = _shower(attempts).receive_bytes(HELLO + clear_frame(Kind.PAKE, content), START)
    assert isinstance(effects[-1], PairingFailed)
    assert effects[-1].type is FailureType.INTERRUPTED


def test_a_mirror_learns_nothing() -> None:
    """The shower's own PAKE message sent back to it."""
    attempts = PairingAttempts(START)
    recorded = pairing_pair(joiner(NEW), sponsor(OLD))
    recorded.run()
    effects = _shower(attempts).receive_bytes(HELLO + _pake_of(recorded, 1), START)
    assert isinstance(effects[-1], PairingFailed)


@pytest.mark.parametrize("seed", range(60))
def test_a_flipped_bit_never_admits_anybody(seed: int) -> None:
    generator = random.Random(seed)
    pair = pairing_pair(joiner(NEW), sponsor(OLD), seed=seed)
    people = with_people(pair)
    side = seed % 2
    at = generator.randrange(6)
    seen = [0]

    def flip(sender: int, data: bytes) -> bytes:
        if sender != side:
            return data
        seen[0] += 1
        if seen[0] != at + 1:
            return data
        place = generator.randrange(2, len(data))
        changed = bytearray(data)
        changed[place] ^= 1 << generator.randrange(8)
        return bytes(changed)

    pair.alter = flip
    pair.run()
    if not pair.is_cut:
        pair.cut()
    if seen[0] <= at:
        return  # this side does not say that much
    assert not isinstance(pair.seen[1 - side][-1], Added)
    sponsor_side = 1
    if not people[sponsor_side].committed:
        assert not isinstance(pair.seen[0][-1], Added)


def test_a_stranger_makes_the_shower_read_four_kibibytes_and_wait_five_seconds_at_most() -> None:
    machine = _shower(PairingAttempts(START))
    effects = machine.receive_bytes((PREAUTH_BYTES_MAX).to_bytes(2, "big"), START)
    assert isinstance(effects[-1], PairingFailed)
    silent = _shower(PairingAttempts(START))
    assert silent.tick(Instant(START.mono_ms + PREAUTH_MS_MAX - 1, 0)) == []
    assert isinstance(silent.tick(Instant(START.mono_ms + PREAUTH_MS_MAX, 0))[-1], PairingFailed)


def test_a_forged_failure_in_clear_only_ends_it() -> None:
    machine = pairing_pair(joiner(NEW), sponsor(OLD)).machines[0]
    machine.start(START)
    effects = machine.receive_bytes(HELLO + clear_frame(Kind.FAILURE, b"wrong_code"), START)
    assert effects[-1].type is FailureType.WRONG_CODE
    again = _shower(PairingAttempts(START))
    told = again.receive_bytes(HELLO + clear_frame(Kind.FAILURE, b"wrong_code"), START)
    assert told[-1].type is FailureType.INTERRUPTED  # type: ignore[union-attr]


def test_a_hidden_middle_shows_other_words_on_the_two_screens() -> None:
    """Even one who knows the code and sits between: people who compare words see it."""
    left = pairing_pair(joiner(NEW), sponsor(THIEF), seed=1)
    right = pairing_pair(joiner(THIEF), sponsor(OLD), seed=2)
    left.run()
    right.run()
    assert left.seen[0][0].words != right.seen[1][0].words


# --- a peer that has the code and lies ---

Word = Approval | Refusal | Statements | Stored | Finished


def _machine(pair: BytePair, side: int) -> PairingMachine:
    machine = pair.machines[side]
    assert isinstance(machine, PairingMachine)
    return machine


def _say(pair: BytePair, side: int, *messages: Word) -> Effect:
    """A side says these, whatever its machine would; the other's last effect is returned."""
    liar = _machine(pair, side)
    pair.perform(side, [liar._say(encode_message(message)) for message in messages])
    pair.settle()
    last: Effect = pair.seen[1 - side][-1]
    return last


def _only_approving(side: int) -> BytePair:
    """Both people say yes; what a side is asked to commit after that it never does."""
    pair = pairing_pair(joiner(NEW), sponsor(OLD))
    with_people(pair)
    pair.react[side] = lambda effect: (
        _machine(pair, side).approve(START) if isinstance(effect, CandidateSeen) else []
    )
    pair.run()
    return pair


def _lying_joiner(certificate: bytes) -> Joiner:
    return Joiner(
        name="liar",
        signing=THIEF.signing,
        static=THIEF.static,
        make_certificate=lambda adder, space: certificate,
    )


@pytest.mark.parametrize(
    "certificate",
    [
        b"",
        b"nonsense",
        NEW.certificate(OLD.device, SpaceId(b"a space of tests")),
        THIEF.certificate(NEW.device, SpaceId(b"a space of tests")),
        THIEF.certificate(OLD.device, SpaceId(b"another space !!")),
    ],
    ids=["none", "nonsense", "of another device", "for another adder", "for another space"],
)
def test_a_certificate_that_is_not_the_candidates_own_is_never_admitted(
    certificate: bytes,
) -> None:
    pair = pairing_pair(_lying_joiner(certificate), sponsor(OLD))
    people = with_people(pair)
    pair.run()
    assert people[1].committed == []
    assert isinstance(pair.seen[1][-1], PairingFailed)


def test_a_certificate_with_another_static_key_than_the_handshakes_is_never_admitted() -> None:
    liar = Device("thief")
    liar.static = NEW.static
    pair = pairing_pair(
        _lying_joiner(liar.certificate(OLD.device, SpaceId(b"a space of tests"))), sponsor(OLD)
    )
    people = with_people(pair)
    pair.run()
    assert people[1].committed == []


@pytest.mark.parametrize(
    "message", [Approval(), Refusal(), Statements((b"s",), True), Stored(), Finished()]
)
def test_words_out_of_turn_end_it_without_an_admission(message: Word) -> None:
    """The peer knows the code and speaks before the people have decided."""
    pair = pairing_pair(joiner(NEW), sponsor(OLD))
    pair.run()
    last = _say(pair, 0, message)
    assert not any(isinstance(effect, Admit | Added) for effect in pair.seen[1])
    if not isinstance(message, Approval):
        assert isinstance(last, PairingFailed)


@pytest.mark.parametrize("liar_side", [0, 1])
def test_an_approval_said_twice_or_with_a_strange_certificate_ends_it(liar_side: int) -> None:
    pair = pairing_pair(joiner(NEW), sponsor(OLD))
    pair.run()
    certificate = NEW.certificate(OLD.device, SpaceId(b"a space of tests"))
    said = [Approval(certificate)] * 2 if liar_side == 0 else [Approval(certificate)]
    assert isinstance(_say(pair, liar_side, *said), PairingFailed)


def test_an_evidence_frame_has_no_place_in_an_enrolment() -> None:
    pair = pairing_pair(joiner(NEW), sponsor(OLD))
    pair.run()
    channel = _machine(pair, 0)._channel
    assert channel is not None
    pair.perform(0, [SendBytes(channel.seal_evidence(b"?"))])
    pair.settle()
    assert isinstance(pair.seen[1][-1], PairingFailed)


def test_a_refusal_after_the_decision_ends_it_as_an_interruption() -> None:
    pair = _only_approving(1)
    last = _say(pair, 0, Refusal())
    assert isinstance(last, PairingFailed)
    assert last.type is FailureType.INTERRUPTED


def test_a_device_that_shows_no_code_is_told_apart_from_a_wrong_code() -> None:
    inbound = Inbound(enrolling=False, linking=True, entropy=SeededEntropy(1), now=START)
    dials = pairing_pair(joiner(NEW), sponsor(OLD)).machines[0]
    refused = inbound.receive_bytes(dials.start(START)[0].data, START)
    assert isinstance(refused, Refused)
    assert dials.receive_bytes(refused.answer, START)[-1].type is FailureType.EXPIRED


def test_inputs_out_of_season_do_nothing() -> None:
    pair = pairing_pair(joiner(NEW), sponsor(OLD))
    for machine in pair.machines:
        assert isinstance(machine, PairingMachine)
        assert machine.approve(START) == []
        assert machine.refuse(START) == []
        assert machine.admitted([b"s"], START) == []
        assert machine.stored(START) == []
        assert machine.fail("gave up")
        assert machine.fail("again") == []
        assert machine.start(START) == []
        assert machine.receive_bytes(HELLO, START) == []


@pytest.mark.parametrize(
    "content", [["statements", ["text"], True], ["introduction", "odd", b"s" * 64]]
)
def test_messages_of_another_shape_are_refused(content: list[object]) -> None:
    with pytest.raises(Malformed):
        parse_message(encode(content), b"h")


def test_an_unknown_failure_in_clear_is_the_peers_fault() -> None:
    machine = pairing_pair(joiner(NEW), sponsor(OLD)).machines[0]
    machine.start(START)
    effects = machine.receive_bytes(HELLO + clear_frame(Kind.FAILURE, b"whatever"), START)
    assert effects[-1].type is FailureType.INTERRUPTED


def test_a_joiner_cannot_say_finished_to_its_sponsor_nor_stored_before_it_got_anything() -> None:
    pair = _only_approving(0)
    assert _machine(pair, 0).state is State.STORING
    assert isinstance(_say(pair, 0, Finished()), PairingFailed)


def test_a_flood_of_statements_ends_the_enrolment() -> None:
    pair = _only_approving(1)
    pair.perform(1, _machine(pair, 1).admitted([b"s"] * (JOIN_STATEMENTS_MAX + 1), START))
    pair.settle()
    last = pair.seen[0][-1]
    assert isinstance(last, PairingFailed)
    assert "join-statements" in last.detail


def test_an_introduction_signed_for_another_handshake_is_refused() -> None:
    introduction = Introduction(party=Party.JOINER, name="box", signing=NEW.signing.public)
    raw = introduce(introduction, NEW.signing, b"one" * 20)
    assert parse_message(raw, b"one" * 20) == introduction
    with pytest.raises(Unauthorized):
        parse_message(raw, b"two" * 20)


@pytest.mark.parametrize("name", ["", "x" * 65, "two\nlines", "\x1b[2Jclear", "‮gnp.exe"])
def test_a_name_that_plays_with_the_terminal_is_refused(name: str) -> None:
    introduction = Introduction(party=Party.JOINER, name=name, signing=NEW.signing.public)
    with pytest.raises(Malformed):
        parse_message(introduce(introduction, NEW.signing, b"h"), b"h")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("x" * 65, "x" * 64),
        ("Ana \u200d's laptop\n", "Ana 's laptop"),
        ("\u202egnp.exe", "gnp.exe"),
        ("\u200b", "device"),
    ],
)
def test_an_own_name_that_others_refuse_to_show_does_not_keep_a_device_out(
    name: str, shown: str
) -> None:
    pair = pairing_pair(joiner(Device(name)), sponsor(OLD))
    pair.run()
    assert pair.seen[1][0].name == shown


@pytest.mark.parametrize(
    "raw", [b"", b"\xc0", b"\x90", b"\x91\xa3foo", b"\x92\xa8approval\xc0", b"\x91\xa8approval"]
)
def test_other_bytes_are_no_pairing_message(raw: bytes) -> None:
    with pytest.raises(PeerError):
        parse_message(raw, b"h")


def test_an_offer_by_a_joiner_or_of_unknown_collections_is_refused() -> None:
    for introduction in (
        Introduction(
            party=Party.JOINER, name="x", signing=NEW.signing.public, receives=("follows",)
        ),
        Introduction(
            party=Party.SPONSOR,
            name="x",
            signing=NEW.signing.public,
            space=SpaceId(b"s" * 16),
            receives=("sessions", "follows"),
        ),
        Introduction(party=Party.SPONSOR, name="x", signing=NEW.signing.public),
    ):
        with pytest.raises(Malformed):
            parse_message(introduce(introduction, NEW.signing, b"h"), b"h")


def test_the_certificate_names_the_sponsor_that_was_met() -> None:
    asked: list[tuple[DeviceId, SpaceId]] = []

    def certificate(adder: DeviceId, space: SpaceId) -> bytes:
        asked.append((adder, space))
        return NEW.certificate(adder, space)

    party = Joiner(name="box", signing=NEW.signing, static=NEW.static, make_certificate=certificate)
    pair = pairing_pair(party, sponsor(OLD))
    with_people(pair)
    pair.run()
    assert asked == [(OLD.device, SpaceId(b"a space of tests"))]
