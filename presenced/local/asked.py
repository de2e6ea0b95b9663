"""From what an API request says to what the device understands: parsed ids, milliseconds.

Rules of this file: a reading session has a `place` (fraction) and `pages`, every other one a
`position` and a `duration` (seconds). The wrong pair is an error that says so, not a wrong number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from presenced.device import edits as device_edits
from presenced.errors import InvalidValue
from presenced.ids import LogId, RecordId, parse_id
from presenced.local import model
from presenced.presence.progress import READING_PLACE_MAX, Unit
from presenced.presence.sessions import unit_of

MS_PER_SECOND: Final = 1_000
SPEED_UNIT: Final = 1_000
"thousandths"

UnitOf = Callable[[RecordId], Unit | None]


class WrongUnit(InvalidValue):
    """A place where a position belongs, or the other way round."""

    code = "wrong-unit"


def edits_of(asked: Sequence[model.Edit], unit_of_session: UnitOf) -> list[device_edits.Edit]:
    """The device's edits. `unit_of_session`: of a session that is there, else None.

    Raises `InvalidValue`, `MalformedId`.
    """
    return [_edit_of(edit, unit_of_session) for edit in asked]


def _edit_of(edit: model.Edit, unit_of_session: UnitOf) -> device_edits.Edit:
    match edit:
        case model.Follow():
            return device_edits.Follow(
                uri=edit.uri,
                title=edit.title,
                kind=edit.kind,
                tags=tuple(edit.tags),
                notify=edit.notify,
            )
        case model.Unfollow():
            return device_edits.Unfollow(uri=edit.uri)
        case model.ChangeFollow():
            return device_edits.ChangeFollow(
                uri=edit.uri,
                title=edit.title,
                notify=edit.notify,
                tags_on=tuple(edit.tags_on),
                tags_off=tuple(edit.tags_off),
            )
        case model.StartSession():
            unit = unit_of(edit.kind)
            return device_edits.StartSession(
                uri=edit.uri,
                title=edit.title,
                kind=edit.kind,
                size=_size(unit, edit.duration, edit.pages) or 0,
                at=_at(unit, edit.position, edit.place),
                aliases=tuple(edit.aliases),
            )
        case model.SessionAct():
            return _act_of(edit, unit_of_session)
        case model.ChangeSession():
            return device_edits.ChangeSession(
                session=RecordId(parse_id(edit.session)),
                title=edit.title,
                speed=None if edit.speed is None else round(edit.speed * SPEED_UNIT),
                aliases_on=tuple(edit.aliases_on),
                aliases_off=tuple(edit.aliases_off),
            )
        case model.ResolveField():
            return device_edits.Resolve(
                map=edit.map,
                record=RecordId(parse_id(edit.record)),
                field=edit.field,
                log=LogId(parse_id(edit.log)),
            )
        case model.NameDevice():
            return device_edits.NameDevice(name=edit.name)


def _act_of(edit: model.SessionAct, unit_of_session: UnitOf) -> device_edits.SessionAct:
    session = RecordId(parse_id(edit.session))
    unit = unit_of_session(session)
    if unit is None:  # begun earlier in this request, or not there: the device will say so
        unit = Unit.MS if edit.place is None and edit.pages is None else Unit.PPM
    return device_edits.SessionAct(
        session=session,
        act=device_edits.Act(edit.act),
        at=_at(unit, edit.position, edit.place),
        size=_size(unit, edit.duration, edit.pages),
        played_ms=round(edit.played * MS_PER_SECOND),
        stopped=edit.stopped,
        log=None if edit.log is None else LogId(parse_id(edit.log)),
        row=edit.row,
    )


def _at(unit: Unit, position: float | None, place: float | None) -> int | None:
    chosen = _chosen(unit, position, place, "position", "place")
    if chosen is None:
        return None
    return round(chosen * (MS_PER_SECOND if unit is Unit.MS else READING_PLACE_MAX))


def _size(unit: Unit, duration: float | None, pages: int | None) -> int | None:
    chosen = _chosen(unit, duration, None if pages is None else float(pages), "duration", "pages")
    if chosen is None:
        return None
    return round(chosen * MS_PER_SECOND) if unit is Unit.MS else int(chosen)


def _chosen(
    unit: Unit, timed: float | None, read: float | None, timed_name: str, read_name: str
) -> float | None:
    right, wrong = (timed, read) if unit is Unit.MS else (read, timed)
    if wrong is not None:
        names = (read_name, timed_name) if unit is Unit.MS else (timed_name, read_name)
        raise WrongUnit(
            f"{names[0]} given", hint=f"This kind of session has a {names[1]}; give that instead."
        )
    return right
