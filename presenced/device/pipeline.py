"""One transaction after another: what was decided goes to disk before it shows.

Theory of operation. The machine puts rows into `commit`, statement messages into `send`, what must
be worked out once the rows are on disk (what to push, what to acknowledge) into `later`, and what
depends on them otherwise (answers, events) into `after`. When nothing is in flight, `flush` hands
the commit over and keeps the rest until `done`. What is decided meanwhile gathers in the next
commit, so commits grow under load. If a commit fails, everything gathered or in flight is void:
the caller forgets its documents and loads them again from what is on disk. `void` gives up what is
gathered alone. What waits for no commit goes into `at_once`; no failure takes it back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Final, TypeAlias

from presenced.device.commit import Commit
from presenced.device.effects import Answer, CommitBatch, Effect, Emit, Event, SendMessages
from presenced.errors import HostError, StoreError

_ROWS: Final = tuple(row.name for row in fields(Commit))

Later: TypeAlias = Callable[[], list[Effect]]


@dataclass(slots=True)
class _Gathered:
    commit: Commit = field(default_factory=Commit)
    sends: list[SendMessages] = field(default_factory=list)
    later: list[Later] = field(default_factory=list)
    after: list[Effect] = field(default_factory=list)

    @property
    def has_rows(self) -> bool:
        return any(getattr(self.commit, rows) for rows in _ROWS)

    @property
    def is_empty(self) -> bool:
        return not (self.sends or self.later or self.after or self.has_rows)


class CommitPipeline:
    """Gathers rows and their consequences. Invariant: at most one commit is in flight."""

    def __init__(self) -> None:
        self._gathered = _Gathered()
        self._flying: _Gathered | None = None
        self._token = 0
        self._at_once: list[Effect] = []

    @property
    def commit(self) -> Commit:
        """The rows of the next transaction."""
        return self._gathered.commit

    @property
    def in_flight(self) -> bool:
        return self._flying is not None

    @property
    def is_clean(self) -> bool:
        """Whether all that was decided is on disk."""
        return self._flying is None and not self._gathered.has_rows

    def after(self, *effects: Effect) -> None:
        """Effects to perform once everything gathered so far is on disk."""
        self._gathered.after += effects

    def tell(self, *events: Event) -> None:
        """Events for the owner's clients, once everything gathered so far is on disk."""
        self.after(Emit(events))

    def send(self, effect: SendMessages) -> None:
        """Messages to send, in this order and first, once everything gathered is on disk."""
        self._gathered.sends.append(effect)

    def later(self, call: Later) -> None:
        """Work out what to send once everything gathered so far is on disk."""
        self._gathered.later.append(call)

    def at_once(self, *effects: Effect) -> None:
        """Effects that wait for nothing, as of sync messages: they tell of what is on disk."""
        self._at_once += effects

    def taken(self) -> list[Effect]:
        """What waited for nothing; it is the caller's now."""
        taken, self._at_once = self._at_once, []
        return taken

    def flush(self) -> list[Effect]:
        """Hand over what was gathered, unless a commit is in flight.

        Without rows its consequences follow at once, and what those gather is handed over too.
        """
        effects: list[Effect] = []
        while self._flying is None and not self._gathered.is_empty:
            gathered, self._gathered = self._gathered, _Gathered()
            if gathered.has_rows:
                self._token += 1
                self._flying = gathered
                effects.append(CommitBatch(self._token, gathered.commit))
            else:
                sends, told = _consequences(gathered)
                effects += [*sends, *told]
        return effects

    def landed(self, token: int) -> Commit:
        """The commit that is on disk now. `done` follows."""
        assert self._flying is not None
        assert token == self._token
        return self._flying.commit

    def done(self) -> tuple[list[Effect], list[Effect]]:
        """The consequences of the commit that landed: what to send, then whom to tell."""
        assert self._flying is not None
        gathered, self._flying = self._flying, None
        return _consequences(gathered)

    def failed(self, token: int, error: StoreError) -> list[Effect]:
        """The commit is not on disk: every answer it or the gathering one held is `error`."""
        assert self._flying is not None
        assert token == self._token
        flying, self._flying = self._flying, None
        return [*_refused(flying, error), *self.void(error)]

    def void(self, error: HostError) -> list[Answer]:
        """Give up what was gathered: every answer it held is `error`."""
        gathered, self._gathered = self._gathered, _Gathered()
        return _refused(gathered, error)


def _refused(gathered: _Gathered, error: HostError) -> list[Answer]:
    return [
        Answer(effect.request, error=error)
        for effect in gathered.after
        if isinstance(effect, Answer)
    ]


def _consequences(gathered: _Gathered) -> tuple[list[Effect], list[Effect]]:
    worked_out = [effect for call in gathered.later for effect in call()]
    return [*gathered.sends, *worked_out], gathered.after
