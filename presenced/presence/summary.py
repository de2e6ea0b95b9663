"""What happened while devices were apart: changed elsewhere, changed here, and both.

Rules of this file:
1. losing values are always named, whether or not the person is asked;
2. every list is bounded and what is beyond the bound is counted;
3. a row repeats at most a short form of a value: the record has the whole.

Theory. The device machine notes operations as they are applied (`Recap.changed`) and the fields of
records that more than one log has written (`Recap.contested`), and takes rows when it has caught
up. A row is plain and can be stored; `row_to_bytes` is its canonical form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from presenced.errors import InvalidValue
from presenced.ids import DeviceId, LogId, RecordId
from presenced.presence.choice import is_restorable
from presenced.presence.fields import CORE, PROGRESS, SESSION_MAP
from presenced.presence.limits import (
    SUMMARY_CHANGES_MAX,
    SUMMARY_CONTESTS_MAX,
    SUMMARY_TEXT_CHARS_MAX,
)
from presenced.presence.progress import Unit, parse_progress
from presenced.presence.rules import resolve
from presenced.replica.hlc import hlc_ms
from presenced.replica.slot import Operation, RecordSlots
from presenced.wire import decode, encode


class Side(Enum):
    """What a row tells of."""

    ELSEWHERE = "elsewhere"
    HERE = "here"
    BOTH = "both"
    "values written apart: which rule decided, and what lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class LostValue:
    """A live value that is not shown. `resolve` with its log shows it."""

    log: LogId
    device: DeviceId | None
    ms: int
    value: Any
    restorable: bool
    "whether `choice.take_value` on this device can show it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryRow:
    """One line of the summary."""

    side: Side
    map: str
    record: RecordId
    field: str
    log: LogId | None
    "who wrote the value; None: nobody, it is the default"
    device: DeviceId | None
    ms: int
    "when, by the writer's clock"
    title: str
    "of the record, as shown now"
    value: Any
    "short form of the value written, or of the one shown"
    rule: str = ""
    "BOTH: the step that decided"
    asks: bool = False
    losing: tuple[LostValue, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Rows newest first, and how many more there were of each kind."""

    elsewhere: tuple[SummaryRow, ...]
    here: tuple[SummaryRow, ...]
    both: tuple[SummaryRow, ...]
    elsewhere_more: int
    here_more: int
    both_more: int

    @property
    def rows(self) -> tuple[SummaryRow, ...]:
        return (*self.both, *self.elsewhere, *self.here)


_Key = tuple[str, RecordId, str]


@dataclass(slots=True)
class _Changes:
    """The newest change per field and log, up to a bound."""

    listed: dict[tuple[_Key, LogId], Operation] = field(default_factory=dict)
    more: int = 0

    def note(self, log: LogId, operations: Sequence[Operation]) -> None:
        listed = self.listed
        if len(listed) >= SUMMARY_CHANGES_MAX:
            known = {record for (_, record, _), _ in listed}
            count = len(operations)
            operations = [operation for operation in operations if operation.record in known]
            self.more += count - len(operations)
        for operation in operations:
            key = ((operation.map, operation.record, operation.field), log)
            if key in listed or len(listed) < SUMMARY_CHANGES_MAX:
                listed[key] = operation
            else:
                self.more += 1


class Recap:
    """Gathers what happened apart. `own`: the log whose changes are *here*."""

    def __init__(self, own: LogId, device_of: Callable[[LogId], DeviceId | None]) -> None:
        self._own = own
        self._device_of = device_of
        self._elsewhere = _Changes()
        self._here = _Changes()
        self._both: dict[_Key, SummaryRow] = {}
        self._both_more = 0

    @property
    def empty(self) -> bool:
        return not (self._elsewhere.listed or self._here.listed or self._both)

    def changed(self, log: LogId, operations: Sequence[Operation]) -> None:
        """Note operations of one log, in the order of that log."""
        (self._here if log == self._own else self._elsewhere).note(log, operations)

    def contested(
        self,
        map_name: str,
        record: RecordId,
        slots: RecordSlots,
        fields: Iterable[str] | None = None,
        *,
        unit: Unit = Unit.MS,
    ) -> None:
        """Note which of a record's fields (None: all) hold values written apart, as of now.

        A field noted before is judged anew; one where nothing loses any more is forgotten.
        """
        for name in list(slots) if fields is None else fields:
            field_slots = slots.get(name, {})
            key = (map_name, record, name)
            if len(field_slots) < 2 and key not in self._both:
                continue
            shown = resolve(map_name, name, field_slots, unit=unit)
            if not shown.losing:
                self._both.pop(key, None)
                continue
            if len(self._both) >= SUMMARY_CONTESTS_MAX and key not in self._both:
                self._both_more += 1
                continue
            slot = None if shown.log is None else field_slots[shown.log]
            self._both[key] = SummaryRow(
                side=Side.BOTH,
                map=map_name,
                record=record,
                field=name,
                log=shown.log,
                device=None if shown.log is None else self._device_of(shown.log),
                ms=0 if slot is None else hlc_ms(slot.hlc),
                title="",
                value=brief(map_name, name, shown.value, unit),
                rule=shown.rule,
                asks=shown.conflict,
                losing=tuple(
                    LostValue(
                        log=lost.log,
                        device=self._device_of(lost.log),
                        ms=hlc_ms(lost.hlc),
                        value=brief(map_name, name, lost.value, unit),
                        restorable=is_restorable(
                            map_name, name, readable=lost.readable, own=lost.log == self._own
                        ),
                    )
                    for lost in shown.losing
                ),
            )

    def summary(
        self,
        title_of: Callable[[str, RecordId], str],
        unit_of: Callable[[str, RecordId], Unit] = lambda _map, _record: Unit.MS,
    ) -> Summary:
        """What was gathered, newest first. Titles are asked for listed rows only."""
        return Summary(
            elsewhere=self._rows(Side.ELSEWHERE, self._elsewhere, title_of, unit_of),
            here=self._rows(Side.HERE, self._here, title_of, unit_of),
            both=tuple(
                sorted(
                    (_titled(row, title_of) for row in self._both.values()),
                    key=lambda row: (not row.asks, -row.ms, row.record, row.field),
                )
            ),
            elsewhere_more=self._elsewhere.more,
            here_more=self._here.more,
            both_more=self._both_more,
        )

    def _rows(
        self,
        side: Side,
        changes: _Changes,
        title_of: Callable[[str, RecordId], str],
        unit_of: Callable[[str, RecordId], Unit],
    ) -> tuple[SummaryRow, ...]:
        rows = [
            SummaryRow(
                side=side,
                map=operation.map,
                record=operation.record,
                field=operation.field,
                log=log,
                device=self._device_of(log),
                ms=hlc_ms(operation.hlc),
                title=title_of(operation.map, operation.record),
                value=brief(
                    operation.map,
                    operation.field,
                    operation.value,
                    unit_of(operation.map, operation.record),
                ),
            )
            for (_, log), operation in changes.listed.items()
        ]
        rows.sort(key=lambda row: (-row.ms, row.record, row.field))
        return tuple(rows)


def brief(map_name: str, name: str, value: Any, unit: Unit = Unit.MS) -> Any:
    """The short form of a value: progress without its history, texts cut, large things left out."""
    if map_name == SESSION_MAP and name == PROGRESS:
        progress = parse_progress(value, unit)
        if progress is not None:
            return {"at": progress.at, "done": progress.done, "of": progress.of}
    if name == CORE and type(value) is dict:
        return {
            key: _cut(value[key]) for key in ("kind", "title", "uri") if type(value.get(key)) is str
        }
    if type(value) is str:
        return _cut(value)
    return value if _fits_a_row(value) else None


def row_to_bytes(row: SummaryRow) -> bytes:
    """The canonical bytes of a row, for the store."""
    return encode(
        [
            row.side.value,
            row.map,
            row.record,
            row.field,
            row.log,
            row.device,
            row.ms,
            row.title,
            row.value,
            row.rule,
            row.asks,
            [[lost.log, lost.device, lost.ms, lost.value, lost.restorable] for lost in row.losing],
        ]
    )


def row_from_bytes(raw: bytes) -> SummaryRow:
    """The row of `row_to_bytes`. Raises `Malformed` for bytes that are not canonical."""
    side, map_name, record, name, log, device, ms, title, value, rule, asks, losing = decode(raw)
    return SummaryRow(
        side=Side(side),
        map=map_name,
        record=record,
        field=name,
        log=log,
        device=device,
        ms=ms,
        title=title,
        value=value,
        rule=rule,
        asks=asks,
        losing=tuple(
            LostValue(log=log_, device=device_, ms=ms_, value=value_, restorable=restorable)
            for log_, device_, ms_, value_, restorable in losing
        ),
    )


def _fits_a_row(value: Any) -> bool:
    """Whether it is short, and still no value too deep where a row of losing values holds it."""
    try:
        return len(encode([[[value]]])) - 3 <= SUMMARY_TEXT_CHARS_MAX
    except InvalidValue:
        return False


def _cut(text: str) -> str:
    if len(text) <= SUMMARY_TEXT_CHARS_MAX:
        return text
    return text[: SUMMARY_TEXT_CHARS_MAX - 1] + "…"


def _titled(row: SummaryRow, title_of: Callable[[str, RecordId], str]) -> SummaryRow:
    return replace(row, title=title_of(row.map, row.record))
