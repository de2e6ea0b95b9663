"""One transaction after another: what was decided goes to disk before it shows.

Theory of operation. The machine puts rows into `commit`, what depends on them (answers, events)
into `after`, and what must be worked out once they are on disk (what to push, what to
acknowledge) into `later`. When nothing is in flight, `flush` hands the commit over and keeps the
rest until `done`. What is decided meanwhile gathers in the next commit, so commits grow under
load. If a commit fails, everything gathered or in flight is void: the caller forgets its documents
and loads them again from what is on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TypeAlias

from presenced.device.commit import Commit
from presenced.device.effects import Answer, CommitBatch, Effect
from presenced.errors import StoreError

Later: TypeAlias = Callable[[], list[Effect]]


@dataclass(slots=True)
class _Gathered:
    commit: Commit = field(default_factory=Commit)
    later: list[Later] = field(default_factory=list)
    after: list[Effect] = field(default_factory=list)


class CommitPipeline:
    """Gathers rows and their consequences. Invariant: at most one commit is in flight."""

    def __init__(self) -> None:
        self._gathered = _Gathered()
        self._flying: _Gathered | None = None
        self._token = 0

    @property
    def commit(self) -> Commit:
        """The rows of the next transaction."""
        return self._gathered.commit

    @property
    def in_flight(self) -> bool:
        return self._flying is not None

    def after(self, *effects: Effect) -> None:
        """Effects to perform once everything gathered so far is on disk."""
        self._gathered.after += effects

    def later(self, call: Later) -> None:
        """Work out effects once everything gathered so far is on disk; they come first."""
        self._gathered.later.append(call)

    def flush(self) -> list[Effect]:
        """Hand over what was gathered, unless a commit is in flight."""
        if self._flying is not None:
            return []
        gathered, self._gathered = self._gathered, _Gathered()
        if not any(getattr(gathered.commit, row.name) for row in fields(gathered.commit)):
            return _consequences(gathered)
        self._token += 1
        self._flying = gathered
        return [CommitBatch(self._token, gathered.commit)]

    def landed(self, token: int) -> Commit:
        """The commit that is on disk now. `done` follows."""
        assert self._flying is not None
        assert token == self._token
        return self._flying.commit

    def done(self) -> list[Effect]:
        """The consequences of the commit that landed."""
        assert self._flying is not None
        gathered, self._flying = self._flying, None
        return _consequences(gathered)

    def failed(self, token: int, error: StoreError) -> list[Effect]:
        """The commit is not on disk: every answer it or the gathering one held is `error`."""
        assert self._flying is not None
        assert token == self._token
        void = [*self._flying.after, *self._gathered.after]
        self._flying = None
        self._gathered = _Gathered()
        return [
            Answer(effect.request, error=error) for effect in void if isinstance(effect, Answer)
        ]


def _consequences(gathered: _Gathered) -> list[Effect]:
    return [effect for call in gathered.later for effect in call()] + gathered.after
