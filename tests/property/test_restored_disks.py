"""Two devices, backups and restores in any order: what is on a disk after a restore is kept.

Every follow has a URI of its own, so what must be there at the end is a set: whatever either disk
showed when a disk was put back, and whatever was followed since.
"""

from __future__ import annotations

import random
from copy import deepcopy

import pytest

from presenced.device.edits import Act, ChangeFollow, Follow, SessionAct, StartSession
from presenced.replica import replica
from presenced.testing.desk import Desk, Line, linked_pair
from presenced.testing.sim_disk import SimDisk

STEPS = 40
ROUNDS = 6
"links at the end: each may be ended by a rebirth"


class World:
    """Two desks, their backups, and what must not be lost."""

    def __init__(self, seed: int) -> None:
        self.lots = random.Random(seed)
        first, second, line = linked_pair(seed)
        line.cut()
        self.desks = [first, second]
        self.backups: list[tuple[int, SimDisk]] = []
        self.line: Line | None = None
        self.expected: set[str] = set()
        self.count = 0

    def step(self) -> None:
        act = self.lots.choices(
            (self.follow, self.title, self.play, self.link, self.part, self.back_up, self.restore),
            (6, 3, 3, 3, 2, 2, 1),
        )[0]
        act(self.lots.randrange(2))

    def follow(self, index: int) -> None:
        for _ in range(self.lots.choice((1, 1, 1, 4))):
            self.count += 1
            uri = f"https://{self.count}.example/feed"
            self.desks[index].edit(Follow(uri=uri))
            self.expected.add(uri)
        self.move()

    def title(self, index: int) -> None:
        shown = sorted(self.desks[index].follows())
        if shown:
            uri = self.lots.choice(shown)
            self.desks[index].edit(ChangeFollow(uri=uri, title=f"title {self.count}"))
        self.move()

    def play(self, index: int) -> None:
        uri = f"https://films.example/{self.lots.randrange(3)}.mp4"
        (begun,) = self.desks[index].edit(StartSession(uri=uri, title="Film", size=6_000_000))
        act = self.lots.choice((Act.FINISH, Act.SEEK, Act.PAUSE))
        at = self.lots.randrange(6_000_000) if act is Act.SEEK else None
        self.desks[index].edit(SessionAct(session=begun.record, act=act, at=at))
        self.move()

    def link(self, _index: int) -> None:
        if self.line is None or self.line.is_cut:
            self.part(0)
            self.line = Line(*self.desks)
        self.move()

    def part(self, _index: int) -> None:
        if self.line is not None:
            self.line.cut()
        self.line = None

    def back_up(self, index: int) -> None:
        self.backups.append((index, deepcopy(self.desks[index].disk)))

    def restore(self, _index: int) -> None:
        if not self.backups:
            return
        self.part(0)
        index, disk = self.lots.choice(self.backups)
        lost = self.desks[index]
        self.desks[index] = again = Desk(deepcopy(disk), (lost.seed, self.count, "restored"))
        again.now = lost.now
        self.expected = set(self.desks[0].follows()) | set(self.desks[1].follows())

    def move(self) -> None:
        """Deliver some of what lies on the line, and let time pass."""
        for desk in self.desks:
            desk.pass_ms(self.lots.choice((1, 500, 2_000)))
        if self.line is not None:
            for _ in range(self.lots.choice((0, 3, 1_000))):
                if not sum(self.line.deliver_from(desk, 1) for desk in self.line.ends):
                    break


@pytest.mark.parametrize("seed", range(40))
def test_what_is_on_a_disk_after_a_restore_reaches_everybody(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "OVERLAY_FIELDS_MAX", 5)  # so that devices seal alone
    world = World(seed)
    for _ in range(STEPS):
        world.step()
    world.part(0)
    first, second = world.desks
    for _ in range(ROUNDS):
        line = Line(first, second)
        line.deliver()
        line.cut()
    assert first.digests() == second.digests()
    assert first.follows() == second.follows()
    assert first.disk.session_rows == second.disk.session_rows
    assert first.follows().keys() == world.expected
    for desk in world.desks:
        assert desk.disk.counts().unsent == 0
        assert not desk.disk.forks()
        for one in desk.machine.shelf.replicas.values():
            assert one.pending.waiting == 0
