"""The DAG of statements: what is here, what it rests on, what waits.

Rules of this file: a statement is *complete* when all that its heads reach is here; only complete
statements have a past, a height and a place among the heads. Statements are never taken out.
Invariant: what this class answers follows from the set of statements, never from their order.
Theory of operation: complete statements get a number, and a past is an integer with one bit per
number, so that union and membership are single machine operations on a few hundred bits.
Source: MEMBERSHIP §1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from presenced.errors import Unauthorized
from presenced.ids import SpaceId, StatementId
from presenced.trust.bodies import StatementType
from presenced.trust.limits import STATEMENT_HEADS_MAX
from presenced.trust.statement import Anchor, Statement, anchor_of, parse_statement


class StatementDag:
    """The statements of one space. Grows only."""

    def __init__(self, statements: Iterable[Statement] = ()) -> None:
        self._complete: list[Statement] = []
        self._number: dict[StatementId, int] = {}
        self._past: list[int] = []
        self._height: list[int] = []
        self._heads: set[StatementId] = set()
        self._waiting: dict[StatementId, Statement] = {}
        self._waiters: dict[StatementId, list[StatementId]] = {}
        self._anchor: Anchor | None = None
        for statement in statements:
            self.add(statement)

    def add(self, statement: Statement) -> list[Statement]:
        """Take a statement in; returns what became complete by it, each after its heads."""
        if statement.id in self._number or statement.id in self._waiting:
            return []
        self._waiting[statement.id] = statement
        for head in statement.heads:
            if head not in self._number:
                self._waiters.setdefault(head, []).append(statement.id)
        completed: list[Statement] = []
        ready = [statement.id]
        while ready:
            candidate = self._waiting.get(ready.pop())
            if candidate is None or any(head not in self._number for head in candidate.heads):
                continue
            del self._waiting[candidate.id]
            self._place(candidate)
            completed.append(candidate)
            ready.extend(self._waiters.pop(candidate.id, ()))
        return completed

    def parse(self, raw: bytes) -> Statement:
        """`parse_statement` for the space of this DAG (genesis only while it is empty)."""
        return parse_statement(raw, self._anchor)

    @property
    def anchor(self) -> Anchor:
        """Space and root key. Only once genesis is here."""
        assert self._anchor is not None
        return self._anchor

    @property
    def heads(self) -> tuple[StatementId, ...]:
        """The complete statements that no complete statement cites, sorted."""
        return tuple(sorted(self._heads))

    @property
    def citable_heads(self) -> tuple[StatementId, ...]:
        """The heads for a new statement: all, or the highest of them if there are too many."""
        return self.highest(self._heads, STATEMENT_HEADS_MAX)

    def highest(self, ids: Iterable[StatementId], count: int) -> tuple[StatementId, ...]:
        """At most `count` of some complete statements, the highest first kept, sorted by id."""
        ranked = sorted(ids, key=lambda id_: (-self.height(id_), id_))
        return tuple(sorted(ranked[:count]))

    @property
    def waiting(self) -> dict[StatementId, Statement]:
        """The statements that have an unknown head somewhere below them."""
        return dict(self._waiting)

    @property
    def missing(self) -> frozenset[StatementId]:
        """The unknown heads that statements wait for."""
        return frozenset(head for head in self._waiters if head not in self._waiting)

    def knows(self, heads: Iterable[StatementId]) -> bool:
        """Whether all of these are here and complete."""
        return all(head in self._number for head in heads)

    def __contains__(self, id_: StatementId) -> bool:
        return id_ in self._number

    def __len__(self) -> int:
        return len(self._complete)

    def __getitem__(self, id_: StatementId) -> Statement:
        """The complete statement of an id. Raises `KeyError`."""
        return self._complete[self._number[id_]]

    def topological(self) -> list[Statement]:
        """The complete statements, each after its past: by height, then by id."""
        return sorted(self._complete, key=lambda one: (self.height(one.id), one.id))

    def height(self, id_: StatementId) -> int:
        """The longest path down to genesis."""
        return self._height[self._number[id_]]

    def in_past(self, below: StatementId, above: StatementId) -> bool:
        """Whether `below` is reachable from `above` (complete) through heads; not from itself."""
        number = self._number.get(below)
        return number is not None and bool(self._past[self._number[above]] >> number & 1)

    def in_past_of(self, below: StatementId, heads: Iterable[StatementId]) -> bool:
        """Whether `below` is one of some complete statements or in the past of one."""
        return any(below == head or self.in_past(below, head) for head in heads)

    def past(self, heads: Iterable[StatementId]) -> frozenset[StatementId]:
        """Some complete statements and all that they reach."""
        return frozenset(self._ids(self._mask(heads)))

    def beyond(self, heads: Iterable[StatementId]) -> list[Statement]:
        """The complete statements that some complete ones do not reach, each after its heads."""
        mask = self._mask(heads)
        return [one for one in self.topological() if not mask >> self._number[one.id] & 1]

    def _mask(self, heads: Iterable[StatementId]) -> int:
        mask = 0
        for head in heads:
            number = self._number[head]
            mask |= self._past[number] | 1 << number
        return mask

    def _ids(self, mask: int) -> Iterator[StatementId]:
        while mask:
            lowest = mask & -mask
            yield self._complete[lowest.bit_length() - 1].id
            mask ^= lowest

    def _place(self, statement: Statement) -> None:
        self._past.append(self._mask(statement.heads))
        self._height.append(1 + max(map(self.height, statement.heads), default=-1))
        self._number[statement.id] = len(self._complete)
        self._complete.append(statement)
        self._heads.difference_update(statement.heads)
        self._heads.add(statement.id)
        if statement.type == StatementType.GENESIS and self._anchor is None and statement.raw:
            self._anchor = anchor_of(statement)


def load_dag(raws: Iterable[bytes], space: SpaceId | None) -> StatementDag:
    """The DAG of stored or received statements, genesis first.

    Raises what `parse_statement` raises, and `Unauthorized` when the genesis is not that of
    `space` (None: whichever it is).
    """
    dag = StatementDag()
    for raw in raws:
        dag.add(dag.parse(raw))
    if not dag or (space is not None and dag.anchor.space != space):
        raise Unauthorized("not the statements of this space")
    return dag
