"""A `ReplicaReader` in memory: what the real store keeps, without a disk.

`commit` takes the rows of an `Outcome` all at once, as one transaction would. Passes the same
suite as the store (conformance_reader.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from presenced.ids import Collection, EntryHash, LogId, RecordId
from presenced.replica.rows import ForkProof, LogHead, Outcome, OverlayRow, StoredEntry

_EntryKey = tuple[Collection, LogId, int]
_OverlayKey = tuple[Collection, str, RecordId, str]


class MemoryReader:
    """Committed replica state of one device."""

    def __init__(self) -> None:
        self._heads: dict[tuple[Collection, LogId], LogHead] = {}
        self._entries: dict[_EntryKey, StoredEntry] = {}
        self._overlay: dict[_OverlayKey, OverlayRow] = {}
        self._base: dict[Collection, list[bytes]] = {}
        self._forks: dict[LogId, ForkProof] = {}
        self.taken: dict[Collection, bytes] = {}
        "what was taken from each device today, as replicas keep it"

    # --- reading (the seam) ---

    def log_heads(self, collection: Collection) -> Sequence[LogHead]:
        return [head for (name, _), head in self._heads.items() if name == collection]

    def entries(
        self, collection: Collection, log: LogId, first_seq: int, *, bytes_max: int
    ) -> Sequence[bytes]:
        raws: list[bytes] = []
        size = 0
        while True:
            entry = self._entries.get((collection, log, first_seq + len(raws)))
            if entry is None or (raws and size + len(entry.raw) > bytes_max):
                return raws
            raws.append(entry.raw)
            size += len(entry.raw)

    def overlay(self, collection: Collection) -> Sequence[OverlayRow]:
        return [row for row in self._overlay.values() if row.collection == collection]

    def base(self, collection: Collection) -> Sequence[bytes]:
        return list(self._base.get(collection, ()))

    def forks(self) -> Iterable[ForkProof]:
        return list(self._forks.values())

    # --- writing ---

    def commit(self, collection: Collection, outcome: Outcome) -> None:
        """Take in what one call of a collection's replica decided."""
        for cut in outcome.cuts:
            for key in list(self._entries):
                if key[:2] == cut[:2] and key[2] >= cut.first_seq:
                    del self._entries[key]
        for entry in outcome.entries:
            key = (entry.collection, entry.log, entry.seq)
            assert key not in self._entries, "an entry's place is taken once"
            self._entries[key] = entry
        for fork in outcome.forks:
            self._forks[fork.log] = fork
        for head in outcome.heads:
            self._heads[head.collection, head.log] = head
        for row in outcome.overlay_put:
            self._overlay[row.collection, row.map, row.record, row.field] = row
        if outcome.overlay_drop is not None:
            self._overlay = {
                key: row
                for key, row in self._overlay.items()
                if row.collection != collection or row.generation > outcome.overlay_drop
            }
        if outcome.taken is not None:
            self.taken[collection] = outcome.taken
        if outcome.base is not None:
            self._base[collection] = [chunk.raw for chunk in outcome.base]

    def hash_at(self, collection: Collection, log: LogId, seq: int) -> EntryHash | None:
        """The hash of a stored entry, for checkers."""
        entry = self._entries.get((collection, log, seq))
        return None if entry is None else entry.hash
