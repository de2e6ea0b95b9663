"""The seam between the syncs of all links and what decides about them.

Whether the own logs may grow, and which snapshot is given or taken, are questions of their own;
what follows from the answers goes through these few calls.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from presenced.clock import Instant
from presenced.device.effects import Effect
from presenced.device.link_peer import LinkPeer
from presenced.ids import Collection
from presenced.replica import sync as syncing
from presenced.replica.rows import Outcome


class Flow(Protocol):
    """Content on its way between the replicas and the links."""

    def keep(self, collection: Collection, outcome: Outcome, now: Instant) -> None:
        """Put an outcome into the next commit, with all that follows from it."""
        ...

    def carry_out(
        self,
        peer: LinkPeer,
        collection: Collection,
        effects: Iterable[syncing.Effect],
        now: Instant,
    ) -> None:
        """Do what a sync machine asks."""
        ...

    def resume(
        self, peers: Iterable[LinkPeer], collection: Collection, now: Instant
    ) -> list[Effect]:
        """Say where we are, once that is on disk. Returns what to perform for it."""
        ...

    def say_again(self, collection: Collection, now: Instant) -> list[Effect]:
        """Nothing is unsent any more: tell whoever waits for that, once it is on disk."""
        ...
