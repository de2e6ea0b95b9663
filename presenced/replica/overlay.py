"""Own edits that nobody could be sent yet: one row per field, durable, visible, not an entry.

Invariant: no remote entry is applied while the overlay of the collection holds an edit, so its
`seen` and HLCs stay true until it is sealed. Each sealing closes a generation: rows written while
that commit is under way belong to the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from presenced.ids import Collection, LogId, RecordId
from presenced.replica.operation import decode_seen, encode_seen
from presenced.replica.rows import OverlayRow
from presenced.replica.slot import Operation, Slot
from presenced.wire import decode, encode


class Overlay:
    """The unsent edits of one collection, the last one of each field."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._edits: dict[tuple[str, RecordId, str], Operation] = {}
        self._records: dict[tuple[str, RecordId], dict[str, Operation]] = {}
        self.generation = 1

    def __len__(self) -> int:
        return len(self._edits)

    def load(self, rows: Iterable[OverlayRow]) -> None:
        for row in rows:
            self.generation = max(self.generation, row.generation)
            self._set(
                Operation(
                    row.map,
                    row.record,
                    row.field,
                    row.hlc,
                    decode(row.value),
                    decode_seen(row.seen),
                )
            )

    def put(self, operations: Iterable[Operation]) -> list[OverlayRow]:
        """Take canonical operations in; the rows to write."""
        rows = []
        for operation in operations:
            self._set(operation)
            rows.append(
                OverlayRow(
                    self._collection,
                    operation.map,
                    operation.record,
                    operation.field,
                    operation.hlc,
                    encode(operation.value),
                    encode_seen(operation.seen),
                    self.generation,
                )
            )
        return rows

    def operations(self) -> list[Operation]:
        """All edits, in the order in which their fields were first written."""
        return list(self._edits.values())

    def with_mark(self, edit: Operation, log: LogId) -> Operation:
        """An edit with the mark (own_log.py) of the unsent one that it replaces, if any."""
        before = self._edits.get(edit[:3])
        if before is None or log not in before.seen or log in edit.seen:
            return edit
        return edit._replace(seen={**edit.seen, log: before.seen[log]})

    def close(self) -> int:
        """All edits were sealed: forget them; the generation whose rows are to be dropped."""
        closed = self.generation
        self.generation += 1
        self._edits.clear()
        self._records.clear()
        return closed

    def slots(self, root: str, record: RecordId, seq: int) -> Iterator[tuple[str, Slot]]:
        """Per field the slot that the edit will become, with the own log's next seq."""
        for field, edit in self._records.get((root, record), {}).items():
            yield field, Slot(seq, edit.hlc, edit.value, edit.seen)

    def records(self, root: str) -> Iterator[RecordId]:
        return (record for name, record in self._records if name == root)

    def knows(self, root: str, record: RecordId) -> bool:
        return (root, record) in self._records

    def _set(self, operation: Operation) -> None:
        self._edits[operation.map, operation.record, operation.field] = operation
        at = (operation.map, operation.record)
        self._records.setdefault(at, {})[operation.field] = operation
