"""The rule of acceptance against its own words, in random worlds with hidden removals.

`Model` says the rule literally, entry by entry and world by world; `accept` must agree. Worlds
have removed devices that keep publishing, hide removals from their pasts, name each other's
entries, cuts that contradict each other, and devices with several void adds.
"""

from __future__ import annotations

import random
from collections.abc import Set

import pytest

from presenced.ids import DeviceId, LogId, StatementId
from presenced.replica.acceptance import Bound, Chain, PastLink, accept

EntryKey = tuple[LogId, int]
Declared = tuple[tuple[EntryKey, ...], frozenset[StatementId]]


class World:
    """Entries with what each declares, whose log is whose, and the cuts of each removal."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        count = self.random.randint(2, 5)
        self.logs = [LogId(bytes([65 + number])) for number in range(count)]
        self.device = {log: DeviceId(bytes([97 + number])) for number, log in enumerate(self.logs)}
        if self.random.random() < 0.3:
            self.device[self.logs[-1]] = self.device[self.logs[0]]
        self.cuts: dict[StatementId, dict[LogId, int]] = {}
        for number in range(self.random.randint(1, 3)):
            removed = self.device[self.random.choice(self.logs)]
            cut = {
                log: self.random.randint(0, 4) for log in self.logs if self.device[log] == removed
            }
            self.cuts[StatementId(bytes([48 + number]))] = cut
        self.void: dict[DeviceId, list[list[StatementId]]] = {}
        "per device without an add that counts, per add the removals to blame"
        for device in dict.fromkeys(self.device.values()):
            if self.random.random() < 0.3:
                self.void[device] = [
                    self.random.sample(sorted(self.cuts), self.random.randint(1, len(self.cuts)))
                    for _ in range(self.random.randint(1, 3))
                ]
        self.entries: dict[EntryKey, Declared] = {}
        self.order: list[EntryKey] = []
        self._declared: dict[LogId, dict[LogId, int]] = {log: {} for log in self.logs}
        self._heard: dict[LogId, set[StatementId]] = {log: set() for log in self.logs}
        self._length = dict.fromkeys(self.logs, 0)
        for _ in range(self.random.randint(5, 24)):
            self._write(self.random.choice(self.logs))

    def _write(self, log: LogId) -> None:
        references = []
        for other in self.logs:
            before = self._declared[log].get(other, 0)
            if other == log or self._length[other] <= before or self.random.random() < 0.6:
                continue
            seq = self.random.randint(before + 1, self._length[other])
            if self.random.random() < 0.03:
                seq = 500  # never comes
            references.append((other, seq))
            self._declared[log][other] = seq
        heard = {
            removal
            for removal in self.cuts
            if removal not in self._heard[log] and self.random.random() < 0.12
        }
        self._heard[log] |= heard
        self._length[log] += 1
        key = (log, self._length[log])
        self.entries[key] = (tuple(references), frozenset(heard))
        self.order.append(key)

    def alternatives(self, log: LogId) -> list[list[Bound]]:
        """What binds a log: all of one of these."""
        binding = [Bound(id_, cut[log]) for id_, cut in self.cuts.items() if log in cut]
        return [
            [*binding, *(Bound(id_, 0) for id_ in blame)]
            for blame in self.void.get(self.device[log], [[]])
        ]

    def accept(
        self, entries: Set[EntryKey], heard: Set[StatementId] | None = None
    ) -> set[EntryKey]:
        """What `accept` says of a subset that is a prefix of every log, knowing some removals."""
        heard = self.cuts.keys() if heard is None else heard
        chains = {}
        for log in self.logs:
            length = sum(1 for key in entries if key[0] == log)
            links = [
                PastLink(seq, *self.entries[log, seq])
                for seq in range(1, length + 1)
                if any(self.entries[log, seq])
            ]
            chains[log] = Chain(device=self.device[log], length=length, links=links)
        bounds = {
            log: [[bound for bound in cuts if bound.removal in heard] for cuts in alternatives]
            for log in self.logs
            if (alternatives := self.alternatives(log))
        }
        lengths = accept(chains, {log: cuts for log, cuts in bounds.items() if all(cuts)})
        return {(log, seq) for log, length in lengths.items() for seq in range(1, length + 1)}


class Model:
    """The rule, said literally: parts a and b of DESIGN §3 over explicit sets."""

    def __init__(self, world: World, entries: Set[EntryKey]) -> None:
        self._world = world
        self._entries = entries
        self._pasts: dict[EntryKey, frozenset[EntryKey] | None] = {}
        self._formed: dict[EntryKey, bool] = {}

    def accepted(self) -> set[EntryKey]:
        complete = {key for key in self._entries if self.past(key) is not None}
        return self._judge(complete, set(self._world.cuts))

    def past(self, key: EntryKey) -> frozenset[EntryKey] | None:
        if key not in self._pasts:
            log, seq = key
            before = [(log, seq - 1)] if seq > 1 else []
            past: set[EntryKey] = set()
            complete = True
            for other in (*before, *self._world.entries[key][0]):
                below = self.past(other) if other in self._entries else None
                if below is None:
                    complete = False
                    break
                past |= below | {other}
            self._pasts[key] = frozenset(past) if complete else None
        return self._pasts[key]

    def heard(self, key: EntryKey) -> set[StatementId]:
        past = self.past(key)
        assert past is not None
        return set(self._world.entries[key][1]).union(
            *(self._world.entries[other][1] for other in past)
        )

    def well_formed(self, key: EntryKey) -> bool:
        """Part a."""
        if key not in self._formed:
            past = self.past(key)
            self._formed[key] = past is not None and self._judge(past, self.heard(key)) == past
        return self._formed[key]

    def _judge(self, entries: Set[EntryKey], removals: Set[StatementId]) -> set[EntryKey]:
        """Part b over a world of entries and removals; causally closed."""
        accepted = {key for key in entries if self.well_formed(key)}
        shrank = True
        while shrank:
            shrank = False
            for key in list(accepted):
                past = self.past(key)
                assert past is not None
                if not (past <= accepted and self._carried(key, accepted, removals)):
                    accepted.discard(key)
                    shrank = True
        return accepted

    def _carried(self, key: EntryKey, accepted: Set[EntryKey], removals: Set[StatementId]) -> bool:
        log, seq = key
        return any(
            all(
                seq <= limit
                or any(
                    self._world.device[other[0]] != self._world.device[log]
                    and key in (self.past(other) or ())
                    and removal not in self.heard(other)
                    for other in accepted
                )
                for removal, limit in alternative
                if removal in removals
            )
            for alternative in self._world.alternatives(log)
        )


@pytest.mark.parametrize("block", range(20))
def test_accept_agrees_with_the_rule_as_it_is_worded(block: int) -> None:
    for seed in range(block * 100, block * 100 + 100):
        world = World(seed)
        entries = set(world.order)
        assert world.accept(entries) == Model(world, entries).accepted(), f"seed {seed}"


@pytest.mark.parametrize("block", range(5))
def test_with_the_removals_fixed_more_entries_never_take_acceptance_back(block: int) -> None:
    for seed in range(block * 100, block * 100 + 100):
        world = World(seed)
        before: set[EntryKey] = set()
        for count in range(1, len(world.order) + 1):
            now = world.accept(set(world.order[:count]))
            assert before <= now, f"seed {seed}"
            before = now


@pytest.mark.parametrize("block", range(5))
def test_what_is_accepted_is_causally_closed(block: int) -> None:
    for seed in range(block * 100, block * 100 + 100):
        world = World(seed)
        accepted = world.accept(set(world.order))
        for key in accepted:
            log, seq = key
            assert seq == 1 or (log, seq - 1) in accepted
            assert set(world.entries[key][0]) <= accepted


class HonestWorld(World):
    """Devices that name what they accept, but two that hide removals and name what they like."""

    def __init__(self, seed: int) -> None:
        self._held: dict[LogId, set[EntryKey]] = {}
        super().__init__(seed)

    def _write(self, log: LogId) -> None:
        if log in self.logs[-2:]:
            super()._write(log)
            return
        for other in self.logs:
            # Receive a prefix of some logs, then name all that this device accepts by then.
            reached = self.random.randint(0, self._length[other])
            self._held.setdefault(log, set()).update((other, seq) for seq in range(1, reached + 1))
        held = self._held[log] | {(log, seq) for seq in range(1, self._length[log] + 1)}
        self._heard[log] |= {removal for removal in self.cuts if self.random.random() < 0.1}
        accepted = self.accept(self._readable(held, self._heard[log]), self._heard[log])
        references = []
        for other in self.logs:
            seq = max((seq for name, seq in accepted if name == other), default=0)
            if other != log and seq > self._declared[log].get(other, 0):
                references.append((other, seq))
                self._declared[log][other] = seq
        self._length[log] += 1
        key = (log, self._length[log])
        self.entries[key] = (tuple(references), frozenset(self._heard[log]))
        self.order.append(key)

    def _readable(self, held: Set[EntryKey], heard: Set[StatementId]) -> set[EntryKey]:
        """An entry that names a statement that is not here waits, and so does its log."""
        readable: set[EntryKey] = set()
        for log in self.logs:
            seq = 1
            while (log, seq) in held and self.entries[log, seq][1] <= heard:
                readable.add((log, seq))
                seq += 1
        return readable


@pytest.mark.parametrize("block", range(5))
def test_no_entry_of_an_honest_device_that_nobody_removed_is_ever_lost(block: int) -> None:
    for seed in range(block * 100, block * 100 + 100):
        world = HonestWorld(seed)
        removed = {log for log in world.logs if all(world.alternatives(log))}
        accepted = world.accept(set(world.order))
        for key in world.order:
            if key[0] not in removed and key[0] not in world.logs[-2:]:
                assert key in accepted, f"seed {seed}"


def test_two_removed_devices_cannot_carry_each_other() -> None:
    one, other = LogId(b"one"), LogId(b"other")
    removal, second = StatementId(b"r1"), StatementId(b"r2")
    chains = {
        one: Chain(
            device=DeviceId(b"1"), length=3, links=[PastLink(2, ((other, 1),), frozenset())]
        ),
        other: Chain(
            device=DeviceId(b"2"), length=3, links=[PastLink(2, ((one, 2),), frozenset())]
        ),
    }
    bounds = {one: [[Bound(removal, 0)]], other: [[Bound(second, 0)]]}
    assert accept(chains, bounds) == {one: 0, other: 0}


def test_what_an_accepted_device_built_on_before_it_heard_stays() -> None:
    thief, honest = LogId(b"thief"), LogId(b"honest")
    removal = StatementId(b"removal")
    chains = {
        thief: Chain(device=DeviceId(b"t"), length=9, links=[]),
        honest: Chain(
            device=DeviceId(b"h"),
            length=2,
            links=[
                PastLink(1, ((thief, 6),), frozenset()),
                PastLink(2, ((thief, 6),), frozenset({removal})),
            ],
        ),
    }
    assert accept(chains, {thief: [[Bound(removal, 4)]]}) == {thief: 6, honest: 2}


def test_a_device_that_names_more_after_it_heard_is_not_accepted() -> None:
    thief, liar = LogId(b"thief"), LogId(b"liar")
    removal = StatementId(b"removal")
    chains = {
        thief: Chain(device=DeviceId(b"t"), length=9, links=[]),
        liar: Chain(
            device=DeviceId(b"l"),
            length=2,
            links=[PastLink(2, ((thief, 6),), frozenset({removal}))],
        ),
    }
    assert accept(chains, {thief: [[Bound(removal, 4)]]}) == {thief: 4, liar: 1}


def test_of_several_void_adds_the_one_that_lets_most_stand_counts() -> None:
    guest, honest = LogId(b"guest"), LogId(b"honest")
    first, second = StatementId(b"r1"), StatementId(b"r2")
    chains = {
        guest: Chain(device=DeviceId(b"g"), length=5, links=[]),
        honest: Chain(
            device=DeviceId(b"h"),
            length=2,
            links=[
                PastLink(1, ((guest, 2),), frozenset({first})),
                PastLink(2, ((guest, 3),), frozenset({second})),
            ],
        ),
    }
    both = [[Bound(first, 0)], [Bound(second, 0)]]
    # The second entry names what its author, by then, could accept for neither add.
    assert accept(chains, {guest: both}) == {guest: 2, honest: 1}
    assert accept(chains, {guest: both[:1]}) == {guest: 0, honest: 0}
    assert accept(chains, {guest: [[Bound(first, 0), Bound(second, 0)]]}) == {guest: 0, honest: 0}
