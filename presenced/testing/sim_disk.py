"""A disk in memory: a `StoreReader` that commits are applied to, each wholly or not at all.

The store's atomicity is SQLite's, so the simulated disk has no torn writes: a transaction that was
under way when the process died is there or it is not, and one that was reported failed is not.
Passes the same suite as the real store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from presenced.device.commit import (
    Commit,
    Counts,
    FollowPage,
    FollowQuery,
    SessionPage,
    SessionQuery,
    StoredSummary,
)
from presenced.errors import CallerError
from presenced.ids import Collection, LogId, RecordId
from presenced.presence.views import FollowRow, SessionRow
from presenced.replica.rows import ForkProof, LogHead, OverlayRow, StoredEntry

_OverlayKey = tuple[str, RecordId, str]


class SimDisk:
    """Committed state of one device. Survives crashes of the machine that stands on it."""

    def __init__(self) -> None:
        self._statements: dict[bytes, bytes] = {}
        self._heads: dict[Collection, dict[LogId, LogHead]] = {}
        self._entries: dict[tuple[Collection, LogId], dict[int, StoredEntry]] = {}
        self._overlay: dict[Collection, dict[_OverlayKey, OverlayRow]] = {}
        self._base: dict[Collection, list[bytes]] = {}
        self._forks: dict[tuple[Collection, LogId], ForkProof] = {}
        self._meta: dict[str, bytes] = {}
        self._summary: StoredSummary | None = None
        self.follow_rows: dict[RecordId, FollowRow] = {}
        self.session_rows: dict[RecordId, SessionRow] = {}

    # --- writing ---

    def apply(self, commit: Commit) -> None:
        """All rows of one transaction."""
        self._statements.update(
            (id_, raw) for id_, raw in commit.statements if id_ not in self._statements
        )
        for head in commit.heads:
            self._heads.setdefault(head.collection, {})[head.log] = head
        for cut in commit.cuts:
            of_log = self._entries.get((cut.collection, cut.log), {})
            for seq in [seq for seq in of_log if seq >= cut.first_seq]:
                del of_log[seq]
        for entry in commit.entries:
            assert entry.log in self._heads.get(entry.collection, {}), "an entry without a head"
            of_log = self._entries.setdefault((entry.collection, entry.log), {})
            assert entry.seq not in of_log, "an entry's place is taken once"
            of_log[entry.seq] = entry
        for row in commit.overlay_put:
            rows = self._overlay.setdefault(row.collection, {})
            rows[row.map, row.record, row.field] = row
        for collection, generation in commit.overlay_drop.items():
            self._overlay[collection] = {
                key: row
                for key, row in self._overlay.get(collection, {}).items()
                if row.generation > generation
            }
        for collection, chunks in commit.base.items():
            self._base[collection] = list(chunks)
        for fork in commit.forks:
            self._forks[fork.collection, fork.log] = fork
        self._apply_views(commit)
        for key, value in commit.meta.items():
            if value is None:
                self._meta.pop(key, None)
            else:
                self._meta[key] = value

    def _apply_views(self, commit: Commit) -> None:
        if "follows" in commit.views_reset:
            self.follow_rows.clear()
        if "sessions" in commit.views_reset:
            self.session_rows.clear()
        self.follow_rows.update((row.record, row) for row in commit.follows)
        self.session_rows.update((row.record, row) for row in commit.sessions)
        if commit.summary is not None:
            self._summary = commit.summary

    # --- the replica's reads ---

    def log_heads(self, collection: Collection) -> Sequence[LogHead]:
        return list(self._heads.get(collection, {}).values())

    def entries(
        self, collection: Collection, log: LogId, first_seq: int, *, bytes_max: int
    ) -> Sequence[bytes]:
        of_log = self._entries.get((collection, log), {})
        raws: list[bytes] = []
        size = 0
        while True:
            entry = of_log.get(first_seq + len(raws))
            if entry is None or (raws and size + len(entry.raw) > bytes_max):
                return raws
            raws.append(entry.raw)
            size += len(entry.raw)

    def overlay(self, collection: Collection) -> Sequence[OverlayRow]:
        rows = self._overlay.get(collection, {}).values()
        return sorted(rows, key=lambda row: (row.hlc, row.map, row.record, row.field))

    def base(self, collection: Collection) -> Sequence[bytes]:
        return list(self._base.get(collection, ()))

    # --- the device's reads ---

    def statements(self) -> Sequence[bytes]:
        return list(self._statements.values())

    def meta(self, key: str, /) -> bytes | None:
        return self._meta.get(key)

    def forks(self) -> Iterable[ForkProof]:
        return list(self._forks.values())

    def summary(self) -> StoredSummary | None:
        return self._summary

    def follow(self, record: RecordId, /) -> FollowRow | None:
        return self.follow_rows.get(record)

    def session(self, record: RecordId, /) -> SessionRow | None:
        return self.session_rows.get(record)

    def follows(self, query: FollowQuery, /) -> FollowPage:
        """As the store answers; in memory the order is always `added` and a cursor is a number."""
        found = [
            row
            for row in self.follow_rows.values()
            if (query.state is None or row.state == query.state)
            and (query.kind is None or row.kind == query.kind)
            and (query.tag is None or query.tag in row.tags)
            and (not query.conflicts_only or row.conflicts)
            and _has_text(row.title, row.uri, query.text)
        ]
        begin, end = _page(query.after, query.limit)
        return FollowPage(found[begin:end], str(end) if end < len(found) else None)

    def sessions(self, query: SessionQuery, /) -> SessionPage:
        found = [
            row
            for row in self.session_rows.values()
            if (query.state is None or row.state == query.state)
            and (query.kind is None or row.kind == query.kind)
            and (not query.conflicts_only or row.conflicts)
            and _has_text(row.title, row.uri, query.text)
        ]
        begin, end = _page(query.after, query.limit)
        return SessionPage(found[begin:end], str(end) if end < len(found) else None)

    def sessions_like(self, prefix: bytes, uri: str, /) -> Sequence[SessionRow]:
        return [
            row
            for row in self.session_rows.values()
            if (prefix and row.record.startswith(prefix)) or uri == row.uri or uri in row.aliases
        ]

    def known(self, map_name: str, records: Iterable[RecordId], /) -> set[RecordId]:
        if map_name == "follow":
            return set(records) & self.follow_rows.keys()
        return set(records) & self.session_rows.keys()

    def counts(self) -> Counts:
        follows, sessions = list(self.follow_rows.values()), list(self.session_rows.values())
        return Counts(
            follows=sum(row.state == "followed" for row in follows),
            sessions=sum(row.state == "open" for row in sessions),
            conflicts=sum(bool(row.conflicts) for row in follows)
            + sum(bool(row.conflicts) for row in sessions),
            unsent=sum(map(len, self._overlay.values())),
        )

    # --- for checkers ---

    def holds(self, collection: Collection, log: LogId, raw: bytes) -> bool:
        """Whether these raw bytes are a committed entry of the log."""
        of_log = self._entries.get((collection, log), {})
        return any(entry.raw == raw for entry in of_log.values())

    def entry_at(self, collection: Collection, log: LogId, seq: int) -> StoredEntry | None:
        return self._entries.get((collection, log), {}).get(seq)

    def has_statement(self, id_: bytes) -> bool:
        return id_ in self._statements


def _has_text(title: str, uri: str, text: str | None) -> bool:
    return not text or text.casefold() in title.casefold() or text.casefold() in uri.casefold()


def _page(after: str | None, limit: int) -> tuple[int, int]:
    if after is not None and not after.isdigit():
        raise CallerError("not a cursor")
    begin = int(after or 0)
    return begin, begin + limit
