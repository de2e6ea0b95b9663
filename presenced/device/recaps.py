"""What happened while devices were apart, gathered for the summary.

Theory of operation. Gathering runs from the moment the last link is gone (or the daemon starts)
until the first link after that has caught up with every collection; then the summary is stored,
if there is anything to tell. Own edits count as *here* while nobody is linked; entries of others
count as *elsewhere* while a link catches up. A summary that nobody has read goes on in the next
one: a link that fails for a second hides no weekend.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

from presenced.clock import Instant
from presenced.device.commit import StoredSummary, StoreReader
from presenced.device.membership import Membership
from presenced.device.shelf import Shelf
from presenced.ids import Collection, RecordId
from presenced.presence.fields import CORE, DEVICE_MAP, SESSION_MAP, TITLE
from presenced.presence.limits import SUMMARY_CHANGES_MAX
from presenced.presence.progress import Unit
from presenced.presence.rules import resolve
from presenced.presence.sessions import unit_of
from presenced.presence.summary import Recap, Side, SummaryRow
from presenced.replica.replica import Replica
from presenced.replica.rows import Outcome

SUMMARY_SEEN: Final = "summary-seen"
"meta row: `ended_ms` of the summary that a person has read"


class Recaps:
    """One `Recap` per collection while gathering."""

    def __init__(self, membership: Membership, shelf: Shelf) -> None:
        self._membership = membership
        self._shelf = shelf
        self._gathering: dict[Collection, Recap] | None = {}

    def left_alone(self) -> None:
        """The last link is gone: gather from here."""
        if self._gathering is None:
            self._gathering = {}

    def forget(self, membership: Membership) -> None:
        """What was gathered in memory may not be on disk."""
        self._membership = membership
        self._gathering = {}

    def applied(self, collection: Collection, outcome: Outcome) -> None:
        """Entries were applied or, unsent edits of ours, sealed; those of others are news."""
        if self._gathering is None or collection == "directory":
            return
        own = self._membership.secrets.log(collection)
        recap = self._recap(self._gathering, collection)
        news = False
        for entry in outcome.applied:
            news = news or entry.log != own
            recap.changed(entry.log, entry.operations)
        if not news:
            return
        replica = self._shelf.replicas[collection]
        for (map_name, record), fields in outcome.touched.items():
            if isinstance(fields, frozenset) and map_name != DEVICE_MAP:
                slots = replica.record(map_name, record)
                unit = _unit(replica, map_name, record)
                recap.contested(map_name, record, slots, fields, unit=unit)

    def finish(self, now: Instant, unread: StoredSummary | None = None) -> StoredSummary | None:
        """Everybody has caught up: what there is to tell, None if nothing new. Gathering ends.

        `unread`: the summary before, if it is still to be read.
        """
        gathered, self._gathering = self._gathering, None
        rows: list[SummaryRow] = []
        more = 0
        for collection, recap in (gathered or {}).items():
            replica = self._shelf.replicas[collection]
            summary = recap.summary(partial(_title, replica), partial(_unit, replica))
            rows += summary.rows
            more += summary.elsewhere_more + summary.here_more + summary.both_more
        if all(row.side is Side.HERE for row in rows):
            return None
        if unread is not None:
            more += unread.more + _go_on(rows, unread.rows)
        return StoredSummary(ended_ms=now.wall_ms, rows=tuple(rows), more=more)

    def _recap(self, gathering: dict[Collection, Recap], collection: Collection) -> Recap:
        if collection not in gathering:
            gathering[collection] = Recap(
                self._membership.secrets.log(collection), self._membership.device_of
            )
        return gathering[collection]


def unread_summary(reader: StoreReader) -> StoredSummary | None:
    """The stored summary, unless a person has read it."""
    stored = reader.summary()
    is_read = stored is not None and reader.meta(SUMMARY_SEEN) == seen_row(stored)
    return None if is_read else stored


def seen_row(stored: StoredSummary) -> bytes:
    """The meta row that says that this summary was read."""
    return stored.ended_ms.to_bytes(8, "big")


def _go_on(rows: list[SummaryRow], earlier: Iterable[SummaryRow]) -> int:
    """Add the rows that tell of something else, up to the bound; how many had no room."""
    told = {(row.side, row.map, row.record, row.field, row.log) for row in rows}
    room = {side: SUMMARY_CHANGES_MAX - sum(row.side is side for row in rows) for side in Side}
    more = 0
    for row in earlier:
        if (row.side, row.map, row.record, row.field, row.log) in told:
            continue
        if room[row.side] > 0:
            room[row.side] -= 1
            rows.append(row)
        else:
            more += 1
    return more


def _title(replica: Replica, map_name: str, record: RecordId) -> str:
    slots = replica.record(map_name, record)
    for field in (TITLE, CORE):
        value = resolve(map_name, field, slots.get(field, {})).value
        if field == CORE and isinstance(value, dict):
            value = value.get("title") or value.get("uri")
        if value and isinstance(value, str):
            return value
    return ""


def _unit(replica: Replica, map_name: str, record: RecordId) -> Unit:
    if map_name != SESSION_MAP:
        return Unit.MS
    slots = replica.record(map_name, record)
    core = resolve(map_name, CORE, slots.get(CORE, {})).value
    return unit_of(core.get("kind"))
