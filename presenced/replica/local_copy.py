"""One collection in memory: ledger, unsent edits, and entries that may not be on disk yet.

Rules of this file: nothing here is the truth; all of it is built from what is committed when it is
first needed, and can be dropped at any time. A change to the ledger becomes rows by `finished`.
"""

from __future__ import annotations

from presenced.ids import Collection, SpaceId
from presenced.replica.allowance import Allowance
from presenced.replica.arrivals import Arrivals
from presenced.replica.chain import LogChain
from presenced.replica.digest import ContentDigest
from presenced.replica.hlc import HybridClock
from presenced.replica.ledger import Ledger
from presenced.replica.loading import Recent, load_ledger
from presenced.replica.overlay import Overlay
from presenced.replica.own_log import OwnLog
from presenced.replica.rows import Outcome
from presenced.replica.seams import RecordNaming, ReplicaReader, TrustView


class LocalCopy:
    """Of one replica. `own` is None on a device that only reads."""

    def __init__(
        self,
        *,
        space: SpaceId,
        collection: Collection,
        own: OwnLog | None,
        reader: ReplicaReader,
        naming: RecordNaming,
        trust: TrustView,
        clock: HybridClock,
        taken: bytes | None,
    ) -> None:
        """`taken`: the `Outcome.taken` that was committed last."""
        self._space = space
        self.collection = collection
        self.own = own
        self.reader = reader
        self._naming = naming
        self.trust = trust
        self._clock = clock
        self.allowance = Allowance(taken)
        self.loaded: Ledger | None = None
        "`ledger`, if it is here already"
        self._digest: ContentDigest | None = None
        self._unsent: Overlay | None = None
        self.recent = Recent(reader, collection)
        self.arrivals = Arrivals(self.allowance)
        self._views_stale = False
        "a crash came between statements and what follows from them"

    @property
    def ledger(self) -> Ledger:
        """Built from what is committed, if it is not here yet."""
        if self.loaded is None:
            self.load()
        assert self.loaded is not None
        return self.loaded

    def load(self) -> None:
        """Have the ledger here."""
        if self.loaded is not None:
            return
        ledger = load_ledger(self.new_ledger(), self.reader, self.recent, use_base=True)
        self.use(ledger)
        # A crash may have parted statements from what follows from them: tell it then.
        self._views_stale = any(
            head.log in ledger.chains and ledger.chains[head.log].applied_seq != head.applied_seq
            for head in self.reader.log_heads(self.collection)
        )

    @property
    def digest(self) -> ContentDigest:
        """Of the ledger's document."""
        self.load()
        assert self._digest is not None
        return self._digest

    @property
    def unsent(self) -> Overlay:
        if self._unsent is None:
            self._unsent = Overlay(self.collection)
            self._unsent.load(self.reader.overlay(self.collection))
        return self._unsent

    def own_chain(self) -> LogChain | None:
        return None if self.own is None else self.ledger.chain(self.own.log)

    def new_ledger(self) -> Ledger:
        """An empty one, under the view of now."""
        return Ledger(self._space, self.collection, self._naming, self.trust, self._clock)

    def use(self, ledger: Ledger, digest: ContentDigest | None = None) -> None:
        """Put another ledger in the place of the one that is here."""
        self.loaded = ledger
        self._digest = digest if digest is not None else ContentDigest(ledger.document)

    def drop(self) -> None:
        """Forget everything that is not committed."""
        self.loaded = self._digest = self._unsent = None
        self.recent = Recent(self.reader, self.collection)
        self.arrivals = Arrivals(self.allowance)

    def rebuild(self, outcome: Outcome) -> None:
        """Acceptance shrank: the document anew from the log, under the same view."""
        ledger = load_ledger(
            self.new_ledger(), self.reader, self.recent, use_base=False, before=self.loaded
        )
        self.use(ledger)
        outcome.rebuilt = True
        outcome.applied.clear()
        outcome.touched.clear()
        if not any(chain.base_seq for chain in ledger.chains.values()):
            outcome.base = []
        ledger.all_changed()

    def finished(self, outcome: Outcome) -> Outcome:
        """What the ledger did, as rows: heads of all logs that moved, and entries kept at hand."""
        ledger = self.ledger
        ledger.document.flush()
        if self._views_stale:
            self._views_stale = False
            outcome.rebuilt = True
            outcome.applied.clear()
            outcome.touched.clear()
            ledger.all_changed()
        ledger.take_changed(outcome)
        self.recent.add(outcome.entries)
        return outcome
