"""One collection's signed, encrypted logs and the document they add up to (DESIGN §5, §6).

Promises: what was accepted is a pure function of the entries and statements here, in any order of
arrival; equal entries give equal content (`Replica.digest`); no foreign byte reaches the CRDT
library; nothing is sent that the caller has not committed; every queue is bounded.

Does not: decide what a record's fields mean (presence/), who is a member (trust/), or touch disk,
network, clock or randomness.
"""

from presenced.replica.document import DocumentLost
from presenced.replica.frontier import Frontier
from presenced.replica.hlc import HybridClock
from presenced.replica.replica import OwnLog, Pending, Replica
from presenced.replica.rows import Outcome
from presenced.replica.seams import RecordNaming, ReplicaReader, TrustView
from presenced.replica.slot import Operation, RecordSlots, Slot
from presenced.replica.sync import SyncMachine

__all__ = [
    "DocumentLost",
    "Frontier",
    "HybridClock",
    "Operation",
    "OwnLog",
    "Outcome",
    "Pending",
    "RecordNaming",
    "RecordSlots",
    "Replica",
    "ReplicaReader",
    "Slot",
    "SyncMachine",
    "TrustView",
]
