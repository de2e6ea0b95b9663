"""What a replica's outcome becomes: rows for the transaction, events for the owner's clients.

Rules of this file: a row is made from the record as it is after the whole outcome; a record that
came as one `core` operation gets its row from that operation alone; beyond `EVENTS_EACH_MAX`
records of one outcome one event says how many changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from presenced.device.commit import Commit
from presenced.device.editing import COLLECTION_OF_MAP
from presenced.device.effects import Event
from presenced.ids import Collection, RecordId, show_id
from presenced.presence.fields import DEVICE_MAP, FOLLOW_MAP, SESSION_MAP
from presenced.presence.views import (
    FollowRow,
    SessionRow,
    follow_row,
    new_follow_rows,
    session_row,
)
from presenced.replica.replica import Replica
from presenced.replica.rows import Outcome
from presenced.replica.slot import Operation

TAKEN: Final = "taken-"
"meta row per collection: what was taken from each device today"

EVENTS_EACH_MAX: Final = 100
"records of one outcome that are told one by one"


def keep_rows(commit: Commit, collection: Collection, outcome: Outcome) -> None:
    """Put an outcome's log, overlay and base rows into a commit."""
    for cut in outcome.cuts:
        # Entries that were gathered before, and not written yet, go too.
        commit.entries = [
            one for one in commit.entries if one[:2] != cut[:2] or one.seq < cut.first_seq
        ]
    commit.cuts += outcome.cuts
    commit.entries += outcome.entries
    commit.heads += outcome.heads
    commit.overlay_put += outcome.overlay_put
    if outcome.overlay_drop is not None:
        commit.overlay_drop[collection] = outcome.overlay_drop
    if outcome.base is not None:
        commit.base[collection] = [chunk.raw for chunk in outcome.base]
    commit.forks += outcome.forks
    if outcome.taken is not None:
        commit.meta[TAKEN + collection] = outcome.taken


def keep_views(commit: Commit, collection: Collection, outcome: Outcome, replica: Replica) -> int:
    """Put the rows of all records that changed into a commit; returns how many."""
    if outcome.rebuilt:
        commit.views_reset.add(collection)
        commit.follows = [] if collection == "follows" else commit.follows
        commit.sessions = [] if collection == "sessions" else commit.sessions
        _keep_all(commit, collection, replica)
        return 0
    follows, sessions, touched = commit.follows, commit.sessions, outcome.touched
    changed = list(touched)
    if collection == "follows":
        new = [
            change
            for change in touched.values()
            if isinstance(change, Operation) and change.map == FOLLOW_MAP
        ]
        follows += new_follow_rows(new)
        if len(new) == len(touched):
            changed = []
    for map_name, record in changed:
        if COLLECTION_OF_MAP.get(map_name) != collection:
            continue  # a newer version's map, or one that has its rows from another collection
        if map_name == FOLLOW_MAP:
            if not isinstance(touched[map_name, record], Operation):
                follows.append(follow_row(record, replica.record(map_name, record)))
        elif map_name == SESSION_MAP:
            sessions.append(session_row(record, replica.record(map_name, record)))
    return len(outcome.touched)


def _keep_all(commit: Commit, collection: Collection, replica: Replica) -> None:
    """Put a row for every record of a collection into a commit."""
    if collection == "follows":
        commit.follows += [
            follow_row(record, replica.record(FOLLOW_MAP, record))
            for record in replica.records(FOLLOW_MAP)
        ]
    elif collection == "sessions":
        commit.sessions += [
            session_row(record, replica.record(SESSION_MAP, record))
            for record in replica.records(SESSION_MAP)
        ]


def events_of(commit: Commit, outcome: Outcome) -> Iterable[Event]:
    """What the owner's clients should hear of an outcome whose rows are in `commit`."""
    changed = outcome.touched
    if not changed:
        return []
    if len(changed) > EVENTS_EACH_MAX:
        counts = Counter(map_name for map_name, _ in changed)
        return [
            Event(f"{map_name}.changed", {"count": count})
            for map_name, count in sorted(counts.items())
        ]
    by_device = {
        (operation.map, operation.record): show_id(entry.device)
        for entry in outcome.applied
        for operation in entry.operations
    }
    events = []
    rows: dict[tuple[str, RecordId], FollowRow | SessionRow] = {
        (FOLLOW_MAP, row.record): row for row in commit.follows[-EVENTS_EACH_MAX:]
    }
    rows |= {(SESSION_MAP, row.record): row for row in commit.sessions[-EVENTS_EACH_MAX:]}
    for key in changed:
        data: dict[str, Any] = {"id": show_id(key[1])}
        if (device := by_device.get(key)) is not None:
            data["device"] = device
        if (row := rows.get(key)) is not None:
            data |= {"uri": row.uri, "title": row.title, "state": row.state}
            if isinstance(row, SessionRow):
                data |= {"at": row.at, "kind": row.kind, "phase": row.phase}
        if key[0] in (FOLLOW_MAP, SESSION_MAP, DEVICE_MAP):
            events.append(Event(f"{key[0]}.changed", data))
    return events
