"""Which fields hold values written apart now: what the summary asks and `resolve` decides.

Rules of this file:
1. judged anew from the documents each time, so an answer given anywhere is an answer, and a title
   or a third value that came since is shown as it is;
2. every record that asks is in it, also if its values were written while all were linked, or
   before an earlier summary: what asks can always be answered;
3. without a record to judge no document is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from presenced.device.commit import FollowQuery, SessionQuery, StoreReader
from presenced.device.machine import DeviceMachine
from presenced.ids import RecordId
from presenced.presence.fields import FOLLOW_MAP, SESSION_MAP
from presenced.presence.limits import SUMMARY_CONTESTS_MAX
from presenced.presence.progress import Unit
from presenced.presence.sessions import unit_of
from presenced.presence.summary import Recap, Side, SummaryRow

_Fields = dict[RecordId, set[str]]


def contests(
    machine: DeviceMachine, reader: StoreReader, told: Iterable[SummaryRow]
) -> tuple[list[SummaryRow], int]:
    """Rows of what is contested, those that ask first, and how many more records ask.

    `told`: rows of the last summary; those of fields that do not ask are judged again too.
    """
    asked = _asking(reader)
    more = max(0, reader.counts().conflicts - sum(map(len, asked.values())))
    for row in told:
        if row.side is Side.BOTH:
            asked.setdefault(row.map, {}).setdefault(row.record, set()).add(row.field)
    rows = [
        row for name, records in asked.items() for row in _judged(machine, reader, name, records)
    ]
    rows.sort(key=lambda row: (not row.asks, -row.ms, row.record, row.field))
    return rows, more


def _asking(reader: StoreReader) -> dict[str, _Fields]:
    """The fields that ask, by map and record, as the views have them."""
    follows = reader.follows(
        FollowQuery(state=None, conflicts_only=True, order="updated", limit=SUMMARY_CONTESTS_MAX)
    )
    sessions = reader.sessions(SessionQuery(conflicts_only=True, limit=SUMMARY_CONTESTS_MAX))
    return {
        FOLLOW_MAP: {row.record: set(row.conflicts) for row in follows.rows},
        SESSION_MAP: {row.record: set(row.conflicts) for row in sessions.rows},
    }


def _judged(
    machine: DeviceMachine, reader: StoreReader, map_name: str, records: _Fields
) -> Iterable[SummaryRow]:
    shelf = machine.shelf
    if not records or not shelf.has(map_name):
        return ()
    recap = Recap(shelf.log_of(map_name), machine.membership.device_of)
    for record, fields in records.items():
        unit = _unit(reader, map_name, record)
        recap.contested(map_name, record, shelf.record(map_name, record), sorted(fields), unit=unit)
    return recap.summary(partial(_title, reader)).both


def _title(reader: StoreReader, map_name: str, record: RecordId) -> str:
    row = reader.session(record) if map_name == SESSION_MAP else reader.follow(record)
    return "" if row is None else row.title or row.uri


def _unit(reader: StoreReader, map_name: str, record: RecordId) -> Unit:
    row = reader.session(record) if map_name == SESSION_MAP else None
    return Unit.MS if row is None else unit_of(row.kind)
