"""From what is on disk to a document: base, then the tail of every log, in causal order.

Rules of this file: the logs are the truth. Entries were verified when they came and the store is
authenticated, so signatures are not checked again; everything else is done as on arrival, so a
start and an arrival cannot differ. Pages are read only as far as entries can be applied, so that
memory holds one page per log and what waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from presenced.ids import Collection, LogId
from presenced.replica.chain import LogChain
from presenced.replica.ledger import Ledger, Shrank
from presenced.replica.limits import UNACKNOWLEDGED_BYTES_MAX
from presenced.replica.rows import LogHead, Outcome, StoredEntry
from presenced.replica.seams import ReplicaReader
from presenced.replica.snapshot import parse_manifest, place_snapshot

PAGE_BYTES: Final = UNACKNOWLEDGED_BYTES_MAX
"raw entries of one log read at a time"

RECENT_BYTES_MAX: Final = 1024 * 1024
"raw entries kept in memory before asking the store how far it has come"


class Recent:
    """Entries given out in outcomes that may not be committed yet: the reader lacks them."""

    def __init__(self, reader: ReplicaReader, collection: Collection) -> None:
        self._reader = reader
        self._collection = collection
        self._entries: dict[LogId, deque[StoredEntry]] = {}
        self._bytes = 0

    def add(self, entries: Sequence[StoredEntry]) -> None:
        for entry in entries:
            of_log = self._entries.setdefault(entry.log, deque())
            if not of_log or of_log[-1].seq < entry.seq:
                of_log.append(entry)
                self._bytes += len(entry.raw)
        if self._bytes > RECENT_BYTES_MAX:
            self._forget_committed()

    def after(self, log: LogId, seq: int) -> Iterator[bytes]:
        return (entry.raw for entry in self._entries.get(log, ()) if entry.seq > seq)

    def last_seq(self, log: LogId) -> int:
        of_log = self._entries.get(log)
        return of_log[-1].seq if of_log else 0

    def forget_from(self, log: LogId, seq: int) -> None:
        """The log was given up from `seq` on."""
        of_log = self._entries.get(log)
        while of_log and of_log[-1].seq >= seq:
            self._bytes -= len(of_log.pop().raw)
        if not of_log:
            self._entries.pop(log, None)

    def logs(self) -> list[LogId]:
        return list(self._entries)

    def raw_at(self, log: LogId, seq: int) -> bytes | None:
        """The raw bytes of a held entry, from memory or disk."""
        for entry in self._entries.get(log, ()):
            if entry.seq == seq:
                return entry.raw
        page = self._reader.entries(self._collection, log, seq, bytes_max=1)
        return page[0] if page else None

    def _forget_committed(self) -> None:
        committed = {head.log: head.held_seq for head in self._reader.log_heads(self._collection)}
        self._bytes = 0
        for log, entries in list(self._entries.items()):
            while entries and entries[0].seq <= committed.get(log, 0):
                entries.popleft()
            self._bytes += sum(len(entry.raw) for entry in entries)
            if not entries:
                del self._entries[log]


class _Pages:
    """The entries of one log that are not in the ledger yet."""

    def __init__(
        self, ledger: Ledger, chain: LogChain, reader: ReplicaReader, recent: Recent, seq: int
    ) -> None:
        self._ledger = ledger
        self.chain = chain
        self._reader = reader
        self._recent = recent
        self._committed_seq = seq
        self.finished = False

    def take_next(self) -> None:
        """Hold another page of the log."""
        chain = self.chain
        if chain.held_seq < self._committed_seq:
            page = self._reader.entries(
                self._ledger.collection, chain.log, chain.held_seq + 1, bytes_max=PAGE_BYTES
            )
            assert page, "the store has less than its log head says"
            self._ledger.take_stored(chain, page)
            return
        self._ledger.take_stored(chain, self._recent.after(chain.log, chain.held_seq))
        self.finished = True


def load_ledger(
    ledger: Ledger,
    reader: ReplicaReader,
    recent: Recent,
    *,
    use_base: bool,
    before: Ledger | None = None,
) -> Ledger:
    """Fill an empty ledger. `use_base` False: only a base without which entries are missing.

    `before` is the ledger that this one replaces: forks that only it knows are taken over.
    """
    heads = {head.log: head for head in reader.log_heads(ledger.collection)}
    scratch = Outcome()
    _place_base(ledger, reader, heads, use_base, scratch)
    pages = []
    for log in [*heads, *(log for log in recent.logs() if log not in heads)]:
        chain = ledger.chain(log)
        if chain is None:
            continue
        head = heads.get(log)
        chain.fork_seq = 0 if head is None else head.fork_seq
        old = None if before is None else before.chains.get(log)
        if old is not None and old.fork_seq:
            chain.fork_seq = old.fork_seq
        pages.append(_Pages(ledger, chain, reader, recent, 0 if head is None else head.held_seq))
    ledger.find_bounds()
    if not ledger.cut:
        _apply_by_pages(ledger, pages, scratch)
    for page in pages:
        while not page.finished:
            page.take_next()
    try:
        ledger.settle(0, scratch)
    except Shrank:
        assert use_base, "nothing that was just accepted can be taken back"
        return load_ledger(ledger.empty(), reader, recent, use_base=False, before=before)
    ledger.document.flush()
    ledger.forget_changed()
    return ledger


def _apply_by_pages(ledger: Ledger, pages: Sequence[_Pages], scratch: Outcome) -> None:
    moved = True
    while moved:
        moved = False
        for page in pages:
            while not page.finished and not page.chain.tail:
                page.take_next()
                moved = ledger.apply_tail(page.chain, scratch) or moved
                scratch.applied.clear()
                scratch.touched.clear()
            if page.chain.tail:
                moved = ledger.apply_tail(page.chain, scratch) or moved
        ledger.document.flush()


def _place_base(
    ledger: Ledger,
    reader: ReplicaReader,
    heads: dict[LogId, LogHead],
    use_base: bool,
    scratch: Outcome,
) -> None:
    adopted = any(head.base_seq for head in heads.values())
    chunks = reader.base(ledger.collection) if use_base or adopted else ()
    if not chunks:
        return
    manifest = parse_manifest(chunks[0])
    if not adopted and (ledger.keys(manifest.epoch) is None or ledger.is_cut(heads.values())):
        return
    place_snapshot(ledger, manifest, chunks[1:], adopted=False, outcome=scratch)
    for log, head in heads.items():
        if head.base_seq and log in ledger.chains:
            ledger.chains[log].base_seq = head.base_seq
    scratch.applied.clear()
    scratch.touched.clear()
