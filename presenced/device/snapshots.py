"""Snapshots over links: which one is given, taken, doubted, and taken again from another device.

Rules of this file: what is given is on disk here; what is taken stands on its sponsor's word until
another device tells the same digest (`beginnings`); a snapshot takes the place of another one only
when all that was decided is on disk, for the document is made anew under it.

Theory of operation. A device that has nothing yet is offered a snapshot by its sync machine; it
adopts that and says its frontier, also when the snapshot could not be used: then entries follow.
At equal points digests are compared. One that differs, a cut that reaches below the snapshot, or a
sponsor that was removed makes it yield: every peer whose word would count is asked for its own,
once at each point of a link. Source: DESIGN §5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from presenced.clock import Instant
from presenced.device.alerts import Alerts
from presenced.device.beginnings import BEGINNINGS, Beginnings
from presenced.device.commit import StoreReader
from presenced.device.effects import Effect, LinkNumber
from presenced.device.flow import Flow
from presenced.device.link_peer import LinkPeer
from presenced.device.pipeline import CommitPipeline, Later
from presenced.device.shelf import Shelf
from presenced.device.sponsoring import Sponsoring
from presenced.errors import NotAllowed, PeerError
from presenced.ids import Collection, DeviceId, show_id
from presenced.replica import sync as syncing
from presenced.replica.replica import Replica
from presenced.replica.rows import Outcome


class Snapshots:
    """The snapshots that collections began with here, and those that others are given."""

    def __init__(
        self,
        *,
        reader: StoreReader,
        shelf: Shelf,
        links: Mapping[LinkNumber, LinkPeer],
        pipeline: CommitPipeline,
        flow: Flow,
        alerts: Alerts,
        later: Callable[[Later], None],
        drop: Callable[[LinkPeer, PeerError], None],
        name_of: Callable[[DeviceId], str],
    ) -> None:
        """`later`: work out once all is on disk. `drop`: end a link for what its peer did."""
        self.beginnings = Beginnings(reader.meta(BEGINNINGS))
        self._sponsoring = Sponsoring()
        self._reader = reader
        self._shelf = shelf
        self._links = links
        self._pipeline = pipeline
        self._flow = flow
        self._alerts = alerts
        self._later = later
        self._drop = drop
        self._name_of = name_of

    def forget(self) -> None:
        """Nothing in memory holds: begin again from what is on disk."""
        self.beginnings = Beginnings(self._reader.meta(BEGINNINGS))
        self._sponsoring.forget()

    def tick(self, now: Instant) -> None:
        """Time has passed."""
        self._sponsoring.tick(now)

    def kept(self, collection: Collection, outcome: Outcome, now: Instant) -> None:
        """A replica's outcome goes into the next commit: see whether its snapshot still holds."""
        replica = self._shelf.replicas[collection]
        if outcome.rebuilt:
            self._sponsoring.forget(collection)
        if replica.loaded and self.beginnings.judged(collection, stale=replica.base_stale):
            self.seek(now)
        self.write_row()

    def write_row(self) -> None:
        """Put how the beginnings stand into the next commit, if that is new."""
        if (row := self.beginnings.take_row()) is not None:
            self._pipeline.commit.meta[BEGINNINGS] = row

    # --- giving ---

    def give(self, peer: LinkPeer, collection: Collection, now: Instant) -> None:
        """Give a snapshot, once all that is applied, and so would be in it, is on disk.

        So are the statements that it would name: the peer is told of them first.
        """

        def give() -> list[Effect]:
            sync = peer.syncs.get(collection)
            if sync is not None and peer.number in self._links:
                replica = self._shelf.replicas[collection]
                is_durable = replica.frontier == self._shelf.durable(collection)
                is_told = not self._pipeline.commit.statements
                if not (is_durable and is_told) and not self._pipeline.is_clean:
                    self._later(give)
                else:
                    chunks = self._made_for(peer, replica, now)
                    self._flow.carry_out(peer, collection, sync.send_snapshot(chunks, now), now)
                    if not chunks and not replica.pending.unsent:
                        self._later(lambda: self._flow.say_again(collection, now))
            return self._pipeline.taken()

        self._later(give)

    def _made_for(self, peer: LinkPeer, replica: Replica, now: Instant) -> list[bytes]:
        """A snapshot to give; none if ours does not hold, or the peer had too many."""
        beginning = self.beginnings[replica.collection]
        if peer.device is None or (beginning is not None and beginning.stale):
            return []
        return self._sponsoring.chunks(
            replica,
            peer.device,
            now,
            heads=self._shelf.heads,
            via=list(self.beginnings.via(replica.collection)),
        )

    # --- taking ---

    def adopt(
        self, peer: LinkPeer, collection: Collection, chunks: Sequence[bytes], now: Instant
    ) -> None:
        """Start from a snapshot; then say where we are, also when it could not be used."""
        if self._shelf.replicas[collection].frontier.held:
            self._later(lambda: self._adopt_anew(peer, collection, chunks, now))
            return
        with suppress(NotAllowed):
            outcome = self._shelf.replicas[collection].adopt(chunks)
            self._note_adopted(collection, outcome, disputed=False)
            self._flow.keep(collection, outcome, now)
        self._later(lambda: self._flow.resume([peer], collection, now))

    def _adopt_anew(
        self, peer: LinkPeer, collection: Collection, chunks: Sequence[bytes], now: Instant
    ) -> list[Effect]:
        """Start from a snapshot instead of an earlier one, once all that is decided is on disk."""
        if not self._pipeline.is_clean:
            self._later(lambda: self._adopt_anew(peer, collection, chunks, now))
            return self._pipeline.taken()
        beginning = self.beginnings[collection]
        siblings = list(self._shelf.siblings)
        resumed = [peer]
        if (
            collection in self._shelf.replicas
            and beginning is not None
            and peer.device in siblings
            and beginning.yields_to(peer.device, siblings)
        ):
            try:
                outcome = self._shelf.replicas[collection].adopt_anew(chunks)
            except NotAllowed:
                pass
            except PeerError as error:
                self._drop(peer, error)
                return self._pipeline.taken()
            else:
                disputed = peer.device in beginning.against and not beginning.stale
                self._note_adopted(collection, outcome, disputed=disputed)
                self._flow.keep(collection, outcome, now)
                resumed = list(self._links.values())
        self._later(lambda: self._flow.resume(resumed, collection, now))
        return self._pipeline.taken()

    def _note_adopted(self, collection: Collection, outcome: Outcome, *, disputed: bool) -> None:
        assert outcome.adopted_from is not None
        self.beginnings.adopted(
            collection, outcome.adopted_from, outcome.adopted_via, disputed=disputed
        )

    # --- doubting ---

    def compared(
        self,
        peer: LinkPeer,
        device: DeviceId,
        collection: Collection,
        found: syncing.DigestAgreed | syncing.DigestMismatch,
        now: Instant,
    ) -> None:
        """The device on a link has told its digest at the point where we are."""
        key = f"digest-{collection}-{show_id(device)}"
        if isinstance(found, syncing.DigestAgreed):
            self._alerts.clear(key)
            self.beginnings.agreed(collection, device, vouched=found.vouched)
            return
        beginning = self.beginnings[collection]
        ours = "this device"
        if beginning is not None and beginning.sponsor != device:
            ours = f"{self._called(beginning.sponsor)} (whose snapshot this device has)"
        self._alerts.add(
            key,
            f"{collection} of {ours} and {self._called(device)} differ"
            " though both have the same entries",
        )
        if found.vouched:
            self.beginnings.disagreed(collection, device)
            self.seek_from(peer, collection, now)

    def _called(self, device: DeviceId) -> str:
        return self._name_of(device) or show_id(device)

    def seek(self, now: Instant) -> None:
        """Ask for snapshots in the place of those that do not hold."""

        def ask() -> list[Effect]:
            for peer in list(self._links.values()):
                for collection in list(peer.syncs):
                    if peer.number in self._links:
                        self.seek_from(peer, collection, now)
            return self._pipeline.taken()

        if self.beginnings.all and self._links:
            self._later(ask)

    def seek_from(self, peer: LinkPeer, collection: Collection, now: Instant) -> None:
        """Ask a peer for a snapshot if ours does not hold: once at each point of a link."""
        beginning = self.beginnings[collection]
        siblings = list(self._shelf.siblings)
        if beginning is None or peer.device is None or peer.device not in siblings:
            return
        if not beginning.yields_to(peer.device, siblings):
            return
        own = self._shelf.own_log(collection)
        point = self._shelf.replicas[collection].point(), peer.syncs[collection].peer_holds(own)
        if peer.asked.get(collection) == point or any(
            one.syncs[collection].state is syncing.State.ADOPTING
            for one in self._links.values()
            if collection in one.syncs
        ):
            return
        effects = peer.syncs[collection].ask_snapshot()
        if effects:
            peer.asked[collection] = point
            self._flow.carry_out(peer, collection, effects, now)
