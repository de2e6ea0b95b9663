"""The checkers see what they are there for: each is shown a world that breaks its invariant."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from presenced.device.commit import Commit
from presenced.device.edits import EditResult
from presenced.device.effects import Answer, CloseLink, Event, LinkNumber, RequestNumber
from presenced.presence.naming import follow_id
from presenced.replica.hlc import Hlc
from presenced.replica.messages import EntriesArrived, encode_message
from presenced.testing.checkers import (
    AcknowledgedEditsStay,
    AllDevicesAgree,
    Checker,
    EqualEntriesEqualDigest,
    HonestDevicesAreNotBlamed,
    LinksDeliverWhatWasSent,
    NothingUncommittedLeaves,
    OwnWritesGrow,
    QueuesAreBounded,
    RestartsAreFaithful,
    ViewsAreResolvedRecords,
    Violation,
)
from presenced.testing.scenarios import FEED, play
from presenced.testing.sim_device import Request
from presenced.testing.sim_journal import NonceRepeated, Place, TwoHashes, Written
from presenced.testing.sim_links import SealedEnd
from presenced.testing.sim_world import SimWorld

TWO = """
A            | B
found        |
admit B      |
follow       |
title one    | title two
"""


@pytest.fixture(scope="module", name="rest")
def _rest() -> Callable[[], SimWorld]:
    return lambda: play(TWO, 1)


def check(checker: Checker, world: SimWorld) -> None:
    checker.after_step(world)
    checker.at_rest(world)


def test_a_lost_acknowledged_edit_is_seen(rest: Callable[[], SimWorld]) -> None:
    world = rest()
    log = world.devices[0].own["follows"]
    place = Place("follows", "follow", follow_id(FEED), "notify")
    world.journal.own(log).put(place, Written(99, 99, "all"))
    with pytest.raises(Violation, match="lost notify"):
        check(AcknowledgedEditsStay(), world)


def test_another_value_than_the_acknowledged_one_is_seen(rest: Callable[[], SimWorld]) -> None:
    world = rest()
    log = world.devices[1].own["follows"]
    writes = world.journal.own(log)
    place = Place("follows", "follow", follow_id(FEED), "title")
    writes.put(place, writes.places[place]._replace(value="three"))
    with pytest.raises(Violation, match="another write of title"):
        check(AcknowledgedEditsStay(), world)


def test_an_answer_without_anything_on_disk_is_seen(rest: Callable[[], SimWorld]) -> None:
    world = rest()
    device = world.devices[0]
    result = EditResult(map="follow", record=follow_id(FEED), written=True)
    request = Request((), hlc_before=1 << 63)
    with pytest.raises(Violation, match="not on disk"):
        AcknowledgedEditsStay().answered(
            world, device, request, Answer(RequestNumber(1), value=[result])
        )


def test_an_entry_that_is_sent_before_it_is_saved_is_seen(rest: Callable[[], SimWorld]) -> None:
    world = rest()
    device = world.devices[0]
    message = EntriesArrived(round=1, log=device.own["follows"], first_seq=50, raws=(b"raw",))
    with pytest.raises(Violation, match="unsaved entry"):
        NothingUncommittedLeaves().sends(world, device, [encode_message("follows", message)])


def test_a_row_that_is_not_what_the_slots_say_is_seen(rest: Callable[[], SimWorld]) -> None:
    world = rest()
    for device in world.devices:
        row = device.disk.follow_rows[follow_id(FEED)]
        device.disk.follow_rows[follow_id(FEED)] = row._replace(title="other")
    with pytest.raises(Violation, match="instead of"):
        check(ViewsAreResolvedRecords(), world)


def test_devices_that_show_different_things_are_seen(rest: Callable[[], SimWorld]) -> None:
    world = rest()
    world.devices[1].disk.follow_rows.clear()
    with pytest.raises(Violation, match="other follows"):
        check(AllDevicesAgree(), world)


def test_one_point_with_two_digests_is_seen(
    rest: Callable[[], SimWorld], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = rest()
    machine = world.devices[1].machine
    assert machine is not None
    monkeypatch.setattr(
        type(machine.shelf.replicas["follows"]), "digest", lambda self: b"%d" % id(self)
    )
    with pytest.raises(Violation, match="differs at one point"):
        EqualEntriesEqualDigest().at_rest(world)


def test_a_disk_that_gives_another_document_is_seen(rest: Callable[[], SimWorld]) -> None:
    world = rest()
    for device in world.devices:
        collection = device.disk._entries[("follows", device.own["follows"])]
        last = max(collection)
        del collection[last]
        heads = device.disk._heads["follows"]
        head = heads[device.own["follows"]]
        previous = collection[last - 1].hash if last > 1 else bytes(32)
        heads[device.own["follows"]] = head._replace(
            held_seq=last - 1, applied_seq=last - 1, held_hash=previous, applied_hash=previous
        )
    with pytest.raises(Violation, match="gives another"):
        check(RestartsAreFaithful(), world)


def test_a_blamed_honest_device_and_an_alert_are_seen(rest: Callable[[], SimWorld]) -> None:
    world = rest()
    checker = HonestDevicesAreNotBlamed()
    with pytest.raises(Violation, match="blames a peer"):
        checker.closes(world, world.devices[0], CloseLink(LinkNumber(1), "malformed"))
    with pytest.raises(Violation, match="raises an alert"):
        checker.alerted(world, world.devices[0], Event("alert", {"detail": "a fork"}))


def test_a_clock_or_claim_that_goes_back_is_seen(rest: Callable[[], SimWorld]) -> None:
    world = rest()
    checker = OwnWritesGrow()
    device = world.devices[0]
    place = Place("follows", "follow", follow_id(FEED), "title")
    for hlc in (2, 1):
        world.journal._write(device.own["follows"], place, Written(9, Hlc(hlc), "title"))
    with pytest.raises(Violation, match="went back"):
        check(checker, world)


def test_a_queue_beyond_its_bound_is_seen(rest: Callable[[], SimWorld]) -> None:
    world = rest()
    machine = world.devices[0].machine
    assert machine is not None
    peer = next(iter(machine.links.values()))
    peer.early["follows"] = [b""] * 1_000
    with pytest.raises(Violation, match="early messages"):
        check(QueuesAreBounded(), world)


def test_a_link_that_delivers_what_was_not_sent_is_seen() -> None:
    world = play(TWO, 1, sealed_links=True)
    dialler, _ = world.link_pairs[-1]
    assert isinstance(dialler, SealedEnd)
    dialler.heard.append(b"never sent")
    with pytest.raises(Violation, match="not sent"):
        check(LinksDeliverWhatWasSent(), world)


def test_two_hashes_for_one_place_and_a_repeated_nonce_are_seen(
    rest: Callable[[], SimWorld],
) -> None:
    world = rest()
    device = world.devices[0]
    entry = device.disk.entry_at("follows", device.own["follows"], 1)
    assert entry is not None
    other = Commit(entries=[entry._replace(hash=bytes(32))])
    with pytest.raises(NonceRepeated):
        world.journal.sealed(other, device.own)
    with pytest.raises(TwoHashes):
        world.journal.landed(other, device.own, lambda _: None)
