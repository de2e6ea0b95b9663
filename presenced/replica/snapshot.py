"""A document without its history: what a new device starts from, and what a start replays from.

Rules of this file: a snapshot is the slots of the applied entries, per log by clock, with the
frontier they belong to. It is sealed in chunks under an epoch of the collection and signed by its
sponsor. Whoever adopts it encodes its own document: per log the items by clock, each with root
name and key, gaps filled with GC structs, so that content and clocks equal everybody's and later
entries apply in any order. The digest in the manifest is computed again before anything is kept.

Layout. Chunk 0, the manifest: canonical `[body, signature]`, body = `[1, space, collection, epoch,
sponsor log, logs, heads, digest, chunk hashes, via]`, a log = `[log, seq, hash, clock end,
declared, heads]`; `via` are devices by whose word alone the sponsor has it. Chunks 1…: the sealed,
compressed `[log, [[map, record, field, clock, [seq, hlc, value, seen]], …]]`. Covered slots are
kept: history shows them, and their log may write on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import msgpack

from presenced.crypto import aead
from presenced.crypto.keys import SIGNATURE_BYTES, SigningKey, verify
from presenced.errors import LimitExceeded, Malformed, Unauthorized
from presenced.ids import (
    HASH_BYTES,
    ID_BYTES,
    Collection,
    DeviceId,
    EntryHash,
    EpochId,
    LogId,
    SpaceId,
    StatementId,
    hash_bytes,
)
from presenced.replica.chain import LogChain
from presenced.replica.digest import ContentDigest
from presenced.replica.entry import NO_ENTRY, EntryKeys
from presenced.replica.ledger import Ledger
from presenced.replica.limits import (
    BASE_CHUNK_EXPANDED_BYTES_MAX,
    BASE_CHUNKS_MAX,
    BASE_SLOTS_PER_CHUNK,
    FRONTIER_LOGS_MAX,
    MESSAGE_BYTES_MAX,
    PAST_ITEMS_MAX,
    SEQ_MAX,
)
from presenced.replica.operation import SnapshotRows, parse_seen, seen_pairs
from presenced.replica.rows import AppliedEntry, Outcome
from presenced.replica.seams import RemovalCut
from presenced.replica.yjs_update import shown_records
from presenced.wire import decode, encode_prepared

SNAPSHOT_VERSION: Final = 1
MANIFEST_DOMAIN: Final = b"pd/snapshot/1"
CHUNK_DOMAIN: Final = b"pd/snap-chunk/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPoint:
    """Where a log stands in a snapshot."""

    log: LogId
    seq: int
    hash: EntryHash
    clock_end: int
    declared: dict[LogId, int]
    heads: tuple[StatementId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a snapshot says of itself. Nothing in it is verified yet."""

    space: SpaceId
    collection: Collection
    epoch: EpochId
    sponsor: LogId
    logs: tuple[LogPoint, ...]
    heads: tuple[StatementId, ...]
    digest: bytes
    chunks: tuple[bytes, ...]
    "hash of each sealed chunk"
    via: tuple[DeviceId, ...]
    "the devices by whose unconfirmed word the sponsor has it; sorted"
    body: bytes
    signature: bytes


# --- taking one ---


def take_snapshot(
    ledger: Ledger,
    digest: ContentDigest,
    epoch: EpochId,
    keys: EntryKeys,
    sponsor: LogId,
    signing: SigningKey,
    via: Sequence[DeviceId] = (),
) -> list[bytes]:
    """The chunks of a snapshot of what is applied and flushed, manifest first."""
    sealed = [
        aead.seal(
            keys.content,
            _chunk_header(ledger.space, ledger.collection, index),
            ledger.compression.compress(plaintext, quickly=True),
            nonce_key=keys.nonce,
        )
        for index, plaintext in enumerate(_plaintexts(ledger), start=1)
    ]
    heads = tuple(sorted(ledger.trust.heads))
    logs = [
        [
            chain.log,
            chain.applied_seq,
            chain.applied_hash,
            chain.clock_end,
            seen_pairs(chain.declared),
            list(chain.heads),
        ]
        for _, chain in sorted(ledger.chains.items())
        if chain.applied_seq
    ]
    body = encode_prepared(
        [
            SNAPSHOT_VERSION,
            ledger.space,
            ledger.collection,
            epoch,
            sponsor,
            logs,
            list(heads),
            digest.digest(ledger.collection, heads),
            [hash_bytes(CHUNK_DOMAIN, chunk) for chunk in sealed],
            sorted(via),
        ]
    )
    return [encode_prepared([body, signing.sign(MANIFEST_DOMAIN, body)]), *sealed]


def _plaintexts(ledger: Ledger) -> Iterator[bytes]:
    packer = msgpack.Packer(use_bin_type=True)
    for writer, rows in ledger.document.rows_by_writer():
        pieces: list[bytes] = []
        size = 0
        for piece in rows:
            if pieces and (
                len(pieces) == BASE_SLOTS_PER_CHUNK
                or size + len(piece) > BASE_CHUNK_EXPANDED_BYTES_MAX
            ):
                yield _chunk_bytes(packer, writer.log, pieces)
                pieces, size = [], 0
            pieces.append(piece)
            size += len(piece)
        yield _chunk_bytes(packer, writer.log, pieces)


def _chunk_bytes(packer: msgpack.Packer, log: LogId, pieces: Sequence[bytes]) -> bytes:
    count = packer.pack_array_header(len(pieces))
    joined: bytes = b"".join((b"\x92", packer.pack(log), count, *pieces))
    return joined


# --- reading one ---


def parse_manifest(raw: bytes) -> Manifest:
    """Raises `Malformed` or `LimitExceeded`."""
    outer = decode(raw)
    if type(outer) is not list or len(outer) != 2:
        raise Malformed("not a snapshot")
    body, signature = outer
    if type(body) is not bytes or type(signature) is not bytes:
        raise Malformed("not a snapshot")
    if len(signature) != SIGNATURE_BYTES:
        raise Malformed("snapshot: signature")
    value = decode(body)
    if type(value) is not list or len(value) != 10 or value[0] != SNAPSHOT_VERSION:
        raise Malformed("not a snapshot of version 1")
    _, space, collection, epoch, sponsor, logs, heads, digest, chunks, via = value
    for identifier in (space, epoch, sponsor):
        _sized(identifier, ID_BYTES)
    if type(chunks) is not list or type(logs) is not list or type(via) is not list:
        raise Malformed("snapshot: logs, chunks or devices")
    if len(chunks) > BASE_CHUNKS_MAX:
        raise LimitExceeded("base-chunks", str(len(chunks)))
    if len(logs) > FRONTIER_LOGS_MAX:
        raise LimitExceeded("frontier-logs", str(len(logs)))
    if len(via) > PAST_ITEMS_MAX:
        raise LimitExceeded("past-items", str(len(via)))
    points = tuple(_log_point(one) for one in logs)
    if any(one.log >= other.log for one, other in pairwise(points)):
        raise Malformed("snapshot: logs are not sorted")
    return Manifest(
        space=SpaceId(space),
        collection=collection,
        epoch=EpochId(epoch),
        sponsor=LogId(sponsor),
        logs=points,
        heads=_statement_ids(heads),
        digest=_sized(digest, HASH_BYTES),
        chunks=tuple(_sized(chunk, HASH_BYTES) for chunk in chunks),
        via=tuple(DeviceId(_sized(device, ID_BYTES)) for device in via),
        body=body,
        signature=signature,
    )


def verify_manifest(manifest: Manifest, ledger: Ledger) -> None:
    """Raises `Unauthorized` unless a member's log vouches for it, for this collection."""
    if (manifest.space, manifest.collection) != (ledger.space, ledger.collection):
        raise Unauthorized("snapshot of another collection")
    sponsor = ledger.trust.log_owner(manifest.sponsor)
    if sponsor is None or sponsor.collection != ledger.collection:
        raise Unauthorized("snapshot of a stranger")
    if not any(
        all(_goes_on(manifest.sponsor, removal) for removal in removals)
        for removals in ledger.trust.alternatives(sponsor.device, ledger.collection)
    ):
        raise Unauthorized("snapshot of a removed device")
    verify(sponsor.signing, MANIFEST_DOMAIN, manifest.body, manifest.signature)
    if not ledger.trust.knows(manifest.heads):
        raise Unauthorized("snapshot under statements that are not here")


def _goes_on(log: LogId, removal: RemovalCut) -> bool:
    """Whether what binds a device ends other logs of it, but not this one."""
    return removal.cut is not None and removal.cut.get(log, (0, NO_ENTRY))[0] > SEQ_MAX


def check_chunk(manifest: Manifest, index: int, raw: bytes) -> None:
    """Raises `Malformed` unless this is the chunk that the manifest names."""
    if not 0 < index <= len(manifest.chunks) or len(raw) > MESSAGE_BYTES_MAX:
        raise Malformed("snapshot: chunk")
    if hash_bytes(CHUNK_DOMAIN, raw) != manifest.chunks[index - 1]:
        raise Malformed("snapshot: another chunk than announced")


def place_snapshot(
    ledger: Ledger, manifest: Manifest, chunks: Sequence[bytes], *, adopted: bool, outcome: Outcome
) -> None:
    """Build an empty ledger's document from chunks 1…; what it holds goes into the outcome.

    `adopted`: the entries behind it are not here and never were. Raises `Malformed`,
    `LimitExceeded` or `Unauthorized`; the ledger is of no use then.
    """
    keys = ledger.keys(manifest.epoch)
    if keys is None:
        raise Unauthorized("snapshot under a key that is not here")
    if len(chunks) != len(manifest.chunks):
        raise Malformed("snapshot: chunks are missing")
    ledger.base_heads = manifest.heads
    frontier = {point.log: point.seq for point in manifest.logs}
    cursors: dict[LogId, int] = {}
    for point in manifest.logs:
        _place_point(ledger, point, adopted)
        cursors[point.log] = 0
    for index, raw in enumerate(chunks, start=1):
        check_chunk(manifest, index, raw)
        plaintext = ledger.compression.expand(
            aead.open_(keys.content, _chunk_header(ledger.space, ledger.collection, index), raw),
            2 * BASE_CHUNK_EXPANDED_BYTES_MAX,
        )
        value = ledger.codec.canonical_rows(plaintext)
        if type(value) is not list or len(value) != 2:
            raise Malformed("snapshot: chunk")
        name, rows = value
        if type(name) is not bytes or name not in cursors:
            raise Malformed("snapshot: chunk of an unknown log")
        log = LogId(name)
        if type(rows) is not list or not 0 < len(rows) <= BASE_SLOTS_PER_CHUNK:
            raise Malformed("snapshot: chunk")
        chain = ledger.chains[log]
        cursors[log] = _place_rows(
            ledger,
            chain,
            ledger.codec.decode_rows(rows, log, frontier),
            cursors[log],
            outcome,
        )
        ledger.document.flush()
    for point in manifest.logs:
        if point.clock_end > cursors[point.log]:
            chain = ledger.chains[point.log]
            gap = point.clock_end - cursors[point.log]
            ledger.document.put_gap(chain.writer, cursors[point.log], gap)
    ledger.document.flush()


def _place_point(ledger: Ledger, point: LogPoint, adopted: bool) -> None:
    chain = ledger.chain(point.log)
    if chain is None:
        raise Unauthorized("snapshot of a log that is nobody's")
    if chain.held_seq:
        raise Malformed("snapshot over entries")
    chain.held_seq = chain.applied_seq = chain.start_seq = chain.based_seq = point.seq
    chain.held_hash = chain.applied_hash = chain.start_hash = point.hash
    chain.base_seq = point.seq if adopted else 0
    chain.clock_end = point.clock_end
    chain.declared = dict(point.declared)
    chain.heads = point.heads


def _place_rows(
    ledger: Ledger,
    chain: LogChain,
    rows: SnapshotRows,
    cursor: int,
    outcome: Outcome,
) -> int:
    """Put slots into the document in runs without a gap; the clock that follows the last one."""
    clocks, seqs, operations, stored = rows
    if clocks[0] < cursor or clocks[-1] >= chain.clock_end:
        raise Malformed("snapshot: clocks")
    shown = shown_records([operation.record for operation in operations])
    document = ledger.document
    for start, end in _runs(clocks, seqs):
        clock, seq = clocks[start], seqs[start]
        if clock > cursor:
            document.put_gap(chain.writer, cursor, clock - cursor)
        run = operations[start:end]
        document.put(
            chain.writer, clock, seq, run, stored[start:end], outcome.touched, shown[start:end]
        )
        outcome.applied.append(AppliedEntry(chain.log, chain.owner.device, seq, run))
        cursor = clock + end - start
    return cursor


def _runs(clocks: Sequence[int], seqs: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where runs of consecutive clocks of one entry begin and end."""
    start = 0
    for end in range(1, len(clocks)):
        if clocks[end] != clocks[end - 1] + 1 or seqs[end] != seqs[end - 1]:
            yield start, end
            start = end
    yield start, len(clocks)


def _log_point(value: Any) -> LogPoint:
    if type(value) is not list or len(value) != 6:
        raise Malformed("snapshot: log")
    log, seq, digest, clock_end, declared, heads = value
    for number in (seq, clock_end):
        if type(number) is not int or not 0 < number <= SEQ_MAX:
            raise Malformed("snapshot: log")
    if type(declared) is not list:
        raise Malformed("snapshot: log")
    return LogPoint(
        log=LogId(_sized(log, ID_BYTES)),
        seq=seq,
        hash=EntryHash(_sized(digest, HASH_BYTES)),
        clock_end=clock_end,
        declared=parse_seen(declared),
        heads=_statement_ids(heads),
    )


def _statement_ids(value: Any) -> tuple[StatementId, ...]:
    if type(value) is not list:
        raise Malformed("snapshot: heads")
    if len(value) > PAST_ITEMS_MAX:
        raise LimitExceeded("past-items", str(len(value)))
    return tuple(StatementId(_sized(head, HASH_BYTES)) for head in value)


def _sized(value: Any, size: int) -> bytes:
    if type(value) is not bytes or len(value) != size:
        raise Malformed("snapshot: field of a wrong kind")
    return value


def _chunk_header(space: SpaceId, collection: Collection, index: int) -> bytes:
    return encode_prepared(["snapshot", SNAPSHOT_VERSION, space, collection, index])
