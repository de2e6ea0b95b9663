"""Each attack on yrs that DESIGN §5 lists, made by a member: its bytes never reach yrs.

Operations travel and every device encodes the update itself. So an attack can only arrive as an
entry, as an operation, or as a value: the first two are refused, a value is stored as data. What
is handed to yrs is recorded here, and must be what our own encoder makes of our own parse.
"""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from pycrdt import Doc, Map

from presenced.replica.rows import AlertKind, Outcome
from presenced.replica.yjs_update import var_uint
from presenced.testing.replica_world import HostileDevice, ReplicaDevice, acquaint
from presenced.wire import encode

VICTIM_CLIENT = 5


def _mute(client: int) -> bytes:
    """11 bytes: a GC block that claims the victim's next 2^32 clocks."""
    return b"\x01\x01" + var_uint(client) + b"\x00\x00" + var_uint(2**32 - 1) + b"\x00"


def _foreign_deletes(client: int) -> bytes:
    """No structs; a delete set over clocks that the victim has yet to write."""
    return b"\x00\x01" + var_uint(client) + b"\x01\x00" + var_uint(10**6)


def _nested_arrays(depth: int) -> bytes:
    """A value of arrays in arrays: yrs overflows its stack on it."""
    value = b"\x75\x01" * depth + b"\x7e"
    return b"\x01\x01\x07\x00\x28\x01\x01a\x01k\x01" + value + b"\x00"


def _orphan(client: int) -> bytes:
    """An item whose left origin never comes."""
    return b"\x01\x01" + var_uint(client) + b"\x00\xa8\x63\x7f\x01\x74\x01x\x00"


def _forward_origin(client: int) -> bytes:
    """An item whose left origin lies in its own future: passes local checks, orphans silently."""
    return (
        b"\x01\x01" + var_uint(client) + b"\x00\xa8" + var_uint(client) + b"\x7f\x01\x74\x01x\x00"
    )


ATTACKS = {
    "eleven byte mute": _mute(VICTIM_CLIENT),
    "foreign delete set": _foreign_deletes(VICTIM_CLIENT),
    "nested arrays": _nested_arrays(100_000)[: 60 * 1024],
    "orphan": _orphan(9),
    "forward origin": _forward_origin(9),
    "mutated update": bytes(b ^ 0x55 for b in _orphan(9) * 40),
    "allocation bomb": bytes.fromhex("0101ffffffffffffff0f0028010161016b01ffffffffff0f7e00"),
}


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every update that reaches a document."""
    seen: list[bytes] = []
    apply: Any = Doc.apply_update

    def recorded(doc: Doc[Any], update: bytes) -> None:
        seen.append(update)
        apply(doc, update)

    monkeypatch.setattr(Doc, "apply_update", recorded)
    return seen


def _world() -> tuple[HostileDevice, ReplicaDevice]:
    hostile, victim = HostileDevice(66), ReplicaDevice(1)
    acquaint([hostile, victim])
    victim.put(bytes(16), "mine")
    return hostile, victim


def _still_works(victim: ReplicaDevice) -> None:
    """The victim can go on writing, reading and starting anew."""
    for number in range(3):
        victim.put(bytes(16), f"later {number}")
    slots = victim.replica.record("follow", bytes(16))["state"]  # type: ignore[arg-type]
    assert slots[victim.log].value == "later 2"
    digest = victim.replica.digest()
    victim.restart()
    assert victim.replica.digest() == digest


def _broken(outcome: Outcome) -> bool:
    return [alert.kind for alert in outcome.alerts] == [AlertKind.BROKEN_CONTENT]


@pytest.mark.parametrize("name", ATTACKS)
def test_an_update_sent_as_an_entry_is_refused(name: str, updates: list[bytes]) -> None:
    hostile, victim = _world()
    before = len(updates)
    outcome = victim.receive(hostile.log, 1, [ATTACKS[name]])
    assert len(outcome.faults) == 1
    assert not outcome.entries
    assert len(updates) == before
    _still_works(victim)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_update_sealed_as_content_is_kept_out(name: str, updates: list[bytes]) -> None:
    hostile, victim = _world()
    before = len(updates)
    outcome = victim.receive(hostile.log, 1, [hostile.forge(ATTACKS[name])])
    assert _broken(outcome)
    assert not outcome.faults  # whoever passed it on did nothing wrong
    assert not outcome.applied
    assert len(updates) == before
    _still_works(victim)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_update_sent_as_an_operation_is_kept_out(name: str, updates: list[bytes]) -> None:
    hostile, victim = _world()
    before = len(updates)
    for plaintext in (encode([ATTACKS[name]]), encode(ATTACKS[name]), encode([[ATTACKS[name]]])):
        hostile.seq, hostile.previous = 0, bytes(32)  # type: ignore[assignment]
        device = ReplicaDevice(2)
        acquaint([hostile, device])
        assert _broken(device.receive(hostile.log, 1, [hostile.forge(plaintext)]))
    assert len(updates) == before
    _still_works(victim)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("nested", [False, True])
def test_an_update_as_a_value_is_data(name: str, nested: bool, updates: list[bytes]) -> None:
    hostile, victim = _world()
    value = {"a": [ATTACKS[name][:60_000]]} if nested else ATTACKS[name][:60_000]
    outcome = victim.receive(hostile.log, 1, [hostile.forge(encode([hostile.row(value)]))])
    assert not outcome.alerts
    slots = victim.replica.record("follow", bytes(16))["state"]  # type: ignore[arg-type]
    assert slots[hostile.log].value == value
    assert slots[victim.log].value == "mine"
    # One section, of the author's own client, at its next clock; no delete set.
    update = updates[-1]
    head = b"\x01\x01" + var_uint(hostile.owner.client) + b"\x00\x28\x01\x06follow"
    assert update.startswith(head)
    assert update.endswith(b"\x00")
    _still_works(victim)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_update_as_a_name_is_text(name: str) -> None:
    hostile, victim = _world()
    text = ATTACKS[name][:40].decode("latin-1")[:30]
    row = hostile.row("x", field=text, map=text[:20])
    outcome = victim.receive(hostile.log, 1, [hostile.forge(encode([row]))])
    assert not outcome.alerts
    slots = victim.replica.record(text[:20], bytes(16))  # type: ignore[arg-type]
    assert slots[text][hostile.log].value == "x"
    _still_works(victim)


def test_a_deeply_nested_value_is_refused_before_anything_walks_it() -> None:
    hostile, victim = _world()
    for depth in (33, 500, 5_000, 60_000):
        device = ReplicaDevice(depth)
        hostile.seq, hostile.previous = 0, bytes(32)  # type: ignore[assignment]
        acquaint([hostile, device])
        row = msgpack.packb(hostile.row("x"))
        assert row.count(b"\xa1x") == 1
        plaintext = b"\x91" + row.replace(b"\xa1x", b"\x91" * depth + b"\xc0")
        assert _broken(device.receive(hostile.log, 1, [hostile.forge(plaintext)]))
        _still_works(victim)


def test_the_deepest_allowed_value_is_stored_and_read() -> None:
    hostile, victim = _world()
    value: Any = 1
    for _ in range(32):
        value = [value]
    plaintext = msgpack.packb([hostile.row(value)])
    outcome = victim.receive(hostile.log, 1, [hostile.forge(plaintext)])
    assert not outcome.alerts
    slots = victim.replica.record("follow", bytes(16))["state"]  # type: ignore[arg-type]
    assert slots[hostile.log].value == value


def test_the_attacks_are_real() -> None:
    """Applied raw, the mute silences the victim: what this design keeps out."""
    doc: Doc[Map[Any]] = Doc(client_id=1)
    doc.apply_update(_mute(VICTIM_CLIENT))
    victim: Doc[Map[Any]] = Doc(client_id=VICTIM_CLIENT)
    victim.get("follow", type=Map)["k"] = b"unheard"
    doc.apply_update(victim.get_update())
    assert "k" not in doc.get("follow", type=Map)
