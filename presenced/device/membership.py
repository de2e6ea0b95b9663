"""What this device knows of membership: statements, what they resolve to, the keys it could open.

Invariants: 1. `members`, `keyring` and `view` always answer for the same set of statements.
2. A debt is paid by signing statements here; they count like anybody's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

from presenced.clock import Entropy
from presenced.crypto import derive
from presenced.device.limits import DEBTS_AT_ONCE_MAX
from presenced.ids import COLLECTIONS, Collection, DeviceId, LogId, SpaceId, StatementId
from presenced.trust.admission import ClientCollision, add_body, incarnation_body
from presenced.trust.bodies import Cut, NewIncarnation
from presenced.trust.certificate import Certificate
from presenced.trust.dag import StatementDag, load_dag
from presenced.trust.epochs import Keyring, pay_debt
from presenced.trust.identity import DeviceSecrets
from presenced.trust.members import Members, resolve_dag
from presenced.trust.statement import Statement, sign_statement
from presenced.trust.view import MembershipView


class Membership:
    """The statements of one space on one device."""

    def __init__(self, *, space: SpaceId, secrets: DeviceSecrets, raws: Iterable[bytes]) -> None:
        self.space = space
        self.secrets = secrets
        self.device: DeviceId = secrets.device
        self.dag: StatementDag = load_dag(raws, space)
        self.keyring = Keyring()
        self.refresh()

    def refresh(self) -> None:
        """Resolve again, after statements came into the DAG."""
        self.members: Members = resolve_dag(self.dag)
        self.keyring = Keyring.open_from(self.members, self.dag, self.secrets, self.keyring)
        self.view = MembershipView(self.members, self.dag, self.keyring)

    @property
    def active(self) -> bool:
        """Whether this device is a member now."""
        return self.device in self.members.active

    @property
    def collections(self) -> tuple[Collection, ...]:
        """What this device may have, in the fixed order of collections."""
        mine = self.members.collections(self.device)
        return tuple(name for name in COLLECTIONS if name in mine)

    @property
    def siblings(self) -> Mapping[DeviceId, bytes]:
        """The static key of every other active device."""
        found = {}
        for device in self.members.active:
            certificate = self.members.certificate(device)
            if device != self.device and certificate is not None:
                found[device] = certificate.static
        return found

    def device_with_static(self, static: bytes) -> DeviceId | None:
        """The active device that has this link key."""
        return next((one for one, key in self.siblings.items() if key == static), None)

    def device_of(self, log: LogId) -> DeviceId | None:
        owner = self.members.logs.get(log)
        return None if owner is None else owner.device

    def fingerprint(self, device: DeviceId) -> str:
        certificate = self.members.certificate(device)
        return "" if certificate is None else derive.fingerprint(certificate.signing)

    def pay_debts(self, entropy: Entropy, linked: Iterable[DeviceId] = ()) -> list[Statement]:
        """Sign and take in what this device owes: first epochs, rotations, shares."""
        paid: list[Statement] = []
        peers = tuple(linked)
        for collection in self.collections:
            for _ in range(DEBTS_AT_ONCE_MAX):
                body = pay_debt(
                    self.members, self.keyring, self.device, collection, entropy, linked=peers
                )
                if body is None:
                    break
                statement = sign_statement(
                    self.secrets.signing, self.dag.anchor, self.dag.citable_heads, body
                )
                paid += self.dag.add(statement)
                self.refresh()
        return paid

    @property
    def own_logs(self) -> Mapping[Collection, tuple[LogId, ...]]:
        """Every log of this device by collection, of all its incarnations."""
        logs: dict[Collection, tuple[LogId, ...]] = {}
        for log, owner in sorted(self.members.logs.items()):
            if owner.device == self.device:
                logs[owner.collection] = (*logs.get(owner.collection, ()), log)
        return logs

    @property
    def superseded(self) -> bool:
        """Whether a later incarnation of this device, which it does not remember, ended its logs.

        The database was restored to what it was before.
        """
        ours = self.secrets.incarnation
        began = {
            one.body.incarnation: one.id
            for one in self.dag.topological()
            if isinstance(one.body, NewIncarnation)
            and one.author == self.device
            and (one.body.ends or one.body.incarnation == ours)
        }
        since = began.pop(ours, None)
        return any(since is None or self.dag.in_past(since, later) for later in began.values())

    def begin_incarnation(
        self, ends: Mapping[Collection, Cut], entropy: Entropy
    ) -> tuple[DeviceSecrets, list[Statement]]:
        """New logs for this device: the secrets to keep, and what tells the others.

        Nothing changes here but the DAG: the new secrets hold once they are on disk.
        """
        while True:
            secrets = self.secrets.reborn(entropy)
            with suppress(ClientCollision):
                body = incarnation_body(self.members, self.device, secrets.incarnation, ends)
                break
        statement = sign_statement(
            self.secrets.signing, self.dag.anchor, self.dag.citable_heads, body
        )
        return secrets, self.dag.add(statement)

    def admit(
        self, certificate: Certificate, collections: Iterable[Collection], entropy: Entropy
    ) -> list[Statement]:
        """Sign what makes a new device a member: its add, and the shares of retained keys.

        Raises what `add_body` raises; nothing is signed then.
        """
        body = add_body(self.members, self.device, certificate, collections)
        statement = sign_statement(
            self.secrets.signing, self.dag.anchor, self.dag.citable_heads, body
        )
        added = self.dag.add(statement)
        self.refresh()
        return [*added, *self.pay_debts(entropy)]


def rows_of(statements: Iterable[Statement]) -> list[tuple[StatementId, bytes]]:
    """Statements as the store keeps them."""
    return [(statement.id, statement.raw) for statement in statements]
