"""The daemon's self-check: what works, what does not, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from presenced.device.beginnings import Standing
from presenced.errors import NotSetUp, StoreCorrupt, StoreError
from presenced.ids import show_id
from presenced.local.owner import Check
from presenced.runtime.discovery import Discovery
from presenced.runtime.home import Home
from presenced.runtime.linking import Linking

DATABASE: Final = "database"

DAMAGED: Final = (
    "Stop presenced and check the disk. Then put back a copy of the file, or move it and the files "
    "beside it away and run `presence join`: your other devices have all that was synced."
)


_SNAPSHOTS: Final = {
    Standing.PROVISIONAL: (
        "no second device has confirmed it yet",
        "Let this device meet another one of yours.",
    ),
    Standing.DISPUTED: (
        "another device has other content",
        "See the alerts; remove the device that you do not trust.",
    ),
    Standing.STALE: (
        "a removal reaches below it, so it may hold what no longer counts",
        "Let this device meet another one of yours: it takes a new snapshot by itself.",
    ),
}
"what to say of a snapshot, and what to do; of one that is confirmed, or the only one, nothing"


async def run_checks(
    home: Home, linking: Linking, discovery: Discovery, key_protection: str
) -> Sequence[Check]:
    """Every check once, in the order a person would look."""
    checks = [
        _identity(home),
        _keys(key_protection),
        [await _database(home)],
        _network(home, linking, discovery),
        _content(home),
    ]
    found: dict[Check, None] = {}  # in order; damage is told once, whoever meets it
    for some in checks:
        try:
            for check in some:
                found[check] = None
        except StoreError as error:
            found[_unreadable(error)] = None
    return list(found)


def _identity(home: Home) -> Iterator[Check]:
    if not home.settled.is_set():
        yield Check(
            name="identity",
            status="fail",
            detail="this device has no identity yet",
            next_step=NotSetUp.hint,
        )
        return
    yield Check(name="identity", status="ok", detail="this device has an identity")
    if home.phrase() is None:
        yield Check(name="recovery phrase", status="ok", detail="not kept on this device")
    else:
        yield Check(
            name="recovery phrase",
            status="warn",
            detail="the recovery phrase is not written down",
            next_step="Run `presence phrase`, write the words down and confirm two of them.",
        )


def _keys(key_protection: str) -> Iterator[Check]:
    if key_protection == "key-file":
        yield Check(
            name="database key",
            status="warn",
            detail="kept in a file that only you can read",
            next_step="A keyring or a passphrase protects it better: set `key_protection`.",
        )
    else:
        yield Check(name="database key", status="ok", detail=f"kept by {key_protection}")


async def _database(home: Home) -> Check:
    try:
        is_whole = await home.verify()
    except StoreError as error:
        return _unreadable(error)
    if not is_whole:
        return Check(
            name=DATABASE,
            status="ok",
            detail="sound as far as it was read: it is too large to read all of it here",
        )
    return Check(name=DATABASE, status="ok", detail="every page was read and is sound")


def _unreadable(error: StoreError) -> Check:
    """`error.detail` names the file."""
    return Check(
        name=DATABASE,
        status="fail",
        detail=error.detail,
        next_step=DAMAGED if isinstance(error, StoreCorrupt) else error.hint,
    )


def _network(home: Home, linking: Linking, discovery: Discovery) -> Iterator[Check]:
    if linking.held_down:
        yield Check(
            name="links",
            status="warn",
            detail="links are held down",
            next_step="Run `presence net up`.",
        )
    if not home.settled.is_set():
        return
    yield Check(name="port", status="ok", detail=f"listening on UDP port {linking.port}")
    finding = discovery.problem
    if finding:
        yield Check(
            name="local network",
            status="warn",
            detail=finding,
            next_step="Name the other device with `presenced run --peer HOST:PORT`.",
        )
    machine = home.driver.machine
    others = len(machine.membership.siblings)
    if others and not machine.linked:
        yield Check(
            name="other devices",
            status="warn",
            detail=f"none of {others} other devices is linked",
            next_step="See that they run, are on this network, and that UDP is not blocked.",
        )
    elif others:
        yield Check(
            name="other devices",
            status="ok",
            detail=f"{len(machine.linked)} of {others} linked",
        )


def _content(home: Home) -> Iterator[Check]:
    if not home.settled.is_set():
        return
    machine = home.driver.machine
    for alert in machine.alerts:
        yield Check(
            name="alert",
            status="warn",
            detail=alert,
            next_step="See `presence devices` and remove what you do not know.",
        )
    for collection, (beginning, standing) in machine.beginnings.items():
        if standing in _SNAPSHOTS:
            name = machine.name_of(beginning.sponsor) or show_id(beginning.sponsor)
            words, next_step = _SNAPSHOTS[standing]
            yield Check(
                name="snapshot",
                status="warn",
                detail=f"{collection} began with a snapshot of {name}: {words}",
                next_step=next_step,
            )
    conflicts = home.reader.counts().conflicts
    if conflicts:
        yield Check(
            name="conflicts",
            status="warn",
            detail=f"{conflicts} records have values that ask you",
            next_step="See `presence summary`.",
        )
