"""The terms of sync: where a link's sync of one collection stands, and what may be heard then.

The machine that uses them is `presenced.replica.sync`, whose docstring has the theory of
operation; what it asks for stands in `presenced.replica.sync_effects`.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from presenced.replica.messages import (
    Acknowledged,
    ChunkArrived,
    DigestReceived,
    EntriesArrived,
    ForkShown,
    FrontierReceived,
    SnapshotRequested,
)


class State(Enum):
    """Where a link's sync of one collection stands."""

    NEW = auto()
    GREETING = auto()
    "our frontier is sent, the peer's has not come"
    LIVE = auto()
    ADOPTING = auto()
    "we asked for a snapshot"
    SPONSORING = auto()
    "the peer asked for one, or will"


TRANSITIONS: Final[dict[tuple[State, type], frozenset[State]]] = {
    (State.GREETING, FrontierReceived): frozenset({State.LIVE, State.ADOPTING, State.SPONSORING}),
    (State.LIVE, FrontierReceived): frozenset({State.LIVE, State.ADOPTING, State.SPONSORING}),
    (State.LIVE, EntriesArrived): frozenset({State.LIVE}),
    (State.LIVE, Acknowledged): frozenset({State.LIVE}),
    (State.LIVE, DigestReceived): frozenset({State.LIVE}),
    (State.LIVE, SnapshotRequested): frozenset({State.SPONSORING}),
    (State.LIVE, ChunkArrived): frozenset({State.LIVE}),
    (State.LIVE, ForkShown): frozenset({State.LIVE}),
    (State.ADOPTING, FrontierReceived): frozenset({State.LIVE}),
    (State.ADOPTING, ChunkArrived): frozenset({State.ADOPTING}),
    (State.ADOPTING, EntriesArrived): frozenset({State.ADOPTING}),
    (State.ADOPTING, Acknowledged): frozenset({State.ADOPTING}),
    (State.ADOPTING, DigestReceived): frozenset({State.ADOPTING}),
    (State.ADOPTING, SnapshotRequested): frozenset({State.LIVE}),
    (State.ADOPTING, ForkShown): frozenset({State.ADOPTING}),
    (State.SPONSORING, ForkShown): frozenset({State.SPONSORING}),
    (State.SPONSORING, SnapshotRequested): frozenset({State.SPONSORING}),
    (State.SPONSORING, FrontierReceived): frozenset({State.LIVE, State.SPONSORING}),
    (State.SPONSORING, EntriesArrived): frozenset({State.SPONSORING}),
    (State.SPONSORING, Acknowledged): frozenset({State.SPONSORING}),
    (State.SPONSORING, DigestReceived): frozenset({State.SPONSORING}),
}
"Which messages may come when, and where they can lead. An absent pair is a `PeerError`."
