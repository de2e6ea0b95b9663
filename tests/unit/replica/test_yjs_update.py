"""The encoder writes what pycrdt itself would, but for the items listed as deleted."""

from __future__ import annotations

import os
import random

import pytest
from pycrdt import Doc, Map, TransactionEvent

from presenced.ids import LogId, RecordId, show_id
from presenced.replica.document import Document
from presenced.replica.slot import Operation
from presenced.replica.yjs_update import (
    KeyShape,
    Section,
    encode_update,
    shown_client,
    shown_records,
    var_uint,
)


@pytest.mark.parametrize("count", [1, 2, 127, 128, 129, 300])
def test_many_ids_are_shown_as_one_by_one(count: int) -> None:
    ids = [RecordId(os.urandom(16)) for _ in range(count)]
    assert [text.decode() for text in shown_records(ids)] == [show_id(one) for one in ids]


@pytest.mark.parametrize(
    ("number", "written"),
    [(0, "00"), (127, "7f"), (128, "8001"), (16_383, "ff7f"), (2**53 - 1, "ffffffffffffff0f")],
)
def test_numbers_are_written_as_lib0_writes_them(number: int, written: str) -> None:
    assert var_uint(number).hex() == written


def _clocks(doc: Doc[Map[bytes]]) -> dict[int, int]:
    """Client to clock, out of a state vector (whose order yrs leaves to chance)."""
    numbers: list[int] = []
    shift = number = 0
    for byte in doc.get_state():
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            numbers.append(number)
            shift = number = 0
    return dict(zip(numbers[1::2], numbers[2::2], strict=True))


class _Writer:
    """The same writes twice: by our encoder, and by a pycrdt document's own events."""

    def __init__(self, client: int) -> None:
        self.client = client
        self.clock = 0
        self.last: dict[tuple[str, RecordId, str], int] = {}
        self.shapes: dict[tuple[str, str], KeyShape] = {}
        self.doc: Doc[Map[bytes]] = Doc(client_id=client)
        self.events: list[bytes] = []
        self._subscription = self.doc.observe(self._on_event)

    def _on_event(self, event: TransactionEvent) -> None:
        self.events.append(event.update)

    def write(self, root: str, record: RecordId, field: str, value: bytes) -> tuple[bytes, bytes]:
        """(our update, pycrdt's event) of one write."""
        shape = self.shapes.setdefault((root, field), KeyShape(root, field, self.client))
        section = Section(self.client, self.clock)
        section.structs = 1
        origin = self.last.get((root, record, field))
        if origin is None:
            text = show_id(record).encode()
            section.pieces += [shape.first_head, text, shape.tail, var_uint(len(value)), value]
        else:
            section.pieces += shape.overwriting(origin, value)
        self.last[root, record, field] = self.clock
        self.clock += 1
        self.doc.get(root, type=Map)[show_id(record) + shape.suffix] = value
        return encode_update([section]), self.events[-1]


@pytest.mark.parametrize("seed", range(30))
def test_updates_equal_pycrdts_own_events_but_for_the_delete_set(seed: int) -> None:
    chance = random.Random(seed)
    writer = _Writer(chance.getrandbits(53))
    records = [RecordId(chance.randbytes(16)) for _ in range(4)]
    for _ in range(60):
        ours, theirs = writer.write(
            chance.choice(["follow", "session", "ünïcode"]),
            chance.choice(records),
            chance.choice(["core", "state", "tag/" + "x" * 26, "f" * 64]),
            chance.randbytes(chance.choice([0, 1, 40, 127, 128, 1023, 1024, 20_000])),
        )
        assert ours.endswith(b"\x00")
        assert theirs.startswith(ours[:-1])


@pytest.mark.parametrize("seed", range(30))
def test_documents_encoded_here_equal_those_that_pycrdt_wrote(seed: int) -> None:
    chance = random.Random(seed)
    writers = [_Writer(chance.getrandbits(53)) for _ in range(3)]
    theirs: Doc[Map[bytes]] = Doc()
    updates = []
    for _ in range(80):
        writer = chance.choice(writers)
        ours, event = writer.write(
            "follow",
            RecordId(bytes([chance.randint(0, 3)]) * 16),
            chance.choice(["core", "state"]),
            chance.randbytes(8),
        )
        updates.append((writer.client, ours))
        theirs.apply_update(event)
    by_client: dict[int, list[bytes]] = {}
    for client, update in updates:
        by_client.setdefault(client, []).append(update)
    mine: Doc[Map[bytes]] = Doc()
    queues = list(by_client.values())
    while queues:  # each client in order, clients in any order
        queue = chance.choice(queues)
        mine.apply_update(queue.pop(0))
        queues = [one for one in queues if one]
    assert _clocks(mine) == _clocks(theirs)
    assert mine.get("follow", type=Map).to_py() == theirs.get("follow", type=Map).to_py()
    assert len(mine.get_update()) == len(theirs.get_update())


def test_alternating_writes_of_two_devices_stay_small() -> None:
    document = Document()
    writers = [document.writer(LogId(bytes([n]) * 16), 2**52 + n) for n in (1, 2)]
    record = RecordId(bytes(16))
    for turn in range(2_000):
        writer = writers[turn % 2]
        operation = Operation("follow", record, "state", 0, "v", {})  # type: ignore[arg-type]
        document.put(writer, turn // 2, turn // 2 + 1, [operation], [b"\x94\x01\x00\x01\x90"], {})
        document.flush()
    assert len(document._doc.get_update()) < 300
    assert document.slot_count == 2


def test_gaps_are_filled_so_that_clocks_equal_everybodys() -> None:
    writer = _Writer(77)
    record = RecordId(bytes(16))
    for number in range(5):
        writer.write("follow", record, "state", bytes([number]))
    section = Section(77, 0)
    section.gap(4)
    shape = writer.shapes["follow", "state"]
    section.structs += 1
    section.pieces += shape.first(show_id(record).encode(), b"\x04")
    joined: Doc[Map[bytes]] = Doc()
    joined.apply_update(encode_update([section]))
    assert _clocks(joined) == _clocks(writer.doc)
    assert joined.get("follow", type=Map).to_py() == writer.doc.get("follow", type=Map).to_py()
    ours, _ = writer.write("follow", record, "state", b"later")
    joined.apply_update(ours)
    key = show_id(record) + f"/state/{shown_client(77)}"
    assert bytes(joined.get("follow", type=Map)[key]) == b"later"
