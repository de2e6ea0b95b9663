"""Statements over links: heard, kept, and told on; guests become members by them.

Rules of this file: a statement that came in goes into the next commit, and to the other links once
it is on disk; guests hear no news, and of theirs nothing is kept before it makes them members (or
is one of the few that a removed device may still bring). What the statements lead to is decided by
whoever is told that there is news.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto

from presenced.device.effects import LinkNumber, SendMessages
from presenced.device.link_peer import LinkPeer
from presenced.device.membership import Membership, rows_of
from presenced.device.pipeline import CommitPipeline
from presenced.trust.statement import Statement


class Heard(Enum):
    """What a message about statements comes to."""

    NOTHING = auto()
    NEWS = auto()
    "statements came in: whatever rests on them is to be judged again"
    LEVEL = auto()
    "nothing new, and both sides have everything of each other: content may flow"


class StatementExchange:
    """The exchanges of all links, around one DAG."""

    def __init__(
        self,
        *,
        membership: Membership,
        links: Mapping[LinkNumber, LinkPeer],
        pipeline: CommitPipeline,
    ) -> None:
        self._membership = membership
        self._links = links
        self._pipeline = pipeline

    def forget(self, membership: Membership) -> None:
        """Nothing in memory holds: go on under this membership."""
        self._membership = membership

    def begin(self, peer: LinkPeer) -> None:
        """The link is up: say what we have."""
        self._send(peer.number, peer.statements.start())

    def hear(self, peer: LinkPeer, message: bytes) -> Heard:
        """A message about statements arrived. Raises `PeerError`s."""
        outcome = peer.statements.receive(message)
        self._send(peer.number, outcome.send)
        if peer.guest is not None:
            kept = peer.guest.try_out(self._membership, peer.statements) if outcome.new else None
            if not kept:
                return Heard.NOTHING
            self.keep(kept, but=peer.number)
            return Heard.NEWS
        if outcome.new:
            self.keep(outcome.new, but=peer.number)
            return Heard.NEWS
        return Heard.LEVEL if outcome.level else Heard.NOTHING

    def keep(self, statements: Sequence[Statement], but: LinkNumber | None = None) -> None:
        """Commit statements that are in the DAG, and tell the other links of them then.

        What a link is told is worked out now: its messages count up, so they keep their order.
        """
        self._pipeline.commit.statements += rows_of(statements)
        for peer in self._links.values():
            if peer.number != but and peer.guest is None:
                self._send(peer.number, peer.statements.announce(statements))

    def let_guests_in(self) -> None:
        """Guests whose key is a member's by now are guests no more; what they brought is kept."""
        again = True
        while again:
            again = False
            for peer in self._links.values():
                if peer.guest is None or self._membership.device_with_static(peer.static) is None:
                    continue
                new = peer.guest.settle(self._membership, peer.statements)
                peer.guest = None
                self._send(peer.number, peer.statements.announce())
                if new:
                    self.keep(new, but=peer.number)
                    self._membership.refresh()
                    again = True

    def _send(self, number: LinkNumber, messages: Sequence[bytes]) -> None:
        """Send once everything gathered so far is on disk."""
        if messages:
            self._pipeline.send(SendMessages(number, messages))
