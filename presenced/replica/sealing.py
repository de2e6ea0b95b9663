"""Own edits become own entries.

Rules of this file: an entry names as its past every other log whose applied head moved since the
own previous entry, and the membership heads when they changed. It is put into the document here
and now; it is sent only after the caller committed it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from presenced.crypto.keys import SigningKey
from presenced.ids import EpochId, StatementId
from presenced.limits import (
    ENTRY_EXPANDED_BYTES_MAX,
    ENTRY_OPERATIONS_MAX,
    ENTRY_SEALED_BYTES_MAX,
)
from presenced.replica.chain import HeldEntry, LogChain
from presenced.replica.entry import ENTRY_OVERHEAD_BYTES, Entry, EntryKeys, Reference, seal_entry
from presenced.replica.hlc import Hlc
from presenced.replica.ledger import Ledger
from presenced.replica.operation import Decoded
from presenced.replica.rows import Outcome
from presenced.replica.slot import Operation

_PAST_ITEM_BYTES: Final = 64
"a reference or a head in an entry, at most"


def seal_operations(
    ledger: Ledger,
    chain: LogChain,
    signing: SigningKey,
    operations: Sequence[Operation],
    outcome: Outcome,
) -> None:
    """Seal canonical operations, each field once, into as many entries as they need.

    The caller made sure that there is an epoch to write under and its key is here.
    """
    epoch = ledger.trust.writing_epoch(ledger.collection)
    assert epoch is not None
    keys = ledger.keys(epoch)
    assert keys is not None
    for start in range(0, len(operations), ENTRY_OPERATIONS_MAX):
        part = operations[start : start + ENTRY_OPERATIONS_MAX]
        _seal(ledger, chain, signing, (epoch, keys), part, outcome)


def _seal(
    ledger: Ledger,
    chain: LogChain,
    signing: SigningKey,
    under: tuple[EpochId, EntryKeys],
    operations: Sequence[Operation],
    outcome: Outcome,
) -> None:
    """Seal as one entry, or, if that would be too large, each half."""
    plaintext = ledger.codec.plaintext(operations)
    past, heads = _past(ledger, chain)
    room = ENTRY_SEALED_BYTES_MAX - ENTRY_OVERHEAD_BYTES
    room -= _PAST_ITEM_BYTES * (len(past) + len(heads))
    compressed = (
        ledger.compression.compress(plaintext)
        if len(plaintext) <= ENTRY_EXPANDED_BYTES_MAX
        else None
    )
    if compressed is None or len(compressed) > room:
        half = len(operations) // 2
        assert half, "one value fits an entry"
        _seal(ledger, chain, signing, under, operations[:half], outcome)
        _seal(ledger, chain, signing, under, operations[half:], outcome)
        return
    epoch, keys = under
    seq = chain.held_seq + 1
    hlc = Hlc(max(operation.hlc for operation in operations))
    position = ledger.position(chain, seq, chain.held_hash)
    digest, raw = seal_entry(position, epoch, hlc, past, heads, compressed, keys, signing)
    held = HeldEntry(seq, digest, b"", Entry(epoch, hlc, past, heads, b"", b""), size=len(raw))
    decoded = Decoded(list(operations), ledger.codec.stored(operations, seq), hlc)
    ledger.take_own(chain, held, raw, decoded, outcome)


def _past(ledger: Ledger, chain: LogChain) -> tuple[tuple[Reference, ...], tuple[StatementId, ...]]:
    """What the next own entry declares: what was applied, and learned, since the last one."""
    past = tuple(
        Reference(log, other.applied_seq, other.applied_hash)
        for log, other in sorted(ledger.chains.items())
        if other is not chain and other.applied_seq > chain.declared.get(log, 0)
    )
    heads = tuple(sorted(ledger.trust.heads))
    return past, () if heads == chain.heads else heads
