"""The owner API's view of the daemon: `local.owner`'s Protocols over home, links and enrolment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from presenced.device import commit as rows
from presenced.device.edits import Edit, EditResult
from presenced.device.recaps import SUMMARY_SEEN, seen_row, unread_summary
from presenced.errors import NotFound, NotSetUp
from presenced.ids import COLLECTIONS, DeviceId, LogId, RecordId
from presenced.local.events import EventHub
from presenced.local.owner import (
    Check,
    DeviceFacts,
    EvidenceFacts,
    FollowQuery,
    Founded,
    Owner,
    Page,
    PairingRequest,
    Pending,
    SessionQuery,
    SnapshotFacts,
    StatusFacts,
    Work,
)
from presenced.local.progress import PairingProgress
from presenced.presence.fields import CORE, PROGRESS, SESSION_MAP
from presenced.presence.history import HistoryRow, history
from presenced.presence.rules import resolve
from presenced.presence.sessions import unit_of
from presenced.presence.summary import Side, Summary
from presenced.presence.views import FollowRow, SessionRow
from presenced.runtime.checks import run_checks
from presenced.runtime.contests import contests
from presenced.runtime.discovery import Discovery
from presenced.runtime.enrolment import Enrolments
from presenced.runtime.home import Home
from presenced.runtime.linking import Linking
from presenced.trust.identity import did_key


class RecordsService:
    """`local.owner.Records`."""

    def __init__(self, home: Home) -> None:
        self._home = home

    async def edit(self, edits: Sequence[Edit]) -> list[EditResult]:
        return await self._home.edit(edits)

    def follows(self, query: FollowQuery) -> Page[FollowRow]:
        page = self._home.settled_reader.follows(
            rows.FollowQuery(
                state=query.state,
                kind=query.kind,
                tag=query.tag,
                text=query.text,
                limit=query.limit,
                after=query.after,
            )
        )
        return Page(rows=page.rows, next=page.next)

    def follow(self, record: RecordId) -> FollowRow | None:
        return self._home.settled_reader.follow(record)

    def sessions(self, query: SessionQuery) -> Page[SessionRow]:
        page = self._home.settled_reader.sessions(
            rows.SessionQuery(
                state=query.state, text=query.text, limit=query.limit, after=query.after
            )
        )
        return Page(rows=page.rows, next=page.next)

    def session(self, record: RecordId) -> SessionRow | None:
        return self._home.settled_reader.session(record)

    async def history(self, record: RecordId) -> Sequence[HistoryRow]:
        slots = self._home.driver.machine.shelf.record(SESSION_MAP, record)
        if not slots:
            raise NotFound("no such session", hint="`presence session list` lists them.")
        core = resolve(SESSION_MAP, CORE, slots.get(CORE, {})).value
        return history(slots.get(PROGRESS, {}), unit=unit_of(core.get("kind")))


class DevicesService:
    """`local.owner.Devices`."""

    def __init__(self, home: Home, linking: Linking) -> None:
        self._home = home
        self._linking = linking

    def devices(self) -> Sequence[DeviceFacts]:
        membership = self._home.driver.machine.membership
        members = membership.members
        own = membership.device
        active = [one for one in members.active if one != own]
        removed = sorted(one for one in members.removed if one != own)
        return [self._facts(device) for device in (own, *active, *removed)]

    def device_of(self, log: LogId) -> DeviceId | None:
        try:
            return self._home.driver.machine.membership.device_of(log)
        except NotSetUp:
            return None

    def _facts(self, device: DeviceId) -> DeviceFacts:
        machine = self._home.driver.machine
        membership = machine.membership
        certificate = membership.members.certificate(device)
        seen = self._linking.seen.get(device)
        own = device == membership.device
        names = membership.members.collections(device)
        return DeviceFacts(
            device=device,
            name=machine.name_of(device) or (self._home.name if own else ""),
            fingerprint=membership.fingerprint(device),
            own=own,
            active=device in membership.members.active,
            linked=device in machine.linked,
            collections=[name for name in COLLECTIONS if name in names],
            added_by=None if certificate is None else certificate.adder,
            last_seen_ms=None if seen is None else seen.last_seen_ms,
            evidence=None
            if seen is None or seen.appraisal is None
            else EvidenceFacts(
                status=seen.appraisal.status.value,
                reason=seen.appraisal.reason,
                claims=[(claim.name, claim.value, claim.basis) for claim in seen.appraisal.claims],
            ),
        )


class RecapsService:
    """`local.owner.Recaps`."""

    def __init__(self, home: Home) -> None:
        self._home = home

    async def summary(self) -> Summary:
        """What changed until a person has seen it; what is contested until somebody decided."""
        reader = self._home.settled_reader
        stored = reader.summary()
        told = () if stored is None else stored.rows
        both, both_more = contests(self._home.driver.machine, reader, told)
        unread = unread_summary(reader)
        news = () if unread is None else unread.rows
        return Summary(
            elsewhere=tuple(row for row in news if row.side is Side.ELSEWHERE),
            here=tuple(row for row in news if row.side is Side.HERE),
            both=tuple(both),
            elsewhere_more=0 if unread is None else unread.more,
            here_more=0,
            both_more=both_more,
        )

    async def seen(self) -> None:
        stored = self._home.settled_reader.summary()
        if stored is not None:
            await self._home.keep_meta({SUMMARY_SEEN: seen_row(stored)})


class SetupService:
    """`local.owner.Setup`."""

    def __init__(self, home: Home) -> None:
        self._home = home

    async def init(self, name: str) -> Founded:
        return await self._home.init(name)

    async def phrase(self) -> str | None:
        self._home.require_identity()
        return self._home.phrase()

    async def confirm_phrase(self, words: Mapping[int, str]) -> None:
        await self._home.confirm_phrase(dict(words))


class PairingService:
    """`local.owner.Pairing`."""

    def __init__(self, enrolments: Enrolments, peers: Sequence[tuple[str, int]]) -> None:
        self._enrolments = enrolments
        self._peers = peers

    async def begin(self, request: PairingRequest) -> PairingProgress:
        return self._enrolments.begin(request, self._peers)

    def current(self) -> PairingProgress | None:
        return self._enrolments.current()

    async def approve(self) -> None:
        self._enrolments.approve()

    async def refuse(self) -> None:
        self._enrolments.refuse()

    async def cancel(self) -> None:
        self._enrolments.cancel()


class MachineService:
    """`local.owner.Machine`."""

    def __init__(
        self, home: Home, linking: Linking, discovery: Discovery, key_protection: str
    ) -> None:
        self._home = home
        self._linking = linking
        self._discovery = discovery
        self._key_protection = key_protection

    async def status(self) -> StatusFacts:
        home, linking = self._home, self._linking
        counts = home.reader.counts()
        digests, pending = {}, Pending()
        identity = device = None
        alerts: Sequence[str] = ()
        work: Sequence[Work] = ()
        snapshots: Sequence[SnapshotFacts] = ()
        try:
            machine = home.driver.machine
        except NotSetUp:
            pass
        else:
            membership = machine.membership
            identity, device = did_key(membership.dag.anchor.root), membership.device
            replicas = machine.shelf.replicas
            digests = {name: machine.shelf.digest(name) for name in replicas}
            home.driver.perform(machine.keep_notes(home.driver.now()))
            held = [replica.pending for replica in replicas.values()]
            pending = Pending(
                unsent=sum(one.unsent for one in held) + machine.unacknowledged,
                waiting=sum(one.waiting for one in held),
                quarantined=sum(one.quarantined for one in held),
            )
            alerts = machine.alerts
            snapshots = [
                SnapshotFacts(
                    collection=collection,
                    sponsor=one.sponsor,
                    state=standing,
                    confirmer=one.confirmer,
                    against=sorted(one.against),
                )
                for collection, (one, standing) in machine.beginnings.items()
            ]
            if (going := machine.work) is not None:
                work = [Work(kind=going.kind, done=going.done, total=going.total, unit=going.unit)]
        return StatusFacts(
            identity=identity,
            device=device,
            name=home.name or None,
            port=linking.port,
            addresses=linking.addresses,
            key_protection=self._key_protection,
            phrase_unconfirmed=home.phrase() is not None,
            links_held_down=linking.held_down,
            digests=digests,
            links=linking.facts(),
            pending=pending,
            follows=counts.follows,
            sessions=counts.sessions,
            conflicts=counts.conflicts,
            work=work,
            alerts=alerts,
            snapshots=snapshots,
        )

    async def doctor(self) -> Sequence[Check]:
        return await run_checks(self._home, self._linking, self._discovery, self._key_protection)

    async def hold_links(self, *, down: bool) -> None:
        await self._linking.hold(down=down)


def make_owner(
    *,
    home: Home,
    linking: Linking,
    discovery: Discovery,
    enrolments: Enrolments,
    hub: EventHub,
    peers: Sequence[tuple[str, int]],
    key_protection: str,
) -> Owner:
    """Everything the owner API serves."""
    return Owner(
        records=RecordsService(home),
        devices=DevicesService(home, linking),
        recaps=RecapsService(home),
        setup=SetupService(home),
        pairing=PairingService(enrolments, peers),
        machine=MachineService(home, linking, discovery, key_protection),
        events=hub,
    )
