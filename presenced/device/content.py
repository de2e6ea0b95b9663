"""Entries over links: what of the replicas goes to whom, and what comes in.

Rules of this file: sync machines tell of what is on disk only, so what they send waits for
nothing and gathers in `immediate`; what a replica decides goes into the next commit; who may have
what is the machine's business, which begins and ends the syncs of a link.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from presenced.clock import Instant
from presenced.device.alerts import WORDS, Alerts
from presenced.device.beginnings import BEGINNINGS, Beginnings
from presenced.device.commit import Commit, StoreReader
from presenced.device.effects import Effect, Emit, Event, LinkNumber, SendMessages
from presenced.device.limits import EARLY_MESSAGES_MAX, RECOVER_MS, RESUME_MS
from presenced.device.link_peer import LinkPeer
from presenced.device.pipeline import CommitPipeline, Later
from presenced.device.projection import events_of, keep_rows, keep_views
from presenced.device.recaps import Recaps, unread_summary
from presenced.device.receipts import RECEIPTS, Receipts
from presenced.device.shelf import DIGESTS, Shelf
from presenced.device.sponsoring import Sponsoring
from presenced.device.work import CatchUp
from presenced.errors import LimitExceeded, NotAllowed, PeerError, Unauthorized
from presenced.ids import Collection, DeviceId, show_id
from presenced.replica import sync as syncing
from presenced.replica.messages import collection_of
from presenced.replica.replica import Replica
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
        self.alerts = Alerts()
        self.receipts = Receipts(reader.meta(RECEIPTS))
        self.beginnings = Beginnings(reader.meta(BEGINNINGS))
        self.catch_up = CatchUp()
        self.immediate: list[Effect] = []
        "effects that wait for no commit"
        self._reader = reader
        self._shelf = shelf
        self._recaps = recaps
        self._links = links
        self._pipeline = pipeline
        self._later = later
        self._drop = drop
        self._anew = anew
        self._anew_wanted = False
        self._gave_up = False
        self._name_of = name_of
        self._sponsoring = Sponsoring()

    def forget(self) -> None:
        """Nothing in memory holds: begin again from what is on disk."""
        self.beginnings = Beginnings(self._reader.meta(BEGINNINGS))
        self._sponsoring.forget()

    def tick(self, peer: LinkPeer, now: Instant) -> None:
        """Time has passed for a link."""
        self._sponsoring.tick(now)
        if peer.recover_by_ms is not None and now.mono_ms >= peer.recover_by_ms:
            self._give_up(peer, now)
        is_due = peer.resume_at_ms is not None and now.mono_ms >= peer.resume_at_ms
        if is_due:
            peer.resume_at_ms = None
        for collection, sync in list(peer.syncs.items()):
            if is_due and sync.state is not syncing.State.NEW:
                self._carry_out(peer, collection, self._resumed(sync, collection, now), now)
            self._carry_out(peer, collection, sync.tick(now), now)

    def taken(self) -> list[Effect]:
        """Sends that wait for nothing: sync messages tell of what is on disk already."""
        taken, self.immediate = self.immediate, []
        return taken

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
                self._carry_out(peer, collection, effects, now)
                for early in peer.early.pop(collection, ()):
                    if peer.number in self._links:
                        self._heard(peer, collection, early, now)
            return self.taken()

        self._later(begin)

    def is_live(self, collection: Collection) -> bool:
        """Whether somebody is there to send an edit of this collection to, and it may be sealed."""
        links = self._links.values()
        return any(peer.is_sound(collection) for peer in links) and not self._recovers(collection)

    def _recovers(self, collection: Collection) -> bool:
        """Whether somebody has more, or other entries, of the own log."""
        return any(peer.is_unsound(collection) for peer in self._links.values())

    def seal(self, collection: Collection, now: Instant) -> bool:
        """Make entries of what is unsent. False if that cannot be done now."""
        replica = self._shelf.replicas[collection]
        if replica.pending.unsent and (self._recovers(collection) or replica.contested):
            return False
        self.keep(collection, replica.seal_overlay(), now)
        if replica.pending.unsent:
            self.alert(f"unsent-{collection}", f"edits of {collection} cannot be sent yet")
            return False
        self.alerts.clear(f"unsent-{collection}")
        return True

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
            self._carry_out(peer, collection, effects, now)
        except PeerError as error:
            self._drop(peer, error)
            return
        self._note_receipts(peer)
        self._check_own(peer, collection, now)
        self.gauge(now)

    def _check_own(self, peer: LinkPeer, collection: Collection, now: Instant) -> None:
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
                self.own_is_whole(collection, now)
            return
        assert point is not None
        self.keep(collection, replica.recover(), now)
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
            self._carry_out(peer, collection, sync.ask_anew(own, now), now)

    def own_is_whole(self, collection: Collection, now: Instant) -> None:
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
                self._later(lambda: self._say_again(collection, now))

    def hold_back(self, now: Instant) -> None:
        """Our logs have ended, which we did not remember: nothing is sealed into them."""
        for collection, replica in self._shelf.replicas.items():
            self.keep(collection, replica.recover(), now)

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

    def _is_known(self, peer: LinkPeer, collection: Collection) -> bool:
        """Whether all that a peer has of an own log is here, in the log or beside it."""
        if peer.is_sound(collection):
            return True
        point = peer.syncs[collection].peer_point(self._shelf.own_log(collection))
        branch = self._shelf.replicas[collection].branch
        return point is not None and branch is not None and branch.last_seq >= point[0]

    def _say_again(self, collection: Collection, now: Instant) -> list[Effect]:
        """What was unsent is sealed and on disk: peers that were told of it need wait no more.

        Not in the middle of a snapshot, which would end it: the frontier that follows one leads
        here again.
        """
        for peer in list(self._links.values()):
            sync = peer.syncs.get(collection)
            if sync is not None and sync.said_unsent and sync.state is syncing.State.LIVE:
                self._carry_out(peer, collection, self._resumed(sync, collection, now), now)
        return self.taken()

    def _give_up(self, peer: LinkPeer, now: Instant) -> None:
        """A peer does not send what it says it has of an own log: go on under a new one.

        Nobody is believed a second time: nobody else writes the new one, and a member that means
        ill could hold us up again and again.
        """
        peer.recover_by_ms = None
        self._gave_up = True
        self._anew_wanted = False
        self._anew(now)

    def _carry_out(
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
                    self.immediate.append(SendMessages(peer.number, (effect.message,)))
                case syncing.EntriesReceived():
                    self._receive(peer, collection, effect, now)
                case syncing.ForkReceived():
                    self._receive_fork(peer, collection, effect, now)
                case syncing.SnapshotWanted():
                    self._sponsor(peer, collection, now)
                case syncing.SnapshotReceived():
                    self._adopt(peer, collection, effect.chunks, now)
                case syncing.InSync():
                    self._caught_up(peer, collection, now)
                    self._seek_snapshot(peer, collection, now)
                case syncing.DigestWanted():
                    digest = self._shelf.digest(collection)
                    vouched = self.beginnings.vouches(collection)
                    told = sync.digest_taken(replica.point(), digest, now, vouched=vouched)
                    self.write_notes()
                    self._carry_out(peer, collection, told, now)
                case syncing.DigestAgreed() | syncing.DigestMismatch():
                    self._compared(peer, collection, effect, now)

    def _receive(
        self,
        peer: LinkPeer,
        collection: Collection,
        arrived: syncing.EntriesReceived,
        now: Instant,
    ) -> None:
        replica = self._shelf.replicas[collection]
        if peer.recover_by_ms is not None:
            peer.recover_by_ms = now.mono_ms + RECOVER_MS
        if self._recovers(collection) or replica.own_waits:
            self.keep(collection, replica.recover(), now)
        elif not self.seal(collection, now):
            peer.resume_at_ms = peer.resume_at_ms or now.mono_ms + RESUME_MS
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
        self.seal(collection, now)
        outcome = self._shelf.replicas[collection].receive_proof(shown.proof, now)
        self.keep(collection, outcome, now)
        if outcome.faults:
            raise outcome.faults[0]
        if shown.proof.log == self._shelf.own_log(collection):
            self.own_is_whole(collection, now)

    def _compared(
        self,
        peer: LinkPeer,
        collection: Collection,
        found: syncing.DigestAgreed | syncing.DigestMismatch,
        now: Instant,
    ) -> None:
        """A peer has told its digest at the point where we are."""
        if peer.device is None:
            return
        key = f"digest-{collection}-{show_id(peer.device)}"
        if isinstance(found, syncing.DigestAgreed):
            self.alerts.clear(key)
            self.beginnings.agreed(collection, peer.device, vouched=found.vouched)
        else:
            beginning = self.beginnings[collection]
            ours = "this device"
            if beginning is not None and beginning.sponsor != peer.device:
                ours = f"{self._called(beginning.sponsor)} (whose snapshot this device has)"
            self.alert(
                key,
                f"{collection} of {ours} and {self._called(peer.device)} differ"
                " though both have the same entries",
            )
            if found.vouched:
                self.beginnings.disagreed(collection, peer.device)
                self._seek_snapshot(peer, collection, now)
        self.write_notes()

    def _called(self, device: DeviceId) -> str:
        return self._name_of(device) or show_id(device)

    def _seek_snapshot(self, peer: LinkPeer, collection: Collection, now: Instant) -> None:
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
            self._carry_out(peer, collection, effects, now)

    def _adopt(
        self, peer: LinkPeer, collection: Collection, chunks: Sequence[bytes], now: Instant
    ) -> None:
        """Start from a snapshot; then say where we are, also when it could not be used."""
        if self._shelf.replicas[collection].frontier.held:
            self._later(lambda: self._adopt_anew(peer, collection, chunks, now))
            return
        with suppress(NotAllowed):
            outcome = self._shelf.replicas[collection].adopt(chunks)
            self._note_adopted(collection, outcome, disputed=False)
            self.keep(collection, outcome, now)
        self._later(lambda: self._resume([peer], collection, now))

    def _adopt_anew(
        self, peer: LinkPeer, collection: Collection, chunks: Sequence[bytes], now: Instant
    ) -> list[Effect]:
        """Start from a snapshot instead of an earlier one, once all that is decided is on disk."""
        if not self._pipeline.is_clean:
            self._later(lambda: self._adopt_anew(peer, collection, chunks, now))
            return self.taken()
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
                return self.taken()
            else:
                disputed = peer.device in beginning.against and not beginning.stale
                self._note_adopted(collection, outcome, disputed=disputed)
                self.keep(collection, outcome, now)
                resumed = list(self._links.values())
        self._later(lambda: self._resume(resumed, collection, now))
        return self.taken()

    def _note_adopted(self, collection: Collection, outcome: Outcome, *, disputed: bool) -> None:
        assert outcome.adopted_from is not None
        self.beginnings.adopted(
            collection, outcome.adopted_from, outcome.adopted_via, disputed=disputed
        )

    def _resume(
        self, peers: Iterable[LinkPeer], collection: Collection, now: Instant
    ) -> list[Effect]:
        """Say where we are."""
        for peer in peers:
            sync = peer.syncs.get(collection)
            if sync is None or sync.state is syncing.State.NEW or peer.number not in self._links:
                continue
            self._carry_out(peer, collection, self._resumed(sync, collection, now), now)
            self._check_own(peer, collection, now)
        return self.taken()

    def _sponsor(self, peer: LinkPeer, collection: Collection, now: Instant) -> None:
        """Give a snapshot, once all that is applied, and so would be in it, is on disk."""

        def give() -> list[Effect]:
            sync = peer.syncs.get(collection)
            if sync is not None and peer.number in self._links:
                replica = self._shelf.replicas[collection]
                is_durable = replica.frontier == self._shelf.durable(collection)
                if not is_durable and not self._pipeline.is_clean:
                    self._later(give)
                else:
                    chunks = self._snapshot_for(peer, replica, now)
                    self._carry_out(peer, collection, sync.send_snapshot(chunks, now), now)
                    if not chunks and not replica.pending.unsent:
                        self._later(lambda: self._say_again(collection, now))
            return self.taken()

        self._later(give)

    def _snapshot_for(self, peer: LinkPeer, replica: Replica, now: Instant) -> list[bytes]:
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
                    self._carry_out(peer, collection, effects, now)

    def keep(self, collection: Collection, outcome: Outcome, now: Instant) -> None:
        """Put an outcome into the next commit, with all that follows from it."""
        commit, replica = self._pipeline.commit, self._shelf.replicas[collection]
        keep_rows(commit, collection, outcome)
        keep_views(commit, collection, outcome, replica)
        events = list(events_of(commit, outcome))
        if outcome.rebuilt:
            events.append(Event("rebuilt", {"collection": collection}))
        if events:
            self._emit(*events)
        self._recaps.applied(collection, outcome)
        for alert in outcome.alerts:
            self.alert(f"{alert.kind.value}-{show_id(alert.log)}", WORDS[alert.kind])
        if outcome.rebuilt:
            self._sponsoring.forget(collection)
        if replica.loaded and self.beginnings.judged(collection, stale=replica.base_stale):
            self.seek(now)
        self._write_beginnings()

    def seek(self, now: Instant) -> None:
        """Ask for snapshots in the place of those that do not hold."""

        def ask() -> list[Effect]:
            for peer in list(self._links.values()):
                for collection in list(peer.syncs):
                    if peer.number in self._links:
                        self._seek_snapshot(peer, collection, now)
            return self.taken()

        if self.beginnings.all and self._links:
            self._later(ask)

    def _write_beginnings(self) -> None:
        if (row := self.beginnings.take_row()) is not None:
            self._pipeline.commit.meta[BEGINNINGS] = row

    def alert(self, key: str, words: str) -> None:
        """Tell the owner, once."""
        if (event := self.alerts.add(key, words)) is not None:
            self._emit(event)

    def _caught_up(self, peer: LinkPeer, collection: Collection, now: Instant) -> None:
        if collection in peer.behind:
            peer.behind.discard(collection)
            self._emit(Event("sync.caught-up", {"collection": collection}))
            if not peer.behind:
                summary = self._recaps.finish(now, unread_summary(self._reader))
                if summary is not None:
                    self._pipeline.commit.summary = summary
                    self._emit(Event("summary.changed", {}))

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
        self._write_beginnings()

    def gauge(self, now: Instant) -> None:
        """Measure what is left of catching up, and tell."""
        syncs = [
            peer.syncs[collection] for peer in self._links.values() for collection in peer.behind
        ]
        event = self.catch_up.measure(syncs, now, is_new=lambda: self._shelf.is_new)
        if event is not None:
            self.immediate.append(Emit((event,)))

    def _emit(self, *events: Event) -> None:
        self._pipeline.after(Emit(events))
