"""A device begins a new incarnation: new logs, because its own ones cannot go on.

Rules of this file: everything that follows goes into one commit: the statement that tells the
others, the secrets that name the new logs, what is taken of the old ones and what is taken back
of them. Whoever asks for it loads everything again once that is on disk. Source: DESIGN §3 *Forks
and restored disks*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from presenced.clock import Entropy, Instant
from presenced.device.commit import Commit
from presenced.device.founding import SECRETS
from presenced.device.membership import Membership, rows_of
from presenced.ids import Collection, LogId, show_id
from presenced.presence.fields import PROGRESS, SESSION_MAP
from presenced.presence.progress import carried_over
from presenced.replica.document import DocumentLost
from presenced.replica.operation import decode_seen
from presenced.replica.replica import OwnLog, Replica
from presenced.replica.rows import Outcome, OverlayRow
from presenced.replica.slot import Operation
from presenced.trust.bodies import Cut
from presenced.wire import decode, encode

WORDS: Final = (
    "this device's database was restored from a backup, or copied: it goes on under new logs, and "
    "nothing that it or another device has is lost. If you did not restore it, somebody may use a "
    "copy of it: remove this device from another one"
)


class BeginsAnew(DocumentLost):
    """Nothing is done until the new incarnation is on disk."""

    code = "host-error"


def begin_anew(
    commit: Commit,
    membership: Membership,
    replicas: Mapping[Collection, Replica],
    keep: Callable[[Collection, Outcome], None],
    entropy: Entropy,
    now: Instant,
) -> None:
    """Put a new incarnation into a commit. `keep` puts the outcome of a collection's replica."""
    ends: dict[Collection, Cut] = {}
    outcomes: dict[Collection, Outcome] = {}
    for collection, replica in replicas.items():
        parted = replica.branch is not None or replica.contested
        outcomes[collection] = (
            replica.take_back() if replica.branch is None else replica.take_over(now)
        )
        points = replica.ends_of(membership.own_logs.get(collection, ())) if parted else None
        if points is not None:
            ends[collection] = points
    secrets, statements = membership.begin_incarnation(ends, entropy)
    membership.refresh()
    commit.statements += rows_of(statements)
    commit.meta[SECRETS] = secrets.to_bytes()
    for collection, outcome in outcomes.items():
        replica = replicas[collection]
        old, new = membership.secrets.log(collection), secrets.log(collection)
        outcome.overlay_put = [_moved(row, old, new, replica) for row in outcome.overlay_put]
        replica.begin_log(OwnLog(new, secrets.signing), membership.view)
        keep(collection, outcome)


def _moved(row: OverlayRow, old: LogId, new: LogId, replica: Replica) -> OverlayRow:
    """An unsent edit as the new log will write it: decisions are counted per log."""
    if (row.map, row.field) != (SESSION_MAP, PROGRESS):
        return row
    value = decode(row.value)
    edit = Operation(row.map, row.record, row.field, row.hlc, value, decode_seen(row.seen))
    before = replica.value_before(edit)
    return row._replace(value=encode(carried_over(value, before, show_id(old), show_id(new))))
