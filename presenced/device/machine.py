"""One device's whole behaviour: membership, replicas, records and links, sans-IO.

Rules of this file: every input method records what happened, then calls `_decide`; nothing here
reads a clock, a disk or a socket; committed rows are read through the reader that was passed in.

Invariants:
1. Nothing is sent, answered or emitted that is not on disk.
2. At most one commit is in flight; own edits that arrive meanwhile become the next entry, entries
   from others are applied at once and written with the next commit.
3. No remote entry is applied while a collection's overlay holds an edit.
4. A peer's fault ends that peer's link and nothing else.
5. After a failed commit, or when yrs panics, every document is loaded again from disk and every
   link begins anew; not before a commit in flight has ended, or what it holds would be missing.

Theory of operation. On link-up: statements both ways; then rebuild if acceptance changed, pay what
is owed, seal the overlay under the newest epoch and heads; then entries (DESIGN §5, order).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from presenced.clock import Entropy, Instant
from presenced.device.beginnings import Beginning, Standing
from presenced.device.commit import StoreReader
from presenced.device.content import Content
from presenced.device.editing import Editor
from presenced.device.edits import Edit, NameDevice
from presenced.device.effects import (
    Answer,
    CloseLink,
    Effect,
    Emit,
    Event,
    LinkNumber,
    RequestNumber,
    SendMessages,
)
from presenced.device.founding import HLC, NAME, load_identity
from presenced.device.guests import Guest
from presenced.device.limits import (
    CROSSED_DIALS_MS,
    EDITS_PER_COMMIT_MAX,
)
from presenced.device.link_peer import LinkPeer
from presenced.device.membership import Membership, rows_of
from presenced.device.pipeline import CommitPipeline, Later
from presenced.device.rebirth import WORDS, BeginsAnew, begin_anew
from presenced.device.recaps import Recaps
from presenced.device.shelf import Shelf
from presenced.device.work import Work
from presenced.errors import (
    CallerError,
    Malformed,
    PeerError,
    PresenceError,
    StoreError,
)
from presenced.ids import Collection, DeviceId, RecordId, SpaceId, show_id
from presenced.presence.fields import DEVICE_MAP
from presenced.presence.fields import NAME as NAME_FIELD
from presenced.presence.rules import resolve
from presenced.replica.document import DocumentLost
from presenced.replica.hlc import Hlc, HybridClock
from presenced.replica.messages import FIRST_TYPE
from presenced.replica.slot import Operation
from presenced.trust.certificate import Certificate
from presenced.trust.identity import DeviceSecrets
from presenced.trust.statement import Statement
from presenced.trust.statement_sync import StatementSync


class DeviceMachine:
    """Events in, effects out. Built from what is on disk; building it reads, never writes."""

    def __init__(
        self, *, space: SpaceId, secrets: DeviceSecrets, reader: StoreReader, entropy: Entropy
    ) -> None:
        self._reader = reader
        self._entropy = entropy
        self._secrets = secrets
        self.membership = Membership(space=space, secrets=secrets, raws=reader.statements())
        stored = reader.meta(HLC)
        self._clock = HybridClock(Hlc(int.from_bytes(stored or b"", "big")))
        self._pipeline = CommitPipeline()
        self.shelf = Shelf(membership=self.membership, reader=reader, clock=self._clock)
        self._editor = Editor(
            device=secrets.device, source=self.shelf, tick=self._tick, entropy=entropy
        )
        self.recaps = Recaps(self.membership, self.shelf)
        self.links: dict[LinkNumber, LinkPeer] = {}
        self._edits: list[tuple[RequestNumber, Sequence[Edit]]] = []
        self._content = Content(
            reader=reader,
            shelf=self.shelf,
            recaps=self.recaps,
            links=self.links,
            pipeline=self._pipeline,
            later=self._later,
            drop=self._drop_link,
            anew=self._begin_anew,
            name_of=self.name_of,
        )
        self._lost: DocumentLost | None = None
        "why everything must be loaded again, once the commit in flight has ended"
        self._anew_due = False

    # --- inputs ---

    def start(self, now: Instant) -> list[Effect]:
        """Begin: pay what is owed since the last life (a first epoch, a share); say our name."""
        with self._surviving():
            if self._pay_debts():
                self._judge_again(now)
            if self.shelf.superseded:
                self._content.own_logs.hold_back(now)
            name = self._reader.meta(NAME)
            unnamed = self.shelf.has(DEVICE_MAP) and not self.shelf.wrote(DEVICE_MAP)
            if name is not None and unnamed:
                self._edits.append((RequestNumber(0), [NameDevice(name=name.decode("utf-8"))]))
        return self._decide(now)

    def edit(self, request: RequestNumber, edits: Sequence[Edit], now: Instant) -> list[Effect]:
        """Carry out edits, all or nothing. Answered with `EditResult`s, once on disk."""
        self._edits.append((request, edits))
        return self._decide(now)

    def admit(
        self,
        request: RequestNumber,
        certificate: Certificate,
        collections: Iterable[Collection],
        now: Instant,
    ) -> list[Effect]:
        """Make a device a member. Answered with all statements (bytes) once they are on disk."""
        if self._lost is not None:
            return [Answer(request, error=self._lost)]
        try:
            signed = self.membership.admit(certificate, collections, self._entropy)
        except PresenceError as error:
            return [Answer(request, error=error)]
        self._keep_statements(signed)
        raws = [statement.raw for statement in self.membership.dag.topological()]
        self._pipeline.after(Answer(request, value=raws))
        self._emit(Event("device.added", {"device": show_id(certificate.device)}))
        with self._surviving():
            self._trust_changed(now)
        return self._decide(now)

    def link_up(
        self,
        number: LinkNumber,
        device: DeviceId | None,
        static: bytes,
        now: Instant,
        *,
        inbound: bool = False,
    ) -> list[Effect]:
        """A link is authenticated. `device` is None if no statement here names its key yet."""
        if self._lost is not None:
            return [CloseLink(number, self._lost.code)]
        guest = Guest(self.membership, static) if device is None else None
        sync = StatementSync(self.membership.dag) if guest is None else guest.sync()
        peer = LinkPeer(
            number=number,
            device=device,
            static=static,
            inbound=inbound,
            statements=sync,
            guest=guest,
            up_at_ms=now.mono_ms,
        )
        self.links[number] = peer
        if device is not None:
            self._came_up(device, now)
        if number in self.links:
            self._send(number, sync.start())
        return self._decide(now)

    def link_message(self, number: LinkNumber, message: bytes, now: Instant) -> list[Effect]:
        """A message arrived on a link. What breaks the protocol closes that link."""
        peer = self.links.get(number)
        if peer is None:
            return []
        with self._surviving():
            try:
                if not message:
                    raise Malformed("empty message")
                if message[0] < FIRST_TYPE:
                    self._statement_message(peer, message, now)
                else:
                    self._content.hear(peer, message, now)
            except PeerError as error:
                self._drop_link(peer, error)
        return self._decide(now)

    def link_down(self, number: LinkNumber, now: Instant) -> list[Effect]:
        """A link ended, for whatever reason."""
        peer = self.links.pop(number, None)
        if peer is not None:
            self._ended(peer)
            with self._surviving():
                for collection in peer.syncs:
                    self._content.own_logs.go_on(collection, now)
            self._content.gauge(now)
        return self._decide(now)

    def committed(self, token: int, now: Instant) -> list[Effect]:
        """The commit is on disk."""
        commit = self._pipeline.landed(token)
        self.shelf.landed(commit.heads)
        was_lost = self._lost is not None  # what follows may begin anew, and that is not on disk
        sends, told = self._pipeline.done()
        with self._surviving():
            self._content.push(commit, now)
        self._content.gauge(now)
        if was_lost:
            self._reload()
        return [*sends, *self._pipeline.taken(), *told, *self._decide(now)]

    def commit_failed(self, token: int, error: StoreError, now: Instant) -> list[Effect]:
        """The commit is not on disk: forget documents, begin every link anew."""
        effects: list[Effect] = list(self._pipeline.failed(token, error))
        effects += [Answer(request, error=error) for request, _ in self._edits]
        self._edits.clear()
        self._reload()
        return effects + self._decide(now)

    def tick(self, now: Instant) -> list[Effect]:
        """Time has passed."""
        with self._surviving():
            for peer in list(self.links.values()):
                self._content.tick(peer, now)
        return self._decide(now)

    @property
    def next_wakeup(self) -> Instant | None:
        """When `tick` has something to do."""
        times = [
            wakeup
            for peer in self.links.values()
            for wakeup in (
                peer.resume_at_ms,
                peer.recover_by_ms,
                *(one.next_wakeup for one in peer.syncs.values()),
            )
            if wakeup is not None
        ]
        return Instant(min(times), 0) if times else None

    # --- what others ask ---

    def name_of(self, device: DeviceId) -> str:
        """The device's name as a record says it; empty if none does (yet)."""
        if not self.shelf.has(DEVICE_MAP):
            return ""
        slots = self.shelf.record(DEVICE_MAP, RecordId(device)).get(NAME_FIELD, {})
        value = resolve(DEVICE_MAP, NAME_FIELD, slots).value
        return value if isinstance(value, str) else ""

    @property
    def linked(self) -> frozenset[DeviceId]:
        """Devices with an authenticated link now."""
        return frozenset(peer.device for peer in self.links.values() if peer.device is not None)

    def device_on(self, number: LinkNumber) -> DeviceId | None:
        """Whose a link is; None while it is nobody's, and when it has ended."""
        peer = self.links.get(number)
        return None if peer is None else peer.device

    @property
    def alerts(self) -> Sequence[str]:
        """What a person should look at, in words, newest last."""
        return self._content.alerts.words

    def in_sync(self, device: DeviceId) -> bool:
        """Whether a linked device has, and has given, everything."""
        return any(
            peer.level and not peer.behind and all(sync.in_sync for sync in peer.syncs.values())
            for peer in self.links.values()
            if peer.device == device
        )

    @property
    def unacknowledged(self) -> int:
        """Own entries that no other device of this identity is known to hold."""
        held, siblings = self._content.receipts.held, self.membership.siblings
        return sum(
            max(0, self.shelf.own_seq(name) - held(self.shelf.own_log(name), siblings))
            for name in self.shelf.replicas
        )

    @property
    def beginnings(self) -> Mapping[Collection, tuple[Beginning, Standing]]:
        """The collections that began with a snapshot here: from whom, and how that stands."""
        siblings = self.membership.siblings
        return {
            name: (one, one.standing(siblings))
            for name, one in sorted(self._content.snapshots.beginnings.all.items())
        }

    @property
    def work(self) -> Work | None:
        """Catching up, while it lasts."""
        return self._content.catch_up.work

    # --- deciding ---

    def _decide(self, now: Instant) -> list[Effect]:
        if not self._pipeline.in_flight and self._edits:
            self._write_edits(now)
        return [*self._pipeline.taken(), *self._pipeline.flush()]

    def _write_edits(self, now: Instant) -> None:
        taken: list[tuple[RequestNumber, Sequence[Edit]]] = []
        count = 0
        while self._edits and (not taken or count < EDITS_PER_COMMIT_MAX):
            request = self._edits.pop(0)
            count += len(request[1])
            taken.append(request)
        try:
            if not self._write_together(taken, now):
                for request in taken:
                    self._write_together([request], now)
        except DocumentLost as error:
            refused = {one.request for one in self._lose(error)}
            self._pipeline.at_once(
                *[Answer(request, error=error) for request, _ in taken if request not in refused]
            )

    def _write_together(
        self, requests: Sequence[tuple[RequestNumber, Sequence[Edit]]], now: Instant
    ) -> bool:
        """Write requests as one batch. False: the document refuses the batch, nothing was done."""
        batch = self._editor.batch(now)
        answers = []
        for request, edits in requests:
            try:
                answers.append(Answer(request, value=batch.request(edits)))
            except CallerError as error:
                answers.append(Answer(request, error=error))
        try:
            self._write(batch.operations(), now)
            self._editor.keep(batch)
        except CallerError as error:
            if len(requests) > 1:
                return False
            answers = [Answer(request, error=error) for request, _ in requests]
        self._pipeline.after(*answers)
        return True

    def _write(self, operations: Mapping[Collection, Sequence[Operation]], now: Instant) -> None:
        """Write to every collection, or to none: raises `CallerError`s before anything is done."""
        if len(operations) > 1:
            for collection, writes in operations.items():
                self.shelf.replicas[collection].check(writes)
        for collection, writes in operations.items():
            replica = self.shelf.replicas[collection]
            outcome = replica.write(writes, live=self._content.own_logs.is_live(collection))
            self._content.keep(collection, outcome, now)
        if operations:
            self._pipeline.commit.meta[HLC] = self._clock.last.to_bytes(8, "big")

    def _tick(self, now: Instant) -> Hlc:
        return self._clock.tick(now.wall_ms)

    # --- statements ---

    def _statement_message(self, peer: LinkPeer, message: bytes, now: Instant) -> None:
        outcome = peer.statements.receive(message)
        self._send(peer.number, outcome.send)
        if peer.guest is not None:
            kept = peer.guest.try_out(self.membership, peer.statements) if outcome.new else None
            if kept:
                self._keep_statements(kept, but=peer.number)
                self._trust_changed(now)
        elif outcome.new:
            self._keep_statements(outcome.new, but=peer.number)
            self._trust_changed(now)
        elif outcome.level:
            self._begin_content(now)

    def _keep_statements(
        self, statements: Sequence[Statement], but: LinkNumber | None = None
    ) -> None:
        """Commit statements that are in the DAG, and tell the other links of them then.

        What a link is told is worked out now: its messages count up, so they keep their order.
        """
        self._pipeline.commit.statements += rows_of(statements)
        for peer in self.links.values():
            if peer.number != but and peer.guest is None:
                self._send(peer.number, peer.statements.announce(statements))

    def _trust_changed(self, now: Instant) -> None:
        """Statements came in: resolve, pay, and let the replicas judge again."""
        self.membership.refresh()
        self._let_guests_in()
        self._pay_debts()
        self._judge_again(now)
        if self.shelf.superseded:
            self._content.own_logs.hold_back(now)
        self._name_links(now)
        self._begin_content(now)
        self._emit(Event("membership.changed", {}))

    def _let_guests_in(self) -> None:
        """Guests whose key is a member's by now are guests no more; what they brought is kept."""
        again = True
        while again:
            again = False
            for peer in self.links.values():
                if peer.guest is None or self.membership.device_with_static(peer.static) is None:
                    continue
                new = peer.guest.settle(self.membership, peer.statements)
                peer.guest = None
                self._send(peer.number, peer.statements.announce())
                if new:
                    self._keep_statements(new, but=peer.number)
                    self.membership.refresh()
                    again = True

    def _name_links(self, now: Instant) -> None:
        """Whose each link is, under the newest view; content for members only, and only theirs."""
        mine = set(self.membership.collections)
        for peer in list(self.links.values()):
            device = self.membership.device_with_static(peer.static)
            shared: set[Collection] = set()
            if device is not None:
                shared = mine & self.membership.members.collections(device)
            for collection in sorted(peer.syncs.keys() - shared):
                del peer.syncs[collection]
                peer.behind.discard(collection)
            if device == peer.device or peer.number not in self.links:
                continue
            before, peer.device = peer.device, device
            peer.level = False
            if before is not None:
                self._emit(Event("link.down", {"device": show_id(before)}))
            if device is not None:
                self._came_up(device, now)
            else:
                peer.guest = Guest(self.membership, peer.static)
                peer.guest.demote(peer.statements)

    def _judge_again(self, now: Instant) -> None:
        """Let the replicas judge under the newest view; what waited for it goes on."""
        self.shelf.open_new()
        for collection, replica in self.shelf.replicas.items():
            self._content.keep(collection, replica.trust_changed(self.membership.view, now), now)
            if self._content.own_logs.is_live(collection) and self._content.own_logs.seal(
                collection, now
            ):
                self._content.keep(collection, replica.settle(now), now)
        self._content.snapshots.seek(now)

    def _pay_debts(self) -> bool:
        """Sign what is owed. True if anything was: the replicas must judge again."""
        if not self.membership.active:
            return False
        level = [peer.device for peer in self.links.values() if peer.level and peer.device]
        paid = self.membership.pay_debts(self._entropy, linked=level)
        if paid:
            self._keep_statements(paid)
        return bool(paid)

    # --- content ---

    def _begin_content(self, now: Instant) -> None:
        """Start what may flow on every link that is level: the overlay first, then entries."""
        if not self.membership.active:
            return
        active = set(self.membership.members.active)
        for peer in list(self.links.values()):
            if not peer.statements.level or peer.device not in active:
                continue
            if not peer.level:
                peer.level = True
                self._checkpoint(now)
                if self._pay_debts():
                    self._judge_again(now)
            mine = self.membership.collections
            theirs = self.membership.members.collections(peer.device)
            for collection in mine:
                if collection in theirs and collection not in peer.syncs:
                    self._content.begin(peer, collection, now)

    def _checkpoint(self, now: Instant) -> None:
        """Write what running players have reached, before remote entries are applied."""
        batch = self._editor.batch(now)
        batch.checkpoint_all()
        self._write(batch.operations(), now)
        self._editor.keep(batch)

    def rest(self, request: RequestNumber, now: Instant) -> list[Effect]:
        """The daemon stops: what running players have reached is written. Answered once it is."""
        if self._lost is not None:
            return [Answer(request, error=self._lost)]
        with self._surviving():
            self._checkpoint(now)
        self._pipeline.after(Answer(request))
        return self._decide(now)

    def keep_notes(self, now: Instant) -> list[Effect]:
        """Write down what makes the next start cheaper, if there is anything new."""
        self._content.write_notes()
        return self._decide(now)

    # --- links ---

    def _came_up(self, device: DeviceId, now: Instant) -> None:
        """One more link is a device's."""
        if sum(peer.device == device for peer in self.links.values()) > 1:
            self._one_link_each(device, now)
        else:
            self._emit(Event("link.up", {"device": show_id(device)}))

    def _one_link_each(self, device: DeviceId, now: Instant) -> None:
        """Of links dialled from both sides at once the one dialled by the lower id stays.

        Otherwise the newest: whoever dials again has lost the link that still seems to be up here.
        """
        same = [peer for peer in self.links.values() if peer.device == device]
        own = self._secrets.device

        def rank(peer: LinkPeer) -> tuple[bool, bytes, int]:
            dialler = device if peer.inbound else own
            old = now.mono_ms - peer.up_at_ms > CROSSED_DIALS_MS
            return (old, dialler, -peer.number)

        for peer in sorted(same, key=rank)[1:]:
            self._pipeline.at_once(CloseLink(peer.number, "duplicate"))
            self.links.pop(peer.number)

    def _drop_link(self, peer: LinkPeer, error: PeerError) -> None:
        self.links.pop(peer.number, None)
        self._pipeline.after(CloseLink(peer.number, error.code, error.detail))
        self._ended(peer)

    def _ended(self, peer: LinkPeer) -> None:
        if peer.device is not None and peer.device not in self.linked:
            self._emit(Event("link.down", {"device": show_id(peer.device)}))
        self._content.write_notes()
        if not self.links:
            self.recaps.left_alone()

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """yrs may panic in here: then what was gathered is void, and all is loaded again."""
        try:
            yield
        except DocumentLost as error:
            self._lose(error)

    def _later(self, call: Later) -> None:
        """Work out effects once everything gathered so far is on disk."""

        def survived() -> list[Effect]:
            try:
                return call()
            except DocumentLost as error:
                self._lose(error)
                return self._pipeline.taken()

        self._pipeline.later(survived)

    def _lose(self, error: DocumentLost) -> list[Answer]:
        """The documents in memory do not hold. Returns the answers that this refuses."""
        refused = self._pipeline.void(error)
        self._pipeline.at_once(*refused)
        self._lost = error
        self._end_links(error.code)
        if self._pipeline.in_flight:
            self.shelf.forget(self.membership)  # who reads meanwhile reads what is on disk
        else:
            self._reload()
        return refused

    def _reload(self) -> None:
        """What is in memory does not hold: begin again from what is on disk."""
        self._lost = None
        self._anew_due = False
        space, secrets = load_identity(self._reader)
        self.membership = Membership(space=space, secrets=secrets, raws=self._reader.statements())
        self.shelf.forget(self.membership)
        self._content.forget()
        self.recaps.forget(self.membership)
        self._editor.forget_sittings()
        self._end_links("host-error")

    # --- a restored disk ---

    def _begin_anew(self, now: Instant) -> None:
        """Our logs cannot go on: a new incarnation, once all that was decided is on disk."""
        if self._anew_due:
            return
        self._anew_due = True

        def begin() -> list[Effect]:
            if not self._anew_due or self._lost is not None:
                return []
            if not self._pipeline.is_clean:
                self._later(begin)
                return []
            self._end_links("host-error")
            begin_anew(
                self._pipeline.commit,
                self.membership,
                self.shelf.replicas,
                lambda collection, outcome: self._content.keep(collection, outcome, now),
                self._entropy,
                now,
            )
            self._content.alerts.add("incarnation", WORDS)
            self._lost = BeginsAnew("a new incarnation begins")
            return self._pipeline.taken()

        self._later(begin)

    def _end_links(self, code: str) -> None:
        self._pipeline.at_once(*[CloseLink(number, code) for number in self.links])
        for device in self.linked:
            self._pipeline.at_once(Emit((Event("link.down", {"device": show_id(device)}),)))
        self.links.clear()

    def _send(self, number: LinkNumber, messages: Sequence[bytes]) -> None:
        """Send statement messages once everything gathered so far is on disk."""
        if messages:
            self._pipeline.send(SendMessages(number, messages))

    def _emit(self, *events: Event) -> None:
        self._pipeline.after(Emit(events))
