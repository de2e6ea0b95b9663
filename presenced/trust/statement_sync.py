"""Exchange the statements of one space with one peer, before any content.

Rules of this file: every transition is in TRANSITIONS; an absent pair breaks the protocol. What
the peer sends is verified before it is taken in. The DAG given to the machine is shared with the
other links and with the device, and grows here.
Invariants: 1. nothing is offered that is not complete.  2. at most `SYNC_WINDOW_BATCHES` messages
with statements are unacknowledged.  3. a statement goes over one link once, and once more if the
peer asks for it.  4. what waits for an unknown head is bounded and not in the DAG.  5. whatever
`receive` raises, the DAG is as it was.
Theory of operation. Each side first sends its heads and some earlier statements as markers, so
that the other can tell nearly exactly what it lacks and sends that, each statement after its
heads. Each message with statements is answered with heads and a count, which acknowledges it.
Both sides have everything of each other when the heads are equal: that is *level*, and once
reached it stays, for later statements are pushed ahead of the content that cites them.
Source: DESIGN §3, §5 *Order on link-up*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

from presenced.errors import LimitExceeded, Malformed, PeerError
from presenced.ids import StatementId
from presenced.trust.dag import StatementDag
from presenced.trust.limits import (
    SYNC_BATCH_BYTES_MAX,
    SYNC_BATCH_STATEMENTS_MAX,
    SYNC_FAULTS_MAX,
    SYNC_HEADS_MAX,
    SYNC_NEW_BYTES_MAX,
    SYNC_WANTED_MAX,
    SYNC_WINDOW_BATCHES,
)
from presenced.trust.statement import Statement, statement_id
from presenced.trust.statement_buffer import StatementBuffer
from presenced.trust.statement_messages import Heads, Message, Statements, Want, parse_message


class State(Enum):
    """What is known of the two sides."""

    SILENT = auto()
    "nothing is sent yet"
    GREETING = auto()
    "our heads are sent, the peer's are not known"
    EXCHANGING = auto()
    "one side may lack something"
    LEVEL = auto()
    "both sides had everything of each other, and push what comes later"


class Started:
    """Input that is no message: the link came up."""


class Announced:
    """Input that is no message: statements came from elsewhere."""


TRANSITIONS: Final[Mapping[tuple[State, type[Any]], frozenset[State]]] = {
    (State.SILENT, Started): frozenset({State.GREETING}),
    (State.SILENT, Announced): frozenset({State.SILENT}),
    (State.GREETING, Announced): frozenset({State.GREETING}),
    (State.GREETING, Heads): frozenset({State.EXCHANGING, State.LEVEL}),
    (State.EXCHANGING, Heads): frozenset({State.EXCHANGING, State.LEVEL}),
    (State.EXCHANGING, Statements): frozenset({State.EXCHANGING, State.LEVEL}),
    (State.EXCHANGING, Want): frozenset({State.EXCHANGING, State.LEVEL}),
    (State.EXCHANGING, Announced): frozenset({State.EXCHANGING, State.LEVEL}),
    (State.LEVEL, Heads): frozenset({State.LEVEL}),
    (State.LEVEL, Statements): frozenset({State.LEVEL}),
    (State.LEVEL, Want): frozenset({State.LEVEL}),
    (State.LEVEL, Announced): frozenset({State.LEVEL}),
}
"what may follow; an absent pair is a `PeerError`"


@dataclass(slots=True)
class StatementOutcome:
    """What one message led to. Commit `new` first, then send."""

    send: list[bytes] = field(default_factory=list)
    "messages for this peer, in order"
    new: list[Statement] = field(default_factory=list)
    "complete statements, each after its heads: already in the DAG, not yet in the store"
    level: bool = False
    "whether both sides have, or once had, everything of each other: content may flow"
    faults: list[PeerError] = field(default_factory=list)
    "what is wrong with single statements; the rest of their message was kept"


class StatementSync:
    """One link's exchange of statements. After `start`, feed it every message of types 1–15."""

    def __init__(
        self, dag: StatementDag, *, tells: Callable[[StatementId], bool] | None = None
    ) -> None:
        """`tells`: which statements the peer may have; all if it is not given."""
        self._dag = dag
        self._tells = tells
        self.state = State.SILENT
        self._peer_heads: tuple[StatementId, ...] | None = None
        self._peer_known: set[StatementId] = set()
        "what the peer named or sent; it has that and all below"
        self._sent: set[StatementId] = set()
        self._asked_again: set[StatementId] = set()
        self._resend: list[StatementId] = []
        self._heads_sent: tuple[StatementId, ...] = ()
        self._batches_sent = 0
        self._batches_acknowledged = 0
        self._batches_received = 0
        self._batches_confirmed = 0
        "of those received, how many our last heads acknowledged"
        self._waiting = StatementBuffer()
        self._wanted: set[StatementId] = set()
        self._faults = 0
        self._new_bytes = 0

    @property
    def level(self) -> bool:
        """Whether both sides have, or once had, everything of each other."""
        return self.state is State.LEVEL

    @property
    def has_what_the_peer_named(self) -> bool:
        """Whether all that the peer says it has is here."""
        return self._peer_heads is not None and self._dag.knows(self._peer_heads)

    def move(
        self, dag: StatementDag, *, tells: Callable[[StatementId], bool] | None = None
    ) -> None:
        """Go on with another DAG, which has all of this one's. `announce` follows."""
        self._dag = dag
        self._tells = tells

    def start(self) -> list[bytes]:
        """The first messages. Once, before anything is received."""
        assert (self.state, Started) in TRANSITIONS
        self.state = State.GREETING
        return [self._heads_message(self._markers())]

    def announce(self, new: Iterable[Statement] = ()) -> list[bytes]:
        """What to send once statements from elsewhere are in the DAG and in the store.

        `level` may have become true by them.
        """
        assert self._dag.knows(one.id for one in new)
        return [] if self.state in (State.SILENT, State.GREETING) else self._decide()

    def receive(self, message: bytes) -> StatementOutcome:
        """Take one message in.

        Raises `PeerError` when the message breaks the protocol or a bound: close the link.
        Nothing of that message was kept.
        """
        parsed = parse_message(message)
        if (self.state, type(parsed)) not in TRANSITIONS:
            raise Malformed(f"{type(parsed).__name__} while {self.state.name}")
        outcome = StatementOutcome()
        self._take(parsed, outcome)
        if self.state is State.GREETING:
            self.state = State.EXCHANGING
        outcome.send = self._decide()
        outcome.level = self.level
        return outcome

    # --- what a message says is recorded ---

    def _take(self, message: Message, outcome: StatementOutcome) -> None:
        match message:
            case Heads(heads=heads, markers=markers, batches=batches):
                if not self._batches_acknowledged <= batches <= self._batches_sent:
                    raise Malformed("acknowledges what was not sent")
                self._batches_acknowledged = batches
                self._peer_heads = heads
                self._peer_known.update(one for one in (*heads, *markers) if one in self._dag)
            case Statements(raws=raws):
                self._take_statements(raws, outcome)
            case Want(ids=ids):
                for id_ in ids:
                    if id_ in self._sent and id_ not in self._asked_again:
                        self._asked_again.add(id_)
                        self._resend.append(id_)

    def _take_statements(self, raws: tuple[bytes, ...], outcome: StatementOutcome) -> None:
        """Verify them all, then take in those that are new and right."""
        verified: dict[StatementId, Statement] = {}
        for raw in raws:
            id_ = statement_id(raw)
            if id_ in self._dag or id_ in self._waiting or id_ in verified:
                continue
            try:
                verified[id_] = self._dag.parse(raw)
            except PeerError as error:
                outcome.faults.append(error)
        new_bytes = sum(len(one.raw) for one in verified.values())
        if self._new_bytes + new_bytes > SYNC_NEW_BYTES_MAX:
            raise LimitExceeded("SYNC_NEW_BYTES_MAX")
        if self._faults + len(outcome.faults) > SYNC_FAULTS_MAX:
            raise LimitExceeded("SYNC_FAULTS_MAX")
        self._new_bytes += new_bytes
        self._batches_received += 1
        for statement in verified.values():
            self._place(statement, outcome)
        self._faults += len(outcome.faults)
        self._peer_known.update(id_ for id_ in map(statement_id, raws) if id_ in self._dag)

    def _place(self, statement: Statement, outcome: StatementOutcome) -> None:
        """Into the DAG with all that waited for it, or among the waiting."""
        ready = [statement]
        while ready:
            candidate = ready.pop()
            lacking = [head for head in candidate.heads if head not in self._dag]
            if not lacking:
                self._dag.add(candidate)
                self._peer_known.add(candidate.id)
                outcome.new.append(candidate)
                ready.extend(self._waiting.release(candidate.id))
                continue
            try:
                self._waiting.add(candidate, lacking)
            except LimitExceeded as error:
                outcome.faults.append(error)

    # --- and then one decision, whatever came ---

    def _decide(self) -> list[bytes]:
        messages = self._batches()
        heads = self._own_heads()
        unconfirmed = self._batches_received != self._batches_confirmed
        if self.state is State.EXCHANGING and heads == self._peer_heads:
            # Said once more, so that the peer learns it from a message whatever made us level.
            self.state = State.LEVEL
            unconfirmed = True
        if unconfirmed or heads != self._heads_sent:
            messages.append(self._heads_message(()))
        want = [id_ for id_ in self._waiting.missing if id_ not in self._wanted]
        if want:
            asked = tuple(want[:SYNC_WANTED_MAX])
            self._wanted.update(asked)
            messages.append(Want(ids=asked).encode())
        return messages

    def _batches(self) -> list[bytes]:
        """What the peer lacks, as far as the window allows."""
        room = SYNC_WINDOW_BATCHES - (self._batches_sent - self._batches_acknowledged)
        if room <= 0:
            return []
        beyond = self._dag.beyond(self._peer_known)
        if self._tells is not None:
            beyond = [one for one in beyond if self._tells(one.id)]
        lacking = [self._dag[id_] for id_ in self._resend]
        lacking += [one for one in beyond if one.id not in self._sent]
        self._resend.clear()
        batches = _batched(lacking)
        for left in batches[room:]:
            self._resend.extend(one.id for one in left if one.id in self._sent)
        for batch in batches[:room]:
            self._sent.update(one.id for one in batch)
        self._batches_sent += len(batches[:room])
        return [
            Statements(raws=tuple(one.raw for one in batch)).encode() for batch in batches[:room]
        ]

    def _heads_message(self, markers: tuple[StatementId, ...]) -> bytes:
        self._heads_sent = self._own_heads()
        self._batches_confirmed = self._batches_received
        return Heads(
            heads=self._heads_sent, markers=markers, batches=self._batches_received
        ).encode()

    def _own_heads(self) -> tuple[StatementId, ...]:
        return self._dag.highest(self._dag.heads, SYNC_HEADS_MAX)

    def _markers(self) -> tuple[StatementId, ...]:
        """Statements at doubling distances from the newest, so that any common past is named."""
        line = self._dag.topological()
        places = set()
        distance = 1
        while distance < len(line):
            places.add(len(line) - 1 - distance)
            distance *= 2
        return tuple(sorted(line[place].id for place in places))


def _batched(statements: list[Statement]) -> list[list[Statement]]:
    batches: list[list[Statement]] = []
    size = SYNC_BATCH_BYTES_MAX
    for statement in statements:
        size += len(statement.raw)
        if size > SYNC_BATCH_BYTES_MAX or len(batches[-1]) >= SYNC_BATCH_STATEMENTS_MAX:
            batches.append([])
            size = len(statement.raw)
        batches[-1].append(statement)
    return batches
