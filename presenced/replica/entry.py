"""One entry of a log: its canonical bytes, hash, signature and seal (DESIGN §5 *Entry*).

Rules of this file: what is signed is more than what travels. The header (version, space,
collection, log, seq, previous hash, epoch, HLC, past) is hashed with the sealed content; of it
only epoch, HLC and past travel, the rest follows from where the entry stands. So an entry moved
to another place, log, collection or space fails its signature. Bytes that are not the canonical
form of what they mean are refused.

Wire form: `[version, epoch, hlc, [[[log, seq, hash], …], [head, …]], sealed, signature]`.
`past` names each other log whose applied head moved since the own previous entry (sorted by log)
and the membership heads when they changed (sorted, else none).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from presenced.crypto import aead
from presenced.crypto.keys import SIGNATURE_BYTES, SigningKey, verify_hash
from presenced.errors import LimitExceeded, Malformed
from presenced.ids import (
    HASH_BYTES,
    ID_BYTES,
    Collection,
    EntryHash,
    EpochId,
    LogId,
    SpaceId,
    StatementId,
    hash_bytes,
)
from presenced.limits import ENTRY_SEALED_BYTES_MAX
from presenced.replica.hlc import HLC_MAX, Hlc
from presenced.replica.limits import PAST_ITEMS_MAX, SEQ_MAX
from presenced.wire import decode, encode_prepared

ENTRY_VERSION: Final = 1
ENTRY_DOMAIN: Final = b"pd/entry/1"
NO_ENTRY: Final = EntryHash(bytes(HASH_BYTES))
"previous hash of a log's first entry"

ENTRY_OVERHEAD_BYTES: Final = 256
"what an entry with a short past adds to its sealed content, rounded up"


class Reference(NamedTuple):
    """An entry of another log that the author had applied."""

    log: LogId
    seq: int
    hash: EntryHash


class Position(NamedTuple):
    """Where an entry stands: what is signed and neither sent nor stored again."""

    space: SpaceId
    collection: Collection
    log: LogId
    seq: int
    previous: EntryHash


class Entry(NamedTuple):
    """A parsed entry. Nothing in it is verified yet."""

    epoch: EpochId
    hlc: Hlc
    past: tuple[Reference, ...]
    heads: tuple[StatementId, ...]
    "membership heads that changed since the previous entry; empty: none did"
    sealed: bytes
    signature: bytes


def parse_entry(raw: bytes) -> Entry:
    """Raises `Malformed` or `LimitExceeded`; the past comes out sorted and without repetition."""
    if len(raw) > ENTRY_SEALED_BYTES_MAX:
        raise LimitExceeded("entry-sealed-bytes", f"{len(raw)}")
    value = decode(raw)
    if type(value) is not list or len(value) != 6:
        raise Malformed("not an entry")
    version, epoch, hlc, past, sealed, signature = value
    if type(version) is not int or version != ENTRY_VERSION:  # true == 1, and is not signed so
        raise Malformed("not an entry of version 1")
    if not _is_bytes(epoch, ID_BYTES) or not _is_bytes(signature, SIGNATURE_BYTES):
        raise Malformed("entry: epoch or signature")
    if type(hlc) is not int or not 0 <= hlc <= HLC_MAX or type(sealed) is not bytes:
        raise Malformed("entry: hlc or content")
    if type(past) is not list or len(past) != 2:
        raise Malformed("entry: past")
    return Entry(EpochId(epoch), Hlc(hlc), _references(past[0]), _heads(past[1]), sealed, signature)


def header_bytes(
    position: Position,
    epoch: EpochId,
    hlc: Hlc,
    past: Sequence[Reference],
    heads: Sequence[StatementId],
) -> bytes:
    """The canonical header: what the signature covers beside the sealed content."""
    return encode_prepared(
        (ENTRY_VERSION, *position, epoch, hlc, (past, heads)),
    )


def entry_hash(position: Position, entry: Entry) -> tuple[EntryHash, bytes]:
    """The entry's hash at a position, and its header."""
    header = header_bytes(position, entry.epoch, entry.hlc, entry.past, entry.heads)
    return EntryHash(hash_bytes(ENTRY_DOMAIN, header, entry.sealed)), header


def verify_entry(position: Position, entry: Entry, signing: bytes) -> tuple[EntryHash, bytes]:
    """Hash and header of an entry that the key signed for this position, or `Unauthorized`."""
    digest, header = entry_hash(position, entry)
    verify_hash(signing, digest, entry.signature)
    return digest, header


class EntryKeys(NamedTuple):
    """What an epoch's key gives for entries (crypto/derive.py)."""

    content: bytes
    nonce: bytes

    def __repr__(self) -> str:
        return "EntryKeys(hidden)"


def seal_entry(
    position: Position,
    entry_epoch: EpochId,
    hlc: Hlc,
    past: Sequence[Reference],
    heads: Sequence[StatementId],
    plaintext: bytes,
    keys: EntryKeys,
    signing: SigningKey,
) -> tuple[EntryHash, bytes]:
    """Hash and raw bytes of a new own entry. Past and heads sorted, as `parse_entry` gives them."""
    header = header_bytes(position, entry_epoch, hlc, past, heads)
    sealed = aead.seal(keys.content, header, plaintext, nonce_key=keys.nonce)
    digest = EntryHash(hash_bytes(ENTRY_DOMAIN, header, sealed))
    signature = signing.sign_hash(digest)
    raw = encode_prepared(
        (ENTRY_VERSION, entry_epoch, hlc, (past, heads), sealed, signature),
    )
    return digest, raw


def open_entry(entry: Entry, header: bytes, keys: EntryKeys) -> bytes:
    """The plaintext (still compressed), or `Unauthorized`."""
    return aead.open_(keys.content, header, entry.sealed)


_HLC_AT: Final = 1 + 1 + 2 + ID_BYTES
"offset of the HLC in an entry's raw bytes: list mark, version, bin mark and epoch before it"


def peek_hlc(raw: bytes) -> int:
    """The HLC of raw bytes that were parsed once, without parsing them again; 0 if it is short."""
    if raw[_HLC_AT : _HLC_AT + 1] != b"\xcf":
        return 0
    return int.from_bytes(raw[_HLC_AT + 1 : _HLC_AT + 9], "big")


def _is_bytes(value: Any, size: int) -> bool:
    return type(value) is bytes and len(value) == size


def _references(items: Any) -> tuple[Reference, ...]:
    if type(items) is not list:
        raise Malformed("entry: past")
    if len(items) > PAST_ITEMS_MAX:
        raise LimitExceeded("past-items", f"{len(items)} logs")
    past = []
    before = b""
    for item in items:
        if type(item) is not list or len(item) != 3:
            raise Malformed("entry: past")
        log, seq, digest = item
        if not _is_bytes(log, ID_BYTES) or not _is_bytes(digest, HASH_BYTES) or log <= before:
            raise Malformed("entry: past is not sorted by log")
        if type(seq) is not int or not 0 < seq <= SEQ_MAX:
            raise Malformed("entry: past seq")
        past.append(Reference(LogId(log), seq, EntryHash(digest)))
        before = log
    return tuple(past)


def _heads(items: Any) -> tuple[StatementId, ...]:
    if type(items) is not list:
        raise Malformed("entry: heads")
    if len(items) > PAST_ITEMS_MAX:
        raise LimitExceeded("past-items", f"{len(items)} heads")
    before = b""
    for head in items:
        if not _is_bytes(head, HASH_BYTES) or head <= before:
            raise Malformed("entry: heads are not sorted")
        before = head
    return tuple(items)
