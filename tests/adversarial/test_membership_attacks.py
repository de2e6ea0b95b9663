"""What a thief, a stranger or bad luck may try on membership, and what comes of it.

Each test names the attack, and where others were bitten (DESIGN §11).
"""

from __future__ import annotations

import random

import pytest

from presenced.errors import Malformed, Unauthorized
from presenced.ids import DeviceId
from presenced.testing.draw import Drawing, draw_signed, drawn_device
from presenced.testing.pair import Pair
from presenced.trust.bodies import Add, NewSealingKey, Remove
from presenced.trust.certificate import issue_certificate
from presenced.trust.dag import StatementDag
from presenced.trust.epochs import Keyring, pay_debt
from presenced.trust.identity import DeviceSecrets
from presenced.trust.members import Members, resolve, resolve_dag
from presenced.trust.statement import Anchor, anchor_of, sign_statement
from presenced.trust.statement_sync import StatementSync

A, B, C = (drawn_device(name) for name in "ABC")


def names(drawing: Drawing, members: Members) -> list[str]:
    return [drawing.names[device] for device in members.active]


def secrets_of(name: str) -> DeviceSecrets:
    keys = drawn_device(name)
    return DeviceSecrets(
        signing=keys.signing,
        static=keys.static,
        sealing=(keys.sealing,),
        incarnation=keys.incarnation,
    )


def test_removed_device_cannot_return_by_introduction() -> None:
    """Syncthing 1462, 2900, 3336: a third device adds the removed one again."""
    drawing = draw_signed(
        [
            "a: root genesis A",
            "b: A add B after a",
            "c: A add C after b",
            "d: A remove C after c",
            "e: B add C after c",
            "f: B add C after d",
            "g: C add D after f",
            "h: C remove A after f",
        ]
    )
    assert names(drawing, resolve(drawing.statements)) == ["A", "B"]


def test_removal_is_possible_whatever_the_number_of_devices() -> None:
    """Tailscale 16607, 13621: no removal at a cap, or after the last signer is gone."""
    lines = ["s0: root genesis A"]
    lines += [f"s{n}: A add D{n} after s{n - 1}" for n in range(1, 300)]
    lines += ["x: A remove A after s299", "y: D7 remove D9 after x"]
    drawing = draw_signed(lines)
    active = names(drawing, resolve(drawing.statements))
    assert len(active) == 298
    assert "D9" not in active
    assert "A" not in active


def test_a_device_that_slept_through_a_rotation_gets_the_new_key() -> None:
    """local-first-web/auth 135: a sleeper locked out by a rotation."""
    drawing = draw_signed(
        [
            "a: root genesis A",
            "b: A add B after a",
            "c: A add C after b",
            "d: A rotate follows to A,B,C after c",
        ]
    )
    here, there = StatementDag(drawing.statements), StatementDag(drawing.statements)
    body = Remove(device=B.id, reason="lost", cuts={})
    here.add(sign_statement(A.signing, here.anchor, here.citable_heads, body))
    pay(here, "A", "follows")
    left, right = StatementSync(here), StatementSync(there)
    pair = Pair(lambda m: left.receive(m).send, lambda m: right.receive(m).send)
    pair.send("left", left.start())
    pair.send("right", right.start())
    pair.drive()
    assert left.level
    assert right.level
    members = resolve_dag(there)
    leaf = members.leaf("follows")
    assert leaf is not None
    assert Keyring.open_from(members, there, secrets_of("C")).key(leaf) is not None
    assert Keyring.open_from(members, there, secrets_of("B")).key(leaf) is None


def test_a_rotation_that_its_owner_never_made_is_made_by_another() -> None:
    """murmur 652, classic-jazz 951: a rotation begun and never finished."""
    drawing = draw_signed(
        [
            "a: root genesis A",
            "b: A add B after a",
            "c: A add C after b",
            "d: A rotate follows to A,B,C after c",
            "e: A remove B after d",
        ]
    )
    dag = StatementDag(drawing.statements)
    assert pay(dag, "C", "follows") == 1
    assert resolve_dag(dag).owed("follows") is None


def test_a_recipient_that_was_given_nonsense_heals_the_epoch() -> None:
    drawing = draw_signed(["a: root genesis A", "b: A add B after a"])
    dag = StatementDag(drawing.statements)
    poisoned = pay_body(dag, "B", "follows")
    bad = type(poisoned)(  # type: ignore[call-arg]
        collection="follows",
        parents=(),
        sealed=dict.fromkeys(poisoned.sealed, b"nonsense"),  # type: ignore[union-attr]
        commitment=bytes(32),
    )
    dag.add(sign_statement(B.signing, dag.anchor, dag.citable_heads, bad))
    assert pay(dag, "A", "follows") == 1
    members = resolve_dag(dag)
    leaf = members.leaf("follows")
    assert leaf is not None
    for name in "AB":
        assert Keyring.open_from(members, dag, secrets_of(name)).key(leaf) is not None


def test_nobody_adds_another_devices_key() -> None:
    drawing = draw_signed(["a: root genesis A", "b: A add B after a"])
    anchor = anchor_of(drawing["a"])
    honest = certificate(anchor, A.id)
    replayed = Add(certificate=honest, collections=frozenset())
    with pytest.raises(Unauthorized, match="adder"):
        sign_statement(B.signing, anchor, [drawing.ids["b"]], replayed)


def test_a_certificate_of_one_space_is_no_good_in_another() -> None:
    mine = anchor_of(draw_signed(["a: root genesis A"])["a"])
    other = draw_signed(["a: root genesis A", "b: A add B after a"])
    foreign = certificate(Anchor(space=mine.space[:-1] + b"!", root=mine.root), A.id)  # type: ignore[arg-type]
    add = Add(certificate=foreign, collections=frozenset())
    with pytest.raises(Unauthorized):
        sign_statement(A.signing, anchor_of(other["a"]), [other.ids["b"]], add)


def test_a_sealing_key_that_nothing_can_be_sealed_to_cannot_stop_rotations() -> None:
    drawing = draw_signed(["a: root genesis A"])
    with pytest.raises(Malformed):
        sign_statement(
            A.signing,
            anchor_of(drawing["a"]),
            [drawing.ids["a"]],
            NewSealingKey(sealing=bytes(32)),
        )


def test_grinding_a_hash_lifts_a_confederate_at_most_to_below_its_adder() -> None:
    for seed in range(30):
        rng = random.Random(seed)
        lines = ["m: root genesis A", "n: A add B after m"]
        lines += [f"{word}: B add X{word} after n" for word in rng.sample("abcxyz", 3)]
        lines += ["z9: A remove B after n"]
        drawing = draw_signed(lines)
        assert names(drawing, resolve(drawing.statements)) == ["A"]


def test_a_thief_of_the_junior_is_undone_by_the_seniors_answer() -> None:
    drawing = draw_signed(
        [
            "a: root genesis A",
            "b: A add B after a",
            "c: B remove A after b",
            "d: B add X after c",
            "e: X add Y after d",
            "f: A remove B after b",
        ]
    )
    assert names(drawing, resolve(drawing.statements)) == ["A"]


def test_a_flood_of_concurrent_heads_leaves_room_for_a_removal() -> None:
    lines = ["a: root genesis A", "b: A add B after a"]
    lines += [f"x{n}: B sealing_key after b" for n in range(200)]
    drawing = draw_signed(lines)
    dag = StatementDag(drawing.statements)
    assert len(dag.heads) == 200
    body = Remove(device=B.id, reason="", cuts={})
    removal = sign_statement(A.signing, dag.anchor, dag.citable_heads, body)
    dag.add(removal)
    assert resolve_dag(dag).active == (A.id,)


def test_three_hundred_statements_resolve_quickly_enough_to_do_it_on_every_change() -> None:
    """A bound on work, not on time: in every order the DAG holds one past per statement."""
    lines = ["s0: root genesis A"]
    lines += [f"s{n}: A add D{n} after s{n - 1}" for n in range(1, 150)]
    lines += [f"t{n}: D{n} remove D{n + 1} after s149" for n in range(1, 149)]
    drawing = draw_signed(lines)
    members = resolve(drawing.statements)
    assert names(drawing, members) == ["A", *(f"D{n}" for n in range(1, 150, 2))]


def certificate(anchor: Anchor, adder: DeviceId):  # type: ignore[no-untyped-def]
    return issue_certificate(
        C.signing,
        static=C.static.public,
        sealing=C.sealing.public,
        incarnation=C.incarnation,
        space=anchor.space,
        adder=adder,
    )


def pay_body(dag: StatementDag, name: str, collection: str):  # type: ignore[no-untyped-def]
    members = resolve_dag(dag)
    secrets = secrets_of(name)
    keyring = Keyring.open_from(members, dag, secrets)
    return pay_debt(members, keyring, secrets.device, collection, random.Random(1).randbytes)  # type: ignore[arg-type]


def pay(dag: StatementDag, name: str, collection: str) -> int:
    paid = 0
    while (body := pay_body(dag, name, collection)) is not None:
        key = drawn_device(name).signing
        dag.add(sign_statement(key, dag.anchor, dag.citable_heads, body))
        paid += 1
        assert paid < 10
    return paid
