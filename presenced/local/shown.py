"""From the rooms' rows to what the API shows: ids as text, milliseconds as seconds, times as text.

Rules of this file: nothing is decided here. A wrong clock may have written any time between 1970
and the year 10889; what a calendar cannot hold is shown as its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from presenced.errors import NotSetUp
from presenced.ids import DeviceId, LogId, RecordId, show_id
from presenced.local import model
from presenced.local.owner import DeviceFacts, Devices, StatusFacts
from presenced.local.places import place_shown
from presenced.presence.fields import PROGRESS, SESSION_MAP, SPEED, spec_of
from presenced.presence.history import HistoryRow
from presenced.presence.progress import INTEGER_MAX, Unit
from presenced.presence.sessions import lifecycle, unit_of
from presenced.presence.summary import LostValue, Summary, SummaryRow
from presenced.presence.views import FollowRow, SessionRow

_MS_MAX: Final = 253_402_300_799_999
"9999-12-31T23:59:59.999Z, the last moment that RFC 3339 can write"


def time_shown(ms: int) -> str:
    """RFC 3339 in UTC with milliseconds, of milliseconds since 1970."""
    ms = min(max(ms, 0), _MS_MAX)
    moment = datetime.fromtimestamp(ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


class Names:
    """Devices by id and by log, as of now."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        try:
            known = devices.devices()
        except NotSetUp:  # a home without identity has a status too
            known = []
        self._facts: dict[DeviceId, DeviceFacts] = {facts.device: facts for facts in known}

    def of_log(self, log: LogId | None) -> tuple[str | None, str | None]:
        """Id and name of the device that owns a log."""
        return self.of_device(None if log is None else self._devices.device_of(log))

    def of_device(self, device: DeviceId | None) -> tuple[str | None, str | None]:
        if device is None:
            return None, None
        facts = self._facts.get(device)
        return show_id(device), None if facts is None else facts.name

    def reachable(self, log: LogId | None) -> bool:
        device = None if log is None else self._devices.device_of(log)
        facts = None if device is None else self._facts.get(device)
        return facts is not None and (facts.own or facts.linked)


def follow_shown(row: FollowRow) -> model.FollowShown:
    return model.FollowShown(
        id=show_id(row.record),
        uri=row.uri,
        title=row.title,
        kind=row.kind,
        state=row.state,
        notify=row.notify,
        tags=list(row.tags),
        conflicts=list(row.conflicts),
        updated=time_shown(row.updated_ms),
    )


def session_shown(row: SessionRow, names: Names) -> model.SessionShown:
    unit = unit_of(row.kind)
    position, place = place_shown(row.at, unit)
    held = row.holder is not None and row.phase != "free"
    holder, holder_name = names.of_log(row.holder if held else None)
    life = lifecycle(
        state=row.state, done=row.done, phase=row.phase, reachable=names.reachable(row.holder)
    )
    size = row.of or (row.duration_ms if unit is Unit.MS else 0)
    return model.SessionShown(
        id=show_id(row.record),
        uri=row.uri,
        title=row.title,
        kind=row.kind,
        aliases=list(row.aliases),
        position=position,
        place=place,
        duration=size / 1000 if size and unit is Unit.MS else None,
        pages=size if size and unit is Unit.PPM else None,
        finished=row.done,
        speed=row.speed / 1000,
        state=row.state,
        lifecycle=life.value,
        holder=holder,
        holder_name=holder_name,
        claim=row.claim,
        conflicts=list(row.conflicts),
        updated=time_shown(row.updated_ms),
    )


def history_shown(row: HistoryRow, unit: Unit, names: Names) -> model.HistoryAct:
    device, device_name = names.of_log(row.log)
    position, place = place_shown(row.at, unit)
    return model.HistoryAct(
        log=show_id(row.log),
        row=row.index,
        device=device,
        device_name=device_name,
        time=time_shown(row.ms),
        kind=row.kind,
        position=position,
        place=place,
        finished=row.done,
    )


def device_shown(facts: DeviceFacts) -> model.DeviceShown:
    evidence = facts.evidence
    return model.DeviceShown(
        id=show_id(facts.device),
        name=facts.name,
        fingerprint=facts.fingerprint,
        own=facts.own,
        active=facts.active,
        linked=facts.linked,
        collections=list(facts.collections),
        added_by=None if facts.added_by is None else show_id(facts.added_by),
        last_seen=None if facts.last_seen_ms is None else time_shown(facts.last_seen_ms),
        evidence=None
        if evidence is None
        else model.EvidenceShown(
            status=evidence.status,
            reason=evidence.reason,
            claims=[
                model.ClaimShown(name=name, value=value, basis=basis)
                for name, value, basis in evidence.claims
            ],
        ),
    )


def status_shown(facts: StatusFacts, names: Names, version: str) -> model.StatusShown:
    return model.StatusShown(
        version=version,
        identity=facts.identity,
        device=None if facts.device is None else show_id(facts.device),
        name=facts.name,
        port=facts.port,
        addresses=list(facts.addresses),
        key_protection=facts.key_protection,
        phrase_unconfirmed=facts.phrase_unconfirmed,
        net="down" if facts.links_held_down else "up",
        digest={collection: digest.hex() for collection, digest in facts.digests.items()},
        links=[
            model.LinkShown(
                device=show_id(link.device),
                name=names.of_device(link.device)[1] or "",
                address=link.address,
                inbound=link.inbound,
                since=time_shown(link.since_ms),
                in_sync=link.in_sync,
            )
            for link in facts.links
        ],
        pending=model.PendingShown(
            unsent=facts.pending.unsent,
            waiting=facts.pending.waiting,
            quarantined=facts.pending.quarantined,
        ),
        follows=facts.follows,
        sessions=facts.sessions,
        conflicts=facts.conflicts,
        work=[
            model.WorkShown(kind=work.kind, done=work.done, total=work.total, unit=work.unit)
            for work in facts.work
        ],
        snapshots=[
            model.SnapshotShown(
                collection=one.collection,
                sponsor=show_id(one.sponsor),
                sponsor_name=names.of_device(one.sponsor)[1],
                state=one.state.value,
                confirmed_by=None if one.confirmer is None else show_id(one.confirmer),
                disputed_by=[show_id(device) for device in one.against],
            )
            for one in facts.snapshots
        ],
        alerts=list(facts.alerts),
    )


def summary_shown(
    summary: Summary, names: Names, units: Mapping[RecordId, Unit]
) -> model.SummaryShown:
    """`units`: of the sessions whose progress is listed; milliseconds where it lacks one."""

    def lines(rows: Sequence[SummaryRow]) -> list[model.SummaryLine]:
        return [_line(row, names, units.get(row.record, Unit.MS)) for row in rows]

    return model.SummaryShown(
        elsewhere=lines(summary.elsewhere),
        here=lines(summary.here),
        both=lines(summary.both),
        elsewhere_more=summary.elsewhere_more,
        here_more=summary.here_more,
        both_more=summary.both_more,
    )


def _line(row: SummaryRow, names: Names, unit: Unit) -> model.SummaryLine:
    device, device_name = names.of_device(row.device)

    def lost(value: LostValue) -> model.LostShown:
        lost_device, lost_name = names.of_device(value.device)
        return model.LostShown(
            log=show_id(value.log),
            device=lost_device,
            device_name=lost_name,
            time=time_shown(value.ms),
            value=_value_shown(row.map, row.field, value.value, unit),
            restorable=value.restorable,
        )

    return model.SummaryLine(
        map=row.map,
        record=show_id(row.record),
        field=row.field,
        device=device,
        device_name=device_name,
        time=time_shown(row.ms) if row.ms else None,
        title=row.title,
        value=_value_shown(row.map, row.field, row.value, unit),
        rule=row.rule,
        asks=row.asks,
        losing=[lost(value) for value in row.losing],
    )


def _value_shown(map_name: str, field: str, value: Any, unit: Unit) -> Any:
    """A value with its numbers in the API's units; what is not readable here as it stands."""
    if map_name == SESSION_MAP and field == PROGRESS and _is_short_progress(value):
        position, place = place_shown(value["at"], unit)
        return {"position": position, "place": place, "finished": value["done"]}
    if (
        map_name == SESSION_MAP
        and field == SPEED
        and spec_of(map_name, field).readable(value, unit)
    ):
        return value / 1000
    return json_value(value)


def _is_short_progress(value: Any) -> bool:
    """Whether it is what a summary makes of readable progress."""
    return (
        type(value) is dict
        and value.keys() == {"at", "done", "of"}
        and type(value["at"]) is int
        and 0 <= value["at"] <= INTEGER_MAX
        and type(value["done"]) is bool
    )


def json_value(value: Any) -> Any:
    """A stored value as JSON can carry it: bytes as hexadecimal text."""
    if type(value) is bytes:
        return value.hex()
    if type(value) is list:
        return [json_value(item) for item in value]
    if type(value) is dict:
        return {key: json_value(item) for key, item in value.items()}
    return value
