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
from presenced.device.edits import Edit, NameDevice
from presenced.device.effects import (
    Answer,
    CloseLink,
    Effect,
    Event,
    LinkNumber,
    RequestNumber,
)
from presenced.device.founding import HLC, NAME, load_identity
from presenced.device.link_peer import LinkPeer
from presenced.device.links import Links
from presenced.device.membership import Membership
from presenced.device.pipeline import CommitPipeline, Later
from presenced.device.rebirth import WORDS, BeginsAnew, begin_anew
from presenced.device.recaps import Recaps
from presenced.device.shelf import Shelf
from presenced.device.statement_exchange import Heard, StatementExchange
from presenced.device.work import Work
from presenced.device.writing import Writing
from presenced.errors import (
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
from presenced.trust.certificate import Certificate
from presenced.trust.identity import DeviceSecrets


class DeviceMachine:
    """Events in, effects out. Built from what is on disk; building it reads, never writes."""

    def __init__(
        self, *, space: SpaceId, secrets: DeviceSecrets, reader: StoreReader, entropy: Entropy
    ) -> None:
        self._reader = reader
        self._entropy = entropy
        self.membership = Membership(space=space, secrets=secrets, raws=reader.statements())
        stored = reader.meta(HLC)
        self._clock = HybridClock(Hlc(int.from_bytes(stored or b"", "big")))
        self._pipeline = CommitPipeline()
        self.shelf = Shelf(membership=self.membership, reader=reader, clock=self._clock)
        self.recaps = Recaps(self.membership, self.shelf)
        self._links = Links(
            membership=self.membership, pipeline=self._pipeline, ended=self._link_ended
        )
        self._exchange = StatementExchange(
            membership=self.membership, links=self.links, pipeline=self._pipeline
        )
        self._content = Content(
            reader=reader,
            shelf=self.shelf,
            recaps=self.recaps,
            links=self.links,
            pipeline=self._pipeline,
            later=self._later,
            drop=self._links.drop,
            anew=self._begin_anew,
            name_of=self.name_of,
        )
        self._writing = Writing(
            device=secrets.device,
            shelf=self.shelf,
            clock=self._clock,
            entropy=entropy,
            pipeline=self._pipeline,
            keep=self._content.keep,
            is_live=self._content.own_logs.is_live,
            lose=self._lose,
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
                self._writing.add(RequestNumber(0), [NameDevice(name=name.decode("utf-8"))])
        return self._decide(now)

    def edit(self, request: RequestNumber, edits: Sequence[Edit], now: Instant) -> list[Effect]:
        """Carry out edits, all or nothing. Answered with `EditResult`s, once on disk."""
        self._writing.add(request, edits)
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
        self._exchange.keep(signed)
        raws = [statement.raw for statement in self.membership.dag.topological()]
        self._pipeline.after(Answer(request, value=raws))
        self._pipeline.tell(Event("device.added", {"device": show_id(certificate.device)}))
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
        peer = self._links.up(number, device, static, now, inbound=inbound)
        if number in self.links:
            self._exchange.begin(peer)
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
                    self._hear_statements(peer, message, now)
                else:
                    self._content.hear(peer, message, now)
            except PeerError as error:
                self._links.drop(peer, error)
        return self._decide(now)

    def link_down(self, number: LinkNumber, now: Instant) -> list[Effect]:
        """A link ended, for whatever reason."""
        peer = self._links.down(number)
        if peer is not None:
            with self._surviving():
                for collection in peer.syncs:
                    self._content.own_logs.go_on(collection, now)
            self._content.gauge(now)
        return self._decide(now)

    def committed(self, token: int, now: Instant) -> list[Effect]:
        """The commit is on disk."""
        commit = self._pipeline.landed(token)
        self.shelf.landed(commit.heads)
        lost = self._lost  # what follows may begin anew, and that is not on disk
        sends, told = self._pipeline.done()
        with self._surviving():
            self._content.push(commit, now)
        self._content.gauge(now)
        if lost is not None:
            # What was gathered since rests on documents that do not hold.
            self._pipeline.at_once(*self._pipeline.void(lost))
            self._reload()
        return [*sends, *self._pipeline.taken(), *told, *self._decide(now)]

    def commit_failed(self, token: int, error: StoreError, now: Instant) -> list[Effect]:
        """The commit is not on disk: forget documents, begin every link anew."""
        effects: list[Effect] = list(self._pipeline.failed(token, error))
        effects += self._writing.refuse(error)
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
        return self._links.next_wakeup

    # --- what others ask ---

    def name_of(self, device: DeviceId) -> str:
        """The device's name as a record says it; empty if none does (yet)."""
        if not self.shelf.has(DEVICE_MAP):
            return ""
        slots = self.shelf.record(DEVICE_MAP, RecordId(device)).get(NAME_FIELD, {})
        value = resolve(DEVICE_MAP, NAME_FIELD, slots).value
        return value if isinstance(value, str) else ""

    @property
    def links(self) -> Mapping[LinkNumber, LinkPeer]:
        """The links that are up, by number."""
        return self._links.all

    @property
    def linked(self) -> frozenset[DeviceId]:
        """Devices with an authenticated link now."""
        return self._links.devices

    def device_on(self, number: LinkNumber) -> DeviceId | None:
        """Whose a link is; None while it is nobody's, and when it has ended."""
        return self._links.device_on(number)

    @property
    def alerts(self) -> Sequence[str]:
        """What a person should look at, in words, newest last."""
        return self._content.alerts.words

    def in_sync(self, device: DeviceId) -> bool:
        """Whether a linked device has, and has given, everything."""
        return self._links.in_sync(device)

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
        if not self._pipeline.in_flight:
            self._writing.write_waiting(now)
        return [*self._pipeline.taken(), *self._pipeline.flush()]

    # --- statements ---

    def _hear_statements(self, peer: LinkPeer, message: bytes, now: Instant) -> None:
        match self._exchange.hear(peer, message):
            case Heard.NEWS:
                self._trust_changed(now)
            case Heard.LEVEL:
                self._begin_content(now)

    def _trust_changed(self, now: Instant) -> None:
        """Statements came in: resolve, pay, and let the replicas judge again."""
        self.membership.refresh()
        self._exchange.let_guests_in()
        self._pay_debts()
        self._judge_again(now)
        if self.shelf.superseded:
            self._content.own_logs.hold_back(now)
        self._links.name(now)
        self._begin_content(now)
        self._pipeline.tell(Event("membership.changed", {}))

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
            self._exchange.keep(paid)
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
                self._writing.checkpoint(now)
                if self._pay_debts():
                    self._judge_again(now)
            mine = self.membership.collections
            theirs = self.membership.members.collections(peer.device)
            for collection in mine:
                if collection in theirs and collection not in peer.syncs:
                    self._content.begin(peer, collection, now)

    def rest(self, request: RequestNumber, now: Instant) -> list[Effect]:
        """The daemon stops: what running players have reached is written. Answered once it is."""
        if self._lost is not None:
            return [Answer(request, error=self._lost)]
        with self._surviving():
            self._writing.checkpoint(now)
        self._pipeline.after(Answer(request))
        return self._decide(now)

    def keep_notes(self, now: Instant) -> list[Effect]:
        """Write down what makes the next start cheaper, if there is anything new."""
        self._content.write_notes()
        return self._decide(now)

    # --- links ---

    def _link_ended(self) -> None:
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
        self._links.end_all(error.code)
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
        self._writing.forget()
        self._exchange.forget(self.membership)
        self._links.forget(self.membership)

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
            self._links.end_all("host-error")
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
