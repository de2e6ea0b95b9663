"""What every device of a world has written, read back from its commits: the model of the checkers.

Rules of this file: nothing here asks a device machine what it wrote. An own entry is opened with
the epoch's key as any reader would, an overlay row is read as it stands; so the journal is a
second opinion, made from what is on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from presenced import wire
from presenced.crypto import derive
from presenced.crypto.aead import NONCE_BYTES
from presenced.device.commit import Commit
from presenced.ids import Collection, EntryHash, EpochId, LogId, RecordId, SpaceId
from presenced.limits import ENTRY_EXPANDED_BYTES_MAX
from presenced.presence.naming import ContentNaming
from presenced.replica.compression import Compression
from presenced.replica.entry import (
    NO_ENTRY,
    EntryKeys,
    Position,
    entry_hash,
    open_entry,
    parse_entry,
)
from presenced.replica.operation import CORE
from presenced.replica.rows import OverlayRow, StoredEntry

EpochKeys = Callable[[EpochId], bytes | None]

_OVERLAY_SEQ: Final = 0


class Place(NamedTuple):
    """One field of one record, as one log writes it."""

    collection: Collection
    map: str
    record: RecordId
    field: str


class Written(NamedTuple):
    """The last durable write of a place."""

    seq: int
    "the entry that holds it; 0: an overlay row"
    hlc: int
    value: Any


@dataclass(slots=True)
class OwnWrites:
    """What one log has durably written."""

    places: dict[Place, Written] = field(default_factory=dict)
    newest: dict[tuple[str, RecordId], int] = field(default_factory=dict)
    "per record the highest HLC"

    def put(self, place: Place, written: Written) -> None:
        self.places[place] = written
        record = (place.map, place.record)
        self.newest[record] = max(self.newest.get(record, 0), written.hlc)


class TwoHashes(AssertionError):
    """Two entries for one (log, seq)."""


class NonceRepeated(AssertionError):
    """One nonce for two contents under one key."""


class Journal:
    """All logs of one world, over all time."""

    def __init__(self) -> None:
        self.space = SpaceId(b"")
        self._hashes: dict[tuple[LogId, int], EntryHash] = {}
        self._nonces: dict[tuple[EpochId, bytes], EntryHash] = {}
        self._own: dict[LogId, OwnWrites] = {}
        self._naming = ContentNaming()
        self._compression = Compression()
        self._new: list[tuple[LogId, Place, Written]] = []

    def own(self, log: LogId) -> OwnWrites:
        return self._own.setdefault(log, OwnWrites())

    def all_writes(self) -> Iterator[tuple[LogId, Place, Written]]:
        for log, writes in self._own.items():
            for place, written in writes.places.items():
                yield log, place, written

    def take_new(self) -> list[tuple[LogId, Place, Written]]:
        """Writes that landed since the last call, in order."""
        new, self._new = self._new, []
        return new

    def sealed(self, commit: Commit, own: Mapping[Collection, LogId]) -> None:
        """A commit was handed over by the device whose logs are `own`, whether it lands or not.

        Raises `NonceRepeated`.
        """
        for entry in commit.entries:
            if own.get(entry.collection) == entry.log:
                parsed = parse_entry(entry.raw)
                key = (parsed.epoch, parsed.sealed[:NONCE_BYTES])
                if self._nonces.setdefault(key, entry.hash) != entry.hash:
                    raise NonceRepeated(f"entry {entry.seq} of {entry.log.hex()}")

    def landed(self, commit: Commit, own: Mapping[Collection, LogId], keys: EpochKeys) -> None:
        """A commit is on the disk of the device whose logs are `own`."""
        for entry in commit.entries:
            place = (entry.log, entry.seq)
            if self._hashes.setdefault(place, entry.hash) != entry.hash:
                raise TwoHashes(f"entry {entry.seq} of {entry.log.hex()}")
        gone = commit.overlay_drop
        dropped = [
            row for row in commit.overlay_put if row.generation <= gone.get(row.collection, -1)
        ]
        kept = [row for row in commit.overlay_put if row.generation > gone.get(row.collection, -1)]
        self._read_rows(dropped, own)  # the entries of this commit hold them
        for entry in commit.entries:
            if own.get(entry.collection) == entry.log:
                self._read_own(entry, keys)
        self._read_rows(kept, own)

    def _read_rows(self, rows: Iterable[OverlayRow], own: Mapping[Collection, LogId]) -> None:
        for row in rows:
            row_place = Place(row.collection, row.map, row.record, row.field)
            written = Written(_OVERLAY_SEQ, row.hlc, wire.decode(row.value))
            self._write(own[row.collection], row_place, written)

    def _write(self, log: LogId, place: Place, written: Written) -> None:
        self.own(log).put(place, written)
        self._new.append((log, place, written))

    def _read_own(self, entry: StoredEntry, keys: EpochKeys) -> None:
        parsed = parse_entry(entry.raw)
        previous = NO_ENTRY if entry.seq == 1 else self._hashes[entry.log, entry.seq - 1]
        position = Position(self.space, entry.collection, entry.log, entry.seq, previous)
        digest, header = entry_hash(position, parsed)
        assert digest == entry.hash, "an entry's hash is not that of its bytes"
        key = keys(parsed.epoch)
        assert key is not None, "an entry was sealed under an epoch whose key is not here"
        opened = open_entry(
            parsed, header, EntryKeys(derive.entry_key(key), derive.entry_nonce_key(key))
        )
        for map_name, record, field_name, hlc, value, _ in wire.decode(
            self._compression.expand(opened, ENTRY_EXPANDED_BYTES_MAX)
        ):
            if record is None:
                assert field_name == CORE
                record = self._naming.derive(map_name, value)
            place = Place(entry.collection, map_name, RecordId(record), field_name)
            self._write(entry.log, place, Written(entry.seq, hlc, value))
