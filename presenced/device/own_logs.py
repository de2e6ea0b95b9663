"""Whether the own logs are whole, and so may grow; what was lost of them; when they cannot go on.

A database that was restored from a backup, or copied, lacks entries of its own logs that others
have. To seal the next edit there would fork the log for all to see.

Theory of operation. A peer's frontier says what it has of an own log. Where that is more than is
here, or something else, nothing is sealed: edits lie unsent until the entries have come. A log that
goes on is sealed then; one that was ended, or of which another branch exists, goes on under a new
incarnation, once all that the peers have of every own log is here. A peer that does not give what
it says it has is waited for `RECOVER_MS` after the last of it, and once in a process life.

Rules of this file: nothing here is sent; whoever is linked is asked, nobody else is waited for.
Source: DESIGN §3 *Forks and restored disks*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from presenced.clock import Instant
from presenced.device.alerts import Alerts
from presenced.device.effects import LinkNumber
from presenced.device.flow import Flow
from presenced.device.limits import RECOVER_MS, RESUME_MS
from presenced.device.link_peer import LinkPeer
from presenced.device.pipeline import Later
from presenced.device.shelf import Shelf
from presenced.ids import Collection
from presenced.replica import sync as syncing


class OwnLogs:
    """This incarnation's log of each collection, as the peers of all links know it."""

    def __init__(
        self,
        *,
        shelf: Shelf,
        links: Mapping[LinkNumber, LinkPeer],
        flow: Flow,
        alerts: Alerts,
        later: Callable[[Later], None],
        anew: Callable[[Instant], None],
    ) -> None:
        """`later`: work out once all is on disk. `anew`: begin a new incarnation."""
        self._shelf = shelf
        self._links = links
        self._flow = flow
        self._alerts = alerts
        self._later = later
        self._anew = anew
        self._anew_wanted = False
        self._gave_up = False

    def tick(self, peer: LinkPeer, now: Instant) -> None:
        """Time has passed for a link."""
        if peer.recover_by_ms is not None and now.mono_ms >= peer.recover_by_ms:
            self._give_up(peer, now)

    # --- sealing ---

    def is_live(self, collection: Collection) -> bool:
        """Whether somebody is there to send an edit of this collection to, and it may be sealed."""
        links = self._links.values()
        return any(peer.is_sound(collection) for peer in links) and not self._recovers(collection)

    def seal(self, collection: Collection, now: Instant) -> bool:
        """Make entries of what is unsent. False if that cannot be done now."""
        replica = self._shelf.replicas[collection]
        if replica.pending.unsent and (self._recovers(collection) or replica.contested):
            return False
        self._flow.keep(collection, replica.seal_overlay(), now)
        if replica.pending.unsent:
            self._alerts.add(f"unsent-{collection}", f"edits of {collection} cannot be sent yet")
            return False
        self._alerts.clear(f"unsent-{collection}")
        return True

    def make_way(self, peer: LinkPeer, collection: Collection, now: Instant) -> bool:
        """Entries of a peer are about to be taken. False: not now, they are asked for again."""
        replica = self._shelf.replicas[collection]
        if peer.recover_by_ms is not None:
            peer.recover_by_ms = now.mono_ms + RECOVER_MS
        if self._recovers(collection) or replica.own_waits:
            self._flow.keep(collection, replica.recover(), now)
        elif not self.seal(collection, now):
            peer.resume_at_ms = peer.resume_at_ms or now.mono_ms + RESUME_MS
            return False
        return True

    def hold_back(self, now: Instant) -> None:
        """Our logs have ended, which we did not remember: nothing is sealed into them."""
        for collection, replica in self._shelf.replicas.items():
            self._flow.keep(collection, replica.recover(), now)

    def go_on(self, collection: Collection, now: Instant) -> None:
        """Seal what is unsent, unless somebody has more of the own log, or it cannot go on."""
        links = self._links.values()
        if self._recovers(collection) or not any(peer.is_sound(collection) for peer in links):
            return
        for peer in links:
            if not any(map(peer.is_unsound, peer.syncs)):
                peer.recover_by_ms = None
        replica = self._shelf.replicas[collection]
        if replica.contested or replica.fell or self._shelf.superseded:
            self._want_anew(now)
        elif self._anew_wanted:
            self._want_anew(now)  # this may have been the last one to wait for
        else:
            replica.recovered()
            if self.seal(collection, now):
                self._later(lambda: self._flow.say_again(collection, now))

    # --- what a peer has of them ---

    def check(self, peer: LinkPeer, collection: Collection, now: Instant) -> None:
        """See whether the peer has more, or other entries, of the own log than we."""
        sync = peer.syncs.get(collection)
        if sync is None or not peer.is_unsound(collection) or peer.number not in self._links:
            return
        replica, own = self._shelf.replicas[collection], self._shelf.own_log(collection)
        point, branch = sync.peer_point(own), replica.branch
        held_seq = replica.frontier.held.get(own, (0, b""))[0]
        is_whole = point is None or (
            point[0] <= held_seq and replica.hash_at(own, point[0]) in (None, point[1])
        )
        if is_whole or self._gave_up:
            if sync.state is not syncing.State.ADOPTING:
                peer.sound[collection] = sync.frontiers_heard
                self.go_on(collection, now)
            return
        assert point is not None
        self._flow.keep(collection, replica.recover(), now)
        if peer.recover_by_ms is None:
            peer.recover_by_ms = now.mono_ms + RECOVER_MS
        if branch is not None and branch.last_seq >= point[0]:
            self._want_anew(now)
        elif (
            branch is None
            and point[0] <= held_seq
            and sync.state is syncing.State.LIVE
            and collection not in peer.asked_anew
        ):
            peer.asked_anew.add(collection)
            self._flow.carry_out(peer, collection, sync.ask_anew(own, now), now)

    def _recovers(self, collection: Collection) -> bool:
        """Whether somebody has more, or other entries, of the own log."""
        return any(peer.is_unsound(collection) for peer in self._links.values())

    def _is_known(self, peer: LinkPeer, collection: Collection) -> bool:
        """Whether all that a peer has of an own log is here, in the log or beside it."""
        if peer.is_sound(collection):
            return True
        point = peer.syncs[collection].peer_point(self._shelf.own_log(collection))
        branch = self._shelf.replicas[collection].branch
        return point is not None and branch is not None and branch.last_seq >= point[0]

    # --- a new incarnation ---

    def _want_anew(self, now: Instant) -> None:
        """Begin a new incarnation once it is known of every log of ours what the peers have of it.

        One that was left behind while another branch of it is somewhere would fork for all to see.
        """
        self._anew_wanted = True
        if all(
            self._is_known(peer, collection)
            for peer in self._links.values()
            for collection in peer.syncs
        ):
            self._anew_wanted = False
            self._anew(now)

    def _give_up(self, peer: LinkPeer, now: Instant) -> None:
        """A peer does not send what it says it has of an own log: go on under a new one.

        Nobody is believed a second time: nobody else writes the new one, and a member that means
        ill could hold us up again and again.
        """
        peer.recover_by_ms = None
        self._gave_up = True
        self._anew_wanted = False
        self._anew(now)
