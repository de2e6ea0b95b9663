"""Two devices exchange what they lack, and both know when they are level."""

from __future__ import annotations

import random

import pytest

from presenced.errors import LimitExceeded, Malformed, PeerError, Unauthorized
from presenced.ids import StatementId
from presenced.testing.draw import Drawing, draw_signed
from presenced.testing.pair import NotSettled, Pair
from presenced.trust import limits, statement_sync
from presenced.trust.dag import StatementDag
from presenced.trust.statement import Statement
from presenced.trust.statement_messages import Heads, Statements, Want
from presenced.trust.statement_sync import TRANSITIONS, Announced, Started, State, StatementSync

CHAIN = [
    "a: root genesis A",
    "b: A add B after a",
    "c: A rotate follows to A,B after b",
    "d: A add C after c",
    "e: B sealing_key after c",
    "f: B somethingnew of a later version after e",
]


def dag_of(drawing: Drawing, words: str) -> StatementDag:
    return StatementDag(drawing[word] for word in words)


class Ends:
    """Two machines, their DAGs, and what each was told is new."""

    def __init__(self, left: StatementDag, right: StatementDag) -> None:
        self.dags = {"left": left, "right": right}
        self.syncs = {"left": StatementSync(left), "right": StatementSync(right)}
        self.new: dict[str, list[Statement]] = {"left": [], "right": []}
        self.pair = Pair(self._receiver("left"), self._receiver("right"))

    def _receiver(self, side: str):  # type: ignore[no-untyped-def]
        def receive(message: bytes) -> list[bytes]:
            outcome = self.syncs[side].receive(message)
            assert not outcome.faults
            self.new[side].extend(outcome.new)
            assert outcome.level == self.syncs[side].level
            return outcome.send

        return receive

    def start(self) -> None:
        self.pair.send("left", self.syncs["left"].start())
        self.pair.send("right", self.syncs["right"].start())

    @property
    def level(self) -> bool:
        return self.syncs["left"].level and self.syncs["right"].level


@pytest.mark.parametrize(
    ("left", "right"),
    [("a", "abcdef"), ("abcdef", "a"), ("abcd", "abcef"), ("abcdef", "abcdef"), ("ab", "abc")],
)
def test_both_sides_end_with_everything_and_know_it(left: str, right: str) -> None:
    drawing = draw_signed(CHAIN)
    ends = Ends(dag_of(drawing, left), dag_of(drawing, right))
    ends.start()
    ends.pair.drive()
    assert ends.level
    union = {drawing.ids[word] for word in left + right}
    for side, had in (("left", left), ("right", right)):
        assert {one.id for one in ends.dags[side].topological()} == union
        gained = [one.id for one in ends.new[side]]
        assert len(gained) == len(set(gained)) == len(union) - len(set(had))


def test_nothing_is_sent_twice_when_one_side_is_merely_behind() -> None:
    lines = ["s0: root genesis A"]
    lines += [f"s{n}: A sealing_key after s{n - 1}" for n in range(1, 60)]
    drawing = draw_signed(lines)
    ends = Ends(
        StatementDag(drawing.statements[:40]),
        StatementDag(drawing.statements),
    )
    ends.start()
    ends.pair.drive()
    assert ends.level
    sent_back = [m for m in ends.pair.delivered["right"] if m[0] == 2]
    assert not sent_back or sum(map(len, sent_back)) < 4000
    assert len(ends.new["left"]) == 20
    towards_left = sum(len(m) for m in ends.pair.delivered["left"] if m[0] == 2)
    assert towards_left < 21 * len(drawing.statements[-1].raw) + 100


def test_level_is_not_said_before_the_peer_has_what_only_we_have() -> None:
    drawing = draw_signed(CHAIN)
    ends = Ends(dag_of(drawing, "abcd"), dag_of(drawing, "ab"))
    ends.start()
    ends.pair.step("left")
    assert not ends.syncs["left"].level
    ends.pair.drive()
    assert ends.level


def test_a_statement_of_a_third_device_is_pushed_on_while_level() -> None:
    drawing = draw_signed(CHAIN)
    ends = Ends(dag_of(drawing, "abc"), dag_of(drawing, "abc"))
    ends.start()
    ends.pair.drive()
    fresh = drawing["d"]
    ends.dags["left"].add(fresh)
    ends.pair.send("left", ends.syncs["left"].announce([fresh]))
    ends.pair.drive()
    assert ends.new["right"] == [fresh]
    assert ends.level
    assert ends.syncs["left"].announce([fresh]) == []


def test_statements_made_on_both_sides_at_once_cross_and_settle() -> None:
    drawing = draw_signed(CHAIN)
    ends = Ends(dag_of(drawing, "abc"), dag_of(drawing, "abc"))
    ends.start()
    ends.pair.drive()
    for side, word in (("left", "d"), ("right", "e")):
        ends.dags[side].add(drawing[word])
        ends.pair.send(side, ends.syncs[side].announce([drawing[word]]))  # type: ignore[arg-type]
    ends.pair.drive()
    assert ends.new["left"] == [drawing["e"]]
    assert ends.new["right"] == [drawing["d"]]


def test_announcing_before_the_peer_greeted_waits_for_its_heads() -> None:
    drawing = draw_signed(CHAIN)
    dag = dag_of(drawing, "abc")
    sync = StatementSync(dag)
    assert sync.announce([drawing["c"]]) == []
    sync.start()
    assert sync.announce([drawing["c"]]) == []


def test_becoming_level_by_what_a_third_device_sent_is_known_to_both() -> None:
    drawing = draw_signed(CHAIN)
    ends = Ends(dag_of(drawing, "abc"), dag_of(drawing, "abcd"))
    ends.pair.send("left", ends.syncs["left"].start())
    greeting = ends.syncs["right"].start()
    assert not ends.syncs["left"].receive(greeting[0]).level
    ends.dags["left"].add(drawing["d"])
    ends.pair.send("left", ends.syncs["left"].announce([drawing["d"]]))
    assert ends.syncs["left"].level
    ends.pair.drive()
    assert ends.level


def test_random_worlds_and_schedules_settle_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement_sync, "SYNC_BATCH_STATEMENTS_MAX", 3)
    monkeypatch.setattr(statement_sync, "SYNC_WINDOW_BATCHES", 2)
    for seed in range(60):
        rng = random.Random(seed)
        lines = ["s0: root genesis A"]
        for n in range(1, rng.randint(2, 30)):
            heads = rng.sample(range(n), min(n, rng.randint(1, 3)))
            lines.append(f"s{n}: A sealing_key after " + " ".join(f"s{h}" for h in heads))
        drawing = draw_signed(lines)

        def part(drawing: Drawing = drawing, rng: random.Random = rng) -> StatementDag:
            kept = [s for s in drawing.statements if s.type == "genesis" or rng.random() < 0.7]
            closed = StatementDag(kept)
            return StatementDag(closed.topological())

        ends = Ends(part(), part())
        ends.start()
        ends.pair.drive(choose=rng.choice)
        assert ends.level, seed
        assert ends.dags["left"].heads == ends.dags["right"].heads


# --- what a hostile peer may try ---


def greeted(words: str = "ab") -> tuple[Drawing, StatementDag, StatementSync]:
    drawing = draw_signed(CHAIN)
    dag = dag_of(drawing, words)
    sync = StatementSync(dag)
    sync.start()
    sync.receive(Heads(heads=dag.heads, markers=(), batches=0).encode())
    return drawing, dag, sync


def test_every_pair_that_is_not_in_the_table_breaks_the_protocol() -> None:
    messages = [
        Heads(heads=(), markers=(), batches=0),
        Statements(raws=()),
        Want(ids=()),
    ]
    for state in State:
        for message in messages:
            _, _, sync = greeted()
            sync.state = state
            if (state, type(message)) in TRANSITIONS:
                sync.receive(message.encode())
                assert sync.state in TRANSITIONS[state, type(message)]
            else:
                with pytest.raises(Malformed):
                    sync.receive(message.encode())
    for state in State:
        assert (state, Announced) in TRANSITIONS
    assert (State.SILENT, Started) in TRANSITIONS


def test_a_forged_signature_is_reported_and_the_rest_of_its_message_is_kept() -> None:
    drawing, dag, sync = greeted()
    forged = bytearray(drawing["c"].raw)
    forged[-1] ^= 1
    outcome = sync.receive(Statements(raws=(bytes(forged), drawing["c"].raw)).encode())
    assert [type(fault) for fault in outcome.faults] == [Unauthorized]
    assert outcome.new == [drawing["c"]]
    assert drawing["c"].id in dag


def test_statements_of_another_space_are_refused() -> None:
    _, dag, sync = greeted()
    from presenced.trust.identity import found_identity

    stranger = found_identity(random.Random(1).randbytes)
    outcome = sync.receive(Statements(raws=(stranger.genesis.raw,)).encode())
    assert len(outcome.faults) == 1
    assert len(dag) == 2


def test_a_peer_that_keeps_sending_what_does_not_verify_is_cut_off() -> None:
    _, dag, sync = greeted()
    for _ in range(limits.SYNC_FAULTS_MAX):
        sync.receive(Statements(raws=(b"\x90",)).encode())
    with pytest.raises(LimitExceeded, match="SYNC_FAULTS_MAX"):
        sync.receive(Statements(raws=(b"\x90",)).encode())
    assert len(dag) == 2


def test_what_was_raised_leaves_the_dag_untouched() -> None:
    drawing, dag, sync = greeted()
    bad = tuple(bytes([0x90, n]) for n in range(limits.SYNC_FAULTS_MAX + 1))
    with pytest.raises(LimitExceeded):
        sync.receive(Statements(raws=(drawing["c"].raw, *bad)).encode())
    assert drawing["c"].id not in dag


def test_a_duplicate_changes_nothing() -> None:
    drawing, _, sync = greeted()
    assert sync.receive(Statements(raws=(drawing["c"].raw,) * 5).encode()).new == [drawing["c"]]
    assert sync.receive(Statements(raws=(drawing["c"].raw,)).encode()).new == []


def test_statements_with_unknown_heads_are_asked_for_once_and_come_out_in_order() -> None:
    drawing, _, sync = greeted()
    outcome = sync.receive(Statements(raws=(drawing["f"].raw, drawing["e"].raw)).encode())
    assert outcome.new == []
    wants = [message for message in outcome.send if message[0] == 3]
    assert wants == [Want(ids=(drawing["c"].id,)).encode()]
    outcome = sync.receive(Statements(raws=(drawing["d"].raw,)).encode())
    assert [m for m in outcome.send if m[0] == 3] == []
    outcome = sync.receive(Statements(raws=(drawing["c"].raw,)).encode())
    assert outcome.new[0].id == drawing["c"].id
    assert {one.id for one in outcome.new} == {drawing.ids[word] for word in "cdef"}
    assert outcome.new.index(drawing["e"]) < outcome.new.index(drawing["f"])


def test_what_waits_for_unknown_heads_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from presenced.trust import statement_buffer

    monkeypatch.setattr(statement_buffer, "SYNC_WAITING_MAX", 2)
    drawing, dag, sync = greeted()
    raws = tuple(drawing[word].raw for word in "def")
    outcome = sync.receive(Statements(raws=raws).encode())
    assert [fault.args[0] for fault in outcome.faults] == ["SYNC_WAITING_MAX"]
    assert len(dag) == 2
    monkeypatch.setattr(statement_buffer, "SYNC_WAITING_BYTES_MAX", 10)
    _, _, sync = greeted()
    outcome = sync.receive(Statements(raws=raws[:1]).encode())
    assert [fault.args[0] for fault in outcome.faults] == ["SYNC_WAITING_BYTES_MAX"]


def test_a_bomb_of_statements_ends_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing, dag, sync = greeted()
    with pytest.raises(LimitExceeded, match="SYNC_BATCH_STATEMENTS_MAX"):
        sync.receive(Statements(raws=(b"",) * (limits.SYNC_BATCH_STATEMENTS_MAX + 1)).encode())
    with pytest.raises(LimitExceeded, match="SYNC_MESSAGE_BYTES_MAX"):
        sync.receive(b"\x02" + bytes(limits.SYNC_MESSAGE_BYTES_MAX))
    monkeypatch.setattr(statement_sync, "SYNC_NEW_BYTES_MAX", 10)
    with pytest.raises(LimitExceeded, match="SYNC_NEW_BYTES_MAX"):
        sync.receive(Statements(raws=(drawing["c"].raw,)).encode())
    assert len(dag) == 2


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x00",
        b"\x04\x90",
        b"\x10\x90",
        b"\x01\x90",
        b"\x01\x93\x90\x90\x01",
        b"\x01\x93\x90\x90\xc3",
        b"\x01\x93\x91\x01\x90\x00",
        b"\x02\x01",
        b"\x02\x91\xa1a",
        b"\x03\x91\xc4\x01a",
        b"\x03\x92" + (b"\xc4\x20" + bytes(32)) * 2,
        b"\x02\x90\x90",
    ],
)
def test_messages_of_another_shape_end_the_link(message: bytes) -> None:
    _, _, sync = greeted()
    with pytest.raises(PeerError):
        sync.receive(message)


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        (
            Heads(
                heads=tuple(StatementId(n.to_bytes(32, "big")) for n in range(4097)),
                markers=(),
                batches=0,
            ),
            "SYNC_HEADS_MAX",
        ),
        (
            Heads(
                heads=(),
                markers=tuple(StatementId(n.to_bytes(32, "big")) for n in range(65)),
                batches=0,
            ),
            "SYNC_MARKERS_MAX",
        ),
        (
            Want(ids=tuple(StatementId(n.to_bytes(32, "big")) for n in range(257))),
            "SYNC_WANTED_MAX",
        ),
    ],
)
def test_lists_of_ids_are_bounded(message: Heads | Want, limit: str) -> None:
    _, _, sync = greeted()
    with pytest.raises(LimitExceeded, match=limit):
        sync.receive(message.encode())


def test_asking_again_and_again_gets_each_statement_once_more_only() -> None:
    drawing, _, sync = greeted("abcdef")
    behind = Heads(heads=(drawing["b"].id,), markers=(), batches=0)
    sync = StatementSync(dag_of(drawing, "abcdef"))
    sync.start()
    first = sync.receive(behind.encode()).send
    assert [message[0] for message in first] == [2]
    want = Want(ids=tuple(sorted(drawing.ids[word] for word in "cdef"))).encode()
    again = sync.receive(want).send
    assert [message[0] for message in again] == [2]
    assert sync.receive(want).send == []
    assert sync.receive(Want(ids=(drawing["a"].id,)).encode()).send == []


def test_no_more_than_the_window_is_sent_unacknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement_sync, "SYNC_BATCH_BYTES_MAX", 1)
    monkeypatch.setattr(statement_sync, "SYNC_WINDOW_BATCHES", 2)
    drawing = draw_signed(CHAIN)
    sync = StatementSync(dag_of(drawing, "abcdef"))
    sync.start()
    sent = sync.receive(Heads(heads=(), markers=(), batches=0).encode()).send
    assert len(sent) == 2
    assert sync.receive(Heads(heads=(), markers=(), batches=0).encode()).send == []
    assert len(sync.receive(Heads(heads=(), markers=(), batches=1).encode()).send) == 1
    with pytest.raises(Malformed):
        sync.receive(Heads(heads=(), markers=(), batches=4).encode())
    with pytest.raises(Malformed):
        sync.receive(Heads(heads=(), markers=(), batches=0).encode())


def test_a_pair_that_does_not_settle_says_what_both_did() -> None:
    pair = Pair(lambda message: [message], lambda message: [message])
    pair.send("left", [b"round and round"])
    with pytest.raises(NotSettled, match=r"left:\n.*<- 15 bytes"):
        pair.drive(50)
