"""An owner in memory: the owner API and its clients can be tried without a daemon.

Edits have the simplest meaning that the API can show (no rules, no logs); pairing follows a script.
`python -m presenced.testing.fake_owner SOCKET` serves one with an identity.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import trio

from presenced.device import edits as device_edits
from presenced.device.edits import Act, Edit, EditResult
from presenced.device.effects import Event
from presenced.errors import Conflict, HostError, NotAllowed, NotFound, NotSetUp
from presenced.ids import DeviceId, LogId, RecordId, identifier
from presenced.local.app import owner_app
from presenced.local.events import EventHub
from presenced.local.listener import open_owner_socket, serve
from presenced.local.owner import (
    Check,
    DeviceFacts,
    EvidenceFacts,
    FollowQuery,
    Founded,
    LinkFacts,
    Owner,
    Page,
    PairingRequest,
    Pending,
    SessionQuery,
    SnapshotFacts,
    StatusFacts,
    Work,
)
from presenced.local.progress import Added, Candidate, CodeShown, Failed, PairingProgress
from presenced.presence.follows import NotFollowed
from presenced.presence.history import HistoryRow
from presenced.presence.naming import follow_id, session_id
from presenced.presence.player import Offer
from presenced.presence.sessions import NoSuchSession
from presenced.presence.summary import Summary
from presenced.presence.views import FollowRow, SessionRow
from presenced.trust.pairing_code import parse_code

OWN: Final = DeviceId(identifier(b"fake device", b"own"))
OTHER: Final = DeviceId(identifier(b"fake device", b"other"))
OWN_LOG: Final = LogId(identifier(b"fake log", b"own"))
OTHER_LOG: Final = LogId(identifier(b"fake log", b"other"))
PHRASE: Final = " ".join(["abandon"] * 23 + ["art"])
CODE: Final = "123-apple-zebra"
SAID_MS: Final = 1_750_000_000_000
"when everything here happened"

_PHASES: Final = {
    Act.PAUSE: "paused",
    Act.RESUME: "active",
    Act.STOP: "free",
    Act.END: "free",
    Act.TAKE: "active",
}
_Row = TypeVar("_Row", FollowRow, SessionRow)


class FakeOwner:
    """Every Protocol of `local.owner` at once. Its public attributes set the scene."""

    def __init__(self, *, name: str | None = "laptop") -> None:
        self.name = name
        "None: not set up"
        self.events = EventHub()
        self.rows: dict[RecordId, FollowRow] = {}
        self.played: dict[RecordId, SessionRow] = {}
        self.acts: dict[RecordId, list[HistoryRow]] = {}
        self.told = Summary(
            elsewhere=(), here=(), both=(), elsewhere_more=0, here_more=0, both_more=0
        )
        self.checks: list[Check] = [Check(name="store", status="ok", detail="opens")]
        self.down = False
        self.fenced = False
        "acts on sessions write nothing: another device has them, or it is so already"
        self.work: list[Work] = []
        self.snapshots: list[SnapshotFacts] = []
        self.phrase_open = True
        self.failure: HostError | None = None
        "raised by the next edit"
        self.pairing_failure: Failed | None = None
        "what the next enrolment comes to, instead of an added device"
        self.gives_up: Failed | None = None
        "what the other device ends the next enrolment with, once its candidate is shown"
        self.cancelled = trio.Event()
        self._pairing: PairingProgress | None = None

    def owner(self) -> Owner:
        return Owner(
            records=self,
            devices=self,
            recaps=self,
            setup=self,
            pairing=self,
            machine=self,
            events=self.events,
        )

    # --- records ---

    async def edit(self, edits: Sequence[Edit]) -> list[EditResult]:
        self._require_set_up()
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        before = dict(self.rows), dict(self.played)
        try:
            results = [self._one(edit) for edit in edits]
        except Exception:
            self.rows, self.played = before
            raise
        await trio.lowlevel.checkpoint()
        self.events.publish(
            Event(f"{result.map}.changed", {"id": result.record, "device": OWN})
            for result in results
            if result.written
        )
        return results

    def _one(self, edit: Edit) -> EditResult:
        match edit:
            case device_edits.Follow():
                return self._follow(edit)
            case device_edits.Unfollow():
                row = self._row(edit.uri)
                self.rows[row.record] = row._replace(state="unfollowed")
                return EditResult(map="follow", record=row.record, written=True)
            case device_edits.ChangeFollow():
                row = self._row(edit.uri)
                tags = (set(row.tags) | set(edit.tags_on)) - set(edit.tags_off)
                self.rows[row.record] = row._replace(
                    title=row.title if edit.title is None else edit.title,
                    notify=edit.notify or row.notify,
                    tags=tuple(sorted(tags)),
                )
                return EditResult(map="follow", record=row.record, written=True)
            case device_edits.StartSession():
                return self._start(edit)
            case device_edits.SessionAct():
                return self._act(edit)
            case device_edits.ChangeSession():
                played = self._session(edit.session)
                self.played[edit.session] = replace(
                    played, title=edit.title or played.title, speed=edit.speed or played.speed
                )
                return EditResult(map="session", record=edit.session, written=True)
            case device_edits.Resolve():
                return EditResult(map=edit.map, record=edit.record, written=True)
            case device_edits.NameDevice():
                self.name = edit.name
                return EditResult(map="device", record=RecordId(OWN), written=True)

    def _follow(self, edit: device_edits.Follow) -> EditResult:
        record = follow_id(edit.uri)
        known = self.rows.get(record)
        written = known is None or not edit.imported or known.state != "followed"
        if written:
            title = edit.title or (known.title if known else "")
            tags = tuple(sorted({*edit.tags, *(known.tags if known else ())}))
            self.rows[record] = FollowRow(
                record,
                edit.uri,
                title,
                known.kind if known else edit.kind,
                "followed",
                edit.notify or "default",
                tags,
                (),
                SAID_MS,
            )
        return EditResult(map="follow", record=record, written=written)

    def _start(self, edit: device_edits.StartSession) -> EditResult:
        record = session_id(edit.kind, edit.uri)
        self.played[record] = SessionRow(
            record=record,
            kind=edit.kind,
            uri=edit.uri,
            title=edit.title or "",
            aliases=edit.aliases,
            duration_ms=edit.size,
            at=edit.at or 0,
            done=False,
            of=edit.size,
            speed=1_000,
            state="open",
            lifecycle="active",
            holder=OWN_LOG,
            claim=1,
            phase="active",
            conflicts=(),
            updated_ms=SAID_MS,
        )
        return EditResult(map="session", record=record, written=True)

    def _act(self, edit: device_edits.SessionAct) -> EditResult:
        row = self._session(edit.session)
        if self.fenced:
            return EditResult(map="session", record=edit.session, written=False)
        self.acts.setdefault(edit.session, []).insert(
            0,
            HistoryRow(
                log=OWN_LOG,
                index=len(self.acts.get(edit.session, ())),
                ms=SAID_MS,
                kind=edit.act.value,
                at=row.at,
                of=row.of,
                done=row.done,
            ),
        )
        taken = edit.act is Act.TAKE
        self.played[edit.session] = replace(
            row,
            at=row.at if edit.at is None else edit.at,
            done=edit.act is Act.FINISH or (row.done and edit.act is not Act.UNFINISH),
            state="ended" if edit.act is Act.END else row.state,
            phase=_PHASES.get(edit.act, row.phase),
            holder=OWN_LOG if taken else row.holder,
            claim=row.claim + taken,
        )
        offered = None
        if edit.act is Act.OPEN:
            size = edit.size or row.of
            offered = Offer(at=row.at, of=size, approximate=size != row.of)
        return EditResult(map="session", record=edit.session, written=True, offered=offered)

    def follows(self, query: FollowQuery) -> Page[FollowRow]:
        self._require_set_up()
        wanted = [
            row
            for row in self.rows.values()
            if query.state in (None, row.state)
            and query.kind in (None, row.kind)
            and (query.tag is None or query.tag in row.tags)
            and _has_text(row, query.text)
        ]
        return _page(wanted, query.limit, query.after)

    def follow(self, record: RecordId) -> FollowRow | None:
        return self.rows.get(record)

    def sessions(self, query: SessionQuery) -> Page[SessionRow]:
        wanted = [
            row
            for row in self.played.values()
            if query.state in (None, row.state) and _has_text(row, query.text)
        ]
        return _page(wanted, query.limit, query.after)

    def session(self, record: RecordId) -> SessionRow | None:
        return self.played.get(record)

    async def history(self, record: RecordId) -> Sequence[HistoryRow]:
        await trio.lowlevel.checkpoint()
        self._session(record)
        return self.acts.get(record, [])

    # --- devices, summary, set-up ---

    def devices(self) -> Sequence[DeviceFacts]:
        if self.name is None:
            return ()
        own = DeviceFacts(
            device=OWN,
            name=self.name,
            fingerprint="aaaa bbbb",
            own=True,
            active=True,
            linked=False,
            collections=("directory", "follows", "sessions"),
        )
        evidence = EvidenceFacts(
            status="affirming", claims=[("os", "Linux", "software-only"), ("version", "1", "")]
        )
        return (
            own,
            replace(
                own,
                device=OTHER,
                name="living room",
                own=False,
                linked=not self.down,
                added_by=OWN,
                last_seen_ms=SAID_MS,
                evidence=evidence,
            ),
        )

    def device_of(self, log: LogId) -> DeviceId | None:
        return {OWN_LOG: OWN, OTHER_LOG: OTHER}.get(log)

    async def summary(self) -> Summary:
        self._require_set_up()
        return self.told

    async def seen(self) -> None:
        self.told = replace(self.told, elsewhere=(), here=())

    async def init(self, name: str) -> Founded:
        if self.name is not None:
            raise Conflict("there is an identity already", hint="Run `presence status`.")
        self.name = name
        return Founded(identity="did:key:zFake", device=OWN, phrase=PHRASE)

    async def phrase(self) -> str | None:
        self._require_set_up()
        return PHRASE if self.phrase_open else None

    async def confirm_phrase(self, words: Mapping[int, str]) -> None:
        if any(PHRASE.split()[position - 1] != word for position, word in words.items()):
            raise NotAllowed("these are not the words", hint="Look at `presence phrase` again.")
        self.phrase_open = False

    # --- pairing: the other side approves at once ---

    async def begin(self, request: PairingRequest) -> PairingProgress:
        if self._pairing is not None and not self._pairing.over:
            raise Conflict("another enrolment is running")
        if request.role == "sponsor":
            self._require_set_up()
        if request.code is not None:
            parse_code(request.code)
        self._pairing = progress = PairingProgress()
        if request.code is None:
            progress.report(CodeShown(code=CODE, addresses=[("192.0.2.7", 4711), ("::1", 4711)]))
        if self.pairing_failure is not None:
            progress.report(self.pairing_failure)
        else:
            progress.report(
                Candidate(
                    name="living room",
                    fingerprint="cccc dddd",
                    words=("acid", "bean", "crab", "dune"),
                    receives=("follows", "sessions"),
                )
            )
        if self.gives_up is not None:
            progress.report(self.gives_up)
        return progress

    def current(self) -> PairingProgress | None:
        return self._pairing

    async def approve(self) -> None:
        self._running().report(Added(device=OTHER))

    async def refuse(self) -> None:
        self._running().report(Failed(type="refused"))

    async def cancel(self) -> None:
        self._running().report(Failed(type="interrupted"))
        self.cancelled.set()

    # --- the daemon itself ---

    async def status(self) -> StatusFacts:
        set_up = self.name is not None
        link = LinkFacts(
            device=OTHER, address="192.0.2.9:4711", inbound=False, since_ms=SAID_MS, in_sync=True
        )
        return StatusFacts(
            identity="did:key:zFake" if set_up else None,
            device=OWN if set_up else None,
            name=self.name,
            port=4711,
            addresses=["192.0.2.7"],
            key_protection="key file",
            phrase_unconfirmed=set_up and self.phrase_open,
            links_held_down=self.down,
            digests={"follows": b"\1" * 32, "sessions": b"\2" * 32} if set_up else {},
            links=[link] if set_up and not self.down else [],
            pending=Pending(),
            follows=len(self.rows),
            sessions=len(self.played),
            conflicts=0,
            work=list(self.work),
            snapshots=list(self.snapshots),
        )

    async def doctor(self) -> Sequence[Check]:
        return self.checks

    async def hold_links(self, *, down: bool) -> None:
        self.down = down

    # --- the scene ---

    def _require_set_up(self) -> None:
        if self.name is None:
            raise NotSetUp("no identity yet")

    def _row(self, uri: str) -> FollowRow:
        row = self.rows.get(follow_id(uri))
        if row is None:
            raise NotFollowed("no such follow")
        return row

    def _session(self, record: RecordId) -> SessionRow:
        row = self.played.get(record)
        if row is None:
            raise NoSuchSession("no such session")
        return row

    def _running(self) -> PairingProgress:
        if self._pairing is None:
            raise NotFound("nothing is being paired")
        return self._pairing


def _has_text(row: FollowRow | SessionRow, text: str | None) -> bool:
    return text is None or text.casefold() in f"{row.title}\n{row.uri}".casefold()


def _page(rows: Sequence[_Row], limit: int, after: str | None) -> Page[_Row]:
    start = int(after or 0)
    end = start + limit
    return Page(rows=rows[start:end], next=str(end) if end < len(rows) else None)


async def serve_fake(
    fake: FakeOwner,
    path: Path,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the owner API of a fake on a socket until cancelled; started once it listens."""
    async with open_owner_socket(path) as listener:
        task_status.started()
        await serve(owner_app(fake.owner()), listener)


if __name__ == "__main__":
    trio.run(serve_fake, FakeOwner(), Path(sys.argv[1]))
