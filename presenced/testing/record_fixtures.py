"""Plays the stories of the record fixtures: what devices did, the slots left, what they come to.

A story is played by the same writer functions that the daemon uses, on model devices that hold
slots in memory: a sync gives a device what another had after its first k acts. The slots left
must be exactly the expected ones, and the rules must make of them what is expected in every order
in which the slots can arrive. The file's own `about` key explains the format.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice, permutations
from typing import Any, Final

from presenced.errors import CallerError
from presenced.ids import LogId
from presenced.presence.progress import Unit, parse_progress
from presenced.presence.rules import Resolution, resolve
from presenced.replica.hlc import hlc_counter, hlc_ms, make_hlc
from presenced.replica.slot import FieldSlots, Slot
from presenced.testing.record_model import ModelDevice, SlotKey, StoryError

ORDERS_MAX: Final = 5_040
"delivery orders tried per field: all of them for up to seven logs"


@dataclass(slots=True)
class _Player:
    """One device of a story and how far it has got."""

    device: ModelDevice
    offset_ms: int
    acts: list[dict[str, Any]]
    asked: set[int] = field(default_factory=set)
    "after how many acts others sync with it"
    done: int = 0
    points: dict[int, dict[SlotKey, Slot]] = field(default_factory=lambda: {0: {}})
    "what it had, sealed, after that many acts"


def run(fixture: Mapping[str, Any]) -> list[str]:
    """The problems found in playing one story; none if all is as it should be.

    What a story does not say is not asserted, but it must say something: `slots` or `expect`.
    """
    if not any(fixture.get(key) for key in ("slots", "expect")):
        return ["expects nothing: neither `slots` nor `expect`"]
    problems: list[str] = []
    unit = Unit(fixture.get("unit", "ms"))
    written = _given_slots(fixture)
    if "devices" in fixture:
        written = _play(fixture, unit)
        for name, expected in fixture.get("slots", {}).items():
            problems += _compare_slots(name, expected, written.get(name, {}))
    for name, expected in fixture.get("expect", {}).items():
        problems += _compare_rule(name, expected, written.get(name, {}), unit)
    return problems


# --- the writer layer ---


def _play(fixture: Mapping[str, Any], unit: Unit) -> dict[str, dict[LogId, Slot]]:
    players = {
        name: _Player(
            ModelDevice(LogId(name.encode()), unit=unit),
            offset_ms=told.get("clock_offset_ms", 0),
            acts=list(told["acts"]),
        )
        for name, told in fixture["devices"].items()
    }
    for player in players.values():
        for act in player.acts:
            for other, count in act.get("synced", {}).items():
                players[other].asked.add(count)
    for name in players:
        _perform_until(players, name, len(players[name].acts), frozenset())
    written: dict[str, dict[LogId, Slot]] = {}
    for player in players.values():
        device = player.device
        device.seal()
        for (map_name, field_name, log), slot in device.sealed.items():
            if log == device.log:
                written.setdefault(f"{map_name}.{field_name}", {})[log] = slot
    return written


def _perform_until(
    players: Mapping[str, _Player], name: str, count: int, waiting: frozenset[str]
) -> None:
    """Perform a device's acts up to a count, first those of others that they have synced."""
    player = players[name]
    while player.done < count:
        if name in waiting:
            raise StoryError(f"{name} syncs with its own future")
        act = player.acts[player.done]
        wall_ms = _milliseconds(act["time"]) + player.offset_ms
        if act.get("synced"):
            player.device.link_up(wall_ms)
            for other, k in act["synced"].items():
                _perform_until(players, other, k, waiting | {name})
                player.device.apply(players[other].points[k], wall_ms)
        with suppress(CallerError):  # an act that is refused leaves nothing, as at the API
            player.device.perform(act, wall_ms)
        player.done += 1
        if player.done in player.asked:
            player.device.link_up(wall_ms)
            player.points[player.done] = dict(player.device.sealed)


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
        if not same(expected.get(log), shown.get(log))
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
        if not all(key in shown and same(value, shown[key]) for key, value in expected.items()):
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


def same(expected: Any, found: Any) -> bool:
    """Equal as canonical bytes are (`1`, `1.0` and `true` differ), however deep."""
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and expected.keys() == found.keys()
            and all(same(value, found[key]) for key, value in expected.items())
        )
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(expected) == len(found)
            and all(map(same, expected, found))
        )
    if type(expected) is float and type(found) is float:
        return expected.hex() == found.hex()
    return type(expected) is type(found) and bool(expected == found)
