"""Device machines on a desk: a machine with its disk each, driven step by step by a test.

Rules of this file: effects are performed in the order in which they come; a commit lands at once
unless `holds`, then the test says `land` or `fail`. Messages lie on their line until `deliver`.
Nothing passes time but the test.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

from presenced.clock import Instant
from presenced.device.edits import Edit, EditResult
from presenced.device.effects import (
    Answer,
    CloseLink,
    CommitBatch,
    Effect,
    Emit,
    Event,
    LinkNumber,
    RequestNumber,
    SendMessages,
)
from presenced.device.founding import found, join, load_identity
from presenced.device.machine import DeviceMachine
from presenced.errors import StoreError, StoreFull
from presenced.ids import COLLECTIONS, Collection, DeviceId
from presenced.presence.naming import follow_id
from presenced.testing.byte_pair import START
from presenced.testing.link_doubles import SeededEntropy
from presenced.testing.sim_disk import SimDisk
from presenced.trust.bodies import Body
from presenced.trust.identity import new_device_secrets
from presenced.trust.statement import sign_statement

DELIVERIES_MAX: Final = 20_000
"deliveries after which two machines are said not to come to rest"


class Desk:
    """One device machine, its disk and what it said. `machine` may be replaced by `restart`."""

    def __init__(self, disk: SimDisk, seed: object) -> None:
        self.disk = disk
        self.seed = seed
        self.now = START
        self.holds = False
        "whether a commit waits for `land` or `fail`"
        self.flying: CommitBatch | None = None
        self.commits = 0
        self.answers: dict[int, Answer] = {}
        self.events: list[Event] = []
        self.closed: dict[LinkNumber, str] = {}
        "code with which the machine closed a link"
        self.lines: dict[LinkNumber, Line] = {}
        self.performed: list[Effect] = []
        self._requests = 0
        self._links = 0
        self._begin()

    def _begin(self) -> None:
        space, secrets = load_identity(self.disk)
        self.machine = DeviceMachine(
            space=space,
            secrets=secrets,
            reader=self.disk,
            entropy=SeededEntropy((self.seed, self._requests)),
        )
        self.perform(self.machine.start(self.now))

    @property
    def device(self) -> DeviceId:
        return self.machine.membership.device

    # --- effects ---

    def perform(self, effects: Iterable[Effect]) -> None:
        """Carry out effects in order."""
        waiting = deque(effects)
        while waiting:
            effect = waiting.popleft()
            self.performed.append(effect)
            match effect:
                case CommitBatch():
                    assert self.flying is None, "at most one commit is in flight"
                    self.flying = effect
                    if not self.holds:
                        waiting.extend(self._landed())
                case SendMessages():
                    if (line := self.lines.get(effect.link)) is not None:
                        line.put(self, effect.messages)
                case Answer():
                    assert effect.request not in self.answers, "a request is answered once"
                    if effect.request:
                        self.answers[effect.request] = effect
                case Emit():
                    self.events += effect.events
                case CloseLink():
                    self.closed[effect.link] = effect.code
                    if (line := self.lines.get(effect.link)) is not None:
                        line.is_cut = True

    def _landed(self) -> list[Effect]:
        batch, self.flying = self.flying, None
        assert batch is not None
        self.disk.apply(batch.commit)
        self.commits += 1
        return self.machine.committed(batch.token, self.now)

    def land(self) -> None:
        """The commit in flight is on disk."""
        self.perform(self._landed())

    def fail(self, error: StoreError | None = None) -> None:
        """The commit in flight is not on disk."""
        batch, self.flying = self.flying, None
        assert batch is not None
        error = error or StoreFull("no room")
        self.perform(self.machine.commit_failed(batch.token, error, self.now))

    def restart(self) -> None:
        """The process ends and begins again; a commit in flight is lost."""
        for line in list(self.lines.values()):
            line.cut()
        self.flying = None
        self.holds = False
        self._requests += 1
        self._begin()

    # --- what a person and time do ---

    def ask(self, *edits: Edit) -> RequestNumber:
        """Make one request of edits."""
        number = self.new_request()
        self.perform(self.machine.edit(number, edits, self.now))
        return number

    def new_request(self) -> RequestNumber:
        self._requests += 1
        return RequestNumber(self._requests)

    def edit(self, *edits: Edit) -> list[EditResult]:
        """Make one request and give its results. Raises what it is answered with."""
        return self.answer_of(self.ask(*edits))  # type: ignore[no-any-return]

    def answer_of(self, number: RequestNumber) -> Any:
        answer = self.answers[number]
        if answer.error is not None:
            raise answer.error
        return answer.value

    def pass_ms(self, milliseconds: int) -> None:
        """Let time pass, and tick as often as the machine wants."""
        end = self.now.mono_ms + milliseconds
        while (due := self.machine.next_wakeup) is not None and due.mono_ms <= end:
            self._set(max(due.mono_ms, self.now.mono_ms))
            before = self.machine.next_wakeup
            self.perform(self.machine.tick(self.now))
            after = self.machine.next_wakeup
            assert after is None or before is None or after.mono_ms > self.now.mono_ms
        self._set(end)

    def _set(self, mono_ms: int) -> None:
        passed = mono_ms - self.now.mono_ms
        self.now = Instant(mono_ms, self.now.wall_ms + passed)

    def sign(self, body: Body) -> None:
        """Sign a statement and take it in, as a command that this version does not have would."""
        membership = self.machine.membership
        heads = membership.dag.citable_heads
        statement = sign_statement(membership.secrets.signing, membership.dag.anchor, heads, body)
        taken = membership.dag.add(statement)
        self.machine._exchange.keep(taken)
        self.machine._trust_changed(self.now)
        self.perform(self.machine._decide(self.now))

    # --- links ---

    def new_link(self) -> LinkNumber:
        self._links += 1
        return LinkNumber(self._links)

    def hear(self, number: LinkNumber, message: bytes) -> None:
        """A message arrives on a link."""
        self.perform(self.machine.link_message(number, message, self.now))

    # --- what is shown ---

    def follows(self) -> dict[str, str]:
        """URI to title of what is followed, from the committed rows."""
        rows = self.disk.follow_rows.values()
        return {row.uri: row.title for row in rows if row.state == "followed"}

    def title(self, uri: str) -> str:
        return self.disk.follow_rows[follow_id(uri)].title

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def digests(self) -> dict[Collection, bytes]:
        replicas = self.machine.shelf.replicas
        return {collection: replica.digest() for collection, replica in replicas.items()}


class Line:
    """A link between two desks; messages lie on it until they are delivered."""

    def __init__(self, dialler: Desk, answerer: Desk, *, known: bool = True) -> None:
        """`known`: both name each other's device; else what each one's membership says."""
        self.ends = (dialler, answerer)
        self.numbers = tuple(desk.new_link() for desk in self.ends)
        self.sent: dict[Desk, deque[bytes]] = {dialler: deque(), answerer: deque()}
        self.said: dict[Desk, list[bytes]] = {dialler: [], answerer: []}
        "all that each side ever sent"
        self.is_cut = False
        for desk, number in zip(self.ends, self.numbers, strict=True):
            desk.lines[number] = self
        for desk, other in ((dialler, answerer), (answerer, dialler)):
            static = other.machine.membership.secrets.static.public
            found = desk.machine.membership.device_with_static(static)
            assert found is not None or not known
            desk.perform(
                desk.machine.link_up(
                    self.number(desk), found, static, desk.now, inbound=desk is answerer
                )
            )

    def number(self, desk: Desk) -> LinkNumber:
        return self.numbers[self.ends.index(desk)]

    def other(self, desk: Desk) -> Desk:
        return self.ends[1 - self.ends.index(desk)]

    def put(self, sender: Desk, messages: Sequence[bytes]) -> None:
        if not self.is_cut:
            self.sent[sender].extend(messages)
            self.said[sender].extend(messages)

    def deliver_from(self, sender: Desk, count: int | None = None) -> int:
        """Deliver what one side has sent (at most `count` messages); how many there were."""
        delivered = 0
        line = self.sent[sender]
        receiver = self.other(sender)
        while line and (count is None or delivered < count) and not self.is_cut:
            receiver.hear(self.number(receiver), line.popleft())
            delivered += 1
        return delivered

    def deliver(self) -> None:
        """Deliver both ways until both sides are quiet."""
        for _ in range(DELIVERIES_MAX):
            if not sum(self.deliver_from(desk, 1) for desk in self.ends):
                return
        raise AssertionError("the two machines do not come to rest")

    def cut(self) -> None:
        """The link is gone for both."""
        self.is_cut = True
        for desk in self.ends:
            number = self.number(desk)
            if desk.lines.pop(number, None) is not None:
                desk.perform(desk.machine.link_down(number, desk.now))


def rest(*lines: Line) -> None:
    """Deliver on several lines until all are quiet."""
    for _ in range(DELIVERIES_MAX):
        if not sum(line.deliver_from(desk, 1) for line in lines for desk in line.ends):
            return
    raise AssertionError("the machines do not come to rest")


def founder(name: str = "Laptop", seed: object = 0) -> Desk:
    """A device with a new identity."""
    _, commit = found(name, SeededEntropy(("founding", seed)))
    disk = SimDisk()
    disk.apply(commit)
    return Desk(disk, ("founder", seed))


def joiner(
    sponsor: Desk,
    name: str = "Box",
    *,
    collections: Sequence[Collection] = COLLECTIONS,
    seed: object = 0,
) -> Desk:
    """A device that the sponsor admitted; not linked yet."""
    membership = sponsor.machine.membership
    secrets = new_device_secrets(SeededEntropy(("joining", name, seed)))
    certificate = secrets.certificate(membership.space, membership.device)
    request = sponsor.new_request()
    sponsor.perform(sponsor.machine.admit(request, certificate, collections, sponsor.now))
    raws: list[bytes] = sponsor.answer_of(request)
    disk = SimDisk()
    disk.apply(
        join(
            space=membership.space,
            secrets=secrets,
            statements=raws,
            name=name,
            sponsor=membership.device,
            sponsor_static=membership.secrets.static.public,
        )
    )
    return Desk(disk, ("joiner", name, seed))


def linked_pair(seed: object = 0) -> tuple[Desk, Desk, Line]:
    """Two devices of one identity, linked and in sync."""
    first = founder(seed=seed)
    second = joiner(first, seed=seed)
    line = Line(first, second)
    line.deliver()
    return first, second, line
