"""From intents to operations: a batch of requests becomes the operations of the next entry.

Rules of this file:
1. a request is all or nothing: if one of its edits cannot be done, none of them is;
2. a later edit sees the earlier ones of the batch as if they were applied;
3. of several writes to one field the last one is left (an entry names a field once);
4. sittings (open players) move with the request that moved them, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Protocol

from presenced.clock import Entropy, Instant
from presenced.device.edits import (
    ChangeFollow,
    ChangeSession,
    Edit,
    EditResult,
    Follow,
    NameDevice,
    Resolve,
    SessionAct,
    StartSession,
    Unfollow,
)
from presenced.device.session_acts import perform_act
from presenced.errors import InvalidValue
from presenced.ids import Collection, DeviceId, LogId, RecordId
from presenced.presence import follows, sessions
from presenced.presence.choice import take_value
from presenced.presence.draft import RecordDraft
from presenced.presence.fields import (
    CORE,
    DEVICE_MAP,
    FOLLOW_MAP,
    FOLLOWED,
    NAME,
    SESSION_MAP,
    STATE,
)
from presenced.presence.naming import follow_id
from presenced.presence.progress import Unit
from presenced.presence.rules import resolve
from presenced.presence.sitting import Sitting, checkpoint
from presenced.presence.values import checked_title
from presenced.replica.hlc import Hlc
from presenced.replica.slot import Operation, RecordSlots, Slot

COLLECTION_OF_MAP: Mapping[str, Collection] = {
    FOLLOW_MAP: "follows",
    SESSION_MAP: "sessions",
    DEVICE_MAP: "directory",
}
"which collection a root map lives in"

_Key = tuple[str, RecordId]
_Writes = dict[_Key, dict[str, Operation]]


class RecordSource(Protocol):
    """Applied records of this device, and its own logs."""

    def record(self, map_name: str, record: RecordId) -> RecordSlots: ...

    def log_of(self, map_name: str) -> LogId:
        """The own log of the map's collection. Raises `NotAllowed` without one."""
        ...


class Editor:
    """Holds the open sittings; turns requests into operations."""

    def __init__(
        self,
        *,
        device: DeviceId,
        source: RecordSource,
        tick: Callable[[Instant], Hlc],
        entropy: Entropy,
    ) -> None:
        self._device = device
        self._source = source
        self._tick = tick
        self._entropy = entropy
        self._sittings: dict[RecordId, Sitting] = {}

    def batch(self, now: Instant) -> EditBatch:
        """A batch whose operations will become the next entries."""
        return EditBatch(
            device=self._device,
            source=self._source,
            tick=lambda: self._tick(now),
            entropy=self._entropy,
            sittings=dict(self._sittings),
            now=now,
        )

    def keep(self, batch: EditBatch) -> None:
        """The batch is written: its sittings hold."""
        self._sittings = batch.sittings

    def forget_sittings(self) -> None:
        """After a failed commit: what players were told is not on disk."""
        self._sittings.clear()


class EditBatch:
    """Requests carried out one after another; `operations` is what they come to."""

    def __init__(
        self,
        *,
        device: DeviceId,
        source: RecordSource,
        tick: Callable[[], Hlc],
        entropy: Entropy,
        sittings: dict[RecordId, Sitting],
        now: Instant,
    ) -> None:
        self._device = device
        self._source = source
        self._tick = tick
        self._entropy = entropy
        self.sittings = sittings
        self._now = now
        self._imported_at: Hlc | None = None
        self._done: _Writes = {}
        self._request: _Writes = {}
        self._moved: dict[RecordId, Sitting | None] = {}

    def request(self, edits: Sequence[Edit]) -> list[EditResult]:
        """Carry out one request. Raises what its first impossible edit raises; then none is."""
        self._request, self._moved = {}, {}
        results = [self._one(edit) for edit in edits]
        for key, writes in self._request.items():
            self._done.setdefault(key, {}).update(writes)
        for record, sitting in self._moved.items():
            if sitting is None:
                self.sittings.pop(record, None)
            else:
                self.sittings[record] = sitting
        return results

    def checkpoint_all(self) -> None:
        """Write what running players have reached (before remote entries are applied)."""
        for record in list(self.sittings):
            sitting = deepcopy(self.sittings[record])
            draft = self._session(record)
            checkpoint(sitting, draft, mono_ms=self._now.mono_ms)
            if draft.operations:
                self._done.setdefault((draft.map, record), {}).update(
                    {operation.field: operation for operation in draft.operations}
                )
                self.sittings[record] = sitting

    def operations(self) -> dict[Collection, list[Operation]]:
        """Operations by collection, each field at most once."""
        by_collection: dict[Collection, list[Operation]] = {}
        for (map_name, _), writes in self._done.items():
            by_collection.setdefault(COLLECTION_OF_MAP[map_name], []).extend(writes.values())
        return by_collection

    # --- one edit ---

    def _one(self, edit: Edit) -> EditResult:
        match edit:
            case Follow():
                return self._follow(edit)
            case Unfollow():
                draft = self._draft(FOLLOW_MAP, follow_id(edit.uri))
                follows.unfollow(draft)
                return self._keep(draft)
            case ChangeFollow():
                return self._change_follow(edit)
            case StartSession():
                return self._start(edit)
            case SessionAct():
                return self._act(edit)
            case ChangeSession():
                return self._change_session(edit)
            case Resolve():
                return self._resolve(edit)
            case NameDevice():
                draft = self._draft(DEVICE_MAP, RecordId(self._device))
                if not edit.name.strip():
                    raise InvalidValue("empty name", hint="Give the device a name.")
                draft.write(NAME, checked_title(edit.name))
                return self._keep(draft)

    def _follow(self, edit: Follow) -> EditResult:
        record = follow_id(edit.uri)
        slots = self._slots(FOLLOW_MAP, record)
        if not slots and not edit.tags and edit.notify is None:
            # Nothing is known of it, so there is nothing to decide: long lists come this way.
            tick = self._import_tick if edit.imported else self._tick
            core = follows.new_follow(edit.uri, kind=edit.kind, title=edit.title, tick=tick)
            writes = self._request[FOLLOW_MAP, record] = {core.field: core}
            if not edit.imported:
                writes[STATE] = Operation(FOLLOW_MAP, record, STATE, self._tick(), FOLLOWED, {})
            return EditResult(map=FOLLOW_MAP, record=record, written=True)
        draft = self._draft(FOLLOW_MAP, record, slots=slots)
        follows.follow(draft, edit.uri, kind=edit.kind, title=edit.title, imported=edit.imported)
        if edit.notify is not None:
            follows.set_notify(draft, edit.notify)
        for tag in edit.tags:
            follows.put_tag(draft, tag)
        return self._keep(draft)

    def _import_tick(self) -> Hlc:
        """One time for all new lines of an import: it was one act, and 8 percent fewer bytes."""
        if self._imported_at is None:
            self._imported_at = self._tick()
        return self._imported_at

    def _change_follow(self, edit: ChangeFollow) -> EditResult:
        draft = self._draft(FOLLOW_MAP, follow_id(edit.uri))
        if edit.title is not None:
            follows.set_title(draft, edit.title)
        if edit.notify is not None:
            follows.set_notify(draft, edit.notify)
        for tag in edit.tags_on:
            follows.put_tag(draft, tag)
        for tag in edit.tags_off:
            follows.take_tag(draft, tag)
        return self._keep(draft)

    def _start(self, edit: StartSession) -> EditResult:
        core = sessions.SessionCore(kind=edit.kind, uri=edit.uri, title=edit.title, size=edit.size)
        record = sessions.session_record(core, self._entropy)
        draft = self._draft(SESSION_MAP, record, sessions.unit_of(edit.kind))
        begun = sessions.start(draft, core, at=edit.at, sitting=self._sitting(record))
        for alias in edit.aliases:
            sessions.put_alias(draft, alias)
        self._moved[record] = begun
        return self._keep(draft)

    def _act(self, edit: SessionAct) -> EditResult:
        draft = self._session(edit.session)
        sessions.require(draft)
        done = perform_act(draft, edit, self._sitting(edit.session), mono_ms=self._now.mono_ms)
        self._moved[edit.session] = done.sitting
        result = self._keep(draft)
        if done.told is None:
            return result
        return EditResult(
            map=result.map,
            record=result.record,
            written=result.written,
            overtaken_by=done.told.overtaken_by,
            stale=done.told.stale,
            offered=done.told.offered,
        )

    def _change_session(self, edit: ChangeSession) -> EditResult:
        draft = self._session(edit.session)
        sessions.require(draft)
        if edit.title is not None:
            sessions.set_title(draft, edit.title)
        if edit.speed is not None:
            sessions.set_speed(draft, edit.speed)
        for alias in edit.aliases_on:
            sessions.put_alias(draft, alias)
        for alias in edit.aliases_off:
            sessions.take_alias(draft, alias)
        return self._keep(draft)

    def _resolve(self, edit: Resolve) -> EditResult:
        sitting = None
        if edit.map == SESSION_MAP:
            draft = self._session(edit.record)
            sitting = self._sitting(edit.record)
        elif edit.map in COLLECTION_OF_MAP:
            draft = self._draft(edit.map, edit.record)
        else:
            raise InvalidValue("no such map", hint="`presence summary` shows what to resolve.")
        take_value(draft, edit.field, edit.log, sitting=sitting)
        if sitting is not None:
            self._moved[edit.record] = sitting
        return self._keep(draft)

    # --- records and sittings as this request sees them ---

    def _sitting(self, record: RecordId) -> Sitting | None:
        if record in self._moved:
            return self._moved[record]
        return deepcopy(self.sittings.get(record))

    def _session(self, record: RecordId) -> RecordDraft:
        slots = self._slots(SESSION_MAP, record)
        core = resolve(SESSION_MAP, CORE, slots.get(CORE, {})).value
        return self._draft(SESSION_MAP, record, sessions.unit_of(core.get("kind")), slots)

    def _draft(
        self,
        map_name: str,
        record: RecordId,
        unit: Unit = Unit.MS,
        slots: RecordSlots | None = None,
    ) -> RecordDraft:
        return RecordDraft(
            map_name,
            record,
            self._slots(map_name, record) if slots is None else slots,
            log=self._source.log_of(map_name),
            tick=self._tick,
            unit=unit,
        )

    def _slots(self, map_name: str, record: RecordId) -> RecordSlots:
        slots = self._source.record(map_name, record)
        for writes in (self._done.get((map_name, record)), self._request.get((map_name, record))):
            if writes:
                slots = _with_writes(slots, writes.values(), self._source.log_of(map_name))
        return slots

    def _keep(self, draft: RecordDraft) -> EditResult:
        operations = draft.operations
        if operations:
            writes = self._request.setdefault((draft.map, draft.record), {})
            for operation in operations:
                writes.pop(operation.field, None)
                writes[operation.field] = operation
        return EditResult(map=draft.map, record=draft.record, written=bool(operations))


def _with_writes(
    slots: RecordSlots, writes: Iterable[Operation], log: LogId
) -> dict[str, Mapping[LogId, Slot]]:
    """The slots with an unsealed write of the own log on top of each field written."""
    merged = dict(slots)
    for operation in writes:
        field = dict(merged.get(operation.field, {}))
        seq = max(
            (slot.seen.get(log, 0) for slot in field.values()),
            default=0,
        )
        if (own := field.get(log)) is not None:
            seq = max(seq, own.seq)
        field[log] = Slot(seq + 1, operation.hlc, operation.value, operation.seen)
        merged[operation.field] = field
    return merged
