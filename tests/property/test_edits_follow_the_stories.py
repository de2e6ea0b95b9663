"""A device's edits against the record stories' model: one random life, lived twice.

The model performs acts with the record layer alone, as the fixtures tell them. The editor carries
out the same acts as an app asks for them, batch by batch. Both must leave the same slots.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest

from presenced.clock import Instant
from presenced.device.editing import Editor
from presenced.device.edits import Act, SessionAct
from presenced.errors import CallerError
from presenced.ids import DeviceId, LogId, RecordId, show_id
from presenced.presence.draft import RecordDraft
from presenced.presence.progress import Unit
from presenced.replica.slot import RecordSlots, Slot
from presenced.testing.record_model import ModelDevice

RECORD = RecordId(bytes(16))
LOGS = [LogId(name.ljust(16, b".")) for name in (b"ash", b"birch", b"cedar")]
CORE = ("session", "core", LogId(b"~" * 16))
KINDS = {Unit.MS: "media", Unit.PPM: "reading"}
START_MS = 1_799_000_000_000
MONTH_MS = 30 * 86_400_000


class Model(ModelDevice):
    """The model, with the names that logs have in a real `knows`, in a session that is there."""

    def __init__(self, log: LogId, unit: Unit) -> None:
        super().__init__(log, unit=unit)
        self.sealed[CORE] = Slot(1, self.clock.last, {"kind": KINDS[unit], "uri": "u:1"}, {})

    def _draft(self, map_name: str, wall_ms: int) -> RecordDraft:
        return RecordDraft(
            map_name, RECORD, self.slots(map_name), log=self.log,
            tick=lambda: self.clock.tick(wall_ms), unit=self.unit, log_name=show_id,
        )  # fmt: skip

    def does(self, act: Mapping[str, Any], wall_ms: int) -> None:
        steps = {
            "end": ({"do": "stop"}, {"do": "set", "field": "session.state", "value": "ended"}),
            "reopen": ({"do": "set", "field": "session.state", "value": "open"},),
        }
        for step in steps.get(act["do"], (act,)):
            self.perform(step, wall_ms)
        if act["do"] in ("end", "stop"):  # a device's stop also closes its player
            self.perform({"do": "close"}, wall_ms)


class Edited(Model):
    """The same device, whose acts go through `Editor` as requests."""

    def __init__(self, log: LogId, unit: Unit) -> None:
        super().__init__(log, unit)
        self.editor = Editor(
            device=DeviceId(bytes(16)),
            source=self,
            tick=lambda now: self.clock.tick(now.wall_ms),
            entropy=lambda size: bytes(size),
        )

    def record(self, map_name: str, _record: RecordId) -> RecordSlots:
        return self.slots(map_name)

    def log_of(self, _map_name: str) -> LogId:
        return self.log

    def does(self, act: Mapping[str, Any], wall_ms: int) -> None:
        batch = self.editor.batch(Instant(wall_ms=wall_ms, mono_ms=wall_ms))
        name = {"play": "report"}.get(act["do"], act["do"])
        batch.request([
            SessionAct(
                session=RECORD, act=Act(name), at=act.get("at"), size=act.get("of"),
                played_ms=act.get("for", 0), stopped=act.get("stopped", False),
                log=act.get("from"), row=act.get("act"),
            )
        ])  # fmt: skip
        if name == "report":  # in a story every report is written down when it may be
            batch.checkpoint_all()
        self._write(batch)

    def link_up(self, wall_ms: int) -> None:
        batch = self.editor.batch(Instant(wall_ms=wall_ms, mono_ms=wall_ms))
        batch.checkpoint_all()
        self._write(batch)
        self.seal()

    def _write(self, batch: Any) -> None:
        for operations in batch.operations().values():
            for operation in operations:
                self.overlay.pop((operation.map, operation.field), None)
                self.overlay[operation.map, operation.field] = operation
        self.editor.keep(batch)


def random_act(chance: random.Random, unit: Unit, at: int) -> dict[str, Any]:
    do = chance.choice((
        *["play"] * 8, "open", "close", "take", "take", "pause", "resume", "stop", "end", "reopen",
        "seek", "seek", "rewind", "restart", "finish", "unfinish", "undo", "adopt",
    ))  # fmt: skip
    act: dict[str, Any] = {"do": do}
    if do in ("play", "seek", "rewind"):
        far = 4_000_000 if unit is Unit.MS else 1_000_000
        near = at + chance.choice((-40_000, -5_000, -900, 0, 900, 9_000, 30_000))
        act["at"] = min(max(near if chance.random() < 0.8 else chance.randrange(far), 0), far)
    if do in ("play", "seek", "rewind", "finish", "restart") and chance.random() < 0.4:
        act["of"] = chance.choice((0, 3_600_000, 3_600_400, 7_200_000) if unit is Unit.MS
                                  else (0, 280, 300, 1_000))  # fmt: skip
    if do == "play":
        act |= {"for": chance.choice((0, 4_000, 10_000, 60_000)), "stopped": chance.random() < 0.1}
    if do == "adopt":
        act["from"] = chance.choice(LOGS)
        if chance.random() < 0.5:
            act["act"] = chance.randrange(4)
    return act


def told(act: Mapping[str, Any], device: ModelDevice) -> Mapping[str, Any]:
    """The act as that kind of device takes it: stories name logs by text."""
    if act["do"] != "adopt" or isinstance(device, Edited):
        return act
    return {**act, "from": act["from"].decode()}


def outcome(device: Model, act: Mapping[str, Any], wall_ms: int) -> str:
    try:
        device.does(told(act, device), wall_ms)
    except CallerError as error:
        return error.code
    return "ok"


@pytest.mark.parametrize("block", range(6))
def test_an_editor_leaves_the_slots_that_the_model_leaves(block: int) -> None:
    refused = written = 0
    for seed in range(block * 25, block * 25 + 25):
        chance = random.Random(seed)
        unit = chance.choice((Unit.MS, Unit.MS, Unit.PPM))
        pairs = [(Model(log, unit), Edited(log, unit)) for log in LOGS]
        offsets = [chance.choice((0, 0, MONTH_MS, -MONTH_MS)) for _ in LOGS]
        now, at = START_MS, 0
        for _ in range(50):
            now += chance.choice((0, 1, 20_000, 600_000))
            place = chance.randrange(len(LOGS))
            wall_ms = now + offsets[place]
            if chance.random() < 0.3:
                source = chance.choice(pairs)
                for model, origin in zip(pairs[place], source, strict=True):
                    origin.link_up(wall_ms)
                    model.link_up(wall_ms)
                    model.apply(origin.sealed, wall_ms)
            else:
                act = random_act(chance, unit, at)
                at = act.get("at", at)
                one, other = (outcome(device, act, wall_ms) for device in pairs[place])
                assert one == other, (seed, act)
                refused += one != "ok"
            for plain, edited in pairs:
                assert plain.slots("session") == edited.slots("session"), (seed, place)
                written += len(plain.overlay)
    assert refused
    assert written > 400
