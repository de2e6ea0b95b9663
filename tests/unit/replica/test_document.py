"""The document's index, and its digest."""

from __future__ import annotations

import random

import pytest

from presenced.ids import LogId, RecordId, StatementId
from presenced.replica.digest import ContentDigest
from presenced.replica.document import Document, Touched
from presenced.replica.hlc import Hlc
from presenced.replica.slot import Operation
from presenced.wire import encode

ONE, OTHER = LogId(b"1" * 16), LogId(b"2" * 16)
RECORD = RecordId(bytes(16))


class Writing:
    """A document and its two writers, written entry by entry."""

    def __init__(self) -> None:
        self.document = Document()
        self.writers = {log: self.document.writer(log, log[0]) for log in (ONE, OTHER)}
        self.clocks = dict.fromkeys(self.writers, 0)
        self.seqs = dict.fromkeys(self.writers, 0)

    def put(
        self,
        log: LogId,
        *fields: tuple[RecordId, str],
        value: object = None,
        seen: dict[LogId, int] | None = None,
        touched: Touched | None = None,
    ) -> Touched:
        self.seqs[log] += 1
        touched = {} if touched is None else touched
        operations = [
            Operation("follow", record, field, Hlc(1), value, seen or {})
            for record, field in fields
        ]
        pairs = sorted((seen or {}).items())
        stored = [encode([self.seqs[log], 1, value, pairs]) for _ in fields]
        writer, clock = self.writers[log], self.clocks[log]
        self.document.put(writer, clock, self.seqs[log], operations, stored, touched)
        self.clocks[log] += len(fields)
        self.document.flush()
        return touched


def test_a_new_record_with_core_alone_is_told_as_such() -> None:
    world = Writing()
    other = RecordId(b"o" * 16)
    touched = world.put(ONE, (RECORD, "core"), (other, "core"), (other, "state"))
    assert touched == {
        ("follow", RECORD): Operation("follow", RECORD, "core", Hlc(1), None, {}),
        ("follow", other): frozenset({"core", "state"}),
    }
    assert world.put(ONE, (RECORD, "core")) == {("follow", RECORD): frozenset({"core"})}


def test_fields_touched_by_several_entries_add_up() -> None:
    world = Writing()
    touched = world.put(ONE, (RECORD, "core"))
    world.put(OTHER, (RECORD, "core"), touched=touched)
    assert touched == {("follow", RECORD): frozenset({"core"})}
    world.put(ONE, (RECORD, "state"), touched=touched)
    assert touched == {("follow", RECORD): frozenset({"core", "state"})}


def test_slots_are_given_by_field_and_log() -> None:
    world = Writing()
    world.put(ONE, (RECORD, "state"), value="a")
    world.put(OTHER, (RECORD, "state"), value="b", seen={ONE: 1})
    world.put(ONE, (RECORD, "state"), value="c")
    slots = world.document.slots("follow", RECORD)
    assert {log: (slot.seq, slot.value) for log, slot in slots["state"].items()} == {
        ONE: (2, "c"),
        OTHER: (1, "b"),
    }
    assert slots["state"][OTHER].seen == {ONE: 1}
    assert world.document.slot_count == 2
    assert world.document.slots("session", RECORD) == {}
    assert world.document.slots("follow", RecordId(b"x" * 16)) == {}


def test_memory_of_the_index_stays_within_what_was_promised() -> None:
    """250 bytes a record beside yrs, for records of one slot: one integer and its place."""
    import tracemalloc

    world = Writing()
    world.put(ONE, (RECORD, "core"))
    chance = random.Random(1)
    records = [RecordId(chance.randbytes(16)) for _ in range(20_000)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for start in range(0, len(records), 1_000):
        world.put(ONE, *((record, "core") for record in records[start : start + 1_000]))
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert used / len(records) < 250


def test_the_digest_covers_live_slots_and_not_covered_ones() -> None:
    first, second = Writing(), Writing()
    first.put(ONE, (RECORD, "state"), value="covered")
    first.put(OTHER, (RECORD, "state"), value="x", seen={ONE: 1})
    second.put(OTHER, (RECORD, "state"), value="x", seen={ONE: 1})
    digests = [ContentDigest(one.document).digest("follows", ()) for one in (first, second)]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("change", ["value", "record", "field", "log", "seq"])
def test_the_digest_changes_with_whatever_a_slot_says(change: str) -> None:
    plain, changed = Writing(), Writing()
    plain.put(ONE, (RECORD, "state"), value="x")
    if change == "seq":
        changed.seqs[ONE] = 1
    changed.put(
        OTHER if change == "log" else ONE,
        (
            RecordId(b"r" * 16) if change == "record" else RECORD,
            "title" if change == "field" else "state",
        ),
        value="y" if change == "value" else "x",
    )
    digests = [ContentDigest(one.document).digest("follows", ()) for one in (plain, changed)]
    assert digests[0] != digests[1]


def test_the_digest_covers_the_statements_and_the_collection() -> None:
    digest = ContentDigest(Writing().document)
    heads = (StatementId(b"1" * 32), StatementId(b"2" * 32))
    assert digest.digest("follows", heads) == digest.digest("follows", heads[::-1])
    assert digest.digest("follows", heads) != digest.digest("follows", heads[:1])
    assert digest.digest("follows", heads) != digest.digest("sessions", heads)


@pytest.mark.parametrize("seed", range(10))
def test_a_digest_kept_up_to_date_equals_one_taken_from_nothing(seed: int) -> None:
    chance = random.Random(seed)
    world = Writing()
    kept = ContentDigest(world.document)
    for _ in range(40):
        log = chance.choice([ONE, OTHER])
        fields = {
            (RecordId(bytes([chance.randint(0, 255)]) * 16), chance.choice("ab"))
            for _ in range(chance.randint(1, 4))
        }
        seen = {OTHER if log == ONE else ONE: chance.randint(1, 5)} if chance.random() < 0.3 else {}
        world.put(log, *sorted(fields), value=chance.random(), seen=seen)
        if chance.random() < 0.5:
            now = kept.digest("follows", ())
            world.document.dirty.update(range(256))
            assert ContentDigest(world.document).digest("follows", ()) == now
