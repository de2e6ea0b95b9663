"""The first commit of a home: a new identity, or a membership that was joined.

The root key's entropy stays in the (encrypted) store until the person has confirmed the phrase;
then the row is deleted. Meta rows are named here, once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from presenced.clock import Entropy
from presenced.device.commit import Commit, StoreReader
from presenced.errors import Malformed, NotSetUp, Unauthorized
from presenced.ids import DeviceId, SpaceId
from presenced.trust.dag import load_dag
from presenced.trust.identity import DeviceSecrets, Founding, found_identity
from presenced.trust.members import resolve_dag

SPACE: Final = "space"
SECRETS: Final = "secrets"
ROOT_ENTROPY: Final = "root-entropy"
NAME: Final = "name"
"this device's own name, before and after it is a record in `directory`"
HLC: Final = "hlc"
"the highest HLC handed out"


def found(name: str, entropy: Entropy) -> tuple[Founding, Commit]:
    """A new identity with this device as its first, and the rows that make it so."""
    founding = found_identity(entropy)
    commit = _beginning(founding.space, founding.secrets, name)
    commit.statements = [(founding.genesis.id, founding.genesis.raw)]
    commit.meta[ROOT_ENTROPY] = founding.root_entropy
    return founding, commit


def join(
    *,
    space: SpaceId,
    secrets: DeviceSecrets,
    statements: Iterable[bytes],
    name: str,
    sponsor: DeviceId,
    sponsor_static: bytes,
) -> Commit:
    """The rows that make this home a device of `space`.

    Raises `Malformed` or `Unauthorized` when the statements are not a membership of that space in
    which this device is active and `sponsor` has the link key that the enrolment proved.
    """
    dag = load_dag(statements, space)
    if dag.waiting:
        raise Malformed("the membership is not complete")
    members = resolve_dag(dag)
    if secrets.device not in members.active:
        raise Unauthorized("this device is not a member in what was sent")
    certificate = members.certificate(sponsor)
    if certificate is None or certificate.static != sponsor_static:
        raise Unauthorized("the sponsor is not the device that the membership names")
    commit = _beginning(space, secrets, name)
    commit.statements = [(statement.id, statement.raw) for statement in dag.topological()]
    return commit


def _beginning(space: SpaceId, secrets: DeviceSecrets, name: str) -> Commit:
    return Commit(
        meta={SPACE: space, SECRETS: secrets.to_bytes(), NAME: name.encode("utf-8")},
    )


def is_set_up(reader: StoreReader) -> bool:
    return reader.meta(SPACE) is not None


def load_identity(reader: StoreReader) -> tuple[SpaceId, DeviceSecrets]:
    """Space and secrets of this home. Raises `NotSetUp` if there are none."""
    space, secrets = reader.meta(SPACE), reader.meta(SECRETS)
    if space is None or secrets is None:
        raise NotSetUp("no identity here yet")
    return SpaceId(space), DeviceSecrets.from_bytes(secrets)
