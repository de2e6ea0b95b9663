"""The sync machine between two replicas, message by message."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import replace

import pytest

from presenced.clock import Instant
from presenced.errors import LimitExceeded, Malformed, PeerError
from presenced.ids import EntryHash, LogId, StatementId
from presenced.replica.frontier import Frontier
from presenced.replica.limits import (
    BATCH_BYTES_MAX,
    BATCH_ENTRIES_MAX,
    FRONTIER_LOGS_MAX,
    MESSAGE_BYTES_MAX,
    QUIET_MS,
    SNAPSHOT_SLOTS_MIN,
    UNACKNOWLEDGED_BYTES_MAX,
)
from presenced.replica.messages import (
    Acknowledged,
    ChunkArrived,
    DigestReceived,
    EntriesArrived,
    ForkShown,
    FrontierReceived,
    Message,
    SnapshotRequested,
    encode_message,
    parse_message,
)
from presenced.replica.rows import AlertKind, Outcome
from presenced.replica.sync import (
    TRANSITIONS,
    DigestAgreed,
    DigestMismatch,
    DigestWanted,
    Effect,
    EntriesReceived,
    ForkReceived,
    InSync,
    SendMessage,
    SnapshotReceived,
    SnapshotWanted,
    State,
    SyncMachine,
)
from presenced.testing.replica_world import HostileDevice, ReplicaDevice, TestRemoval, acquaint
from presenced.wire import encode

MESSAGES: list[Message] = [
    FrontierReceived(frontier=Frontier(), slots=0, adopts=False),
    EntriesArrived(round=1, log=LogId(bytes(16)), first_seq=1, raws=(b"x",)),
    Acknowledged(round=0, count=0),
    DigestReceived(point=bytes(32), digest=bytes(32), vouched=True),
    SnapshotRequested(),
    ChunkArrived(round=1, index=0, count=1, raw=b"x"),
    ForkShown(log=LogId(bytes(16)), seq=3, previous=EntryHash(bytes(32)), first=b"x", second=b"y"),
]


class End:
    """One device's end of a link: performs effects as a device would."""

    def __init__(self, device: ReplicaDevice, *, slots: bool = False, adopts: bool = False) -> None:
        self.device = device
        self.slots = slots
        self.adopts = adopts
        self.machine = SyncMachine(device.collection, device.reader, hash_at=device.replica.hash_at)
        self.out: deque[bytes] = deque()
        self.events: list[Effect] = []
        self.outcomes: list[Outcome] = []
        self.sent_bytes = 0
        self.others: list[End] = []

    @property
    def now(self) -> Instant:
        return self.device.now

    def start(self) -> None:
        self.device.seal()
        replica = self.device.replica
        slots = replica.slot_count if self.slots else 0
        self.perform(
            self.machine.start(replica.frontier, self.now, slots=slots, adopts=self.adopts)
        )

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case SendMessage():
                    assert len(effect.message) <= MESSAGE_BYTES_MAX
                    self.out.append(effect.message)
                    self.sent_bytes += len(effect.message)
                case EntriesReceived():
                    self.commit(self.device.receive(effect.log, effect.first_seq, effect.raws))
                case ForkReceived():
                    self.commit(
                        self.device.commit(
                            self.device.replica.receive_proof(effect.proof, self.now)
                        )
                    )
                case SnapshotWanted():
                    self.perform(
                        self.machine.send_snapshot(self.device.replica.snapshot(), self.now)
                    )
                case SnapshotReceived():
                    try:
                        self.device.commit(self.device.replica.adopt(effect.chunks))
                    except (PeerError, PermissionError):
                        pass
                    frontier = self.device.replica.frontier
                    self.perform(self.machine.resume(frontier, self.now))
                case DigestWanted():
                    replica = self.device.replica
                    self.perform(
                        self.machine.digest_taken(
                            replica.point(), replica.digest(), self.now, vouched=True
                        )
                    )
                case _:
                    self.events.append(effect)

    def commit(self, outcome: Outcome) -> None:
        """Something was committed: tell every link of this device."""
        self.outcomes.append(outcome)
        frontier = self.device.replica.frontier
        for end in [self, *self.others]:
            end.perform(
                end.machine.committed(outcome.entries, frontier, self.now, forks=outcome.forks)
            )

    def deliver(self, message: bytes) -> None:
        self.perform(self.machine.receive(message, self.now))

    def edit(self, record: bytes, value: object) -> None:
        self.commit(self.device.put(record, value))


class Link:
    """Two ends and the messages between them."""

    def __init__(self, one: End, other: End) -> None:
        self.one, self.other = one, other
        one.start()
        other.start()

    def run(self, steps: int = 100_000, chance: random.Random | None = None) -> None:
        """Deliver until nothing is under way."""
        for _ in range(steps):
            ways = [
                (end, peer)
                for end, peer in ((self.one, self.other), (self.other, self.one))
                if end.out
            ]
            if not ways:
                return
            end, peer = chance.choice(ways) if chance else ways[0]
            peer.deliver(end.out.popleft())
        raise AssertionError("does not settle")

    def quiet(self) -> None:
        for end in (self.one, self.other):
            end.device.wall_ms += QUIET_MS
        for end in (self.one, self.other):
            end.perform(end.machine.tick(end.now))
        self.run()


def _pair() -> tuple[ReplicaDevice, ReplicaDevice]:
    one, other = ReplicaDevice(1), ReplicaDevice(2)
    acquaint([one, other])
    return one, other


def _fill(device: ReplicaDevice, records: int, size: int = 1) -> None:
    chance = random.Random(records)
    device.write(
        *(
            device.operation(number.to_bytes(16, "big"), chance.randbytes(size))
            for number in range(1, records + 1)
        )
    )


# --- what it is for ---


@pytest.mark.parametrize("seed", range(20))
def test_two_devices_that_edited_apart_hold_the_same_and_agree(seed: int) -> None:
    chance = random.Random(seed)
    one, other = _pair()
    for device in (one, other):
        for _ in range(chance.randint(0, 30)):
            device.put(
                bytes([chance.randint(0, 5)]) * 16, chance.random(), live=chance.random() < 0.5
            )
    link = Link(End(one), End(other))
    for _ in range(20):
        if chance.random() < 0.5:
            chance.choice([link.one, link.other]).edit(bytes([9]) * 16, chance.random())
        link.run(chance=chance)
    assert one.replica.digest() == other.replica.digest()
    assert one.replica.frontier.held == other.replica.frontier.held
    for end in (link.one, link.other):
        assert isinstance(end.events[-1], InSync)
        assert (end.machine.ahead, end.machine.behind) == (0, 0)
    link.quiet()
    assert any(isinstance(event, DigestAgreed) for event in link.one.events)
    assert any(isinstance(event, DigestAgreed) for event in link.other.events)


def test_an_edit_is_pushed_as_soon_as_it_is_committed_and_acknowledged() -> None:
    one, other = _pair()
    link = Link(End(one), End(other))
    link.run()
    link.one.edit(bytes(16), "x")
    assert len(link.one.out) == 1
    link.other.deliver(link.one.out.popleft())
    assert [type(parse_message(message)) for message in link.other.out] == [Acknowledged]
    link.run()
    assert isinstance(link.one.events[-1], InSync)
    assert other.replica.record("follow", bytes(16))["state"][one.log].value == "x"  # type: ignore[arg-type]


def test_nothing_is_sent_that_is_not_committed() -> None:
    one, other = _pair()
    link = Link(End(one), End(other))
    link.run()
    outcome = one.replica.write([one.operation(bytes(16), "x")], live=True)
    link.one.perform(link.one.machine.tick(one.now))
    link.run()
    assert not one.raws(one.log)
    assert one.log not in other.replica.frontier.held
    one.commit(outcome)
    link.one.commit(outcome)
    link.run()
    assert one.log in other.replica.frontier.held


def test_entries_do_not_go_back_to_whom_they_came_from() -> None:
    one, other = _pair()
    link = Link(End(one), End(other))
    link.run()
    link.one.edit(bytes(16), "x")
    link.run()
    assert not any(isinstance(parse_message(message), EntriesArrived) for message in link.other.out)
    assert link.other.sent_bytes < 400


def test_entries_pass_through_a_device_in_the_middle() -> None:
    one, middle, other = (ReplicaDevice(number) for number in (1, 2, 3))
    acquaint([one, middle, other])
    left, right = End(middle), End(middle)
    left.others, right.others = [right], [left]
    first, second = Link(End(one), left), Link(right, End(other))
    for number in range(5):
        first.one.edit(bytes([number]) * 16, number)
        second.other.edit(bytes([number]) * 16, -number)
        for _ in range(3):
            first.run()
            second.run()
    assert one.replica.digest() == middle.replica.digest() == other.replica.digest()


def test_a_second_meeting_sends_only_what_is_new() -> None:
    one, other = _pair()
    _fill(one, 500, 50)
    Link(End(one), End(other)).run()
    one.put(bytes(16), "news")
    link = Link(End(one), End(other))
    link.run()
    assert link.one.sent_bytes < 1_500
    assert one.replica.digest() == other.replica.digest()


# --- flow ---


def test_no_more_than_the_window_is_sent_before_it_is_acknowledged() -> None:
    one, other = _pair()
    assert UNACKNOWLEDGED_BYTES_MAX == 4 * 1024 * 1024
    for number in range(8):
        _fill(one, 40 + number, 30_000)
    total = sum(len(raw) for raw in one.raws(one.log))
    assert total > 2 * UNACKNOWLEDGED_BYTES_MAX
    end = End(one)
    link = Link(end, End(other))
    end.deliver(link.other.out.popleft())
    assert end.sent_bytes >= UNACKNOWLEDGED_BYTES_MAX
    assert end.sent_bytes <= UNACKNOWLEDGED_BYTES_MAX + BATCH_BYTES_MAX + 10_000
    link.run()
    assert other.replica.digest() == one.replica.digest()


def test_who_sends_beyond_the_window_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = _pair()
    end = End(one)
    end.start()
    end.machine.receive(encode_message("follows", MESSAGES[0]), end.now)
    message = EntriesArrived(round=1, log=LogId(b"l" * 16), first_seq=1, raws=(bytes(200_000),) * 4)
    for _ in range(6):
        end.machine.receive(encode_message("follows", message), end.now)
    with pytest.raises(LimitExceeded, match="unacknowledged"):
        end.machine.receive(encode_message("follows", message), end.now)


def test_messages_are_bounded_in_bytes_and_entries() -> None:
    one, other = _pair()
    for number in range(BATCH_ENTRIES_MAX + 10):
        one.put(bytes(16), number)
    link = Link(End(one), End(other))
    sizes = []
    link.one.deliver(link.other.out.popleft())
    for message in link.one.out:
        parsed = parse_message(message)
        if isinstance(parsed, EntriesArrived):
            sizes.append((len(parsed.raws), sum(map(len, parsed.raws))))
    assert len(sizes) > 1
    assert all(count <= BATCH_ENTRIES_MAX and size <= BATCH_BYTES_MAX for count, size in sizes)
    link.run()
    assert other.replica.frontier.held == one.replica.frontier.held


def test_a_peer_that_had_no_room_gets_the_rest_when_it_says_its_frontier_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = _pair()
    _fill(one, 50, 1_000)
    for number in range(20):
        one.put(bytes([number + 1]) * 16, bytes(3_000))
    monkeypatch.setattr("presenced.replica.allowance.DEVICE_DAY_BYTES_MAX", 20_000)
    link = Link(End(one), End(other))
    link.run()
    assert any(outcome.paused for outcome in link.other.outcomes)
    assert other.replica.frontier.held.get(one.log) != one.replica.frontier.held[one.log]
    monkeypatch.undo()
    link.other.perform(link.other.machine.resume(other.replica.frontier, other.now))
    link.run()
    assert other.replica.frontier.held == one.replica.frontier.held
    assert isinstance(link.one.events[-1], InSync)


def test_a_bad_entry_is_blamed_on_the_peer_and_the_good_ones_are_kept() -> None:
    one, other = _pair()
    end = End(one)
    link = Link(end, End(other))
    link.run()
    hostile = HostileDevice(5)
    acquaint([one, other, hostile])
    good = hostile.forge(encode([hostile.row("x")]))
    message = EntriesArrived(round=1, log=hostile.log, first_seq=1, raws=(good, b"bad"))
    end.deliver(encode_message("follows", message))
    assert len(end.outcomes[-1].faults) == 1
    assert len(end.outcomes[-1].applied) == 1


# --- snapshots ---


def _many(records: int = SNAPSHOT_SLOTS_MIN) -> tuple[ReplicaDevice, ReplicaDevice]:
    one, other = _pair()
    _fill(one, records, 20)
    one.put(bytes(16), "older")
    one.put(bytes(16), "newer")
    return one, other


def test_a_device_that_has_nothing_starts_from_a_snapshot() -> None:
    sponsor, joiner = _many()
    joiner.put(b"j" * 16, "unsent before the first meeting", live=False)
    link = Link(End(sponsor, slots=True), End(joiner, adopts=True))
    # Own unsent edits were sealed at the start, so this joiner is not empty: entries are taken.
    link.run()
    assert joiner.replica.digest() == sponsor.replica.digest()
    fresh = ReplicaDevice(3)
    acquaint([sponsor, joiner, fresh])
    link = Link(End(sponsor, slots=True), End(fresh, adopts=True))
    link.run()
    assert fresh.replica.digest() == sponsor.replica.digest()
    assert fresh.outcomes[-1].adopted_from == sponsor.device
    assert not fresh.raws(sponsor.log)
    link.one.edit(bytes(16), "newest")
    link.other.edit(b"k" * 16, "mine")
    link.run()
    assert fresh.replica.digest() == sponsor.replica.digest()
    digest = fresh.replica.digest()
    fresh.restart()
    assert fresh.replica.digest() == digest
    link.quiet()
    assert any(isinstance(event, DigestAgreed) for event in link.one.events)


def test_few_records_are_sent_as_entries() -> None:
    sponsor, joiner = _many(SNAPSHOT_SLOTS_MIN - 10)
    link = Link(End(sponsor, slots=True), End(joiner, adopts=True))
    link.run()
    assert joiner.raws(sponsor.log)
    assert joiner.replica.digest() == sponsor.replica.digest()


def test_edits_made_while_a_snapshot_travels_follow_it() -> None:
    sponsor, joiner = _many()
    link = Link(End(sponsor, slots=True), End(joiner, adopts=True))
    for number in range(4):
        link.one.edit(bytes([number + 1]) * 16, "meanwhile")
        for _ in range(2):
            if link.one.out:
                link.other.deliver(link.one.out.popleft())
            if link.other.out:
                link.one.deliver(link.other.out.popleft())
    link.run()
    assert joiner.replica.digest() == sponsor.replica.digest()


@pytest.mark.parametrize("delivered", range(4))
def test_a_sponsor_that_has_room_again_does_not_disturb_the_snapshot(delivered: int) -> None:
    """Its frontier, said again while chunks are on their way, would look like a refusal."""
    sponsor, joiner = _many()
    link = Link(End(sponsor, slots=True), End(joiner, adopts=True))
    for _ in range(delivered):
        for end, peer in ((link.one, link.other), (link.other, link.one)):
            if end.out:
                peer.deliver(end.out.popleft())
    link.one.perform(link.one.machine.resume(sponsor.replica.frontier, link.one.now))
    link.run()
    assert joiner.replica.digest() == sponsor.replica.digest()
    link.quiet()
    assert any(isinstance(event, DigestAgreed) for event in link.one.events)


def test_a_snapshot_asked_for_while_the_peer_says_its_frontier_again_ends_no_link() -> None:
    one, other = _many()
    link = Link(End(one, slots=True), End(other))
    link.run()
    link.other.perform(link.other.machine.ask_snapshot())
    link.one.perform(link.one.machine.resume(one.replica.frontier, link.one.now))
    link.other.deliver(link.one.out.popleft())
    link.run()
    link.one.edit(b"l" * 16, "later")
    link.other.edit(b"m" * 16, "later too")
    link.run()
    assert one.replica.digest() == other.replica.digest()


def test_a_sponsor_without_a_snapshot_sends_entries_instead() -> None:
    sponsor, joiner = _many()
    sponsor.trusts(replace(sponsor.trust, epoch=None))
    link = Link(End(sponsor, slots=True), End(joiner, adopts=True))
    link.run()
    assert joiner.replica.digest() == sponsor.replica.digest()
    assert joiner.raws(sponsor.log)


def test_a_snapshot_that_is_not_usable_is_made_good_by_entries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sponsor, joiner = _many()
    chunks = sponsor.replica.snapshot()
    monkeypatch.setattr(
        sponsor.replica, "snapshot", lambda: [*chunks[:-1], chunks[-1][:-1] + b"\x00"]
    )
    link = Link(End(sponsor, slots=True), End(joiner, adopts=True))
    link.run()
    assert joiner.raws(sponsor.log)
    assert joiner.replica.digest() == sponsor.replica.digest()


# --- digests, forks ---


def test_equal_frontiers_with_unequal_content_are_an_alert() -> None:
    one, other = _pair()
    link = Link(End(one), End(other))
    link.run()
    point = one.replica.point()
    assert point == other.replica.point()
    link.one.perform(link.one.machine.digest_taken(point, bytes(32), one.now, vouched=True))
    link.other.perform(
        link.other.machine.digest_taken(point, bytes(31) + b"\x01", other.now, vouched=True)
    )
    link.run()
    assert any(isinstance(event, DigestMismatch) for event in link.one.events)
    assert any(isinstance(event, DigestMismatch) for event in link.other.events)


def test_digests_of_unequal_points_are_not_compared() -> None:
    one, other = _pair()
    link = Link(End(one), End(other))
    link.run()
    link.one.perform(link.one.machine.digest_taken(bytes(32), bytes(32), one.now, vouched=True))
    link.other.perform(
        link.other.machine.digest_taken(b"p" * 32, b"d" * 32, other.now, vouched=True)
    )
    link.run()
    assert all(isinstance(event, InSync) for event in link.one.events + link.other.events)


def test_digests_are_asked_for_once_after_it_went_quiet() -> None:
    one, other = _pair()
    link = Link(End(one), End(other))
    link.run()
    machine = link.one.machine
    at = machine.next_wakeup
    assert at == one.wall_ms + QUIET_MS
    assert machine.tick(Instant(at - 1, 0)) == []
    assert machine.tick(Instant(at, 0)) == [DigestWanted()]
    assert machine.next_wakeup is None
    assert machine.tick(Instant(at + QUIET_MS, 0)) == []


def test_a_fork_is_proved_to_whoever_holds_the_other_branch() -> None:
    hostile = HostileDevice(66)
    one, other = ReplicaDevice(1), ReplicaDevice(2)
    acquaint([hostile, one, other])
    first = hostile.forge(encode([hostile.row("first")]))
    seq, previous = hostile.seq, hostile.previous
    left = [hostile.forge(encode([hostile.row("left")])) for _ in range(3)]
    hostile.seq, hostile.previous = seq, previous
    right = [hostile.forge(encode([hostile.row("right")])) for _ in range(2)]
    one.receive(hostile.log, 1, [first, *left])
    other.receive(hostile.log, 1, [first, *right])
    assert one.replica.digest() != other.replica.digest()
    link = Link(End(one), End(other))
    link.run()
    for end in (link.one, link.other):
        kinds = {alert.kind for outcome in end.outcomes for alert in outcome.alerts}
        assert AlertKind.FORK in kinds
        assert not any(outcome.faults for outcome in end.outcomes)
    assert one.replica.digest() == other.replica.digest()


def test_a_fork_that_one_knows_is_shown_to_who_holds_the_same_branch_and_passed_on() -> None:
    hostile = HostileDevice(66)
    devices = [ReplicaDevice(number) for number in (1, 2, 3)]
    acquaint([hostile, *devices])
    first = hostile.forge(encode([hostile.row("first")]))
    seq, previous = hostile.seq, hostile.previous
    left = [hostile.forge(encode([hostile.row("left")])) for _ in range(3)]
    hostile.seq, hostile.previous = seq, previous
    right = hostile.forge(encode([hostile.row("right")]))
    for device in devices:
        device.receive(hostile.log, 1, [first, *left])
    middle = [End(devices[1]), End(devices[1])]
    middle[0].others, middle[1].others = [middle[1]], [middle[0]]
    links = [Link(End(devices[0]), middle[0]), Link(middle[1], End(devices[2]))]
    for link in links:
        link.run()
    links[0].one.commit(devices[0].receive(hostile.log, 2, [right]))
    for link in (*links, *links):
        link.run()
    for device in devices:
        assert device.replica.frontier.applied[hostile.log][0] == 1
        assert [fork.seq for fork in device.reader.forks()] == [2]
    assert len({device.replica.digest() for device in devices}) == 1
    links[0].one.edit(b"r" * 16, "goes on")
    for link in (*links, *links):
        link.run()
        assert link.one.machine.in_sync
        assert link.other.machine.in_sync
    assert len({device.replica.digest() for device in devices}) == 1


def test_a_branch_that_a_removal_names_comes_to_who_holds_the_other() -> None:
    hostile = HostileDevice(66)
    one, other = ReplicaDevice(1), ReplicaDevice(2)
    acquaint([hostile, one, other])
    first = hostile.forge(encode([hostile.row("first")]))
    seq, previous = hostile.seq, hostile.previous
    left = [hostile.forge(encode([hostile.row(f"left {number}")])) for number in range(3)]
    named = (hostile.seq, hostile.previous)
    hostile.seq, hostile.previous = seq, previous
    right = [hostile.forge(encode([hostile.row(f"right {number}")])) for number in range(5)]
    one.receive(hostile.log, 1, [first, *left])
    other.receive(hostile.log, 1, [first, *right])
    link = Link(End(one), End(other))
    link.run()
    assert other.replica.frontier.applied[hostile.log][0] == 1
    removal = TestRemoval(StatementId(b"r" * 32), {hostile.log: named})
    trust = one.trust.learn(removal.id, {hostile.device: removal})
    link.other.commit(other.trusts(trust))
    link.one.commit(one.trusts(trust))
    link.run()
    for device in (one, other):
        assert device.replica.frontier.applied[hostile.log] == named
        device.restart()
        assert device.replica.frontier.applied[hostile.log] == named
    assert one.replica.digest() == other.replica.digest()


# --- the table ---


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("state", [state for state in State if state is not State.NEW])
def test_every_pair_of_state_and_message_is_in_the_table_or_ends_the_link(
    state: State, message: Message
) -> None:
    one, _ = _pair()
    machine = SyncMachine("follows", one.reader)
    machine.start(Frontier(), one.now)
    if state is not State.GREETING:
        machine.receive(encode_message("follows", MESSAGES[0]), one.now)
        machine.state = state
    listed = TRANSITIONS.get((state, type(message)))
    raw = encode_message("follows", message)
    if listed is None:
        with pytest.raises(Malformed, match="while"):
            machine.receive(raw, one.now)
        return
    if (state, type(message)) == (State.LIVE, ChunkArrived):
        with pytest.raises(Malformed, match="not the next one"):  # of this round: unasked for
            machine.receive(raw, one.now)
        return
    machine.receive(raw, one.now)
    assert machine.state in listed


def test_the_table_names_known_states_and_messages_only() -> None:
    for (state, message), following in TRANSITIONS.items():
        assert message in {type(one) for one in MESSAGES}
        assert state not in following or state is not State.GREETING
        assert following


def test_acknowledging_what_was_not_sent_ends_the_link() -> None:
    one, _ = _pair()
    machine = SyncMachine("follows", one.reader)
    machine.start(Frontier(), one.now)
    machine.receive(encode_message("follows", MESSAGES[0]), one.now)
    for message in (Acknowledged(round=1, count=1), Acknowledged(round=2, count=0)):
        with pytest.raises(Malformed):
            machine.receive(encode_message("follows", message), one.now)
    machine.receive(encode_message("follows", Acknowledged(round=0, count=99)), one.now)


def test_a_frontier_beyond_all_reason_costs_nothing() -> None:
    one, _ = _pair()
    one.put(bytes(16), "x")
    machine = SyncMachine("follows", one.reader)
    machine.start(one.replica.frontier, one.now)
    far = Frontier({one.log: (2**40 - 1, bytes(32))})  # type: ignore[dict-item]
    message = FrontierReceived(frontier=far, slots=2**53 - 1, adopts=True)
    effects = machine.receive(encode_message("follows", message), one.now)
    assert not any(isinstance(effect, SendMessage) for effect in effects)


def test_logs_that_a_peer_may_name_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert FRONTIER_LOGS_MAX == 4_096
    monkeypatch.setattr("presenced.replica.outgoing.FRONTIER_LOGS_MAX", 3)
    one, _ = _pair()
    machine = SyncMachine("follows", one.reader)
    machine.start(Frontier(), one.now)
    machine.receive(encode_message("follows", MESSAGES[0]), one.now)
    raws = [
        encode_message(
            "follows",
            EntriesArrived(round=1, log=LogId(bytes([number]) * 16), first_seq=1, raws=(b"x",)),
        )
        for number in range(4)
    ]
    for raw in raws[:3]:
        machine.receive(raw, one.now)
    with pytest.raises(LimitExceeded):
        machine.receive(raws[3], one.now)


def test_a_snapshot_beyond_all_reason_ends_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("presenced.replica.incoming.SNAPSHOT_BYTES_MAX", 100)
    one, _ = _pair()
    machine = SyncMachine("follows", one.reader)
    machine.start(Frontier(), one.now, adopts=True)
    many = FrontierReceived(frontier=Frontier(), slots=SNAPSHOT_SLOTS_MIN, adopts=False)
    machine.receive(encode_message("follows", many), one.now)
    assert machine.state is State.ADOPTING
    chunk = ChunkArrived(round=1, index=0, count=2, raw=bytes(101))
    with pytest.raises(LimitExceeded):
        machine.receive(encode_message("follows", chunk), one.now)
