"""Which stranger may begin a handshake. Sans-IO: time is passed in.

Rules of this file: a decision costs no memory that a stranger can grow. Sources are counted by
address; who could be anyone (many strangers pending) must first prove its address with a Retry,
which costs nothing here. A source's own rate is spent before the common one, so that one source
cannot use up everybody's.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum, auto

from presenced.net.limits import (
    CHALLENGE_PENDING,
    NEWCOMERS_BURST,
    NEWCOMERS_PER_SECOND,
    NEWCOMERS_PER_SOURCE_BURST,
    NEWCOMERS_PER_SOURCE_PER_SECOND,
    PENDING_PER_SOURCE_MAX,
    SOURCES_REMEMBERED_MAX,
)


class Verdict(Enum):
    """What to do with a stranger's first datagram."""

    ADMIT = auto()
    CHALLENGE = auto()
    "answer with a Retry; nothing is remembered"
    DROP = auto()


class TokenBucket:
    """At most `burst` at once and `per_second` in the long run."""

    __slots__ = ("_burst", "_per_second", "_tokens", "_when")

    def __init__(self, *, burst: float, per_second: float, now: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._tokens = burst
        self._when = now

    def take(self, now: float) -> bool:
        """Spend one, if there is one."""
        earned = max(0.0, now - self._when) * self._per_second
        self._tokens = min(self._burst, self._tokens + earned)
        self._when = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Admission:
    """Counts strangers, by source and in all."""

    def __init__(self, now: float) -> None:
        self._pending: Counter[str] = Counter()
        self._everybody = TokenBucket(
            burst=NEWCOMERS_BURST, per_second=NEWCOMERS_PER_SECOND, now=now
        )
        self._sources: dict[str, TokenBucket] = {}
        "least recently seen first"

    @property
    def pending(self) -> int:
        return self._pending.total()

    @property
    def sources_remembered(self) -> int:
        return len(self._sources)

    def decide(self, source: str, *, has_proved_address: bool, now: float) -> Verdict:
        """What to do with a first datagram. `ADMIT` must be followed by `entered`."""
        if self._pending[source] >= PENDING_PER_SOURCE_MAX:
            return Verdict.DROP
        if self.pending >= CHALLENGE_PENDING and not has_proved_address:
            return Verdict.CHALLENGE
        if not self._bucket(source, now).take(now) or not self._everybody.take(now):
            return Verdict.DROP
        return Verdict.ADMIT

    def entered(self, source: str) -> None:
        """A stranger's handshake began."""
        self._pending[source] += 1

    def left(self, source: str) -> None:
        """A stranger was authenticated, or its connection ended."""
        self._pending[source] -= 1
        if self._pending[source] <= 0:
            del self._pending[source]

    def _bucket(self, source: str, now: float) -> TokenBucket:
        bucket = self._sources.pop(source, None)
        if bucket is None:
            bucket = TokenBucket(
                burst=NEWCOMERS_PER_SOURCE_BURST,
                per_second=NEWCOMERS_PER_SOURCE_PER_SECOND,
                now=now,
            )
            if len(self._sources) >= SOURCES_REMEMBERED_MAX:
                del self._sources[next(iter(self._sources))]
        self._sources[source] = bucket
        return bucket
