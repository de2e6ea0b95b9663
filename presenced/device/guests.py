"""Links of keys that no member has (yet): what they say is tried apart, what they hear is little.

Whoever knows the space id completes a link. A new device that a sibling added while this one was
away comes so, and a removed one; but a statement that is taken is kept for ever and told to all.

Theory of operation. A guest's statements grow a copy of the DAG. Once that has all that the guest
says it has, it is resolved together with ours: if the guest's key is an active member's by that,
all of it is kept and the link is a member's. Otherwise nothing is kept; but of a removed device
the few statements of its own that crossed its removal, so that what it undid can be reported.

Rules of this file: a stranger hears heads only; a removed device hears of its removals and what
they rest on; a guest's statements are tried `GUEST_TRIALS_MAX` times a link.
Source: DESIGN §3 (grants of removed devices are void), MEMBERSHIP §4 *Undone*.
"""

from __future__ import annotations

from collections.abc import Callable

from presenced.device.limits import GUEST_TRIALS_MAX, LATE_STATEMENTS_MAX
from presenced.device.membership import Membership
from presenced.errors import LimitExceeded
from presenced.ids import DeviceId, StatementId
from presenced.trust.dag import StatementDag
from presenced.trust.members import Members, resolve_dag
from presenced.trust.statement import Statement
from presenced.trust.statement_sync import StatementSync


class Guest:
    """One such link, for as long as its key is no member's."""

    def __init__(self, membership: Membership, static: bytes) -> None:
        self._static = static
        self._tried = StatementDag(membership.dag.topological())
        self._trials = 0
        self._device = _removed_with(membership.members, static)

    def sync(self) -> StatementSync:
        """The exchange of statements of a link that begins so."""
        return StatementSync(self._tried, tells=self._tells)

    def demote(self, sync: StatementSync) -> None:
        """The link was a member's until now."""
        sync.move(self._tried, tells=self._tells)

    def try_out(self, membership: Membership, sync: StatementSync) -> list[Statement] | None:
        """After statements came: those to keep, in the DAG already. None: not all has come yet.

        If the guest is a member by them, `sync` goes on with the real DAG. Raises `LimitExceeded`.
        """
        if not sync.has_what_the_peer_named:
            return None
        self._trials += 1
        if self._trials > GUEST_TRIALS_MAX:
            raise LimitExceeded("GUEST_TRIALS_MAX")
        for statement in membership.dag.topological():
            self._tried.add(statement)
        members = resolve_dag(self._tried)
        if _active_with(members, self._static) is None:
            return self._late(membership)
        return self.settle(membership, sync)

    def settle(self, membership: Membership, sync: StatementSync) -> list[Statement]:
        """The key is a member's: what the guest brought, which is in the DAG now."""
        dag = membership.dag
        new = [one for one in self._tried.topological() if one.id not in dag]
        for statement in new:
            dag.add(statement)
        sync.move(dag)
        return new

    def _late(self, membership: Membership) -> list[Statement]:
        if self._device is None:
            return []
        dag = membership.dag
        before = _rest_of(membership, self._device)
        own = [one for one in self._tried.topological() if one.author == self._device]
        room = LATE_STATEMENTS_MAX - sum(one.id in dag and one.id not in before for one in own)
        late: list[Statement] = []
        for statement in own:
            if len(late) < room and statement.id not in dag and dag.knows(statement.heads):
                dag.add(statement)
                late.append(statement)
        return late

    @property
    def _tells(self) -> Callable[[StatementId], bool]:
        if self._device is None:
            return lambda _: False
        removals = [one.id for one in resolve_dag(self._tried).removals(self._device)]
        return self._tried.past(removals).__contains__


def _rest_of(membership: Membership, device: DeviceId) -> frozenset[StatementId]:
    """What the removals of a device had seen."""
    return membership.dag.past(one.id for one in membership.members.removals(device))


def _active_with(members: Members, static: bytes) -> DeviceId | None:
    for device in members.active:
        certificate = members.certificate(device)
        if certificate is not None and certificate.static == static:
            return device
    return None


def _removed_with(members: Members, static: bytes) -> DeviceId | None:
    for device in sorted(members.removed):
        certificate = members.certificate(device)
        if certificate is not None and certificate.static == static:
            return device
    return None
