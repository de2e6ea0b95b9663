"""What a stranger or a machine in the middle can do to a link: end it, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from presenced.clock import Instant
from presenced.crypto.keys import DhKey
from presenced.crypto.noise import CipherState, HandshakeState
from presenced.errors import LimitExceeded, Malformed, Unauthorized
from presenced.testing.byte_pair import START, BytePair
from presenced.testing.link_doubles import (
    Device,
    MemoryPeers,
    SeededEntropy,
    link_machine,
    link_pair,
)
from presenced.trust.channel import PIECE_BYTES_MAX, Channel, Received
from presenced.trust.frames import FrameBuffer, Kind, SendBytes, clear_frame, frame
from presenced.trust.hello import Hello, Mode, parse_hello
from presenced.trust.inbound import Arrived, Inbound, Refused
from presenced.trust.link import LinkClosed, LinkMachine, MessageReceived
from presenced.trust.link_limits import (
    HELLO_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    PREAUTH_BYTES_MAX,
    PREAUTH_MS_MAX,
)

LAPTOP, BOX, THIEF = Device("laptop"), Device("box"), Device("thief")


def _answerer(peers: MemoryPeers | None = None) -> LinkMachine:
    return link_machine(BOX, peers or MemoryPeers(BOX, [LAPTOP]), initiator=False)


def _frames(data: bytes) -> list[bytes]:
    buffer = FrameBuffer()
    buffer.feed(data)
    taken = []
    while (body := buffer.next()) is not None:
        taken.append(frame(body))
    return taken


def _channels() -> tuple[Channel, Channel]:
    def pair() -> tuple[CipherState, CipherState]:
        return CipherState(b"a" * 32), CipherState(b"b" * 32)

    (a, b), (c, d) = pair(), pair()
    return (
        Channel(sending=a, receiving=b, frames=FrameBuffer()),
        Channel(sending=d, receiving=c, frames=FrameBuffer()),
    )


# --- replay ---


def test_a_replayed_first_message_is_refused_by_its_counter_and_tells_nothing() -> None:
    peers = MemoryPeers(BOX, [LAPTOP])
    recorded = BytePair(
        link_machine(LAPTOP, MemoryPeers(LAPTOP, [BOX]), initiator=True),
        link_machine(Device("box"), peers, initiator=False),
    )
    recorded.run()
    assert recorded.kinds(1) == ["LinkUp"]
    seen = dict(peers.counters)

    # The answerer's nonce and ephemeral key are what they were, so that every byte fits again.
    again = link_machine(Device("box"), peers, initiator=False)
    effects = again.receive_bytes(bytes(recorded.sent[0]), START)
    assert isinstance(effects[-1], LinkClosed)
    assert "replay" in effects[-1].detail
    assert len(effects) == 2  # its hello, and the end: no second handshake message
    assert peers.counters == seen


def test_a_replay_to_another_run_does_not_even_decrypt() -> None:
    recorded = link_pair(LAPTOP, BOX)
    recorded.run()
    effects = _answerer().receive_bytes(bytes(recorded.sent[0]), START)
    assert isinstance(effects[-1], LinkClosed)
    assert effects[-1].code == "unauthorized"


def test_a_thousand_replays_change_no_state() -> None:
    peers = MemoryPeers(BOX, [LAPTOP])
    recorded = BytePair(
        link_machine(LAPTOP, MemoryPeers(LAPTOP, [BOX]), initiator=True), _answerer(peers)
    )
    recorded.run()
    seen = dict(peers.counters)
    for _ in range(1_000):
        effects = _answerer(peers).receive_bytes(bytes(recorded.sent[0]), START)
        assert isinstance(effects[-1], LinkClosed)
    assert peers.counters == seen


# --- alteration ---


def _alter_once(
    change: Callable[[bytes, random.Random], bytes], side: int, at: int, seed: int
) -> Callable[[int, bytes], bytes]:
    generator = random.Random(seed)
    counted = [0]

    def alter(sender: int, data: bytes) -> bytes:
        if sender != side:
            return data
        counted[0] += 1
        return change(data, generator) if counted[0] == at + 1 else data

    return alter


def _flip_bit(data: bytes, generator: random.Random) -> bytes:
    place = generator.randrange(2, len(data))
    changed = bytearray(data)
    changed[place] ^= 1 << generator.randrange(8)
    return bytes(changed)


def _truncate(data: bytes, generator: random.Random) -> bytes:
    return data[: generator.randrange(len(data))]


def _swap_frames(data: bytes, generator: random.Random) -> bytes:
    return b"".join(reversed(_frames(data)))


def _repeat(data: bytes, generator: random.Random) -> bytes:
    return data + data


@pytest.mark.parametrize("change", [_flip_bit, _truncate, _repeat, _swap_frames])
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("seed", range(8))
def test_altered_bytes_never_bring_a_message_that_was_not_sent(
    change: Callable[[bytes, random.Random], bytes], side: int, at: int, seed: int
) -> None:
    pair = link_pair(LAPTOP, BOX, seed=seed)
    pair.alter = _alter_once(change, side, at, seed)
    pair.run()
    sent = [b"one", b"two" * 30_000, b"three"]
    machine = pair.machines[side]
    assert isinstance(machine, LinkMachine)
    for message in sent:
        pair.perform(side, machine.send_message(message))
    pair.settle()
    got = [effect.message for effect in pair.seen[1 - side] if isinstance(effect, MessageReceived)]
    assert got == sent[: len(got)]


@pytest.mark.parametrize("change", [_flip_bit, _repeat])
def test_altered_messages_end_the_link_with_a_code(
    change: Callable[[bytes, random.Random], bytes],
) -> None:
    pair = link_pair(LAPTOP, BOX)
    pair.run()
    pair.alter = _alter_once(change, 0, 0, 1)
    machine = pair.machines[0]
    assert isinstance(machine, LinkMachine)
    pair.perform(0, machine.send_message(b"message"))
    pair.settle()
    assert pair.kinds(1)[-1] == "LinkClosed"
    assert pair.seen[0][-1] == LinkClosed(code="unauthorized", by_peer=True)


def test_a_changed_hello_ends_the_handshake() -> None:
    """Taking version 2 out of the dialler's offer would be a downgrade."""
    pair = BytePair(
        link_machine(LAPTOP, MemoryPeers(LAPTOP, [BOX]), initiator=True, versions=(1, 2)),
        link_machine(BOX, MemoryPeers(BOX, [LAPTOP]), initiator=False, versions=(1, 2)),
    )
    lower = {0: False, 1: False}

    def downgrade(sender: int, data: bytes) -> bytes:
        if lower[sender]:
            return data
        lower[sender] = True
        body = FrameBuffer()
        body.feed(data)
        taken = body.next()
        assert taken is not None
        hello = parse_hello(taken[1:])
        changed = Hello(versions=(1,), mode=hello.mode, nonce=hello.nonce, tags=hello.tags)
        return clear_frame(Kind.HELLO, changed.encode())

    pair.alter = downgrade
    pair.run()
    assert "LinkUp" not in pair.kinds(0) + pair.kinds(1)
    assert pair.kinds(1)[-1] == "LinkClosed"


# --- strangers ---


def test_a_stranger_who_does_not_know_the_static_key_gets_no_answer_to_its_handshake() -> None:
    wrong = DhKey(b"x" * 32).public
    peers = MemoryPeers(THIEF, [BOX])
    peers._statics = {BOX.device: wrong}
    pair = BytePair(
        link_machine(THIEF, peers, initiator=True, expected=BOX.device),
        _answerer(),
    )
    pair.run()
    assert pair.kinds(1) == ["LinkClosed"]
    assert pair.seen[1][-1].code == "unauthorized"
    assert len(_frames(bytes(pair.sent[1]))) == 1  # its hello


def test_a_stranger_who_knows_the_static_key_but_not_the_space_gets_no_further() -> None:
    peers = MemoryPeers(BOX, [LAPTOP])
    pair = BytePair(
        link_machine(
            THIEF, MemoryPeers(THIEF, [BOX]), initiator=True, expected=BOX.device, space=b"?" * 16
        ),
        _answerer(peers),
    )
    pair.run()
    assert "LinkUp" not in pair.kinds(1)
    assert peers.counters == {}  # nothing is remembered of who did not finish


def test_a_strangers_hello_learns_nothing_from_the_answer() -> None:
    """The tags of two answers have nothing in common, and none follows from public keys."""
    hello = Hello(versions=(1,), mode="link", nonce=b"n" * 16).encode()
    answers = []
    for _ in range(2):
        sent = _answerer().receive_bytes(clear_frame(Kind.HELLO, hello), START)
        answers.append(sent[0].data)  # type: ignore[union-attr]
    alone = link_machine(BOX, MemoryPeers(BOX, []), initiator=False)
    answers.append(
        alone.receive_bytes(clear_frame(Kind.HELLO, hello), START)[0].data  # type: ignore[union-attr]
    )
    assert len({len(answer) for answer in answers}) == 1
    tags = [{answer[-256:][at : at + 8] for at in range(0, 256, 8)} for answer in answers]
    assert not tags[0] & tags[1]


def test_a_device_that_does_not_link_now_says_so_without_a_handshake() -> None:
    inbound = Inbound(enrolling=True, linking=False, entropy=SeededEntropy(1), now=START)
    dials = link_machine(LAPTOP, MemoryPeers(LAPTOP, [BOX]), initiator=True)
    (hello,) = dials.start(START)
    assert isinstance(hello, SendBytes)
    refused = inbound.receive_bytes(hello.data, START)
    assert isinstance(refused, Refused)
    (closed,) = dials.receive_bytes(refused.answer, START)
    assert isinstance(closed, LinkClosed)
    assert closed.code == "unauthorized"


@pytest.mark.parametrize("payload", [b"", b"counter and more"])
def test_a_first_message_without_exactly_a_counter_is_refused(
    payload: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = link_pair(LAPTOP, BOX)
    write = HandshakeState.write_message
    monkeypatch.setattr(
        HandshakeState,
        "write_message",
        lambda self, said=b"": write(self, payload if said else said),
    )
    pair.run()
    assert pair.kinds(1) == ["LinkClosed"]
    assert pair.seen[1][-1].code == "malformed"


def test_a_second_message_with_a_payload_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = link_pair(LAPTOP, BOX)
    write = HandshakeState.write_message
    monkeypatch.setattr(
        HandshakeState, "write_message", lambda self, said=b"": write(self, said or b"extra")
    )
    pair.run()
    assert pair.seen[0][-1].code == "malformed"


@pytest.mark.parametrize("kind", [Kind.PAKE, Kind.FAILURE])
def test_frames_of_an_enrolment_have_no_place_on_a_link(kind: Kind) -> None:
    effects = _answerer().receive_bytes(clear_frame(kind, b"?"), START)
    assert isinstance(effects[-1], LinkClosed)
    assert effects[-1].code == "malformed"


# --- floods and sizes ---


@pytest.mark.parametrize("cut", [1, 7, 1500])
def test_a_stranger_makes_us_read_four_kibibytes_at_most(cut: int) -> None:
    machine = _answerer()
    flood = frame(b"\x03" + b"f" * (PREAUTH_BYTES_MAX - 2))
    effects: list[object] = []
    given = 0
    while not effects and given < len(flood):
        effects += machine.receive_bytes(flood[given : given + cut], START)
        given += cut
    (closed,) = effects
    assert isinstance(closed, LinkClosed)
    assert closed.code == "limit-exceeded"
    assert given <= 2 + cut  # the announced length was enough


def test_many_small_frames_do_not_pass_the_bound_either() -> None:
    hello = Hello(versions=(1,), mode="link", nonce=b"n" * 16).encode()
    machine = _answerer()
    effects = machine.receive_bytes(clear_frame(Kind.HELLO, hello) * 100, START)
    assert isinstance(effects[-1], LinkClosed)


def test_a_dripping_stranger_is_closed_after_five_seconds() -> None:
    machine = _answerer()
    hello = clear_frame(Kind.HELLO, Hello(versions=(1,), mode="link", nonce=b"n" * 16).encode())
    for second in range(5):
        drop = hello[second : second + 1]
        assert machine.receive_bytes(drop, Instant(START.mono_ms + second * 1000, 0)) == []
    (closed,) = machine.tick(Instant(START.mono_ms + PREAUTH_MS_MAX, 0))
    assert closed == LinkClosed(code="timeout", detail="no handshake in time")


def test_a_flood_of_hellos_is_bounded_before_a_machine_exists() -> None:
    inbound = Inbound(enrolling=True, linking=True, entropy=SeededEntropy(1), now=START)
    refused = inbound.receive_bytes((HELLO_BYTES_MAX + 2).to_bytes(2, "big"), START)
    assert isinstance(refused, Refused)
    assert inbound.receive_bytes(b"more", START) is None
    silent = Inbound(enrolling=True, linking=True, entropy=SeededEntropy(1), now=START)
    assert silent.tick(Instant(PREAUTH_MS_MAX - 1, 0)) is None
    assert isinstance(silent.tick(Instant(PREAUTH_MS_MAX, 0)), Refused)
    assert silent.next_wakeup is None


def test_an_unknown_mode_is_refused_with_a_hello_that_says_so() -> None:
    inbound = Inbound(enrolling=True, linking=True, entropy=SeededEntropy(1), now=START)
    hello = Hello(versions=(1,), mode="relay-me", nonce=b"n" * 16)
    refused = inbound.receive_bytes(clear_frame(Kind.HELLO, hello.encode()), START)
    assert isinstance(refused, Refused)
    assert refused.code == "mode"
    assert refused.answer


@pytest.mark.parametrize("mode", [Mode.LINK, Mode.ENROL])
def test_a_known_mode_goes_on_with_all_bytes_so_far(mode: Mode) -> None:
    data = clear_frame(Kind.HELLO, Hello(versions=(1,), mode=mode.value, nonce=b"n" * 16).encode())
    inbound = Inbound(enrolling=True, linking=True, entropy=SeededEntropy(1), now=START)
    assert inbound.receive_bytes(data[:5], START) is None
    arrived = inbound.receive_bytes(data[5:] + b"rest", START)
    assert arrived == Arrived(mode=mode, received=data + b"rest")
    closed = Inbound(enrolling=False, linking=False, entropy=SeededEntropy(1), now=START)
    assert isinstance(closed.receive_bytes(data, START), Refused)


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0",
        frame(b"\x09unknown kind"),
        frame(b"\x03no hello first"),
        frame(b"\x01not msgpack"),
        frame(b"\x01\x90"),
    ],
)
def test_what_is_no_hello_is_refused(data: bytes) -> None:
    inbound = Inbound(enrolling=True, linking=True, entropy=SeededEntropy(1), now=START)
    assert isinstance(inbound.receive_bytes(data, START), Refused)
    assert isinstance(_answerer().receive_bytes(data, START)[-1], LinkClosed)


# --- the channel ---


def test_reassembly_is_bounded_at_one_mebibyte() -> None:
    sender, receiver = _channels()
    piece = bytes([1]) + b"p" * PIECE_BYTES_MAX
    pieces = MESSAGE_BYTES_MAX // PIECE_BYTES_MAX
    for _ in range(pieces):
        receiver.frames.feed(frame(sender.sending.encrypt(b"", piece)))
        assert receiver.next() is None
    receiver.frames.feed(frame(sender.sending.encrypt(b"", piece)))
    with pytest.raises(LimitExceeded, match="message-bytes"):
        receiver.next()


@pytest.mark.parametrize(
    "plaintexts",
    [
        [b""],
        [b"\x09unknown part"],
        [b"\x01crumb"],
        [b"\x01" + b"p" * PIECE_BYTES_MAX, b"\x00"],
        [b"\x01" + b"p" * PIECE_BYTES_MAX, b"\x02close"],
        [b"\x01" + b"p" * PIECE_BYTES_MAX, b"\x03evidence"],
        [b"\x02" + b"c" * 33],
        [b"\x02\xff"],
    ],
)
def test_a_member_that_frames_otherwise_breaks_the_protocol(plaintexts: list[bytes]) -> None:
    sender, receiver = _channels()
    for plaintext in plaintexts:
        receiver.frames.feed(frame(sender.sending.encrypt(b"", plaintext)))
    with pytest.raises(Malformed):
        receiver.next()  # what only continues a message is taken on the way


def test_frames_out_of_order_do_not_decrypt() -> None:
    sender, receiver = _channels()
    first, second = sender.seal_message(b"1"), sender.seal_message(b"2")
    receiver.frames.feed(second + first)
    with pytest.raises(Unauthorized):
        receiver.next()


def test_a_frame_sent_back_to_its_sender_does_not_decrypt() -> None:
    sender, _ = _channels()
    sender.frames.feed(sender.seal_message(b"mirror"))
    with pytest.raises(Unauthorized):
        sender.next()


def test_one_good_message_before_a_bad_frame_is_still_delivered() -> None:
    sender, receiver = _channels()
    receiver.frames.feed(sender.seal_message(b"good") + frame(b"x" * 40))
    assert receiver.next() == (Received.MESSAGE, b"good")
    with pytest.raises(Unauthorized):
        receiver.next()
