"""What comes from peers, before it is in a log: order, bounds, blame, and what must wait outside.

Entries of a log that membership does not know yet (its `add` is on its way) are parked as they
came, unverified, within the same bounds as waiting ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from presenced.clock import Instant
from presenced.errors import PeerError, Unauthorized
from presenced.ids import LogId
from presenced.replica.allowance import Allowance
from presenced.replica.chain import LogChain
from presenced.replica.ledger import Ledger
from presenced.replica.limits import (
    WAITING_BYTES_MAX,
    WAITING_ENTRIES_MAX,
)
from presenced.replica.loading import Recent
from presenced.replica.rows import Alert, AlertKind, Outcome


@dataclass(frozen=True, slots=True)
class Parked:
    """Consecutive raw entries of a log that is nobody's yet."""

    log: LogId
    first_seq: int
    raws: tuple[bytes, ...]


class Arrivals:
    """The gate of one replica. What it refuses for a bound is reported, never lost silently."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._parked: list[Parked] = []
        self._parked_entries = 0
        self._parked_bytes = 0

    @property
    def parked(self) -> int:
        """Entries of logs that membership does not know."""
        return self._parked_entries

    def park(self, log: LogId, first_seq: int, raws: Sequence[bytes], outcome: Outcome) -> None:
        size = sum(map(len, raws))
        if (
            self._parked_entries + len(raws) > WAITING_ENTRIES_MAX
            or self._parked_bytes + size > WAITING_BYTES_MAX
        ):
            outcome.paused = True
            return
        self._parked.append(Parked(log, first_seq, tuple(raws)))
        self._parked_entries += len(raws)
        self._parked_bytes += size

    def unpark(self, ledger: Ledger) -> Iterator[Parked]:
        """What was parked for logs that are known now, in the order in which it came."""
        known = [one for one in self._parked if ledger.chain(one.log) is not None]
        self._parked = [one for one in self._parked if ledger.chain(one.log) is None]
        for one in known:
            self._parked_entries -= len(one.raws)
            self._parked_bytes -= sum(map(len, one.raws))
        return iter(known)

    def take(
        self,
        ledger: Ledger,
        recent: Recent,
        arrived: Parked,
        now: Instant,
        outcome: Outcome,
    ) -> None:
        """Hold what can be held. One bad entry ends its log's part and nothing else."""
        chain = ledger.chain(arrived.log)
        assert chain is not None
        for seq, raw in enumerate(arrived.raws, start=arrived.first_seq):
            if seq > chain.held_seq + 1:
                outcome.paused = True  # what lies between was not taken
                return
            try:
                if seq <= chain.held_seq:
                    first = recent.raw_at(chain.log, seq) if seq > chain.base_seq else None
                    if not ledger.compare(chain, seq, raw, first, outcome):
                        continue
                    if not ledger.give_way(chain, seq, outcome):
                        outcome.paused = outcome.paused or ledger.takes(chain, seq)
                        return
                    recent.forget_from(chain.log, seq)
                if not ledger.takes(chain, seq):
                    return
                if self._has_room(ledger, chain, raw, now, outcome):
                    ledger.take(chain, raw, now.wall_ms, outcome)
                else:
                    outcome.paused = True
                    return
            except PeerError as error:
                if not (isinstance(error, Unauthorized) and chain.forked_before(seq)):
                    outcome.faults.append(error)
                return

    def _has_room(
        self, ledger: Ledger, chain: LogChain, raw: bytes, now: Instant, outcome: Outcome
    ) -> bool:
        if chain.tail:
            entries, size = ledger.waiting(but_ended=True)
            if entries >= WAITING_ENTRIES_MAX or size + len(raw) > WAITING_BYTES_MAX:
                return False
        device = chain.owner.device
        if not self._allowance.take(device, len(raw), now.wall_ms):
            outcome.alerts.append(Alert(AlertKind.DAY_LIMIT, chain.log, device))
            return False
        return True
