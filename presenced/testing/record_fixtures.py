"""Plays the stories of the record fixtures: what devices did, the slots left, what they come to.

A story is played by the same writer functions that the daemon uses, on model devices that hold
slots in memory: a sync gives a device what another had after its first k acts. The slots left
must be exactly the expected ones, and the rules must make of them what is expected in every order
in which the slots can arrive. The file's own `about` key explains the format.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice, permutations
from typing import Any, Final

from presenced.errors import InvalidValue
from presenced.ids import LogId, RecordId
from presenced.presence import decisions, holder, player
from presenced.presence.draft import RecordDraft
from presenced.presence.fields import SESSION_MAP
from presenced.presence.progress import Unit, parse_progress
from presenced.presence.rules import Resolution, resolve
from presenced.presence.sitting import Sitting, begun_here, checkpoint
from presenced.replica.hlc import HybridClock, hlc_counter, hlc_ms, make_hlc
from presenced.replica.slot import FieldSlots, Operation, Slot
from presenced.wire import encode

ORDERS_MAX: Final = 5_040
"delivery orders tried per field: all of them for up to seven logs"

PLAYED_MS_DEFAULT: Final = 10_000
"a story's `play` that does not say how long"

_RECORD: Final = RecordId(bytes(16))

SlotKey = tuple[str, str, LogId]
"map, field, log"


class StoryError(InvalidValue):
    """A story that cannot be played as written."""


@dataclass(slots=True)
class _Device:
    """One device of a story: what it has applied, and its own writes not sealed yet."""

    log: LogId
    clock: HybridClock = field(default_factory=HybridClock)
    offset_ms: int = 0
    acts: list[dict[str, Any]] = field(default_factory=list)
    sealed: dict[SlotKey, Slot] = field(default_factory=dict)
    overlay: dict[tuple[str, str], Operation] = field(default_factory=dict)
    seq: int = 0
    sitting: Sitting | None = None
    done: int = 0
    "acts performed"
    points: dict[int, dict[SlotKey, Slot]] = field(default_factory=dict)
    "what it had, sealed, after that many acts"

    def slots(self, map_name: str) -> dict[str, dict[LogId, Slot]]:
        record: dict[str, dict[LogId, Slot]] = {}
        for (map_, field_name, log), slot in self.sealed.items():
            if map_ == map_name:
                record.setdefault(field_name, {})[log] = slot
        for (map_, field_name), operation in self.overlay.items():
            if map_ == map_name:
                record.setdefault(field_name, {})[self.log] = self._slot(operation)
        return record

    def seal(self) -> None:
        """Everything not sealed yet becomes the log's next entry."""
        if not self.overlay:
            return
        for (map_name, field_name), operation in self.overlay.items():
            self.sealed[map_name, field_name, self.log] = self._slot(operation)
        self.overlay.clear()
        self.seq += 1

    def apply(self, slots: Mapping[SlotKey, Slot], wall_ms: int) -> None:
        for key, slot in slots.items():
            held = self.sealed.get(key)
            if held is None or held.seq < slot.seq:
                self.sealed[key] = slot
                self.clock.observe(slot.hlc, wall_ms)

    def _slot(self, operation: Operation) -> Slot:
        return Slot(self.seq + 1, operation.hlc, operation.value, operation.seen)


def run(fixture: Mapping[str, Any]) -> list[str]:
    """The problems found in playing one story; none if all is as it should be."""
    problems: list[str] = []
    unit = Unit(fixture.get("unit", "ms"))
    written = _given_slots(fixture)
    if fixture.get("devices"):
        written = _play(fixture, unit)
        for name, expected in fixture.get("slots", {}).items():
            problems += _compare_slots(name, expected, written.get(name, {}))
    for name, expected in fixture.get("expect", {}).items():
        problems += _compare_rule(name, expected, written.get(name, {}), unit)
    return problems


# --- the writer layer ---


def _play(fixture: Mapping[str, Any], unit: Unit) -> dict[str, dict[LogId, Slot]]:
    devices = {
        name: _Device(
            log=LogId(name.encode()),
            offset_ms=told.get("clock_offset_ms", 0),
            acts=list(told["acts"]),
        )
        for name, told in fixture["devices"].items()
    }
    asked: dict[str, set[int]] = {name: set() for name in devices}
    for device in devices.values():
        for act in device.acts:
            for other, count in act.get("synced", {}).items():
                asked[other].add(count)
    for name, device in devices.items():
        if 0 in asked[name]:
            device.points[0] = {}
    for name in devices:
        _perform_until(devices, asked, name, len(devices[name].acts), unit, frozenset())
    written: dict[str, dict[LogId, Slot]] = {}
    for device in devices.values():
        device.seal()
        for (map_name, field_name, log), slot in device.sealed.items():
            if log == device.log:
                written.setdefault(f"{map_name}.{field_name}", {})[log] = slot
    return written


def _perform_until(
    devices: Mapping[str, _Device],
    asked: Mapping[str, set[int]],
    name: str,
    count: int,
    unit: Unit,
    waiting: frozenset[str],
) -> None:
    """Perform a device's acts up to a count, first those of others that they have synced."""
    device = devices[name]
    while device.done < count:
        if name in waiting:
            raise StoryError(f"{name} syncs with its own future")
        act = device.acts[device.done]
        wall_ms = _milliseconds(act["time"]) + device.offset_ms
        if act.get("synced"):
            _checkpoint_and_seal(device, unit, wall_ms)
            for other, k in act["synced"].items():
                _perform_until(devices, asked, other, k, unit, waiting | {name})
                device.apply(devices[other].points[k], wall_ms)
        _perform(device, act, unit, wall_ms)
        device.done += 1
        if device.done in asked[name]:
            _checkpoint_and_seal(device, unit, wall_ms)
            device.points[device.done] = dict(device.sealed)


def _checkpoint_and_seal(device: _Device, unit: Unit, wall_ms: int) -> None:
    draft = _draft(device, SESSION_MAP, unit, wall_ms)
    checkpoint(device.sitting, draft)
    _keep(device, draft)
    device.seal()


def _perform(device: _Device, act: Mapping[str, Any], unit: Unit, wall_ms: int) -> None:
    if act["do"] == "set":
        map_name, _, field_name = act["field"].partition(".")
        draft = _draft(device, map_name, unit, wall_ms)
        decisions.set_value(draft, field_name, act["value"], sitting=device.sitting)
    else:
        draft = _draft(device, SESSION_MAP, unit, wall_ms)
        _act(device, draft, act, wall_ms)
    _keep(device, draft)


def _act(device: _Device, draft: RecordDraft, act: Mapping[str, Any], wall_ms: int) -> None:
    at, of, sitting = act.get("at"), act.get("of"), device.sitting
    match act["do"]:
        case "open":
            device.sitting = begun_here(draft)
        case "play":
            device.sitting = sitting = sitting or Sitting()
            said = player.Report(
                at=act["at"],
                of=of,
                played_ms=act.get("for", PLAYED_MS_DEFAULT),
                stopped=act.get("stopped", False),
            )
            player.report(draft, sitting, said, mono_ms=wall_ms)
            checkpoint(sitting, draft)
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
            device.sitting = decisions.take(draft, sitting=sitting)
        case "pause":
            holder.set_phase(draft, "paused")
        case "resume":
            holder.set_phase(draft, "active")
        case "stop":
            holder.set_phase(draft, "free")
        case "close":
            device.sitting = None
        case other:
            raise StoryError(f"unknown act {other!r}")


def _draft(device: _Device, map_name: str, unit: Unit, wall_ms: int) -> RecordDraft:
    return RecordDraft(
        map_name,
        _RECORD,
        device.slots(map_name),
        log=device.log,
        tick=lambda: device.clock.tick(wall_ms),
        unit=unit,
        log_name=lambda log: log.decode(),
    )


def _keep(device: _Device, draft: RecordDraft) -> None:
    for operation in draft.operations:
        device.overlay[operation.map, operation.field] = operation


def _milliseconds(text: str) -> int:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return round(moment.timestamp() * 1000)


def _compare_slots(name: str, expected: Mapping[str, Any], written: FieldSlots) -> list[str]:
    shown = {
        log.decode(): {
            "seq": slot.seq,
            "hlc": [hlc_ms(slot.hlc), hlc_counter(slot.hlc)],
            "value": slot.value,
            "seen": {other.decode(): seq for other, seq in slot.seen.items()},
        }
        for log, slot in written.items()
    }
    return [
        f"slots {name} {log}: expected {expected.get(log)}, wrote {shown.get(log)}"
        for log in sorted({*expected, *shown})
        if not _same(expected.get(log), shown.get(log))
    ]


# --- the rule layer ---


def _given_slots(fixture: Mapping[str, Any]) -> dict[str, dict[LogId, Slot]]:
    """The slots as a story writes them down, for stories that tell nothing else."""
    return {
        name: {
            LogId(log.encode()): Slot(
                slot["seq"],
                make_hlc(*slot["hlc"]),
                slot["value"],
                {LogId(other.encode()): seq for other, seq in slot["seen"].items()},
            )
            for log, slot in slots.items()
        }
        for name, slots in fixture.get("slots", {}).items()
    }


def _compare_rule(
    name: str, expected: Mapping[str, Any], slots: FieldSlots, unit: Unit
) -> list[str]:
    map_name, _, field_name = name.partition(".")
    problems = []
    for order in _orders(slots):
        resolution = resolve(map_name, field_name, order, unit=unit)
        shown = _tell(name, resolution, unit)
        if not _same(expected, shown):
            arrived = ", ".join(log.decode() for log in order)
            problems.append(f"expect {name}: expected {expected}, got {shown} (order: {arrived})")
            break
    return problems


def _orders(slots: FieldSlots) -> Iterator[FieldSlots]:
    """The slots in every order in which their logs can arrive."""
    for order in islice(permutations(slots), ORDERS_MAX):
        yield {log: slots[log] for log in order}


def _tell(name: str, resolution: Resolution, unit: Unit) -> dict[str, Any]:
    told: dict[str, Any] = {
        "rule": resolution.rule,
        "conflict": resolution.conflict,
    }
    losing: list[list[Any]] = []
    if name == "session.progress":
        progress = parse_progress(resolution.value, unit)
        assert progress is not None
        told |= {"at": progress.at, "done": progress.done}
        for lost in resolution.losing:
            value = parse_progress(lost.value, unit)
            place = [lost.value, None] if value is None else [value.at, value.done]
            losing.append([lost.log.decode(), *place])
    else:
        told["value"] = resolution.value
        losing = [[lost.log.decode(), lost.value] for lost in resolution.losing]
    told["losing"] = losing
    return told


def _same(expected: Any, found: Any) -> bool:
    """Equal as canonical bytes: `1`, `1.0` and `true` differ."""
    return encode(expected) == encode(found)
