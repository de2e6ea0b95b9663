"""Acceptance from a real DAG of statements: one answer, whatever came first.

N was added twice, by B and by C. A removes B without having seen that add; H does the same with C.
So each of them still has one add of N that counts, and goes on building on what N writes. Once
both removals are known both adds are void; N's entries must pass for one of them.
"""

from __future__ import annotations

import random

import pytest

from presenced.clock import Instant
from presenced.crypto import derive
from presenced.ids import LogId
from presenced.replica.frontier import Point
from presenced.replica.hlc import HybridClock
from presenced.replica.replica import Replica
from presenced.replica.rows import Outcome
from presenced.testing.draw import Drawing, draw_signed, drawn_device
from presenced.testing.memory_reader import MemoryReader
from presenced.testing.replica_world import SPACE, ReplicaDevice, TestOwner, UriIds
from presenced.trust.dag import StatementDag
from presenced.trust.epochs import Keyring
from presenced.trust.identity import DeviceSecrets
from presenced.trust.members import resolve_dag
from presenced.trust.view import MembershipView

DRAWN = [
    "a: root genesis A",
    "b: A add B after a",
    "c: A add C after b",
    "d: A add H after c",
    "e: A rotate follows to A,B,C,H after d",
    "f: B add N after e",
    "g: C add N after e",
    "h: A share N epochs e after f g",
    "i: A remove B after e",
    "j: A rotate follows parents e to A,C,H,N after g h i",
    "k: H remove C after e",
    "l: H rotate follows parents e to A,B,H,N after f h k",
]
RECORD = bytes([7]) * 16


def view_of(name: str, drawing: Drawing, words: str) -> MembershipView:
    keys = drawn_device(name)
    secrets = DeviceSecrets(
        signing=keys.signing,
        static=keys.static,
        sealing=(keys.sealing,),
        incarnation=keys.incarnation,
    )
    dag = StatementDag(drawing[word] for word in words)
    members = resolve_dag(dag)
    return MembershipView(members, dag, Keyring.open_from(members, dag, secrets))


class DrawnDevice(ReplicaDevice):
    """The replica of a device of the drawing, which knows some of its statements."""

    def __init__(self, name: str, drawing: Drawing, words: str) -> None:
        super().__init__(0)
        keys = drawn_device(name)
        self.name, self.drawing = name, drawing
        self.signing, self.device = keys.signing, keys.id
        self.log = derive.log_id(self.device, keys.incarnation, "follows")
        self.owner = TestOwner(
            self.device, "follows", keys.signing.public, derive.client_id(self.log)
        )
        self.knows(words)
        self.restart()

    def knows(self, words: str) -> None:
        self.trusts(view_of(self.name, self.drawing, words))  # type: ignore[arg-type]


class Story:
    """What N, A and H wrote, and who knew what when they did."""

    def __init__(self, *, last: str) -> None:
        """`last`: who took up most of what N wrote."""
        self.drawing = draw_signed(DRAWN)
        self.n, self.a, self.h = (
            DrawnDevice(name, self.drawing, "abcdefgh") for name in ("N", "A", "H")
        )
        self.a.knows("abcdefghij")
        self.h.knows("abcdefghkl")
        for number, device in enumerate((self.a, self.h)):
            self.n.put(RECORD, f"n{number}")
            if last != device.name:
                device.pull(self.n)
                device.put(RECORD, f"{device.name} saw {number}")
        self.n.put(RECORD, "n last")
        latest = self.a if last == "A" else self.h
        latest.pull(self.n)
        latest.put(RECORD, "saw all")
        self.n.put(RECORD, "nobody saw this in time")

    def chunks(self, rng: random.Random) -> dict[LogId, list[tuple[int, list[bytes]]]]:
        """Each log in pieces."""
        cut: dict[LogId, list[tuple[int, list[bytes]]]] = {}
        for device in (self.n, self.a, self.h):
            raws, first = device.raws(device.log), 1
            while raws:
                size = rng.randint(1, len(raws))
                cut.setdefault(device.log, []).append((first, raws[:size]))
                first, raws = first + size, raws[size:]
        return cut

    def observe(self, rng: random.Random) -> tuple[dict[LogId, Point], bytes]:
        """What a device ends with that gets statements and entries in any order."""
        words = [line[0] for line in DRAWN]
        known = "abcdefgh"
        reader = MemoryReader()
        replica = Replica(
            space=SPACE,
            collection="follows",
            own=None,
            reader=reader,
            naming=UriIds(),
            trust=view_of("A", self.drawing, known),
            clock=HybridClock(),
        )

        def keep(outcome: Outcome) -> None:
            assert not outcome.faults
            reader.commit("follows", outcome)

        now = Instant(0, 1_800_000_000_000)
        missing = [word for word in words if word not in known]
        rng.shuffle(missing)
        chunks = self.chunks(rng)
        while missing or any(chunks.values()):
            log = rng.choice(list(chunks))
            if missing and rng.random() < 0.4:
                known += missing.pop()
                keep(replica.trust_changed(view_of("A", self.drawing, known), now))
            elif chunks[log]:
                keep(replica.receive(log, *chunks[log].pop(0), now))
            if rng.random() < 0.1:
                replica.drop()
        return dict(replica.frontier.applied), replica.digest()


@pytest.mark.parametrize("last", ["A", "H"])
def test_content_that_passes_for_one_of_two_void_adds_stays_with_all_that_stands_on_it(
    last: str,
) -> None:
    story = Story(last=last)
    applied, _ = story.observe(random.Random(0))
    assert applied[story.a.log][0] == len(story.a.raws(story.a.log)) > 0
    assert applied[story.h.log][0] == len(story.h.raws(story.h.log)) > 0
    assert applied[story.n.log][0] == 3
    assert len(story.n.raws(story.n.log)) == 4


@pytest.mark.parametrize("seed", range(40))
def test_statements_and_entries_in_any_order_give_one_answer(seed: int) -> None:
    story = Story(last="AH"[seed % 2])
    assert story.observe(random.Random(seed)) == story.observe(random.Random(-1 - seed))
