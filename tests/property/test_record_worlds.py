"""Random worlds of devices with clocks off by years: what RULES promise holds in all of them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import suppress
from itertools import permutations
from typing import Any

import pytest

from presenced.errors import CallerError
from presenced.ids import LogId
from presenced.presence.fields import spec_of
from presenced.presence.progress import Progress, Unit, knows_all, parse_progress
from presenced.presence.rules import Resolution, resolve
from presenced.replica.slot import FieldSlots, Slot, live_slots
from presenced.testing.record_model import ModelDevice, SlotKey

YEAR_MS = 365 * 24 * 3600 * 1000
START_MS = 1_795_424_400_000
SIZES = (0, 0, 3_600_000, 3_600_400, 3_720_000, 7_200_000)
PAGES = (0, 280, 300, 1_000)
SET_VALUES: dict[str, tuple[Any, ...]] = {
    "session.state": ("open", "ended", "archived"),
    "session.speed": (1_000, 1_500, True, 5),
    "session.progress": ({"place": "chapter 9"}, None),
    "session.alias/x": ("urn:x:1", None, 7),
    "session.future": (1, 1.0, True, [1], {"a": None}),
    "follow.state": ("followed", "unfollowed", 3),
    "follow.title": ("News", "Morning", None, 4),
    "follow.tag/news": ("news", None, 1),
    "follow.notify": ("all", "none", "loud"),
    "follow.core": ({"uri": "a:b"}, {"uri": "a:b", "title": "T"}, {"title": "U", "n": 1}, []),
}
PERSON_ACTS = ("seek", "rewind", "restart", "finish", "unfinish", "undo", "take", "adopt")


class World:
    """Devices, their clocks, and what each had in view when it last began or decided."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.unit = self.random.choice((Unit.MS, Unit.MS, Unit.PPM))
        names = ("ash", "birch", "cedar", "deal")[: self.random.randint(2, 4)]
        self.devices = [ModelDevice(LogId(name.encode()), unit=self.unit) for name in names]
        self.offsets = [self.random.choice((0, 0, 1, -YEAR_MS, 2 * YEAR_MS)) for _ in names]
        self.now_ms = START_MS
        self.written: list[tuple[SlotKey, Slot]] = []
        self.in_view: dict[LogId, dict[SlotKey, int]] = {device.log: {} for device in self.devices}
        self.decisions: dict[str, int] = {}

    def wall_ms(self, device: ModelDevice) -> int:
        return self.now_ms + self.offsets[self.devices.index(device)]

    def step(self) -> None:
        self.now_ms += self.random.choice((0, 1, 20_000, 600_000, 86_400_000))
        device = self.random.choice(self.devices)
        if self.random.random() < 0.35:
            self.sync(self.random.choice(self.devices), device)
        else:
            self.act(device)

    def sync(self, source: ModelDevice, target: ModelDevice) -> None:
        if source is target:
            return
        for device in (source, target):
            before = _slots(device)
            device.link_up(self.wall_ms(device))
            self.check_writes(device, before, person=False)
            device.seal()
        target.apply(source.sealed, self.wall_ms(target))

    def act(self, device: ModelDevice) -> None:
        act = self.choose(device)
        person = act["do"] not in ("open", "play", "close")
        before = _slots(device)
        opens = act["do"] == "open" or (
            act["do"] == "play" and (device.sitting is None or not device.sitting.begun)
        )
        if opens or person:
            self.in_view[device.log] = _seqs(device)
        own = device.slots("session").get("progress", {}).get(device.log)
        with suppress(CallerError):
            device.perform(act, self.wall_ms(device))
        now = device.slots("session").get("progress", {}).get(device.log)
        if now is not None and now is not own and _last_act(now) == "rewind":
            person = True  # a player that fell back: the person went back
            self.in_view[device.log] = _seqs(device)
        self.check_writes(device, before, person=person)

    def choose(self, device: ModelDevice) -> dict[str, Any]:
        do = self.random.choice(
            ("open", *["play"] * 4, "close", "pause", "resume", "stop", "set", *PERSON_ACTS)
        )
        act: dict[str, Any] = {"do": do}
        shown = _progress(device)
        far = 4_000_000 if self.unit is Unit.MS else 1_000_000
        if do in ("play", "seek", "rewind"):
            near = shown.at + self.random.choice((-40_000, -900, 0, 900, 15_000, 60_000))
            at = near if self.random.random() < 0.7 else self.random.randrange(far)
            act["at"] = min(max(at, 0), far)
        if do in ("play", "seek", "rewind", "finish") and self.random.random() < 0.5:
            act["of"] = self.random.choice(SIZES if self.unit is Unit.MS else PAGES)
        if do == "play":
            act["for"] = self.random.choice((0, 4_000, 10_000, 60_000))
            act["stopped"] = self.random.random() < 0.1
        if do == "adopt":
            act["from"] = self.random.choice(self.devices).log.decode()
            if self.random.random() < 0.3:
                act["act"] = self.random.randrange(4)
        if do == "set":
            act["field"] = self.random.choice(list(SET_VALUES))
            act["value"] = self.random.choice(SET_VALUES[act["field"]])
        return act

    def check_writes(
        self, device: ModelDevice, before: Mapping[SlotKey, Slot], *, person: bool
    ) -> None:
        """What one act wrote covers no more than its author had in view, and loses nothing."""
        for key, slot in _slots(device).items():
            old = before.get(key)
            if key[2] != device.log or slot is old or slot == old:
                continue
            if old is not None:
                assert slot.hlc > old.hlc
                assert all(slot.seen.get(log, 0) >= seq for log, seq in old.seen.items())
            view = self.in_view[device.log]
            for log, seq in slot.seen.items():
                held = old.seen.get(log, 0) if old is not None else 0
                assert seq <= max(view.get((key[0], key[1], log), 0), held), (key, slot, view)
            if key[1] == "progress" and old is not None and not person:
                self.check_continue(old, slot)

    def check_continue(self, old: Slot, new: Slot) -> None:
        before, after = (parse_progress(slot.value, self.unit) for slot in (old, new))
        assert after is not None
        if before is None or after.knows != before.knows or after.of != before.of:
            return
        if after.acts and after.acts[-1][1] == "continue" and after.done == before.done:
            assert after.at > before.at or not knows_all(after.knows, before.knows)

    def settle(self) -> None:
        """Everything everywhere."""
        for _ in self.devices:
            for target in self.devices:
                for source in self.devices:
                    self.sync(source, target)


def _last_act(slot: Slot) -> str | None:
    progress = parse_progress(slot.value, Unit.MS)
    return progress.acts[-1][1] if progress is not None and progress.acts else None


def _slots(device: ModelDevice) -> dict[SlotKey, Slot]:
    return {
        (map_name, field, log): slot
        for map_name in ("session", "follow")
        for field, slots in device.slots(map_name).items()
        for log, slot in slots.items()
    }


def _seqs(device: ModelDevice) -> dict[SlotKey, int]:
    return {key: slot.seq for key, slot in _slots(device).items() if key[2] != device.log}


def _progress(device: ModelDevice) -> Progress:
    slots = device.slots("session").get("progress", {})
    shown = resolve("session", "progress", slots, unit=device.unit)
    progress = parse_progress(shown.value, device.unit)
    assert progress is not None
    return progress


def _fields(device: ModelDevice) -> dict[tuple[str, str], dict[LogId, Slot]]:
    return {
        (map_name, field): slots
        for map_name in ("session", "follow")
        for field, slots in device.slots(map_name).items()
    }


def _check_field(key: tuple[str, str], slots: FieldSlots, unit: Unit) -> None:
    shown = resolve(*key, slots, unit=unit)
    for order in permutations(slots.items()):
        assert resolve(*key, dict(order), unit=unit) == shown
    live = live_slots(slots)
    assert live, "slots cannot all cover each other"
    named = {lost.log for lost in shown.losing} | ({shown.log} if shown.log else set())
    unreadable = [lost for lost in shown.losing if not lost.readable]
    assert shown.losing[len(shown.losing) - len(unreadable) :] == tuple(unreadable)
    for log, slot in live.items():
        if not spec_of(*key).readable(slot.value, unit):
            assert log in {lost.log for lost in unreadable}, "never dropped"
            assert log != shown.log, "never wins"
        if log not in named:  # a value that is not named says nothing else than the one shown
            assert shown.rule == "agree" or key[1] == "progress" or _says_the_same(slot, shown)
    if key[1] == "progress":
        _check_no_silent_step_back(live, shown, unit)


def _says_the_same(slot: Slot, shown: Resolution) -> bool:
    if isinstance(shown.value, dict):
        return all(shown.value.get(name) == item for name, item in slot.value.items())
    return bool(slot.value == shown.value)


def _check_no_silent_step_back(live: Mapping[LogId, Slot], shown: Resolution, unit: Unit) -> None:
    won = parse_progress(shown.value, unit)
    assert won is not None
    for lost in shown.losing:
        value = parse_progress(lost.value, unit)
        if value is None:
            continue
        same_copy = unit is Unit.PPM or value.of == won.of
        if value.done > won.done or (value.done == won.done and value.at > won.at and same_copy):
            assert shown.conflict
        if shown.log is not None and live[shown.log].hlc < lost.hlc:
            assert shown.conflict


@pytest.mark.parametrize("block", range(20))
def test_no_act_is_lost_and_every_order_comes_to_the_same(block: int) -> None:
    for seed in range(block * 40, block * 40 + 40):
        world = World(seed)
        for _ in range(world.random.randint(5, 60)):
            world.step()
        world.settle()
        first = _fields(world.devices[0])
        for device in world.devices:
            assert _fields(device) == first, f"seed {seed}"
        for key, slots in first.items():
            _check_field(key, slots, world.unit)


@pytest.mark.parametrize("block", range(4))
def test_a_conflict_ends_everywhere_when_someone_acts_who_had_it_in_view(block: int) -> None:
    ended = 0
    for seed in range(10_000 + block * 60, 10_000 + block * 60 + 60):
        world = World(seed)
        for _ in range(40):
            world.step()
        world.settle()
        device = world.random.choice(world.devices)
        slots = device.slots("session").get("progress", {})
        shown = resolve("session", "progress", slots, unit=world.unit)
        if not shown.conflict:
            continue
        ended += 1
        chosen = world.random.choice([lost for lost in shown.losing if lost.readable])
        device.perform({"do": "adopt", "from": chosen.log.decode()}, world.wall_ms(device))
        world.settle()
        for other in world.devices:
            slots = other.slots("session")["progress"]
            after = resolve("session", "progress", slots, unit=world.unit)
            assert after.rule == "single"
            value = parse_progress(after.value, world.unit)
            source = parse_progress(chosen.value, world.unit)
            assert value is not None
            assert source is not None
            assert (value.at, value.done) == (source.at, source.done)
    assert ended > 5
