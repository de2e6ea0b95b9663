"""Entries over links: what of the replicas goes to whom, and what comes in.

Rules of this file: sync machines tell of what is on disk only, so what they send waits for
nothing; what a replica decides goes into the next commit; who may have what is the machine's
business, which begins and ends the syncs of a link. Whether edits may be sealed is a question for
`own_logs`, snapshots are one for `snapshots`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from presenced.clock import Instant
from presenced.device.alerts import WORDS, Alerts
from presenced.device.commit import Commit, StoreReader
from presenced.device.effects import Effect, Emit, Event, LinkNumber, SendMessages
from presenced.device.limits import EARLY_MESSAGES_MAX, RESUME_MS
from presenced.device.link_peer import LinkPeer
from presenced.device.own_logs import OwnLogs
from presenced.device.pipeline import CommitPipeline, Later
from presenced.device.projection import events_of, keep_rows, keep_views
from presenced.device.recaps import Recaps, unread_summary
from presenced.device.receipts import RECEIPTS, Receipts
from presenced.device.shelf import DIGESTS, Shelf
from presenced.device.snapshots import Snapshots
from presenced.device.work import CatchUp
from presenced.errors import LimitExceeded, PeerError, Unauthorized
from presenced.ids import Collection, DeviceId, show_id
from presenced.replica import sync as syncing
from presenced.replica.messages import collection_of
from presenced.replica.rows import Outcome
from presenced.replica.sync import SyncMachine


class Content:
    """The syncs of all links, and what comes of them."""

    def __init__(
        self,
        *,
        reader: StoreReader,
        shelf: Shelf,
        recaps: Recaps,
        links: Mapping[LinkNumber, LinkPeer],
        pipeline: CommitPipeline,
        later: Callable[[Later], None],
        drop: Callable[[LinkPeer, PeerError], None],
        anew: Callable[[Instant], None],
        name_of: Callable[[DeviceId], str],
    ) -> None:
        """`later`: work out once all is on disk. `drop`: end a link for what its peer did.

        `anew`: our own logs cannot go on; begin a new incarnation.
        """
        self.alerts = Alerts(pipeline.tell)
        self.receipts = Receipts(reader.meta(RECEIPTS))
        self.catch_up = CatchUp()
        self.own_logs = OwnLogs(
            shelf=shelf, links=links, flow=self, alerts=self.alerts, later=later, anew=anew
        )
        self.snapshots = Snapshots(
            reader=reader,
            shelf=shelf,
            links=links,
            pipeline=pipeline,
            flow=self,
            alerts=self.alerts,
            later=later,
            drop=drop,
            name_of=name_of,
        )
        self._reader = reader
        self._shelf = shelf
        self._recaps = recaps
        self._links = links
        self._pipeline = pipeline
        self._later = later
        self._drop = drop

    def forget(self) -> None:
        """Nothing in memory holds: begin again from what is on disk."""
        self.snapshots.forget()

    def tick(self, peer: LinkPeer, now: Instant) -> None:
        """Time has passed for a link."""
        self.snapshots.tick(now)
        self.own_logs.tick(peer, now)
        is_due = peer.resume_at_ms is not None and now.mono_ms >= peer.resume_at_ms
        if is_due:
            peer.resume_at_ms = None
        for collection, sync in list(peer.syncs.items()):
            if is_due and sync.state is not syncing.State.NEW:
                self.carry_out(peer, collection, self._resumed(sync, collection, now), now)
            self.carry_out(peer, collection, sync.tick(now), now)

    def begin(self, peer: LinkPeer, collection: Collection, now: Instant) -> None:
        """Once all is on disk, say our frontier. What is unsent is sealed when the peer's is here.

        Only then is it known whether the own log is whole (DESIGN §3 *Forks and restored disks*).
        """
        replica = self._shelf.replicas[collection]
        own = self._shelf.own_log(collection)
        sync = SyncMachine(collection, self._reader, hash_at=replica.hash_at, own=own)
        peer.syncs[collection] = sync
        peer.behind.add(collection)

        def begin() -> list[Effect]:
            if peer.number in self._links and peer.syncs.get(collection) is sync:
                frontier, slots = self._shelf.durable(collection), self._shelf.slots(collection)
                unsent = replica.pending.unsent > 0
                effects = sync.start(frontier, now, slots=slots, adopts=True, unsent=unsent)
                self.carry_out(peer, collection, effects, now)
                for early in peer.early.pop(collection, ()):
                    if peer.number in self._links:
                        self._heard(peer, collection, early, now)
            return self._pipeline.taken()

        self._later(begin)

    def hear(self, peer: LinkPeer, message: bytes, now: Instant) -> None:
        collection = collection_of(message)
        sync = peer.syncs.get(collection)
        if sync is None and peer.level:
            raise Unauthorized(f"{collection} is not shared with this device")
        if sync is None or sync.state is syncing.State.NEW:
            # The peer may begin first: its statements were level before ours, or our own
            # commit before the first frontier is still in flight.
            waiting = peer.early.setdefault(collection, [])
            if len(waiting) >= EARLY_MESSAGES_MAX:
                raise LimitExceeded("early-messages")
            waiting.append(message)
            return
        self._heard(peer, collection, message, now)

    def _heard(self, peer: LinkPeer, collection: Collection, message: bytes, now: Instant) -> None:
        try:
            effects = peer.syncs[collection].receive(message, now)
            self.carry_out(peer, collection, effects, now)
        except PeerError as error:
            self._drop(peer, error)
            return
        self._note_receipts(peer)
        self.own_logs.check(peer, collection, now)
        self.gauge(now)

    def carry_out(
        self,
        peer: LinkPeer,
        collection: Collection,
        effects: Iterable[syncing.Effect],
        now: Instant,
    ) -> None:
        """Do what a sync machine asks."""
        sync, replica = peer.syncs[collection], self._shelf.replicas[collection]
        for effect in effects:
            match effect:
                case syncing.SendMessage():
                    self._pipeline.at_once(SendMessages(peer.number, (effect.message,)))
                case syncing.EntriesReceived():
                    self._receive(peer, collection, effect, now)
                case syncing.ForkReceived():
                    self._receive_fork(peer, collection, effect, now)
                case syncing.SnapshotWanted():
                    self.snapshots.give(peer, collection, now)
                case syncing.SnapshotReceived():
                    self.snapshots.adopt(peer, collection, effect.chunks, now)
                case syncing.InSync():
                    self._caught_up(peer, collection, now)
                    self.snapshots.seek_from(peer, collection, now)
                case syncing.DigestWanted():
                    digest = self._shelf.digest(collection)
                    vouched = self.snapshots.beginnings.vouches(collection)
                    told = sync.digest_taken(replica.point(), digest, now, vouched=vouched)
                    self.write_notes()
                    self.carry_out(peer, collection, told, now)
                    if replica.loaded and replica.base_due:
                        self.keep(collection, replica.write_base(), now)
                case syncing.DigestAgreed() | syncing.DigestMismatch():
                    if peer.device is not None:
                        self.snapshots.compared(peer, peer.device, collection, effect, now)
                        self.write_notes()

    def _receive(
        self,
        peer: LinkPeer,
        collection: Collection,
        arrived: syncing.EntriesReceived,
        now: Instant,
    ) -> None:
        replica = self._shelf.replicas[collection]
        if not self.own_logs.make_way(peer, collection, now):
            return
        outcome = replica.receive(arrived.log, arrived.first_seq, arrived.raws, now)
        self.keep(collection, outcome, now)
        if outcome.paused and peer.resume_at_ms is None:
            peer.resume_at_ms = now.mono_ms + RESUME_MS
        if outcome.faults:
            raise outcome.faults[0]

    def _receive_fork(
        self, peer: LinkPeer, collection: Collection, shown: syncing.ForkReceived, now: Instant
    ) -> None:
        self.own_logs.seal(collection, now)
        outcome = self._shelf.replicas[collection].receive_proof(shown.proof, now)
        self.keep(collection, outcome, now)
        if outcome.faults:
            raise outcome.faults[0]
        if shown.proof.log == self._shelf.own_log(collection):
            self.own_logs.go_on(collection, now)

    def resume(
        self, peers: Iterable[LinkPeer], collection: Collection, now: Instant
    ) -> list[Effect]:
        """Say where we are: what is on disk."""
        for peer in peers:
            sync = peer.syncs.get(collection)
            if sync is None or sync.state is syncing.State.NEW or peer.number not in self._links:
                continue
            self.carry_out(peer, collection, self._resumed(sync, collection, now), now)
            self.own_logs.check(peer, collection, now)
        return self._pipeline.taken()

    def say_again(self, collection: Collection, now: Instant) -> list[Effect]:
        """What was unsent is sealed and on disk: peers that were told of it need wait no more.

        Not in the middle of a snapshot, which would end it: the frontier that follows one leads
        here again.
        """
        for peer in list(self._links.values()):
            sync = peer.syncs.get(collection)
            if sync is not None and sync.said_unsent and sync.state is syncing.State.LIVE:
                self.carry_out(peer, collection, self._resumed(sync, collection, now), now)
        return self._pipeline.taken()

    def _resumed(
        self, sync: SyncMachine, collection: Collection, now: Instant
    ) -> list[syncing.Effect]:
        frontier, slots = self._shelf.durable(collection), self._shelf.slots(collection)
        return sync.resume(frontier, now, slots=slots)

    def push(self, commit: Commit, now: Instant) -> None:
        """Entries are on disk: send them on, acknowledge them."""
        for collection in sorted({head.collection for head in commit.heads}):
            entries = [one for one in commit.entries if one.collection == collection]
            forks = [one for one in commit.forks if one.collection == collection]
            frontier = self._shelf.durable(collection)
            for peer in list(self._links.values()):
                sync = peer.syncs.get(collection)
                if sync is not None and sync.state is not syncing.State.NEW:
                    effects = sync.committed(entries, frontier, now, forks=forks)
                    self.carry_out(peer, collection, effects, now)

    def keep(self, collection: Collection, outcome: Outcome, now: Instant) -> None:
        """Put an outcome into the next commit, with all that follows from it."""
        commit, replica = self._pipeline.commit, self._shelf.replicas[collection]
        keep_rows(commit, collection, outcome)
        keep_views(commit, collection, outcome, replica)
        events = list(events_of(commit, outcome))
        if outcome.rebuilt:
            events.append(Event("rebuilt", {"collection": collection}))
        if events:
            self._pipeline.tell(*events)
        self._recaps.applied(collection, outcome)
        for alert in outcome.alerts:
            self.alerts.add(f"{alert.kind.value}-{show_id(alert.log)}", WORDS[alert.kind])
        self.snapshots.kept(collection, outcome, now)

    def _caught_up(self, peer: LinkPeer, collection: Collection, now: Instant) -> None:
        if collection in peer.behind:
            peer.behind.discard(collection)
            self._pipeline.tell(Event("sync.caught-up", {"collection": collection}))
            if not peer.behind:
                summary = self._recaps.finish(now, unread_summary(self._reader))
                if summary is not None:
                    self._pipeline.commit.summary = summary
                    self._pipeline.tell(Event("summary.changed", {}))

    def _note_receipts(self, peer: LinkPeer) -> None:
        """Remember what the peer holds of our logs."""
        if peer.device is not None:
            for collection, sync in peer.syncs.items():
                log = self._shelf.own_log(collection)
                self.receipts.note(peer.device, log, sync.peer_holds(log))

    def write_notes(self) -> None:
        meta = self._pipeline.commit.meta
        if (row := self.receipts.take_row(self._shelf.siblings)) is not None:
            meta[RECEIPTS] = row
        if (row := self._shelf.take_digests_row()) is not None:
            meta[DIGESTS] = row
        self.snapshots.write_row()

    def gauge(self, now: Instant) -> None:
        """Measure what is left of catching up, and tell."""
        syncs = [
            peer.syncs[collection] for peer in self._links.values() for collection in peer.behind
        ]
        event = self.catch_up.measure(syncs, now, is_new=lambda: self._shelf.is_new)
        if event is not None:
            self._pipeline.at_once(Emit((event,)))
