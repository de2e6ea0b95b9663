"""Writes to one record that are decided together, before they become operations.

Rules of this file:
1. every write ticks the clock, in the order the writes are made;
2. a person's act covers all that is applied here (`covering=None`); an automatic act covers what
   is passed;
3. a slot's `seen` never shrinks below that of the own slot it replaces;
4. later reads see earlier writes, and of several writes to one field the last one is left, as it
   would be in the overlay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from presenced.errors import Conflict
from presenced.ids import LogId, RecordId, show_id
from presenced.presence.fields import HOLDER, PROGRESS, SESSION_MAP, UNKNOWN, is_label, spec_of
from presenced.presence.limits import KNOWS_LOGS_MAX, LABELLED_FIELDS_MAX, OTHER_FIELDS_MAX
from presenced.presence.progress import BEGINNING, Progress, Unit, merge_knows, parse_progress
from presenced.presence.rules import Resolution, resolve
from presenced.replica.hlc import Hlc
from presenced.replica.slot import FieldSlots, Operation, RecordSlots, Slot

Coverage: TypeAlias = Mapping[LogId, int]
"per other log the seq of the slot in one field that a writer has in view"


class TooManyFields(Conflict):
    """A record holds as many fields as it may."""

    code = "too-many-fields"
    hint = "Take some tags or aliases off first."


class RecordDraft:
    """One record as its writer sees it, and what the writer adds to it.

    `slots` are those applied on this device; an unsent own value stands as the own log's slot.
    `tick` gives a new HLC. `log_name` is how `knows` names a log.
    """

    def __init__(
        self,
        map_name: str,
        record: RecordId,
        slots: RecordSlots,
        *,
        log: LogId,
        tick: Callable[[], Hlc],
        unit: Unit = Unit.MS,
        log_name: Callable[[LogId], str] = show_id,
    ) -> None:
        self.map = map_name
        self.record = record
        self.log = log
        self.unit = unit
        self._slots = slots
        self._tick = tick
        self._log_name = log_name
        self._written: dict[str, Slot] = {}

    @property
    def log_name(self) -> str:
        """The own log as `knows` names it."""
        return self._log_name(self.log)

    @property
    def operations(self) -> list[Operation]:
        """The writes, one per field, in the order of their HLCs."""
        return [
            Operation(self.map, self.record, field, slot.hlc, slot.value, slot.seen)
            for field, slot in self._written.items()
        ]

    def field(self, field: str) -> FieldSlots:
        """The slots of a field, own drafted write included."""
        slots = self._slots.get(field, {})
        written = self._written.get(field)
        return slots if written is None else {**slots, self.log: written}

    def own(self, field: str) -> Slot | None:
        return self.field(field).get(self.log)

    def shown(self, field: str) -> Resolution:
        return resolve(self.map, field, self.field(field), unit=self.unit)

    def covering(self, field: str) -> Coverage:
        """What a person's act in this field covers now: every other log's slot applied here."""
        return {log: slot.seq for log, slot in self.field(field).items() if log != self.log}

    def tick(self) -> Hlc:
        return self._tick()

    def write(
        self, field: str, value: Any, *, hlc: Hlc | None = None, covering: Coverage | None = None
    ) -> None:
        """Write a field. `covering=None`: a person's act. `hlc`: a tick taken for this write."""
        slots = self.field(field)
        if not slots:
            self._refuse_beyond_limits(field)
        seen = dict(self.covering(field) if covering is None else covering)
        own = slots.get(self.log)
        if own is not None:
            for log, seq in own.seen.items():
                seen[log] = max(seq, seen.get(log, 0))
        self._written.pop(field, None)
        self._written[field] = Slot(
            self._next_seq(slots), self._tick() if hlc is None else hlc, value, seen
        )

    def shown_progress(self) -> Progress:
        """The progress a person sees."""
        progress = parse_progress(self.shown(PROGRESS).value, self.unit)
        assert progress is not None
        return progress

    def own_progress(self) -> Progress:
        """The own branch, readable or not there."""
        own = self.own(PROGRESS)
        progress = None if own is None else parse_progress(own.value, self.unit)
        return BEGINNING if progress is None else progress

    def all_progress(self) -> list[Progress]:
        """Every readable progress value, live or covered."""
        values = (parse_progress(slot.value, self.unit) for slot in self.field(PROGRESS).values())
        return [value for value in values if value is not None]

    def merged_knows(self) -> dict[str, int]:
        """Every decision that any readable slot has seen; if too many, of this field's writers."""
        knows = merge_knows(value.knows for value in self.all_progress())
        if len(knows) <= KNOWS_LOGS_MAX:
            return knows
        writers = {self._log_name(log) for log in (self.log, *self.field(PROGRESS))}
        kept = sorted(knows, key=lambda log: (log not in writers, log))[:KNOWS_LOGS_MAX]
        return {log: knows[log] for log in kept}

    def claims(self) -> dict[LogId, list[Any]]:
        """Every readable claim `[number, phase]`, live or covered."""
        readable = spec_of(SESSION_MAP, HOLDER).readable
        return {
            log: slot.value
            for log, slot in self.field(HOLDER).items()
            if readable(slot.value, self.unit)
        }

    def _next_seq(self, slots: FieldSlots) -> int:
        """A number above every one that others may have seen of the own log in this field.

        The true number is given when the entry is sealed; inside a draft only the order counts.
        """
        own = slots.get(self.log)
        seen = max((slot.seen.get(self.log, 0) for slot in slots.values()), default=0)
        return max(0 if own is None else own.seq, seen) + 1

    def _refuse_beyond_limits(self, field: str) -> None:
        known = {*(name for name, slots in self._slots.items() if slots), *self._written}
        labels = sum(1 for name in known if is_label(name))
        if is_label(field):
            if labels >= LABELLED_FIELDS_MAX:
                raise TooManyFields("no room for another tag or alias")
        elif spec_of(self.map, field) is UNKNOWN and len(known) - labels >= OTHER_FIELDS_MAX:
            raise TooManyFields("no room for another field")
