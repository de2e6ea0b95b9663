"""Which entries count: the rule for content of revoked devices (DESIGN §3), as a pure function.

The rule, for the set of entries and the removals that stand:
a. an entry counts only if its declared past is complete and all of that past is itself accepted
   when judged on that past alone (its entries, and those standing removals that lie in it);
b. an entry of a removed device is accepted if, for each removal of it, it is inside the cut or
   some accepted entry of another device has it in its past and does not have that removal there;
   of a device with several void adds each gives such a list of removals (an *alternative*), and
   passing for one of them is enough;
c. the rest is quarantined.

Judging a past alone leaves, of each alternative, the removals that lie in that past: an add whose
blame is not among them does not yet bind.

What makes it cheap. The own previous entry is part of every past, so the accepted entries of a
log are a prefix, and the answer is one number per log. An entry that names no new past has the
same past as the one before it, so only those that do (`PastLink`) are looked at. And of a past
only this matters: how far it reaches into logs that a removal cuts (`reach`), which removals lie
in it, and how far entries in it that had not heard of a removal reach into those logs
(`support`). If everything in a past is accepted, its entries of a cut log are those inside the
cut or supported there; so rule a is one comparison per cut. What passes for an alternative is a
prefix of its log, so of several the furthest counts.

With the removals fixed, more entries only ever add support: acceptance grows. A new removal may
shrink it. No clock, arrival order or count is used.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from presenced.ids import DeviceId, LogId, StatementId


class PastLink(NamedTuple):
    """An entry that declares something new: entries of other logs, or removals."""

    seq: int
    references: tuple[tuple[LogId, int], ...]
    removals: frozenset[StatementId]
    "removals that cut a log here and lie in the membership heads this entry declares"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """One log: entries 1 to `length` are here and can be read."""

    device: DeviceId
    length: int
    links: Sequence[PastLink]
    "by seq"
    floor: int = 0
    "entries up to here came inside a snapshot: accepted, and their pasts are not known"


class Bound(NamedTuple):
    """Where a standing removal cuts a log: the last seq inside."""

    removal: StatementId
    seq: int


Bounds: TypeAlias = Mapping[LogId, Sequence[Sequence[Bound]]]
"""Closed cuts per log: alternatives, of which an entry must pass one, and of that every bound.

A log that is not named is not cut; no alternative is empty.
"""


@dataclass(slots=True)
class _Past:
    """An entry together with its past, as far as the rule cares."""

    reach: dict[LogId, int]
    removals: frozenset[StatementId]
    support: dict[tuple[StatementId, LogId], int]


class _Progress:
    """How far one chain was walked: its links so far, with their pasts."""

    __slots__ = ("chain", "formed", "pasts", "seqs", "walked")

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.seqs: list[int] = []
        self.pasts: list[_Past] = []
        self.walked = 0
        self.formed = chain.links[0].seq - 1 if chain.links else chain.length
        "entries known to be well formed"


def accept(chains: Mapping[LogId, Chain], bounds: Bounds) -> dict[LogId, int]:
    """Per log the last accepted seq (0: none)."""
    world = _World(chains, bounds)
    world.walk()
    return world.accepted()


class _World:
    def __init__(self, chains: Mapping[LogId, Chain], bounds: Bounds) -> None:
        self._chains = chains
        self._bounds: dict[LogId, tuple[tuple[Bound, ...], ...]] = {
            log: tuple(
                tuple(Bound(one.removal, max(one.seq, chains[log].floor)) for one in cuts)
                for cuts in alternatives
            )
            for log, alternatives in bounds.items()
            if log in chains
        }
        self._removals = {
            log: frozenset(bound.removal for cuts in alternatives for bound in cuts)
            for log, alternatives in self._bounds.items()
        }
        self._logs = {log: _Progress(chain) for log, chain in chains.items()}
        for log, progress in self._logs.items():
            progress.formed = min(progress.formed, self._own_limit(log, progress))

    # --- rule a: one walk over the links, each after what it refers to ---

    def walk(self) -> None:
        moved = True
        while moved:
            moved = False
            for log, progress in self._logs.items():
                while self._step(log, progress):
                    moved = True

    def _step(self, log: LogId, progress: _Progress) -> bool:
        links = progress.chain.links
        if progress.walked == len(links):
            return False
        link = links[progress.walked]
        if link.seq - 1 > progress.formed:
            return False
        for other, seq in link.references:
            target = self._logs.get(other)
            if target is None or seq > target.formed:
                return False
        before = self._join(log, link)
        if not self._well_formed(before):
            return False
        progress.seqs.append(link.seq)
        progress.pasts.append(self._with_itself(log, before))
        progress.walked += 1
        following = (
            links[progress.walked].seq - 1
            if progress.walked < len(links)
            else (progress.chain.length)
        )
        progress.formed = min(following, self._own_limit(log, progress))
        return progress.formed >= link.seq

    def _at(self, log: LogId, seq: int) -> _Past:
        """The entry `seq` of a log with its past."""
        progress = self._logs[log]
        place = bisect_right(progress.seqs, seq) - 1
        past = progress.pasts[place] if place >= 0 else _Past({}, frozenset(), {})
        if log not in self._bounds or past.reach.get(log) == seq:
            return past
        return _Past({**past.reach, log: seq}, past.removals, past.support)

    def _join(self, log: LogId, link: PastLink) -> _Past:
        joined = _Past({}, link.removals, {})
        befores = [(log, link.seq - 1)] if link.seq > 1 else []
        for other, seq in (*befores, *link.references):
            past = self._at(other, seq)
            joined.removals |= past.removals
            for name, reach in past.reach.items():
                joined.reach[name] = max(joined.reach.get(name, 0), reach)
            for pair, reach in past.support.items():
                joined.support[pair] = max(joined.support.get(pair, 0), reach)
        return joined

    def _well_formed(self, past: _Past) -> bool:
        return all(reach <= self._passes(log, past, reach) for log, reach in past.reach.items())

    def _passes(self, log: LogId, past: _Past, most: int) -> int:
        """How far a cut log passes, judged on a past alone; `most` if nothing there limits it."""
        return max(
            min(
                (
                    max(bound.seq, past.support.get((bound.removal, log), 0))
                    for bound in cuts
                    if bound.removal in past.removals
                ),
                default=most,
            )
            for cuts in self._bounds[log]
        )

    def _with_itself(self, log: LogId, past: _Past) -> _Past:
        """The past of whatever has this entry in its past: the entry now supports, too."""
        support = past.support
        device = self._chains[log].device
        for other, reach in past.reach.items():
            if self._chains[other].device == device:
                continue
            for removal in self._removals[other]:
                pair = (removal, other)
                if removal not in past.removals and support.get(pair, 0) < reach:
                    support = {**support, pair: reach}
        return _Past(past.reach, past.removals, support)

    def _own_limit(self, log: LogId, progress: _Progress) -> int:
        """How long a cut log stays well formed without naming new past: itself is in its past."""
        length = progress.chain.length
        if not progress.pasts or log not in self._bounds:
            return length
        reach = self._passes(log, progress.pasts[-1], length)
        return min(length, max(reach + 1, progress.seqs[-1]))

    # --- rule b: from all that is well formed, take away what nothing carries ---

    def accepted(self) -> dict[LogId, int]:
        lengths = {log: max(one.formed, one.chain.floor) for log, one in self._logs.items()}
        shrank = True
        while shrank:
            shrank = False
            for log in self._logs:
                length = min(self._carried(log, lengths), self._closed(log, lengths))
                if length < lengths[log]:
                    lengths[log] = length
                    shrank = True
        return lengths

    def _carried(self, log: LogId, lengths: Mapping[LogId, int]) -> int:
        """How far a log is inside its cuts or carried by accepted entries of other devices."""
        length = lengths[log]
        if all(bound.seq >= length for cuts in self._bounds.get(log, ()) for bound in cuts):
            return length
        support = {removal: self._support(log, removal, lengths) for removal in self._removals[log]}
        return min(
            length,
            max(
                min(max(bound.seq, support[bound.removal]) for bound in cuts)
                for cuts in self._bounds[log]
            ),
        )

    def _support(self, log: LogId, removal: StatementId, lengths: Mapping[LogId, int]) -> int:
        device = self._chains[log].device
        best = 0
        for other, progress in self._logs.items():
            if progress.chain.device == device:
                continue
            unaware = lengths[other]
            for seq, past in zip(progress.seqs, progress.pasts, strict=True):
                if removal in past.removals:
                    unaware = min(unaware, seq - 1)
                    break
            if unaware > 0:
                best = max(best, self._at(other, unaware).reach.get(log, 0))
        return best

    def _closed(self, log: LogId, lengths: Mapping[LogId, int]) -> int:
        """The longest prefix whose declared past is accepted too."""
        for link in self._chains[log].links:
            if link.seq > lengths[log]:
                break
            if any(seq > lengths.get(other, 0) for other, seq in link.references):
                return link.seq - 1
        return lengths[log]
