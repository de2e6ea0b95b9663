"""Epoch keys: opened by those they are sealed to, owed and paid until nothing is owed."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from presenced.crypto.aead import commitment
from presenced.crypto.keys import DhKey, seal_to
from presenced.ids import COLLECTIONS, Collection, DeviceId
from presenced.testing.draw import draw_signed, drawn_device, drawn_epoch_key
from presenced.trust import epochs
from presenced.trust.bodies import NewSealingKey, Remove, Rotate, Share
from presenced.trust.dag import StatementDag
from presenced.trust.debts import RotationOwed, ShareOwed
from presenced.trust.epochs import Keyring, pay_debt
from presenced.trust.identity import DeviceSecrets
from presenced.trust.members import Members, resolve_dag
from presenced.trust.statement import sign_statement
from presenced.trust.view import MembershipView

ENTROPY = random.Random(5).randbytes


def secrets_of(name: str, *more: DhKey) -> DeviceSecrets:
    keys = drawn_device(name)
    return DeviceSecrets(
        signing=keys.signing,
        static=keys.static,
        sealing=(*more, keys.sealing),
        incarnation=keys.incarnation,
    )


class World:
    """One DAG that all devices share."""

    def __init__(self, *lines: str) -> None:
        self.drawing = draw_signed(list(lines))
        self.dag = StatementDag(self.drawing.statements)

    @property
    def members(self) -> Members:
        return resolve_dag(self.dag)

    def keyring(self, name: str, before: Keyring | None = None) -> Keyring:
        return Keyring.open_from(self.members, self.dag, secrets_of(name), before)

    def sign(self, name: str, body: object) -> None:
        key = drawn_device(name).signing
        self.dag.add(sign_statement(key, self.dag.anchor, self.dag.citable_heads, body))  # type: ignore[arg-type]

    def next_payment(
        self, name: str, collection: Collection, linked: Sequence[DeviceId] = ()
    ) -> Rotate | Share | None:
        return pay_debt(
            self.members,
            self.keyring(name),
            drawn_device(name).id,
            collection,
            ENTROPY,
            linked=linked,
        )

    def pay(self, name: str, collection: Collection) -> list[Rotate | Share]:
        paid = []
        while (body := self.next_payment(name, collection)) is not None:
            assert len(paid) < 20
            self.sign(name, body)
            paid.append(body)
        return paid

    def key(self, name: str, collection: Collection) -> bytes | None:
        leaf = self.members.leaf(collection)
        return None if leaf is None else self.keyring(name).key(leaf)


FOUNDED = ("a: root genesis A", "b: A add B after a", "c: A add C has sessions after b")


def test_the_first_device_begins_an_epoch_of_every_collection() -> None:
    world = World("a: root genesis A")
    for collection in COLLECTIONS:
        (body,) = world.pay("A", collection)
        assert isinstance(body, Rotate)
        assert body.parents == ()
        assert world.members.owed(collection) is None
        assert world.key("A", collection) is not None
    assert len({world.key("A", collection) for collection in COLLECTIONS}) == 3


def test_all_readers_open_one_key_and_others_none() -> None:
    world = World(*FOUNDED)
    world.pay("B", "follows")
    assert world.key("A", "follows") == world.key("B", "follows") != None  # noqa: E711
    assert world.key("C", "follows") is None
    assert world.pay("C", "follows") == []


def test_a_new_device_gets_every_retained_key_of_its_collections() -> None:
    world = World("a: root genesis A")
    world.pay("A", "follows")
    world.sign("A", epochs.rotate_body(world.members, drawn_device("A").id, "follows", ENTROPY))
    before = world.keyring("A").epochs("follows")
    assert len(before) == 2
    joined = World("a: root genesis A", "b: A add B after a")
    joined.pay("A", "follows")
    add = joined.drawing["b"]
    world.dag.add(add)
    assert isinstance(world.members.owed("follows"), ShareOwed)
    (share,) = world.pay("A", "follows")
    assert isinstance(share, Share)
    assert world.members.owed("follows") is None
    assert world.keyring("B").epochs("follows") == before
    assert world.key("B", "follows") == world.key("A", "follows")


def test_several_new_devices_get_a_share_each() -> None:
    world = World("a: root genesis A", "r: A rotate follows to A after a")
    world.dag.add(World(*FOUNDED).drawing["b"])
    assert len(world.pay("A", "follows")) == 1


def test_more_retained_keys_than_one_share_holds_take_several_and_the_leaf_goes_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(epochs, "STATEMENT_EPOCHS_MAX", 2)
    world = World("a: root genesis A", "b: A add B after a")
    world.dag = StatementDag([world.drawing["a"]])
    world.pay("A", "follows")
    for _ in range(4):
        world.sign("A", epochs.rotate_body(world.members, drawn_device("A").id, "follows", ENTROPY))
    world.dag.add(world.drawing["b"])
    paid = world.pay("A", "follows")
    assert [len(body.sealed) for body in paid] == [2, 2, 1]
    assert world.members.leaf("follows") in paid[-1].sealed
    assert world.keyring("B").epochs("follows") == world.keyring("A").epochs("follows")


def test_a_removal_owes_a_rotation_that_any_remaining_reader_pays() -> None:
    world = World(*FOUNDED)
    world.pay("A", "follows")
    old = world.key("B", "follows")
    world.sign("A", Remove(device=drawn_device("B").id, reason="", cuts={}))
    assert isinstance(world.members.owed("follows"), RotationOwed)
    assert world.members.leaf("follows") is None
    assert world.pay("B", "follows") == []
    world.pay("A", "follows")
    assert world.key("B", "follows") is None
    assert world.key("A", "follows") not in (None, old)


def test_two_epochs_made_apart_are_merged_by_the_more_senior_of_those_linked() -> None:
    """Two devices that both merged would merge each other's epochs without end."""
    world = World(
        "a: root genesis A",
        "b: A add B after a",
        "e: A rotate follows to A,B after b",
        "f: B rotate follows to A,B after b",
    )
    a, b = drawn_device("A").id, drawn_device("B").id
    assert world.next_payment("B", "follows", [a]) is None
    assert isinstance(world.next_payment("B", "follows"), Rotate)
    body = world.next_payment("A", "follows", [b])
    assert isinstance(body, Rotate)
    assert len(body.parents) == 2
    world.sign("A", body)
    assert world.members.owed("follows") is None


def test_a_share_is_left_to_the_more_senior_of_those_linked_that_hold_the_leaf() -> None:
    world = World(
        "a: root genesis A",
        "b: A add B after a",
        "e: B rotate follows to B after b",
    )
    a = drawn_device("A").id
    assert isinstance(world.next_payment("B", "follows", [a]), Share)
    assert world.next_payment("A", "follows") is None


def test_a_key_that_does_not_fit_its_commitment_is_not_held_and_its_reader_rotates() -> None:
    world = World("a: root genesis A", "b: A add B after a")
    a, b = drawn_device("A"), drawn_device("B")
    good, bad = b"\x01" * 32, b"\x02" * 32
    world.sign(
        "B",
        Rotate(
            collection="follows",
            parents=(),
            sealed={a.id: seal_to(a.sealing.public, bad), b.id: seal_to(b.sealing.public, good)},
            commitment=commitment(good),
        ),
    )
    assert world.members.owed("follows") is None
    assert world.key("B", "follows") == good
    assert world.key("A", "follows") is None
    (body,) = world.pay("A", "follows")
    assert isinstance(body, Rotate)
    assert world.key("A", "follows") == world.key("B", "follows") != None  # noqa: E711


def test_the_key_of_a_void_epoch_is_opened_too() -> None:
    world = World(
        "a: root genesis A",
        "b: A add B after a",
        "d: A rotate follows to A,B after b",
        "e: B rotate follows parents d to A,B after d",
        "f: A remove B after d",
    )
    void = world.drawing["e"]
    assert not world.members.verdicts[void.id].counts
    assert void.epoch is not None
    view = MembershipView(world.members, world.dag, world.keyring("A"))
    assert view.epoch_key(void.epoch) == drawn_epoch_key("e")
    assert view.writing_epoch("follows") is None


def test_what_was_sealed_to_a_former_sealing_key_still_opens() -> None:
    world = World("a: root genesis A", "d: A rotate follows to A after a")
    new = DhKey(b"\x07" * 32)
    world.sign("A", NewSealingKey(sealing=new.public))
    world.sign("A", epochs.rotate_body(world.members, drawn_device("A").id, "follows", ENTROPY))
    both = Keyring.open_from(world.members, world.dag, secrets_of("A", new))
    assert len(both.epochs("follows")) == 2
    assert len(world.keyring("A").epochs("follows")) == 1


def test_a_keyring_grows_without_trying_again_what_it_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World("a: root genesis A", "d: A rotate follows to A after a")
    first = world.keyring("A")
    world.sign("A", epochs.rotate_body(world.members, drawn_device("A").id, "follows", ENTROPY))
    opened = []
    monkeypatch.setattr(
        epochs, "open_sealed", lambda key, box: opened.append(box) or drawn_epoch_key("d")
    )
    assert len(world.keyring("A", first).epochs("follows")) == 1
    assert len(opened) == 1


def test_a_share_that_seals_nonsense_is_no_key() -> None:
    world = World("a: root genesis A", "d: A rotate follows to A after a")
    world.dag.add(World(*FOUNDED).drawing["b"])
    epoch = world.drawing["d"].epoch
    assert epoch is not None
    world.sign("A", Share(device=drawn_device("B").id, sealed={epoch: b"nonsense"}))
    assert world.members.owed("follows") is None
    assert world.keyring("B").epochs("follows") == frozenset()


def test_more_readers_than_one_statement_holds_are_served_by_shares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(epochs, "STATEMENT_DEVICES_MAX", 2)
    world = World("a: root genesis A", "b: A add B after a", "c: A add C after b")
    paid = world.pay("C", "follows")
    assert [type(body) for body in paid] == [Rotate, Share]
    assert drawn_device("C").id in paid[0].sealed
    assert world.key("B", "follows") == world.key("C", "follows") != None  # noqa: E711


def test_paying_is_deterministic_given_its_randomness() -> None:
    world = World(*FOUNDED)
    bodies = [
        pay_debt(
            world.members, Keyring(), drawn_device("A").id, "follows", random.Random(1).randbytes
        )
        for _ in range(2)
    ]
    assert bodies[0] == bodies[1] is not None


def test_no_key_is_shown() -> None:
    world = World("a: root genesis A", "d: A rotate follows to A after a")
    shown = repr(world.keyring("A"))
    assert drawn_epoch_key("d").hex() not in shown
    assert repr(drawn_epoch_key("d")) not in shown
