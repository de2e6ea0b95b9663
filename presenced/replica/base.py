"""The base of a collection: the snapshot that its logs go on from, another device's or our own.

Theory of operation. A device that begins with another's snapshot keeps it as its base: entries
before it are not here one by one. It may be taken anew from a third device. A device that has every
entry writes a base of its own now and then, so that a start replays only what comes after; that
one can always be thrown away. What is given to other devices is made in the same way.

Rules of this file: whether a snapshot may be adopted is judged in adopting.py; here its place in
the collection changes, whole or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from presenced.errors import NotAllowed
from presenced.ids import DeviceId
from presenced.replica.adopting import adopt_into, follow_up
from presenced.replica.digest import ContentDigest
from presenced.replica.ledger import Ledger
from presenced.replica.limits import BASE_TAIL_ENTRIES
from presenced.replica.loading import Recent
from presenced.replica.local_copy import LocalCopy
from presenced.replica.rows import BaseChunk, Outcome
from presenced.replica.snapshot import take_snapshot


def give_snapshot(copy: LocalCopy, via: Sequence[DeviceId] = ()) -> list[bytes]:
    """As `Replica.snapshot`."""
    ledger, own = copy.ledger, copy.own
    epoch = copy.trust.writing_epoch(copy.collection)
    keys = ledger.keys(epoch) if epoch is not None else None
    if epoch is None or keys is None or own is None:
        return []
    return take_snapshot(ledger, copy.digest, epoch, keys, own.log, own.signing, via)


def is_due(copy: LocalCopy) -> bool:
    """As `Replica.base_due`."""
    chains = copy.ledger.chains.values()
    return sum(one.applied_seq - one.based_seq for one in chains) >= BASE_TAIL_ENTRIES


def write_base(copy: LocalCopy) -> Outcome:
    """As `Replica.write_base`. Another device's snapshot stays: it cannot be made anew."""
    outcome = Outcome()
    ledger = copy.ledger
    if any(chain.base_seq for chain in ledger.chains.values()):
        return outcome
    chunks = give_snapshot(copy)
    if chunks:
        outcome.base = [BaseChunk(copy.collection, at, raw) for at, raw in enumerate(chunks)]
        for chain in ledger.chains.values():
            chain.based_seq = chain.applied_seq
    return outcome


def adopt(copy: LocalCopy, chunks: Sequence[bytes]) -> Outcome:
    """As `Replica.adopt`."""
    if any(seq for seq, _ in copy.ledger.frontier.held.values()):
        raise NotAllowed("a snapshot is adopted by an empty collection only")
    outcome = Outcome()
    ledger = copy.new_ledger()
    digest = adopt_into(ledger, chunks, outcome)
    return _adopted(copy, ledger, digest, outcome)


def adopt_anew(copy: LocalCopy, chunks: Sequence[bytes]) -> Outcome:
    """As `Replica.adopt_anew`."""
    before = copy.ledger
    outcome = Outcome()
    ledger = copy.new_ledger()
    digest = adopt_into(ledger, chunks, outcome)
    own = None if copy.own is None else copy.own.log
    follow_up(ledger, before, copy.reader, own, outcome)
    copy.recent = Recent(copy.reader, copy.collection)
    return _adopted(copy, ledger, digest, outcome)


def _adopted(copy: LocalCopy, ledger: Ledger, digest: ContentDigest, outcome: Outcome) -> Outcome:
    copy.use(ledger, digest)
    ledger.all_changed()
    ledger.take_changed(outcome)
    return outcome
