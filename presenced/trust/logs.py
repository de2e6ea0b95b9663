"""Whose a log is, and where it ends.

Rules of this file: logs come from certificates and `incarnation` statements, never from what a
peer says of itself. A log whose device no admission could ever admit has no owner, so nothing of
it is taken in. An admission that was voided by removals keeps its logs: their content is judged
by those removals, with an empty cut. Source: MEMBERSHIP §4 *Cuts*, DESIGN §3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from presenced.crypto import derive
from presenced.ids import COLLECTIONS, Collection, DeviceId, EntryHash, LogId, StatementId
from presenced.trust.bodies import Add, Cut, NewIncarnation
from presenced.trust.counting import EVERYTHING, Counting
from presenced.trust.shape import Register
from presenced.trust.verdict import Verdict

WHOLE_LOG: Final = (2**64 - 1, EntryHash(b""))
"in a cut: the log is not ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOwner:
    """A log as membership knows it."""

    device: DeviceId
    collection: Collection
    signing: bytes
    "the device's Ed25519 public key, 32 bytes"
    client: int
    "the Yjs client that its operations are encoded under"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalCut:
    """What a removal (or what acts as one) leaves of a device's logs in a collection."""

    id: StatementId
    cut: Cut | None
    "a log that is not named is cut before its first entry; None: open"
    given_by: StatementId
    "the statement that gives the cut: the removal itself, or a `cut`"


@dataclass(frozen=True, slots=True)
class Meant:
    """What an admission gives, or would but for removals; it never changes."""

    collections: frozenset[Collection]
    blame: Mapping[Collection, frozenset[StatementId]]
    "of the collections that it does not give: the removals because of which"


def meant(register: Register, counting: Counting) -> dict[StatementId, Meant]:
    """Every admission that counts, or would but for removals."""
    found: dict[StatementId, Meant] = {}
    for admission in register.known:
        verdict = counting.verdicts[admission.id]
        if admission.admits is None or not could_count(verdict):
            continue
        if admission.author is None:
            found[admission.id] = Meant(EVERYTHING, {})
            continue
        assert isinstance(admission.body, Add)
        below = [
            found[one.id]
            for one in register.admissions_below(admission.author, admission)
            if one.id in found
        ]
        collections = admission.body.collections & frozenset[Collection]().union(
            *(one.collections for one in below)
        )
        given = counting.given.get(admission.id, frozenset())
        found[admission.id] = Meant(
            collections,
            {
                # Void, or its adder has lost what it would give.
                name: verdict.blame
                or frozenset().union(*(one.blame.get(name, frozenset()) for one in below))
                for name in collections - given
            },
        )
    return found


def could_count(verdict: Verdict) -> bool:
    """Whether a statement counts or would but for removals (shape never changes)."""
    return verdict.counts or bool(verdict.blame)


def log_owners(
    register: Register, counting: Counting, admissions: Mapping[StatementId, Meant]
) -> dict[LogId, LogOwner]:
    """The owner of every log of certificates and of incarnations, void by removals or not."""
    owners: dict[LogId, LogOwner] = {}
    collections: dict[DeviceId, frozenset[Collection]] = {}
    for id_, one in admissions.items():
        admits = register.dag[id_].admits
        assert admits is not None
        before = collections.get(admits.device, frozenset())
        collections[admits.device] = before | one.collections
    signing = {
        one.admits.device: one.admits.signing for one in register.known if one.admits is not None
    }
    for device, nonce in _incarnations(register, counting):
        for collection in collections.get(device, ()):
            log = derive.log_id(device, nonce, collection)
            owners[log] = LogOwner(
                device=device,
                collection=collection,
                signing=signing[device],
                client=derive.client_id(log),
            )
    return owners


def client_collisions(owners: Mapping[LogId, LogOwner]) -> tuple[tuple[LogId, LogId], ...]:
    """Pairs of logs of one collection whose operations would share a Yjs client."""
    first: dict[tuple[Collection, int], LogId] = {}
    pairs = []
    for log in sorted(owners):
        owner = owners[log]
        other = first.setdefault((owner.collection, owner.client), log)
        if other != log:
            pairs.append((other, log))
    return tuple(pairs)


def log_ends(
    register: Register, counting: Counting, owners: Mapping[LogId, LogOwner]
) -> dict[tuple[DeviceId, Collection], tuple[RemovalCut, ...]]:
    """Where counting incarnations end the earlier logs of their device, as cuts of its logs."""
    ends: dict[tuple[DeviceId, Collection], list[RemovalCut]] = {}
    for statement in register.known:
        body = statement.body
        if not isinstance(body, NewIncarnation) or not counting.verdicts[statement.id].counts:
            continue
        device = statement.author
        assert device is not None
        earlier = _logs_below(register, statement.id, device)
        for collection in COLLECTIONS:
            if collection not in body.ends:
                continue
            cut = dict(body.ends[collection])
            for log, owner in owners.items():
                if owner.device == device and log not in earlier:
                    cut[log] = WHOLE_LOG
            end = RemovalCut(id=statement.id, cut=cut, given_by=statement.id)
            ends.setdefault((device, collection), []).append(end)
    return {key: tuple(cuts) for key, cuts in ends.items()}


def _logs_below(register: Register, above: StatementId, device: DeviceId) -> frozenset[LogId]:
    """The logs of a device that a new incarnation ends: those in its past, but its own."""
    own = register.dag[above].body
    assert isinstance(own, NewIncarnation)
    nonces = {
        nonce
        for id_, owner, nonce in _announced(register)
        if owner == device and register.dag.in_past(id_, above)
    } - {own.incarnation}
    return frozenset(
        derive.log_id(device, nonce, collection) for nonce in nonces for collection in COLLECTIONS
    )


def _incarnations(register: Register, counting: Counting) -> Iterable[tuple[DeviceId, bytes]]:
    for id_, device, nonce in _announced(register):
        if could_count(counting.verdicts[id_]):
            yield device, nonce


def _announced(register: Register) -> Iterable[tuple[StatementId, DeviceId, bytes]]:
    """Each statement that begins an incarnation, with its device and nonce."""
    for statement in register.known:
        if statement.admits is not None:
            yield statement.id, statement.admits.device, statement.admits.incarnation
        elif isinstance(statement.body, NewIncarnation):
            assert statement.author is not None
            yield statement.id, statement.author, statement.body.incarnation
