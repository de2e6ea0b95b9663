"""Another device's snapshot becomes the beginning of a collection: the first, or one anew.

Rules of this file: a snapshot is adopted whole or not at all, and only after its digest was
computed again from the document that it gave. Taken anew it takes the place of an older base, and
all that is on disk after it follows; no own entry is ever given up for one, or made to wait, and
it must have been taken under the statements that are known here, or it would be no better.
"""

from __future__ import annotations

from collections.abc import Sequence

from presenced.errors import Malformed, NotAllowed
from presenced.ids import LogId
from presenced.replica.chain import LogChain
from presenced.replica.digest import ContentDigest
from presenced.replica.entry import parse_entry, verify_entry
from presenced.replica.ledger import Ledger
from presenced.replica.loading import PAGE_BYTES
from presenced.replica.rows import BaseChunk, LogCut, Outcome
from presenced.replica.seams import ReplicaReader
from presenced.replica.snapshot import parse_manifest, place_snapshot, verify_manifest


def adopt_into(ledger: Ledger, chunks: Sequence[bytes], outcome: Outcome) -> ContentDigest:
    """Fill an empty ledger from a snapshot.

    Raises `PeerError`s for one that is not what its sponsor signed; the ledger is of no use then.
    """
    if not chunks:
        raise Malformed("snapshot without a manifest")
    manifest = parse_manifest(chunks[0])
    verify_manifest(manifest, ledger)
    place_snapshot(ledger, manifest, chunks[1:], adopted=True, outcome=outcome)
    digest = ContentDigest(ledger.document)
    if digest.digest(ledger.collection, manifest.heads) != manifest.digest:
        raise Malformed("snapshot is not what its digest says")
    sponsor = ledger.trust.log_owner(manifest.sponsor)
    assert sponsor is not None
    outcome.adopted_from, outcome.adopted_via = sponsor.device, manifest.via
    outcome.base = [BaseChunk(ledger.collection, index, raw) for index, raw in enumerate(chunks)]
    return digest


def follow_up(
    ledger: Ledger, before: Ledger, reader: ReplicaReader, own: LogId | None, outcome: Outcome
) -> None:
    """Let what is on disk follow a snapshot that was just adopted in the place of an older base.

    `before` is the ledger so far; all of it must be on disk. Raises `NotAllowed` if the snapshot
    cannot take its place, `Unauthorized` if it names other entries than their author signed.
    """
    if sorted(ledger.base_heads) != sorted(ledger.trust.heads):
        raise NotAllowed("a snapshot under other statements than are known here")
    for log, old in sorted(before.chains.items()):
        chain = ledger.chain(log)
        assert chain is not None
        chain.fork_seq = old.fork_seq
        known = old.hash_at(chain.held_seq) if chain.held_seq else None
        if known is not None and known != chain.held_hash:
            raise NotAllowed("a snapshot of another branch of a log")
        _take_rest(ledger, chain, old.held_seq, reader)
        if chain.held_seq < old.held_seq:
            if log == own:
                raise NotAllowed("a snapshot that lacks own entries which are not on disk")
            outcome.cuts.append(LogCut(ledger.collection, log, chain.held_seq + 1))
    ledger.find_bounds()
    ledger.settle(0, Outcome())
    ledger.document.flush()
    if own in ledger.chains and len(ledger.chains[own].tail) > len(before.chains[own].tail):
        raise NotAllowed("a snapshot that lacks what own entries build on")
    if ledger.base_stale:
        raise NotAllowed("a snapshot that is no better than the one before")
    outcome.rebuilt = True
    outcome.applied.clear()
    outcome.touched.clear()


def _take_rest(ledger: Ledger, chain: LogChain, end_seq: int, reader: ReplicaReader) -> None:
    """Hold what is on disk of a log after what is held, as far as it is there without a gap."""
    is_first = True
    while chain.held_seq < end_seq:
        page = reader.entries(
            ledger.collection, chain.log, chain.held_seq + 1, bytes_max=PAGE_BYTES
        )
        if not page:
            return
        if is_first:  # what follows proves the point that the snapshot names
            position = ledger.position(chain, chain.held_seq + 1, chain.held_hash)
            verify_entry(position, parse_entry(page[0]), chain.owner.signing)
            is_first = False
        ledger.take_stored(chain, page)
