"""The own log of a restored disk: what follows comes in, another branch is gathered and taken."""

from __future__ import annotations

import pytest

from presenced.presence.progress import carried_over
from presenced.replica import own_log
from presenced.replica.slot import Operation
from presenced.testing.replica_world import ReplicaDevice, acquaint

RECORD = ReplicaDevice(9).log
"any 16 bytes"


@pytest.fixture
def parted() -> tuple[ReplicaDevice, ReplicaDevice]:
    """A device that wrote a, b, c, and itself restored to a, having written x and y since."""
    one, restored = ReplicaDevice(1), ReplicaDevice(1)
    acquaint([one, restored])
    one.put(RECORD, "a")
    restored.receive(one.log, 1, one.raws(one.log))
    for value in "bc":
        one.put(RECORD, value)
    for value in "xy":
        restored.put(RECORD, value)
    return one, restored


def value_of(device: ReplicaDevice) -> object:
    return device.replica.record("follow", RECORD)["state"][device.log].value


def test_what_only_follows_comes_in_like_any_entry() -> None:
    one, restored = ReplicaDevice(1), ReplicaDevice(1)
    acquaint([one, restored])
    one.put(RECORD, "a")
    one.put(RECORD, "b")
    outcome = restored.receive(one.log, 1, one.raws(one.log))
    assert [alert.kind.value for alert in outcome.alerts] == ["own-log-ahead"]
    assert restored.replica.branch is None
    assert value_of(restored) == "b"


def test_another_branch_is_gathered_beside_the_log_and_stops_sealing(
    parted: tuple[ReplicaDevice, ReplicaDevice],
) -> None:
    one, restored = parted
    raws = one.raws(one.log)
    restored.receive(one.log, 1, raws[:2])
    branch = restored.replica.branch
    assert branch is not None
    assert (branch.first_seq, branch.last_seq) == (2, 2)
    restored.receive(one.log, 3, raws[2:])
    restored.receive(one.log, 1, raws)
    assert (branch.first_seq, branch.last_seq) == (2, 3), "once, whatever comes again"
    assert not restored.replica.can_seal
    assert value_of(restored) == "y"


def test_the_branch_takes_the_place_of_the_own_entries_which_become_unsent(
    parted: tuple[ReplicaDevice, ReplicaDevice],
) -> None:
    one, restored = parted
    restored.receive(one.log, 1, one.raws(one.log))
    restored.commit(restored.replica.take_over(restored.now))
    restored.restart()
    assert restored.raws(one.log) == one.raws(one.log)
    assert restored.replica.frontier == one.replica.frontier
    assert restored.replica.pending.unsent == 1
    assert value_of(restored) == "y"
    assert restored.replica.contested, "it was made apart from b and c"
    assert restored.replica.digest() == one.replica.digest()


def test_a_branch_that_we_did_not_sign_is_the_peers_fault(
    parted: tuple[ReplicaDevice, ReplicaDevice],
) -> None:
    one, restored = parted
    first, second, third = one.raws(one.log)
    forged = second[:-1] + bytes([second[-1] ^ 1])
    outcome = restored.receive(one.log, 1, [first, forged, third])
    assert len(outcome.faults) == 1
    assert restored.replica.branch is None
    assert restored.replica.can_seal


def test_a_branch_has_a_bound(
    parted: tuple[ReplicaDevice, ReplicaDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, restored = parted
    raws = one.raws(one.log)
    monkeypatch.setattr(own_log, "BRANCH_BYTES_MAX", len(raws[1]))
    outcome = restored.receive(one.log, 1, raws)
    assert [fault.code for fault in outcome.faults] == ["limit-exceeded"]
    assert restored.replica.branch is not None
    assert restored.replica.branch.last_seq == 2


def test_marks_are_kept_from_what_is_sealed() -> None:
    log, other = ReplicaDevice(1).log, ReplicaDevice(2).log
    edit = Operation("follow", RECORD, "state", 1, "a", {log: 3, other: 0})  # type: ignore[arg-type]
    assert own_log.without_marks([edit], log)[0].seen == {}
    assert own_log.without_marks([edit], other)[0].seen == {log: 3}


@pytest.mark.parametrize(
    ("value", "before", "knows"),
    [
        ({"old": 3, "else": 1}, {"old": 2}, {"old": 2, "new": 1, "else": 1}),
        ({"old": 3}, None, {"new": 3}),
        ({"old": 2}, {"old": 2}, {"old": 2}),
        ({"else": 2}, {"old": 2}, {"else": 2}),
    ],
)
def test_decisions_made_since_the_backup_are_the_new_logs(
    value: dict[str, int], before: dict[str, int] | None, knows: dict[str, int]
) -> None:
    was = None if before is None else {"knows": before}
    assert carried_over({"at": 1, "knows": value}, was, "old", "new") == {"at": 1, "knows": knows}
    assert carried_over("followed", was, "old", "new") == "followed"
