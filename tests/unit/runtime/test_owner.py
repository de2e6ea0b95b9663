"""The owner's view: status in honest numbers, devices, summaries that are seen."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from presenced.device.beginnings import Standing
from presenced.device.edits import ChangeFollow, Follow, NameDevice, Resolve
from presenced.device.shelf import DIGESTS
from presenced.errors import NotFound, NotSetUp, StoreCorrupt, StoreError
from presenced.ids import RecordId
from presenced.local.owner import Check, FollowQuery, Owner, SessionQuery
from presenced.runtime.owner import make_owner
from presenced.testing.enrolments import A, linked_houses
from presenced.testing.memory_house import House, MemoryNet, MemoryStore, open_house

FEED = "https://one.example/feed.xml"


def owner_of(house: House) -> Owner:
    return make_owner(
        home=house.home,
        linking=house.linking,
        discovery=house.discovery,  # type: ignore[arg-type]
        enrolments=house.enrolments,
        hub=house.hub,
        peers=(),
        key_protection="key-file",
    )


async def test_a_device_without_identity_has_a_status(autojump_clock: MockClock) -> None:
    async with open_house(MemoryNet(), A) as house:
        owner = owner_of(house)
        status = await owner.machine.status()
        assert (status.identity, status.device, status.links, status.work) == (None, None, [], ())
        with pytest.raises(NotSetUp):
            owner.devices.devices()
        with pytest.raises(NotSetUp):
            await owner.recaps.summary()
        with pytest.raises(NotSetUp):
            await owner.setup.phrase()
        checks = await owner.machine.doctor()
        assert [check.status for check in checks if check.name == "identity"] == ["fail"]


async def test_linked_devices_agree_and_have_nothing_pending(autojump_clock: MockClock) -> None:
    async with linked_houses() as (_, first, second):
        await owner_of(first).records.edit([Follow(uri=FEED, title="One")])
        await trio.sleep(5)
        here, there = [await owner_of(house).machine.status() for house in (first, second)]
        assert here.digests == there.digests
        assert here.pending == there.pending
        assert (here.pending.unsent, here.pending.waiting, here.pending.quarantined) == (0, 0, 0)
        (link,) = here.links
        assert link.in_sync
        assert (link.device, link.address) == (second.device, "b:2")
        assert here.follows == there.follows == 1


async def test_what_nobody_else_has_is_counted_while_the_link_is_down(
    autojump_clock: MockClock,
) -> None:
    async with linked_houses() as (_, first, _):
        owner = owner_of(first)
        await owner.machine.hold_links(down=True)
        status = await owner.machine.status()
        assert status.links_held_down
        assert status.pending.unsent == 0
        await owner.records.edit([Follow(uri=FEED)])
        assert (await owner.machine.status()).pending.unsent > 0
        await owner.machine.hold_links(down=False)
        await trio.sleep(5)
        assert (await owner.machine.status()).pending.unsent == 0


async def test_devices_have_names_evidence_and_the_time_they_were_seen(
    autojump_clock: MockClock,
) -> None:
    async with linked_houses() as (_, first, second):
        own, other = owner_of(first).devices.devices()
        assert (own.name, own.own, own.evidence) == ("Laptop", True, None)
        assert (other.name, other.linked, other.active) == ("Box", True, True)
        assert other.added_by == first.device
        assert other.fingerprint
        assert other.evidence is not None
        assert other.evidence.status == "affirming"
        assert {basis for _, _, basis in other.evidence.claims} == {"software-only"}
        await owner_of(second).records.edit([NameDevice(name="Living room")])
        await trio.sleep(1)
        assert owner_of(first).devices.devices()[1].name == "Living room"
        await owner_of(first).machine.hold_links(down=True)
        away = owner_of(first).devices.devices()[1]
        assert not away.linked
        assert away.last_seen_ms is not None
        assert away.evidence is not None, "what it showed last"


async def conflicting(first: House, second: House) -> None:
    """Both name a follow while they are apart."""
    one, other = owner_of(first), owner_of(second)
    await one.records.edit([Follow(uri=FEED, title="One")])
    await trio.sleep(5)
    await one.machine.hold_links(down=True)
    await trio.sleep(1)
    await one.records.edit([ChangeFollow(uri=FEED, title="Uno")])
    await trio.sleep(60)
    await other.records.edit(
        [ChangeFollow(uri=FEED, title="Eins"), Follow(uri="https://2.example/")]
    )
    await one.machine.hold_links(down=False)
    await trio.sleep(5)


async def test_a_summary_that_was_seen_keeps_what_is_contested_until_it_is_decided(
    autojump_clock: MockClock,
) -> None:
    async with linked_houses() as (_, first, second):
        await conflicting(first, second)
        owner = owner_of(first)
        summary = await owner.recaps.summary()
        assert summary.elsewhere
        assert summary.here
        (both,) = summary.both
        await owner.recaps.seen()
        summary = await owner.recaps.summary()
        assert (summary.elsewhere, summary.here, summary.both) == ((), (), (both,))
        take = Resolve(map=both.map, record=both.record, field=both.field, log=both.losing[0].log)
        await owner.records.edit([take])
        assert (await owner.recaps.summary()).both == ()
        page = owner.records.follows(FollowQuery(limit=10))
        assert "Uno" in {row.title for row in page.rows}


async def test_a_summary_of_a_later_time_apart_is_told_again(autojump_clock: MockClock) -> None:
    async with linked_houses() as (_, first, second):
        await conflicting(first, second)
        owner = owner_of(first)
        await owner.recaps.seen()
        await owner.machine.hold_links(down=True)
        await owner_of(second).records.edit([Follow(uri="https://3.example/", title="Three")])
        await trio.sleep(1)
        await owner.machine.hold_links(down=False)
        await trio.sleep(5)
        assert {row.title for row in (await owner.recaps.summary()).elsewhere} == {"Three"}


async def test_what_asks_stays_in_the_summary_when_a_later_one_is_told(
    autojump_clock: MockClock,
) -> None:
    async with linked_houses() as (_, first, second):
        await conflicting(first, second)
        owner = owner_of(first)
        (asked,) = (await owner.recaps.summary()).both
        await owner.recaps.seen()
        await owner.machine.hold_links(down=True)
        await owner_of(second).records.edit([Follow(uri="https://3.example/", title="Three")])
        await owner.machine.hold_links(down=False)
        await trio.sleep(5)
        summary = await owner.recaps.summary()
        assert {row.title for row in summary.elsewhere} == {"Three"}
        assert summary.both == (asked,)
        assert (await owner.machine.status()).conflicts == 1


async def test_digests_are_known_after_a_start_without_loading_a_document(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore()
    async with open_house(MemoryNet(), A, store) as house:
        await house.home.init("Laptop")
        edits = [Follow(uri=f"https://{n}.example/", imported=True) for n in range(1_100)]
        await house.home.edit(edits)
        before = (await owner_of(house).machine.status()).digests
        await trio.testing.wait_all_tasks_blocked()
        assert store.reader.meta(DIGESTS) is not None
    async with open_house(MemoryNet(), A, store) as house:
        status = await owner_of(house).machine.status()
        assert status.digests == before
        assert not house.home.driver.machine.shelf.replicas["follows"].loaded
        assert status.follows == 1_100


async def test_asking_for_the_status_again_and_again_writes_nothing(
    autojump_clock: MockClock,
) -> None:
    async with linked_houses() as (_, first, _):
        owner = owner_of(first)
        await owner.machine.status()
        await trio.testing.wait_all_tasks_blocked()
        commits = first.store.commits
        for _ in range(5):
            await owner.machine.status()
        await trio.testing.wait_all_tasks_blocked()
        assert first.store.commits == commits


async def test_what_is_not_there_says_so(autojump_clock: MockClock) -> None:
    async with open_house(MemoryNet(), A) as house:
        await house.home.init("Laptop")
        owner = owner_of(house)
        with pytest.raises(NotFound):
            await owner.records.history(RecordId(bytes(16)))
        assert owner.records.follow(RecordId(bytes(16))) is None
        assert owner.records.session(RecordId(bytes(16))) is None
        assert owner.records.sessions(SessionQuery(limit=10)).rows == []
        assert owner.pairing.current() is None
        await owner.pairing.cancel()


async def test_the_doctor_tells_of_a_damaged_database_once_and_of_the_rest_what_it_can(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_house(MemoryNet(), A) as house:
        owner = owner_of(house)
        await house.home.init("Laptop")

        async def database() -> Check:
            (found,) = [one for one in await owner.machine.doctor() if one.name == "database"]
            return found

        assert (await database()).status == "ok"
        house.store.is_large = True
        assert "as far as" in (await database()).detail

        def unreadable() -> None:
            raise StoreCorrupt("/home/x/presenced.db is damaged", hint="")

        house.store.damaged = StoreCorrupt("/home/x/presenced.db is damaged", hint="")
        monkeypatch.setattr(house.store.reader, "counts", unreadable)
        found = await database()
        assert (found.status, found.detail) == ("fail", "/home/x/presenced.db is damaged")
        assert "presence join" in found.next_step
        house.store.damaged = None
        house.store.is_large = False
        checks = await owner.machine.doctor()
        assert [one.status for one in checks if one.name == "database"] == ["ok", "fail"]
        assert "port" in {one.name for one in checks}
        house.store.damaged = StoreError("cannot use it", hint="Mount the disk.")
        assert "Mount the disk." in [one.next_step for one in await owner.machine.doctor()]


async def test_the_doctor_names_what_a_person_can_mend(autojump_clock: MockClock) -> None:
    async with linked_houses() as (_, first, _):
        owner = owner_of(first)
        await owner.machine.hold_links(down=True)
        found = {check.name: check for check in await owner.machine.doctor()}
        for name in ("links", "other devices", "recovery phrase", "database key"):
            assert found[name].status == "warn"
            assert found[name].next_step
        assert "snapshot" not in found
        snapshots = first.home.driver.machine._content.snapshots
        other = next(iter(first.home.driver.machine.membership.siblings))
        snapshots.beginnings.adopted("follows", other, (), disputed=False)
        snapshots.beginnings.judged("follows", stale=True)
        found = {check.name: check for check in await owner.machine.doctor()}
        assert "a removal reaches below it" in found["snapshot"].detail
        (shown,) = (await owner.machine.status()).snapshots
        assert (shown.sponsor, shown.state) == (other, Standing.STALE)
        await owner.machine.hold_links(down=False)
        await trio.sleep(2)
        found = {check.name: check for check in await owner.machine.doctor()}
        assert found["other devices"].status == "ok"
        assert "links" not in found
