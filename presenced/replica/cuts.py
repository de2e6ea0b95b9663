"""Where removals and forks cut the logs of a collection, and so which held entries may count.

Theory of operation. A standing removal binds its device's logs at a place (`bounds`, the terms of
acceptance.py). A log of which two entries for one place are known, signed, *ends* before the lowest
such place, on every device, whichever branch it holds (decisions/0016). An entry of another log
that names one beyond that end needs this log up to its end only: nobody's edits wait for a branch.
What a removal (or the author's next incarnation) names by its hash counts again, as far as that.

While no removal cuts any log here, everything whose past is applied counts, and an entry costs
the same however long the logs are. Otherwise that still holds for entries that neither lie
outside a cut nor name, for the first time, an entry that does; only those ask the full rule.

Rules of this file: chains are read here and never changed; `find` computes everything anew from
them and a view of membership, so what stands here never depends on what stood here before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Final

from presenced.ids import Collection, EntryHash, LogId, StatementId
from presenced.replica.acceptance import Bound, Chain, accept
from presenced.replica.chain import HeldEntry, LogChain
from presenced.replica.entry import NO_ENTRY, Reference
from presenced.replica.limits import SEQ_MAX
from presenced.replica.rows import LogHead
from presenced.replica.seams import RemovalCut, TrustView

_APPLIED: Final[Callable[[LogChain], int]] = attrgetter("applied_seq")
_HELD: Final[Callable[[LogChain], int]] = attrgetter("held_seq")


class Cuts:
    """Of the chains of one ledger. `chains` is the ledger's own mapping, which grows."""

    def __init__(self, collection: Collection, chains: Mapping[LogId, LogChain]) -> None:
        self._collection = collection
        self._chains = chains
        self.bounds: dict[LogId, tuple[tuple[Bound, ...], ...]] = {}
        "of logs that removals cut"
        self.ends: dict[LogId, int] = {}
        "of forked logs, the last entry that may count"
        self._hashes: dict[tuple[LogId, int], set[EntryHash]] = {}
        "of the last entries inside, as cuts name them"
        self._named: dict[LogId, int] = {}
        "of forked logs, how far cuts name a branch that is not held so far"
        self._proved: dict[LogId, int] = {}
        "of those, how far what is held is what cuts name"
        self._since: set[tuple[LogId, Bound]] = set()
        "cuts that the base was taken without"

    # --- finding them ---

    def find(self, trust: TrustView, base_heads: Sequence[StatementId]) -> bool:
        """Look at all chains under a view; whether anything is cut elsewhere than before.

        `base_heads`: the statements under which the base was taken.
        """
        bounds: dict[LogId, tuple[tuple[Bound, ...], ...]] = {}
        ends: dict[LogId, int] = {}
        self._hashes = {}
        self._named, self._proved = {}, {}
        self._since.clear()
        for log, chain in self._chains.items():
            removals_of = trust.alternatives(chain.owner.device, self._collection)
            alternatives = {
                self._bounds_of(chain, removals, trust, base_heads) for removals in removals_of
            }
            if alternatives and () not in alternatives:
                bounds[log] = tuple(sorted(alternatives))
            if chain.fork_seq:
                ends[log] = max(
                    (self._end_of(chain, removals) for removals in removals_of),
                    default=chain.fork_seq - 1,
                )
        if bounds == self.bounds and ends == self.ends:
            return False
        self.bounds, self.ends = bounds, ends
        return True

    def _bounds_of(
        self,
        chain: LogChain,
        removals: Sequence[RemovalCut],
        trust: TrustView,
        base_heads: Sequence[StatementId],
    ) -> tuple[Bound, ...]:
        """Where these removals, all together, cut a log."""
        bounds = []
        for removal in removals:
            if removal.cut is None:
                continue
            seq, digest = removal.cut.get(chain.log, (0, NO_ENTRY))
            if seq > SEQ_MAX:
                continue
            known = chain.hash_at(seq) if seq else None
            if known is not None and known != digest:
                seq -= 1
            elif seq:
                self._hashes.setdefault((chain.log, seq), set()).add(digest)
            bounds.append(Bound(removal.id, seq))
            if chain.base_seq and not trust.in_past(removal.given_by, base_heads):
                self._since.add((chain.log, bounds[-1]))
        return tuple(bounds)

    def _end_of(self, chain: LogChain, removals: Sequence[RemovalCut]) -> int:
        """Where a forked log ends: before the fork, or as far as all cuts name what is held."""
        before = chain.fork_seq - 1
        points = [
            removal.cut.get(chain.log, (0, NO_ENTRY))
            for removal in removals
            if removal.cut is not None
        ]
        points = [point for point in points if point[0] <= SEQ_MAX]
        seq = min((point[0] for point in points), default=0)
        if seq <= before:
            return before
        held = [(at, chain.hash_at(at), digest) for at, digest in points]
        proved = [at for at, known, digest in held if known == digest]
        if len(proved) == len(held):
            return seq
        if not proved or all(known in (None, digest) for _, known, digest in held):
            self._named[chain.log] = max(at for at, _ in points)
            self._proved[chain.log] = max(proved, default=before)
        return before

    def moves_with(self, chain: LogChain, held: HeldEntry) -> bool:
        """Whether an entry that was just held may move a cut: it lies where one names a hash."""
        named = self._hashes.get((chain.log, held.seq))
        return bool(named and (named - {held.hash} or chain.fork_seq))

    # --- forked logs ---

    def takes(self, log: LogId, seq: int) -> bool:
        """Whether entries of a log are still taken there: of a forked one what a cut names."""
        end = self.ends.get(log)
        return end is None or seq <= max(end, self._named.get(log, 0))

    def gives_way(self, chain: LogChain, seq: int) -> bool:
        """Whether what is held from `seq` on is to be given up: cuts name another branch."""
        log = chain.log
        return max(chain.applied_seq, self._proved.get(log, 0)) < seq <= self._named.get(log, 0)

    def reach(self, reference: Reference) -> int:
        """How far an entry needs a log that it names: of a forked one up to its end at most."""
        log, seq, digest = reference
        end = self.ends.get(log)
        if end is None:
            return seq
        chain = self._chains[log]
        if seq >= chain.fork_seq and chain.hash_at(seq) != digest:
            return chain.fork_seq - 1  # of another branch
        return min(seq, end)

    def past_is_applied(self, held: HeldEntry) -> bool:
        """Whether all that an entry declares is in the document, as far as it is needed."""
        return self._past_is(held, _APPLIED)

    def past_is_held(self, held: HeldEntry) -> bool:
        """Whether all that an entry declares is stored, as far as it is needed."""
        return self._past_is(held, _HELD)

    def _past_is(self, held: HeldEntry, seq_of: Callable[[LogChain], int]) -> bool:
        for reference in held.entry.past:
            log, seq, digest = reference
            other = self._chains.get(log)
            if other is None:
                return False
            if log in self.ends:
                if seq_of(other) < self.reach(reference):
                    return False
            elif seq_of(other) < seq or other.hash_at(seq) not in (None, digest):
                return False
        return True

    # --- what counts ---

    def counts_at_once(self, chain: LogChain, held: HeldEntry) -> bool:
        """Whether the full rule need not be asked, given that its past is applied.

        Everything it adds to its log's past, and itself, lies inside every cut; and what its log
        named before was judged before (an entry that had not heard of a removal carries what it
        names; one that had was judged with it).
        """
        if not self.bounds:
            return True
        return self._inside(chain.log, held.seq) and all(
            self._inside(one.log, one.seq) for one in held.entry.past
        )

    def _inside(self, log: LogId, seq: int) -> bool:
        """Whether an entry is inside every cut of an alternative: whatever else it passes."""
        alternatives = self.bounds.get(log)
        return alternatives is None or any(
            all(seq <= bound.seq for bound in cuts) for cuts in alternatives
        )

    def accepted(self, trust: TrustView) -> dict[LogId, int]:
        """By the full rule, the last entry of each log that counts (0: none)."""
        removals = {
            bound.removal
            for alternatives in self.bounds.values()
            for cuts in alternatives
            for bound in cuts
        }
        removals_in = {
            heads: frozenset(removal for removal in removals if trust.in_past(removal, heads))
            for heads in {past.heads for one in self._chains.values() for past in one.pasts}
            if heads and trust.knows(heads)
        }
        return accept(
            {
                log: Chain(
                    device=chain.owner.device,
                    length=min(chain.readable_seq(), self.ends.get(log, SEQ_MAX)),
                    links=chain.links(removals_in, self.reach),
                    floor=chain.base_seq,
                )
                for log, chain in self._chains.items()
            },
            self.bounds,
        )

    # --- the base ---

    def stale_logs(self) -> list[LogId]:
        """Logs that removals cut below a base that was taken without those cuts."""
        return [log for log in self.bounds if self._is_stale(log)]

    @property
    def base_stale(self) -> bool:
        """Whether the base may hold what no longer counts: a cut that it was taken without."""
        return bool(self.stale_logs()) or any(
            self._chains[log].base_seq > end for log, end in self.ends.items()
        )

    def _is_stale(self, log: LogId) -> bool:
        base = self._chains[log].base_seq
        return all(
            any(bound.seq < base and (log, bound) in self._since for bound in cuts)
            for cuts in self.bounds[log]
        )


def any_is_cut(heads: Iterable[LogHead], trust: TrustView, collection: Collection) -> bool:
    """Whether any of these logs is cut, before it has a chain."""
    for head in heads:
        owner = trust.log_owner(head.log)
        if head.fork_seq or (
            owner is not None
            and all(
                any(removal.cut is not None for removal in removals)
                for removals in trust.alternatives(owner.device, collection)
            )
        ):
            return True
    return False


def all_stand(heads: Iterable[LogHead], trust: TrustView, collection: Collection) -> bool:
    """Whether a view surely changes nothing of what is committed: nothing waits or is cut."""
    for head in heads:
        owner = trust.log_owner(head.log)
        if owner is None or head.applied_seq != head.held_seq or head.fork_seq:
            return False
        if not any(
            all(_is_inside(head, removal) for removal in removals)
            for removals in trust.alternatives(owner.device, collection)
        ):
            return False
    return True


def _is_inside(head: LogHead, removal: RemovalCut) -> bool:
    """Whether all that is held of a log is surely inside a cut."""
    if removal.cut is None:
        return True
    seq, digest = removal.cut.get(head.log, (0, NO_ENTRY))
    return seq > head.held_seq or (seq, digest) == (head.held_seq, head.held_hash)
