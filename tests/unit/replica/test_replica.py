"""A replica's own edits, its overlay, waiting, removals, loading and reading."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from presenced.errors import InvalidValue, NotAllowed
from presenced.ids import EpochId, RecordId, StatementId
from presenced.limits import (
    ENTRY_OPERATIONS_MAX,
    ENTRY_SEALED_BYTES_MAX,
    RECORD_FIELDS_MAX,
    VALUE_BYTES_MAX,
)
from presenced.replica.document import DocumentLost
from presenced.replica.limits import BASE_TAIL_ENTRIES, OVERLAY_FIELDS_MAX
from presenced.replica.replica import Replica
from presenced.testing.replica_world import (
    EPOCH,
    SPACE,
    ReplicaDevice,
    TestRemoval,
    UriIds,
    acquaint,
)

RECORD = RecordId(bytes(16))


@pytest.fixture
def pair() -> tuple[ReplicaDevice, ReplicaDevice]:
    one, other = ReplicaDevice(1), ReplicaDevice(2)
    acquaint([one, other])
    return one, other


@pytest.fixture
def device() -> ReplicaDevice:
    alone = ReplicaDevice(1)
    acquaint([alone])
    return alone


def _value(device: ReplicaDevice, field: str = "state", record: bytes = RECORD) -> Any:
    return device.replica.record("follow", RecordId(record))[field][device.log].value


# --- own edits ---


def test_a_live_edit_is_one_entry_with_its_head_and_is_visible(device: ReplicaDevice) -> None:
    outcome = device.put(RECORD, "x")
    (entry,) = outcome.entries
    (head,) = outcome.heads
    assert (entry.seq, head.held_seq, head.applied_seq, head.clock_end) == (1, 1, 1, 1)
    assert head.held_hash == head.applied_hash == entry.hash
    assert outcome.touched == {("follow", RECORD): frozenset({"state"})}
    assert outcome.applied[0].operations[0].value == "x"
    assert not outcome.overlay_put
    assert _value(device) == "x"


def test_an_edit_without_a_link_is_one_row_and_is_visible_at_once(device: ReplicaDevice) -> None:
    outcome = device.put(RECORD, "x", live=False)
    assert not outcome.entries
    assert not outcome.heads
    assert len(outcome.overlay_put) == 1
    assert outcome.touched == {("follow", RECORD): frozenset({"state"})}
    slot = device.replica.record("follow", RECORD)["state"][device.log]
    assert (slot.seq, slot.value) == (1, "x")
    assert device.replica.knows_record("follow", RECORD)
    assert list(device.replica.records("follow")) == [RECORD]
    device.restart()
    assert _value(device) == "x"


def test_overwrites_without_a_link_become_one_value_each(device: ReplicaDevice) -> None:
    for number in range(500):
        device.put(RECORD, number, field=f"tag/{number % 5}", live=False)
    outcome = device.seal()
    assert len(outcome.entries) == 1
    assert len(outcome.applied[0].operations) == 5
    assert _value(device, "tag/4") == 499


def test_sealing_drops_the_rows_of_its_generation_only(device: ReplicaDevice) -> None:
    device.put(RECORD, "first", live=False)
    sealed = device.replica.seal_overlay()
    later = device.replica.write([device.operation(RECORD, "later", field="title")], live=False)
    device.commit(later)  # while the sealing commit is still under way
    device.commit(sealed)
    assert sealed.overlay_drop is not None
    assert later.overlay_put[0].generation > sealed.overlay_drop
    device.restart()
    assert _value(device) == "first"
    assert _value(device, "title") == "later"
    assert device.replica.pending.unsent == 1


def test_a_thousand_unsent_fields_stay_and_one_more_is_sealed(device: ReplicaDevice) -> None:
    operations = [
        device.operation(number.to_bytes(16, "big"), "x") for number in range(OVERLAY_FIELDS_MAX)
    ]
    assert not device.write(*operations, live=False).entries
    outcome = device.put(b"r" * 16, "one more", live=False)
    assert [len(applied.operations) for applied in outcome.applied] == [ENTRY_OPERATIONS_MAX, 1]
    assert device.replica.pending.unsent == 0


def test_a_live_edit_takes_unsent_ones_along(device: ReplicaDevice) -> None:
    device.put(RECORD, "unsent", live=False)
    device.put(RECORD, "other", field="title", live=False)
    outcome = device.put(RECORD, "newer")
    assert len(outcome.applied[0].operations) == 2
    assert outcome.overlay_drop is not None
    assert _value(device) == "newer"
    device.restart()
    assert device.replica.pending.unsent == 0
    assert _value(device, "title") == "other"


def test_of_two_operations_on_one_field_the_last_one_counts(device: ReplicaDevice) -> None:
    device.write(device.operation(RECORD, "a"), device.operation(RECORD, "b"))
    assert _value(device) == "b"


def test_large_edits_are_split_over_entries_that_fit(device: ReplicaDevice) -> None:
    values = [
        bytes([number % 251]) * 30 + number.to_bytes(4, "big") * 5_000 for number in range(90)
    ]
    outcome = device.write(
        *(
            device.operation(number.to_bytes(16, "big"), value)
            for number, value in enumerate(values)
        )
    )
    assert len(outcome.entries) > 1
    assert all(len(entry.raw) <= ENTRY_SEALED_BYTES_MAX for entry in outcome.entries)
    for number, value in enumerate(values):
        assert _value(device, record=number.to_bytes(16, "big")) == value


@pytest.mark.parametrize(
    "value",
    [
        "\ud800",
        {"a": "\ud800"},
        {"\ud800": 1},
        float("nan"),
        [float("inf")],
        {1: 2},
        object(),
        "v" * (VALUE_BYTES_MAX - 2),
        1 << 9_000,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_value_the_document_cannot_hold_is_the_callers_error(
    device: ReplicaDevice, value: Any
) -> None:
    for live in (True, False):
        with pytest.raises(InvalidValue):
            device.replica.write(
                [device.operation(b"g" * 16, "good"), device.operation(RECORD, value)], live=live
            )
    deep: Any = 1
    for _ in range(33):
        deep = [deep]
    with pytest.raises(InvalidValue):
        device.replica.write([device.operation(RECORD, deep)], live=True)
    assert not device.replica.knows_record("follow", RecordId(b"g" * 16))
    device.put(RECORD, "goes on")
    assert _value(device) == "goes on"


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        2**63,
        2**64,
        -(2**70),
        1.0,
        "",
        "ü€😀",
        b"\x00",
        [],
        {},
        {"b": 1, "a": [2]},
    ],
    ids=repr,
)
def test_whatever_a_value_is_it_comes_back_the_same(
    pair: tuple[ReplicaDevice, ReplicaDevice], value: Any
) -> None:
    one, other = pair
    one.put(RECORD, value)
    other.pull(one)
    for device in pair:
        stored = device.replica.record("follow", RECORD)["state"][one.log].value
        assert stored == value
        assert type(stored) is type(value)


def test_a_record_has_at_most_so_many_fields(device: ReplicaDevice) -> None:
    fields = [
        device.operation(RECORD, "x", field=f"tag/{number}") for number in range(RECORD_FIELDS_MAX)
    ]
    device.write(*fields[:200])
    device.write(*fields[200:], live=False)
    for live in (True, False):
        with pytest.raises(InvalidValue):
            device.replica.write([device.operation(RECORD, "x", field="one/more")], live=live)
    device.write(device.operation(RECORD, "y", field="tag/0"))
    assert _value(device, "tag/0") == "y"


def test_a_device_without_a_log_only_reads(pair: tuple[ReplicaDevice, ReplicaDevice]) -> None:
    one, other = pair
    one.put(RECORD, "x")
    reader = Replica(
        space=SPACE, collection="follows", own=None, reader=other.reader, naming=UriIds(),
        trust=other.trust, clock=other.clock,
    )  # fmt: skip
    outcome = reader.receive(one.log, 1, one.raws(one.log), other.now)
    assert outcome.applied
    with pytest.raises(NotAllowed):
        reader.write([other.operation(RECORD, "x")], live=True)


def test_without_a_key_to_write_under_edits_stay_unsent(device: ReplicaDevice) -> None:
    device.trusts(replace(device.trust, epoch=None))
    assert not device.replica.can_seal
    outcome = device.put(RECORD, "x")
    assert not outcome.entries
    assert outcome.overlay_put
    assert not device.seal().entries
    device.trusts(replace(device.trust, epoch=EPOCH))
    assert device.replica.pending.unsent == 0
    assert device.replica.frontier.applied[device.log][0] == 1


# --- waiting ---


def test_an_entry_waits_for_its_past_whatever_comes_first(
    pair: tuple[ReplicaDevice, ReplicaDevice],
) -> None:
    one, other = pair
    third = ReplicaDevice(3)
    acquaint([one, other, third])
    one.put(RECORD, "a")
    other.pull(one)
    other.put(RECORD, "b")
    outcome = third.receive(other.log, 1, other.raws(other.log))
    assert outcome.entries
    assert not outcome.applied
    assert third.replica.pending.waiting == 1
    third.restart()
    assert third.replica.pending.waiting == 1
    outcome = third.receive(one.log, 1, one.raws(one.log))
    assert [applied.log for applied in outcome.applied] == [one.log, other.log]
    assert third.replica.pending.waiting == 0


def test_an_entry_waits_for_the_statements_it_names(
    pair: tuple[ReplicaDevice, ReplicaDevice],
) -> None:
    one, other = pair
    statement = StatementId(b"s" * 32)
    one.trusts(one.trust.learn(statement))
    one.put(RECORD, "x")
    outcome = other.receive(one.log, 1, one.raws(one.log))
    assert not outcome.applied
    outcome = other.trusts(other.trust.learn(statement))
    assert [applied.log for applied in outcome.applied] == [one.log]


def test_an_entry_waits_for_its_key_and_is_in_nobodys_past(
    pair: tuple[ReplicaDevice, ReplicaDevice],
) -> None:
    one, other = pair
    epoch = EpochId(b"a-newer-epoch!!!")
    one.trusts(replace(one.trust, keys={**one.trust.keys, epoch: bytes(32)}, epoch=epoch))
    one.put(RECORD, "x")
    assert not other.receive(one.log, 1, one.raws(one.log)).applied
    assert one.log in other.replica.frontier.held
    assert one.log not in other.replica.frontier.applied
    other.put(RECORD, "y")
    assert one.pull(other)[0].applied  # it does not wait for what `other` could not apply
    outcome = other.trusts(replace(other.trust, keys={**other.trust.keys, epoch: bytes(32)}))
    assert [applied.log for applied in outcome.applied] == [one.log]


def test_no_remote_entry_is_applied_over_an_unsent_edit(
    pair: tuple[ReplicaDevice, ReplicaDevice],
) -> None:
    one, other = pair
    one.put(RECORD, "x")
    statement = StatementId(b"s" * 32)
    one.trusts(one.trust.learn(statement))
    one.put(RECORD, "y")
    other.receive(one.log, 1, one.raws(one.log))
    other.put(RECORD, "unsent", live=False)
    with pytest.raises(AssertionError):
        other.replica.receive(one.log, 1, one.raws(one.log), other.now)
    other.trust = other.trust.learn(statement)
    assert not other.commit(other.replica.trust_changed(other.trust, other.now)).applied
    with pytest.raises(AssertionError):
        other.replica.settle(other.now)
    other.seal()
    assert len(other.commit(other.replica.settle(other.now)).applied) == 1


# --- removals ---


def test_learning_of_a_removal_takes_back_what_lies_outside_and_says_so(
    pair: tuple[ReplicaDevice, ReplicaDevice],
) -> None:
    honest, thief = pair
    thief.put(RECORD, "before")
    honest.pull(thief)
    applied = honest.replica.frontier.applied[thief.log]
    thief.put(RECORD, "after")
    honest.pull(thief)
    removal = TestRemoval(StatementId(b"r" * 32), {thief.log: applied})
    outcome = honest.trusts(honest.trust.learn(removal.id, {thief.device: removal}))
    assert outcome.rebuilt
    assert not outcome.applied
    assert outcome.quarantined == 1
    assert honest.replica.record("follow", RECORD)["state"][thief.log].value == "before"
    (head,) = [head for head in outcome.heads if head.log == thief.log]
    assert (head.held_seq, head.applied_seq) == (2, 1)
    honest.restart()
    assert honest.replica.record("follow", RECORD)["state"][thief.log].value == "before"
    assert honest.replica.pending.quarantined == 1


def test_an_open_removal_takes_nothing_back(pair: tuple[ReplicaDevice, ReplicaDevice]) -> None:
    honest, thief = pair
    thief.put(RECORD, "x")
    honest.pull(thief)
    removal = TestRemoval(StatementId(b"r" * 32), None)
    outcome = honest.trusts(honest.trust.learn(removal.id, {thief.device: removal}))
    assert not outcome.rebuilt
    thief.put(RECORD, "y")
    assert honest.pull(thief)[0].applied


def test_what_a_third_device_built_on_before_it_heard_comes_in_through_it(
    pair: tuple[ReplicaDevice, ReplicaDevice],
) -> None:
    remover, thief = pair
    third = ReplicaDevice(3)
    acquaint([remover, thief, third])
    thief.put(RECORD, "inside")
    remover.pull(thief)
    cut = {thief.log: remover.replica.frontier.applied[thief.log]}
    thief.put(RECORD, "outside")
    third.pull(thief)
    third.put(RECORD, "built on it")
    removal = TestRemoval(StatementId(b"r" * 32), cut)
    trust = remover.trust.learn(removal.id, {thief.device: removal})
    remover.trusts(trust)
    thief.put(RECORD, "hidden")
    remover.receive(thief.log, 2, thief.raws(thief.log, 2))
    assert remover.replica.pending.quarantined == 2
    outcome = remover.receive(third.log, 1, third.raws(third.log))
    assert [(one.log, one.seq) for one in outcome.applied] == [(thief.log, 2), (third.log, 1)]
    assert remover.replica.pending.quarantined == 1
    third.trusts(trust)
    third.pull(remover)
    assert third.replica.digest() == remover.replica.digest()


def test_a_removed_device_that_falls_silent_costs_nothing_per_entry(
    pair: tuple[ReplicaDevice, ReplicaDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, thief = pair
    third = ReplicaDevice(3)
    acquaint([honest, thief, third])
    thief.put(RECORD, "x")
    honest.pull(thief)
    removal = TestRemoval(StatementId(b"r" * 32), {})
    trust = honest.trust.learn(removal.id, {thief.device: removal})
    for device in (honest, third):
        device.trusts(trust)
    calls = []
    monkeypatch.setattr("presenced.replica.cuts.accept", lambda *given: calls.append(given) or {})
    for number in range(5):
        third.put(RECORD, number)
        assert honest.pull(third)[0].applied
    assert not calls


# --- loading ---


def test_the_frontier_is_known_before_the_document_is_loaded(device: ReplicaDevice) -> None:
    device.put(RECORD, "x")
    frontier = device.replica.frontier
    device.restart()
    assert device.replica.frontier == frontier
    assert not device.replica.loaded
    assert _value(device) == "x"
    assert device.replica.loaded


def test_what_was_not_committed_is_gone_after_a_drop(
    pair: tuple[ReplicaDevice, ReplicaDevice],
) -> None:
    one, other = pair
    one.put(RECORD, "x")
    other.put(b"o" * 16, "theirs")
    one.replica.write([one.operation(RECORD, "lost")], live=True)
    one.replica.receive(other.log, 1, other.raws(other.log), one.now)
    one.replica.drop()
    assert _value(one) == "x"
    assert not one.replica.knows_record("follow", RecordId(b"o" * 16))
    one.put(RECORD, "again")
    assert [entry.seq for entry in one.outcomes[-1].entries] == [2]
    assert other.pull(one)[0].applied


def test_a_panic_of_yrs_loses_the_document_and_nothing_else(
    device: ReplicaDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.put(RECORD, "x")

    class PanicException(BaseException):
        pass

    def panic(*_: object) -> None:
        raise PanicException

    with monkeypatch.context() as patched:
        patched.setattr("pycrdt.Doc.apply_update", panic)
        with pytest.raises(DocumentLost):
            device.replica.write([device.operation(RECORD, "y")], live=True)
    device.replica.drop()
    assert _value(device) == "x"
    device.put(RECORD, "z")
    assert _value(device) == "z"


def test_a_rebuild_takes_in_what_is_not_committed_yet(
    pair: tuple[ReplicaDevice, ReplicaDevice],
) -> None:
    honest, thief = pair
    thief.put(RECORD, "x")
    thief.put(RECORD, "y")
    flying = honest.replica.receive(thief.log, 1, thief.raws(thief.log), honest.now)
    own = honest.replica.write([honest.operation(b"o" * 16, "own")], live=True)
    # No entry of ours names the thief's second one as its past before the removal: it was
    # applied, so it does; the removal therefore keeps both.
    removal = TestRemoval(StatementId(b"r" * 32), {})
    trust = honest.trust.learn(removal.id, {thief.device: removal})
    outcome = honest.replica.trust_changed(trust, honest.now)
    assert not outcome.rebuilt
    for one in (flying, own, outcome):
        honest.commit(one)
    assert honest.replica.record("follow", RECORD)["state"][thief.log].value == "y"


def test_a_rebuild_while_a_commit_is_under_way_loses_nothing_of_ours(
    pair: tuple[ReplicaDevice, ReplicaDevice],
) -> None:
    honest, thief = pair
    own = honest.replica.write([honest.operation(b"o" * 16, "own")], live=True)
    thief.put(RECORD, "x")
    flying = honest.replica.receive(thief.log, 1, thief.raws(thief.log), honest.now)
    removal = TestRemoval(StatementId(b"r" * 32), {})
    trust = honest.trust.learn(removal.id, {thief.device: removal})
    outcome = honest.replica.trust_changed(trust, honest.now)
    assert outcome.rebuilt
    assert outcome.quarantined == 1
    for one in (own, flying, outcome):
        honest.commit(one)
    assert _value(honest, record=b"o" * 16) == "own"
    digest = honest.replica.digest()
    honest.trust = trust
    honest.restart()
    assert honest.replica.digest() == digest


def test_a_removal_learnt_before_the_document_is_loaded_is_told_too(
    pair: tuple[ReplicaDevice, ReplicaDevice],
) -> None:
    honest, thief = pair
    thief.put(RECORD, "x")
    honest.pull(thief)
    removal = TestRemoval(StatementId(b"r" * 32), {})
    honest.restart()
    outcome = honest.trusts(honest.trust.learn(removal.id, {thief.device: removal}))
    assert outcome.rebuilt
    assert not honest.replica.knows_record("follow", RECORD)


def test_a_key_that_comes_before_the_document_is_loaded_is_told_too(
    pair: tuple[ReplicaDevice, ReplicaDevice],
) -> None:
    one, other = pair
    epoch = EpochId(b"a-newer-epoch!!!")
    one.trusts(replace(one.trust, keys={**one.trust.keys, epoch: bytes(32)}, epoch=epoch))
    one.put(RECORD, "x")
    other.receive(one.log, 1, one.raws(one.log))
    other.restart()
    outcome = other.trusts(replace(other.trust, keys={**other.trust.keys, epoch: bytes(32)}))
    assert [applied.log for applied in outcome.applied] == [one.log]


def test_a_view_that_changes_nothing_does_not_load_the_document(device: ReplicaDevice) -> None:
    device.put(RECORD, "x")
    device.restart()
    device.replica.trust_changed(device.trust.learn(StatementId(b"s" * 32)), device.now)
    assert not device.replica.loaded


def test_after_a_crash_between_a_statement_and_what_follows_the_views_are_made_anew(
    pair: tuple[ReplicaDevice, ReplicaDevice],
) -> None:
    honest, thief = pair
    thief.put(RECORD, "x")
    honest.pull(thief)
    removal = TestRemoval(StatementId(b"r" * 32), {})
    honest.trust = honest.trust.learn(removal.id, {thief.device: removal})
    honest.restart()  # the statement was committed, the outcome of trust_changed was not
    outcome = honest.commit(honest.replica.settle(honest.now))
    assert outcome.rebuilt
    assert {head.log: head.applied_seq for head in outcome.heads}[thief.log] == 0
    honest.restart()
    assert not honest.commit(honest.replica.settle(honest.now)).rebuilt


# --- base ---


def test_a_base_is_due_after_so_many_entries(
    device: ReplicaDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert BASE_TAIL_ENTRIES == 20_000
    monkeypatch.setattr("presenced.replica.base.BASE_TAIL_ENTRIES", 5)
    for number in range(5):
        assert not device.replica.base_due
        device.put(RECORD, number)
    assert device.replica.base_due
    device.commit(device.replica.write_base())
    assert not device.replica.base_due


def test_a_start_from_a_base_reads_only_what_comes_after_it(
    device: ReplicaDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        device.put(bytes([number]) * 16, number)
    device.commit(device.replica.write_base())
    device.put(RECORD, "after")
    digest = device.replica.digest()
    read: list[int] = []
    entries = device.reader.entries

    def recorded(collection: Any, log: Any, first_seq: int, *, bytes_max: int) -> Any:
        read.append(first_seq)
        return entries(collection, log, first_seq, bytes_max=bytes_max)

    monkeypatch.setattr(device.reader, "entries", recorded)
    device.restart()
    assert device.replica.digest() == digest
    assert read == [11]


def test_a_removal_that_reaches_behind_the_base_is_judged_from_the_log(
    pair: tuple[ReplicaDevice, ReplicaDevice],
) -> None:
    honest, thief = pair
    thief.put(RECORD, "x")
    honest.pull(thief)
    honest.commit(honest.replica.write_base())
    honest.restart()
    honest.replica.load()
    removal = TestRemoval(StatementId(b"r" * 32), {})
    outcome = honest.trusts(honest.trust.learn(removal.id, {thief.device: removal}))
    assert outcome.rebuilt
    assert outcome.base == []
    assert not honest.replica.knows_record("follow", RECORD)
    assert not honest.reader.base("follows")


# --- a restored disk ---


def test_own_entries_that_were_lost_are_taken_back_and_said(
    pair: tuple[ReplicaDevice, ReplicaDevice],
) -> None:
    one, other = pair
    one.put(RECORD, "a")
    one.put(RECORD, "b")
    other.pull(one)
    restored = ReplicaDevice(1)
    acquaint([restored, other])
    outcome = restored.receive(one.log, 1, other.raws(one.log))
    assert [alert.kind.value for alert in outcome.alerts] == ["own-log-ahead"]
    assert _value(restored) == "b"
    restored.put(RECORD, "c")
    assert other.pull(restored)[0].applied


def test_an_own_log_that_diverged_is_said_and_not_written_on(
    pair: tuple[ReplicaDevice, ReplicaDevice],
) -> None:
    one, other = pair
    restored = ReplicaDevice(1)
    acquaint([restored, other])
    one.put(RECORD, "a")
    other.pull(one)
    restored.put(RECORD, "b")
    outcome = restored.receive(one.log, 1, other.raws(one.log))
    assert "own-log-diverged" in [alert.kind.value for alert in outcome.alerts]
    assert not restored.replica.can_seal
    assert restored.put(RECORD, "c").overlay_put
