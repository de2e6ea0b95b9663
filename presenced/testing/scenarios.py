"""Small worlds that are drawn: a column per device, a row per moment.

    A            | B            | C
    found        |              |
    admit B      |              |
    part B       |              |
    title one    | title two    |
    rejoin B     |              |

What stands in one row happens at once, in an order drawn from the seed; then some time passes in
which whatever can arrive does. At the end everything is healed, comes to rest, and all checkers
look. Commands are the methods of `_Scene`; several in one cell are separated by `;`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from presenced.device.edits import (
    Act,
    ChangeFollow,
    Edit,
    Follow,
    NameDevice,
    SessionAct,
    StartSession,
    Unfollow,
)
from presenced.presence.naming import session_id
from presenced.presence.views import FollowRow, SessionRow
from presenced.testing.sim_clock import MS, SECOND, SimClock
from presenced.testing.sim_device import CrashPoint, SimDevice
from presenced.testing.sim_person import SimPerson
from presenced.testing.sim_shortcuts import remembered
from presenced.testing.sim_world import SimWorld

ROW_US: Final = 20 * SECOND
"time after each row: enough for dials after a back-off, and for every message"

FEED: Final = "https://example.org/feed"
FILM: Final = "https://example.org/film"
FILM_ID: Final = session_id("media", FILM)


def play(drawing: str, seed: int, *, sealed_links: bool = False) -> SimWorld:
    """Play a drawing to its end and check everything. The world is returned at rest."""
    scene = _Scene(drawing, seed, sealed_links=sealed_links)
    with remembered():
        scene.run()
    return scene.world


def follow_shown(world: SimWorld, name: str) -> FollowRow:
    """The feed of the drawings, as a device shows it."""
    [row] = [row for row in _device(world, name).disk.follow_rows.values() if row.uri == FEED]
    return row


def session_shown(world: SimWorld, name: str) -> SessionRow:
    """The film of the drawings, as a device shows it."""
    return _device(world, name).disk.session_rows[FILM_ID]


def _device(world: SimWorld, name: str) -> SimDevice:
    return next(device for device in world.devices if device.name == name)


class _Scene:
    def __init__(self, drawing: str, seed: int, *, sealed_links: bool) -> None:
        lines = [line for line in drawing.splitlines() if line.strip()]
        header, *rows = [[cell.strip() for cell in line.split("|")] for line in lines]
        self.world = SimWorld(seed, sealed_links=sealed_links)
        self._names = header
        self._rows = rows
        self._lots = random.Random(repr(("scene", seed)))
        self._person = SimPerson(self._lots)
        self._skew_ms = dict.fromkeys(header, 0)

    def run(self) -> None:
        for row in self._rows:
            cells = [(name, cell) for name, cell in zip(self._names, row, strict=True) if cell]
            self._lots.shuffle(cells)
            for name, cell in cells:
                for command in cell.split(";"):
                    verb, *words = command.split()
                    self._command(verb)(name, *words)
            self.world.run_for(ROW_US)
            self.world.check_step()
        self.world.heal()
        self.world.settle()
        self.world.check_rest()

    def _command(self, verb: str) -> Callable[..., None]:
        command: Callable[..., None] = getattr(self, verb.replace("-", "_"))
        return command

    def _at(self, name: str) -> SimDevice:
        return _device(self.world, name)

    def _edit(self, name: str, edit: Edit) -> None:
        self._at(name).edit([edit])

    # --- membership ---

    def found(self, name: str) -> None:
        self.world.found(SimClock(skew_ms=self._skew_ms[name]))
        for other in self._names[1:]:
            self.world.new_device(SimClock(skew_ms=self._skew_ms[other]))
        assert name == self._names[0], "the first column founds"

    def admit(self, name: str, *others: str) -> None:
        for other in others:
            self.world.admit(self._at(name), self._at(other))

    # --- weather ---

    def part(self, name: str, *others: str) -> None:
        for other in others:
            self.world.part(self._at(name), self._at(other))

    def rejoin(self, name: str, *others: str) -> None:
        for other in others:
            self.world.rejoin(self._at(name), self._at(other))

    def cut(self, name: str, other: str) -> None:
        for wire in self.world.network.between(self._at(name).index, self._at(other).index):
            wire.cut()

    def dial(self, name: str, other: str) -> None:
        self._at(name).dial(self._at(other))

    def damage(self, name: str) -> None:
        """Once something of what the device then says is under way, it is damaged."""
        for delay_ms in range(50):
            for end in self._at(name).ends:
                self.world.agenda.after(delay_ms * MS, lambda end=end: end.wire.damage())  # type: ignore[misc]

    def crash(self, name: str, at: str = "") -> None:
        """Now, or at the next commit: `lost`, `kept` or `sending`."""
        if at:
            self._at(name).crash_at = CrashPoint[at.upper()]
        else:
            self._at(name).crash(keep=self._lots.random() < 0.5)

    def full(self, name: str) -> None:
        """The disk is full for half a row."""
        self._at(name).full_until = self.world.agenda.now + ROW_US // 2

    def panic(self, name: str) -> None:
        self._at(name).panic(self._lots)

    def sleep(self, name: str) -> None:
        self.world.sleep(self._at(name))

    def wake(self, name: str) -> None:
        self._at(name).wake()

    def days(self, name: str, days: str) -> None:
        """From now on the wall clock is off by so many days."""
        self._skew_ms[name] = int(days) * 24 * 3_600 * 1_000
        if self.world.devices:
            self._at(name).clock.skew_ms = self._skew_ms[name]

    # --- edits ---

    def follow(self, name: str) -> None:
        self._edit(name, Follow(uri=FEED, title="Feed"))

    def unfollow(self, name: str) -> None:
        self._edit(name, Unfollow(uri=FEED))

    def title(self, name: str, title: str) -> None:
        self._edit(name, ChangeFollow(uri=FEED, title=title))

    def rename(self, name: str, to: str) -> None:
        self._edit(name, NameDevice(name=to))

    def newer(self, name: str) -> None:
        """What a later version would write."""
        device = self._at(name)
        for _ in range(6):
            device.write_as_newer(self._person.newer_writes(device))

    def many(self, name: str, count: str) -> None:
        self._at(name).edit(self._person.burst(int(count)))

    def start(self, name: str, at: str = "") -> None:
        place = int(at) if at else None
        self._edit(name, StartSession(uri=FILM, title="Film", size=5_400_000, at=place))

    def finish(self, name: str) -> None:
        self._edit(name, SessionAct(session=FILM_ID, act=Act.FINISH))

    def seek(self, name: str, at: str) -> None:
        self._edit(name, SessionAct(session=FILM_ID, act=Act.SEEK, at=int(at)))

    def take(self, name: str) -> None:
        self._edit(name, SessionAct(session=FILM_ID, act=Act.TAKE))
