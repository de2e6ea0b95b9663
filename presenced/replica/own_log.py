"""This device's own log, when a peer has more or other of it than its database: a restored disk.

Rules of this file: what is taken for our own was signed by us, for the very place where it stands.

Theory of operation. A database that was restored from a backup lacks the end of its own log. As
long as it wrote nothing since, what peers have simply follows and comes in like any entry. If it
did, there are two branches, and the device gives up its own: the peer's is gathered (`Branch`)
from where the two part, then it takes the place of ours in one transaction, and our edits go back
to where unsent ones lie (DESIGN §3 *Forks and restored disks*). Edits that were unsent meanwhile
are *marked*: their `seen` also names what the own log said of the field when they were made, 0 if
nothing. The mark says later whether they were made apart from what came back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from presenced.crypto.keys import SigningKey
from presenced.errors import LimitExceeded
from presenced.ids import Collection, EntryHash, LogId
from presenced.replica.chain import LogChain
from presenced.replica.document import Document
from presenced.replica.entry import entry_hash, parse_entry, verify_entry
from presenced.replica.ledger import Ledger, Shrank
from presenced.replica.limits import BRANCH_BYTES_MAX
from presenced.replica.loading import PAGE_BYTES, Recent, load_ledger
from presenced.replica.rows import ForkProof, LogCut, LogHead, Outcome, OverlayRow
from presenced.replica.seams import ReplicaReader
from presenced.replica.slot import Operation


@dataclass(frozen=True, slots=True)
class OwnLog:
    """The log that this device writes in a collection, and the key that signs it."""

    log: LogId
    signing: SigningKey


@dataclass(slots=True)
class Branch:
    """Entries of an own log that differ from those held, from where they part."""

    first_seq: int
    last_hash: EntryHash
    raws: list[bytes] = field(default_factory=list)
    size: int = 0

    @property
    def last_seq(self) -> int:
        return self.first_seq + len(self.raws) - 1


class OtherBranch:
    """Gathers a peer's branch of one own log. Invariant: `branch` is a signed chain."""

    def __init__(self) -> None:
        self.branch: Branch | None = None

    def take(
        self, ledger: Ledger, chain: LogChain, first_seq: int, raws: Sequence[bytes]
    ) -> Sequence[bytes]:
        """Look at consecutive entries. Returns those that follow the log as it is held.

        Raises what is wrong with an entry that we did not sign for its place.
        """
        for index, raw in enumerate(raws):
            seq = first_seq + index
            if self.branch is None and seq > chain.held_seq:
                return raws[index:]
            self._take_one(ledger, chain, seq, raw)
        return ()

    def _take_one(self, ledger: Ledger, chain: LogChain, seq: int, raw: bytes) -> None:
        branch = self.branch
        if branch is not None and seq != branch.last_seq + 1:
            return
        if branch is None:
            previous, known = chain.hash_at(seq - 1), chain.hash_at(seq)
        else:
            previous, known = branch.last_hash, None
        if previous is None or (branch is None and known is None):
            return  # behind what is kept one by one
        entry = parse_entry(raw)
        position = ledger.position(chain, seq, previous)
        if entry_hash(position, entry)[0] == known:
            return
        digest, _ = verify_entry(position, entry, chain.owner.signing)
        if branch is None:
            branch = self.branch = Branch(seq, digest)
        if branch.size + len(raw) > BRANCH_BYTES_MAX:
            raise LimitExceeded("branch-bytes", str(branch.size + len(raw)))
        branch.raws.append(raw)
        branch.size += len(raw)
        branch.last_hash = digest


class ReaderBefore:
    """What is on disk, as it would be if an own log had ended before an entry."""

    def __init__(
        self, reader: ReplicaReader, log: LogId, first_seq: int, before: EntryHash
    ) -> None:
        self._reader = reader
        self._log = log
        self._first_seq = first_seq
        self._before = before

    def log_heads(self, collection: Collection) -> Sequence[LogHead]:
        seq, digest = self._first_seq - 1, self._before
        return [
            head._replace(held_seq=seq, held_hash=digest, applied_seq=0, fork_seq=0)
            if head.log == self._log
            else head
            for head in self._reader.log_heads(collection)
        ]

    def entries(
        self, collection: Collection, log: LogId, first_seq: int, *, bytes_max: int
    ) -> Sequence[bytes]:
        raws = self._reader.entries(collection, log, first_seq, bytes_max=bytes_max)
        return raws[: max(0, self._first_seq - first_seq)] if log == self._log else raws

    def overlay(self, collection: Collection) -> Sequence[OverlayRow]:
        return self._reader.overlay(collection)

    def forks(self) -> Iterable[ForkProof]:
        return self._reader.forks()

    def base(self, collection: Collection) -> Sequence[bytes]:
        return self._reader.base(collection)


def own_edits_from(
    ledger: Ledger, log: LogId, first_seq: int, reader: ReplicaReader
) -> list[Operation]:
    """What the entries of an own log say from one on, in order."""
    chain = ledger.chains[log]
    edits: list[Operation] = []
    seq = first_seq
    while page := reader.entries(ledger.collection, log, seq, bytes_max=PAGE_BYTES):
        for raw in page:
            edits += _read_own(ledger, chain, seq, raw)
            seq += 1
    return edits


def own_value_at(
    ledger: Ledger, chain: LogChain, seq: int, edit: Operation, reader: ReplicaReader
) -> object:
    """What an entry of the own log says of an edit's field; None if it says nothing."""
    page = reader.entries(ledger.collection, chain.log, seq, bytes_max=1)
    edits = [one for raw in page for one in _read_own(ledger, chain, seq, raw)]
    return next((one.value for one in edits if one[:3] == edit[:3]), None)


def _read_own(ledger: Ledger, chain: LogChain, seq: int, raw: bytes) -> list[Operation]:
    """The operations of a held own entry; nothing if its key or place is not known any more."""
    previous = chain.hash_at(seq - 1)
    if previous is None:
        return []
    entry = parse_entry(raw)
    _, header = entry_hash(ledger.position(chain, seq, previous), entry)
    return ledger.read_own(entry, header)


def ledger_before(
    ledger: Ledger, empty: Ledger, reader: ReplicaReader, log: LogId, branch: Branch
) -> Ledger:
    """The ledger as it would be if an own log had ended where a branch parts from it."""
    before = ledger.chains[log].hash_at(branch.first_seq - 1)
    assert before is not None
    reader = ReaderBefore(reader, log, branch.first_seq, before)
    recent = Recent(reader, ledger.collection)
    return load_ledger(empty, reader, recent, use_base=False)


def take_branch(fresh: Ledger, log: LogId, branch: Branch, wall_ms: int, outcome: Outcome) -> None:
    """Let a branch follow in a ledger where its log ends before it; rows of all that changed."""
    chain = fresh.chain(log)
    assert chain is not None
    for raw in branch.raws:
        fresh.take(chain, raw, wall_ms, outcome)
    with suppress(Shrank):  # judged anew when it is loaded
        fresh.settle(wall_ms, outcome)
    outcome.cuts.append(LogCut(fresh.collection, log, branch.first_seq))
    if not any(one.base_seq for one in fresh.chains.values()):
        outcome.base = []
    outcome.rebuilt = True
    outcome.applied.clear()
    outcome.touched.clear()
    fresh.all_changed()


def fallen_edits(ledger: Ledger, own_logs: Iterable[LogId]) -> Iterator[Operation]:
    """Edits of entries that are here and do not count, each with what its log says by now."""
    for log in own_logs:
        if ledger.cuts(log):
            for held in ledger.chains[log].tail:
                if held.decoded is None:
                    break
                for edit in held.decoded.operations:
                    yield marked(edit, log, ledger.document)


def marked(
    edit: Operation, log: LogId, document: Document, branch: Branch | None = None
) -> Operation:
    """An edit that also names what an own log says of its field now (0: nothing).

    A mark that it has stays, unless it names an entry that a branch takes the place of.
    """
    mark = edit.seen.get(log)
    if mark is not None and (branch is None or mark < branch.first_seq):
        return edit
    slot = document.slots(edit.map, edit.record).get(edit.field, {}).get(log)
    return edit._replace(seen={**edit.seen, log: slot.seq if slot else 0})


def made_apart(operation: Operation, log: LogId, document: Document) -> bool:
    """Whether the own log says more of a marked edit's field than when the edit was made."""
    mark = operation.seen.get(log)
    if mark is None:
        return False
    slot = document.slots(operation.map, operation.record).get(operation.field, {}).get(log)
    return slot is not None and slot.seq > mark


def without_marks(operations: Iterable[Operation], own: LogId) -> list[Operation]:
    """Edits as they are sealed: an entry names other logs only, and what was there."""
    return [
        operation._replace(
            seen={log: seq for log, seq in operation.seen.items() if seq and log != own}
        )
        if operation.seen
        else operation
        for operation in operations
    ]
