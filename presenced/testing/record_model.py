"""A device that holds only slots: for record stories and random worlds, without logs or documents.

It performs the acts of the record stories with the writer functions that the daemon uses. What is
not sealed yet lies in an overlay, one write per field; sealing makes it the log's next entry. An
act that is refused, also because the document cannot hold a value of it, leaves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final, TypeAlias

from presenced.errors import CallerError
from presenced.ids import LogId, RecordId
from presenced.presence import decisions, holder, player
from presenced.presence.draft import RecordDraft
from presenced.presence.fields import SESSION_MAP
from presenced.presence.naming import ContentNaming
from presenced.presence.progress import Unit
from presenced.presence.sitting import Sitting, begun_here, checkpoint
from presenced.replica.hlc import HybridClock
from presenced.replica.operation import OperationCodec
from presenced.replica.slot import Operation, Slot

PLAYED_MS_DEFAULT: Final = 10_000
"a `play` that does not say how long"

_RECORD: Final = RecordId(bytes(16))

SlotKey: TypeAlias = tuple[str, str, LogId]
"map, field, log"


class StoryError(ValueError):
    """A story that cannot be played as written."""


class ModelDevice:
    """One device: what it has applied, its unsealed writes, its clock, its open sitting.

    Log ids are names as bytes, and `knows` names logs by that text.
    """

    def __init__(self, log: LogId, *, unit: Unit = Unit.MS) -> None:
        self.log = log
        self.unit = unit
        self.clock = HybridClock()
        self._codec = OperationCodec(ContentNaming())
        self.sealed: dict[SlotKey, Slot] = {}
        self.overlay: dict[tuple[str, str], Operation] = {}
        self.seq = 0
        self.sitting: Sitting | None = None

    def slots(self, map_name: str) -> dict[str, dict[LogId, Slot]]:
        """The record of a map as its writer sees it, unsealed writes included."""
        record: dict[str, dict[LogId, Slot]] = {}
        for (map_, field, log), slot in self.sealed.items():
            if map_ == map_name:
                record.setdefault(field, {})[log] = slot
        for (map_, field), operation in self.overlay.items():
            if map_ == map_name:
                record.setdefault(field, {})[self.log] = self._slot(operation)
        return record

    def perform(self, act: Mapping[str, Any], wall_ms: int) -> None:
        """Perform one act of a story, at a time of the device's own clock.

        Raises `CallerError` for an act that is refused, `StoryError` for what is no act.
        """
        sitting = deepcopy(self.sitting)
        try:
            if act["do"] == "set":
                draft = self._set(act, wall_ms)
            else:
                draft = self._draft(SESSION_MAP, wall_ms)
                self._act(draft, act, wall_ms)
            self._keep(draft)
        except CallerError:
            self.sitting = sitting
            raise

    def link_up(self, wall_ms: int) -> None:
        """Before anything remote is applied: write the place reached, then seal."""
        draft = self._draft(SESSION_MAP, wall_ms)
        checkpoint(self.sitting, draft)
        self._keep(draft)
        self.seal()

    def seal(self) -> None:
        """Everything not sealed yet becomes the log's next entry."""
        if not self.overlay:
            return
        for (map_name, field), operation in self.overlay.items():
            self.sealed[map_name, field, self.log] = self._slot(operation)
        self.overlay.clear()
        self.seq += 1

    def apply(self, slots: Mapping[SlotKey, Slot], wall_ms: int) -> None:
        """Apply another device's sealed slots."""
        for key, slot in slots.items():
            held = self.sealed.get(key)
            if held is None or held.seq < slot.seq:
                self.sealed[key] = slot
                self.clock.observe(slot.hlc, wall_ms)

    def _set(self, act: Mapping[str, Any], wall_ms: int) -> RecordDraft:
        map_name, _, field = act["field"].partition(".")
        if not map_name or not field:
            raise StoryError(f"not a field of a map: {act['field']!r}")
        draft = self._draft(map_name, wall_ms)
        decisions.set_value(draft, field, act["value"], sitting=self.sitting)
        return draft

    def _act(self, draft: RecordDraft, act: Mapping[str, Any], wall_ms: int) -> None:
        at, of, sitting = act.get("at"), act.get("of"), self.sitting
        match act["do"]:
            case "open":
                self.sitting = begun_here(draft, of=of)
            case "play":
                self._play(draft, act, wall_ms)
            case "seek":
                decisions.seek(draft, act["at"], of=of, sitting=sitting)
            case "rewind":
                decisions.rewind(draft, at, of=of, sitting=sitting)
            case "restart":
                decisions.restart(draft, of=of, sitting=sitting)
            case "finish":
                decisions.finish(draft, at=at, of=of, sitting=sitting)
            case "unfinish":
                decisions.unfinish(draft, at=at, of=of, sitting=sitting)
            case "adopt":
                source = LogId(act["from"].encode())
                decisions.adopt(draft, source, act=act.get("act"), sitting=sitting)
            case "undo":
                decisions.undo(draft, sitting=sitting)
            case "take":
                self.sitting = decisions.take(draft, sitting=sitting)
            case "pause":
                holder.set_phase(draft, "paused")
            case "resume":
                holder.set_phase(draft, "active")
            case "stop":
                holder.set_phase(draft, "free")
            case "close":
                self.sitting = None
            case other:
                raise StoryError(f"unknown act {other!r}")

    def _play(self, draft: RecordDraft, act: Mapping[str, Any], wall_ms: int) -> None:
        self.sitting = self.sitting or Sitting()
        said = player.Report(
            at=act["at"],
            of=act.get("of"),
            played_ms=act.get("for", PLAYED_MS_DEFAULT),
            stopped=act.get("stopped", False),
        )
        player.report(draft, self.sitting, said, mono_ms=wall_ms)
        checkpoint(self.sitting, draft)

    def _draft(self, map_name: str, wall_ms: int) -> RecordDraft:
        return RecordDraft(
            map_name,
            _RECORD,
            self.slots(map_name),
            log=self.log,
            tick=lambda: self.clock.tick(wall_ms),
            unit=self.unit,
            log_name=lambda log: log.decode(),
        )

    def _keep(self, draft: RecordDraft) -> None:
        for operation in self._codec.canonical(draft.operations):
            self.overlay[operation.map, operation.field] = operation

    def _slot(self, operation: Operation) -> Slot:
        return Slot(self.seq + 1, operation.hlc, operation.value, operation.seen)
