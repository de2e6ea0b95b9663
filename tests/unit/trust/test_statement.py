"""Statements: one meaning, one byte string, one signer; everything else is refused."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from presenced import wire
from presenced.crypto.keys import SigningKey
from presenced.errors import LimitExceeded, Malformed, PeerError, Unauthorized, VersionMismatch
from presenced.ids import DeviceId, EntryHash, EpochId, LogId, StatementId, hash_bytes
from presenced.testing.draw import draw_signed, drawn_device, drawn_root
from presenced.trust import limits
from presenced.trust.bodies import (
    Add,
    CutOff,
    NewIncarnation,
    NewSealingKey,
    Recover,
    Remove,
    Rotate,
    Share,
    UnknownBody,
)
from presenced.trust.certificate import (
    GENESIS_SPACE,
    certificate_bytes,
    issue_certificate,
    parse_certificate,
)
from presenced.trust.dag import StatementDag, load_dag
from presenced.trust.members import resolve_dag
from presenced.trust.statement import (
    STATEMENT_DOMAIN,
    Anchor,
    Statement,
    anchor_of,
    parse_statement,
    sign_statement,
    statement_id,
)

EVERY_TYPE = [
    "a: root genesis A",
    "b: A add B has follows,sessions after a",
    "c: A rotate follows to A,B after b",
    "d: B rotate follows parents c to A,B after c",
    "e: A share B epochs c,d after d",
    "f: B sealing_key after e",
    "g: A incarnation cuts follows=7 after e",
    "h: A remove B cuts follows=8 after f g",
    "i: A frobnicate it after h",
    "r: root recover N removes A,B cuts sessions=9 after i",
]

SIZED_CUT = {LogId(b"the log of cuts."): (3, EntryHash(b"\x01" * 32))}


@cache
def world() -> tuple[Anchor, dict[str, Statement]]:
    drawing = draw_signed([line for line in EVERY_TYPE if "cuts" not in line and line[0] != "i"])
    return anchor_of(drawing["a"]), {word: drawing[word] for word in drawing.ids}


def bodies() -> list[Any]:
    """One body of every type, signed by A or by the root."""
    anchor, made = world()
    certificate = drawn_device("N")

    def issue(adder: DeviceId | None) -> Any:
        return issue_certificate(
            certificate.signing,
            static=certificate.static.public,
            sealing=certificate.sealing.public,
            incarnation=certificate.incarnation,
            space=anchor.space,
            adder=adder,
        )

    a, b = drawn_device("A").id, drawn_device("B").id
    epoch = made["c"].epoch
    assert epoch is not None
    return [
        Add(certificate=issue(a), collections=frozenset({"follows", "directory"})),
        Share(device=b, sealed={epoch: b"sealed"}),
        Remove(device=b, reason="lost on a train", cuts={"follows": SIZED_CUT, "sessions": {}}),
        CutOff(removal=made["b"].id, device=b, collection="sessions", cut=SIZED_CUT),
        Rotate(
            collection="follows",
            parents=(epoch,),
            sealed={a: b"x", b: b"y"},
            commitment=b"\x02" * 32,
        ),
        NewSealingKey(sealing=drawn_device("A").sealing.public),
        NewIncarnation(incarnation=b"\x03" * 16, ends={"directory": SIZED_CUT}),
        UnknownBody(type="novelty", value={"any": [1, "thing", None]}),
        Recover(certificate=issue(None), removed={a: {"follows": SIZED_CUT}, b: {}}),
    ]


def signed(body: Any) -> Statement:
    anchor, made = world()
    key = drawn_root() if isinstance(body, Recover) else drawn_device("A").signing
    return sign_statement(key, anchor, [made["e"].id, made["f"].id], body)


@pytest.mark.parametrize("place", range(9))
def test_every_type_comes_back_as_it_was_signed(place: int) -> None:
    body = bodies()[place]
    statement = signed(body)
    anchor, made = world()
    parsed = parse_statement(statement.raw, anchor)
    assert parsed.body == body
    assert parsed.id == statement.id == statement_id(statement.raw)
    assert parsed.author == (None if isinstance(body, Recover) else drawn_device("A").id)
    assert parsed.heads == tuple(sorted((made["e"].id, made["f"].id)))
    assert (parsed.epoch is not None) == isinstance(body, Rotate)


@pytest.mark.parametrize("place", range(9))
def test_no_changed_byte_is_taken_for_the_statement(place: int) -> None:
    statement = signed(bodies()[place])
    anchor, _ = world()
    rng = random.Random(place)
    for _ in range(150):
        changed = bytearray(statement.raw)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        with pytest.raises(PeerError):
            parse_statement(bytes(changed), anchor)
    for cut in range(0, len(statement.raw), 7):
        with pytest.raises(PeerError):
            parse_statement(statement.raw[:cut], anchor)
    with pytest.raises(Malformed):
        parse_statement(statement.raw + b"\x00", anchor)


def resigned(change: Callable[[list[Any]], Any], body: Any = None, key: Any = None) -> bytes:
    """A's statement with its decoded form changed and then signed rightly."""
    value = wire.decode(signed(body or bodies()[5]).raw)[:-1]
    change(value)
    key = key or drawn_device("A").signing
    digest = hash_bytes(STATEMENT_DOMAIN, str(value[1]).encode(), wire.encode(value))
    return wire.encode([*value, key.sign_hash(digest)])


def put(place: int, new: Any) -> Callable[[list[Any]], None]:
    def change(value: list[Any]) -> None:
        value[place] = new

    return change


def put_body(name: str, new: Any) -> Callable[[list[Any]], None]:
    def change(value: list[Any]) -> None:
        value[4 + 1][name] = new

    return change


def test_what_is_resigned_without_a_change_is_accepted() -> None:
    anchor, _ = world()
    assert parse_statement(resigned(lambda value: None), anchor)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (put(0, 2), VersionMismatch),
        (put(0, 0), Malformed),
        (put(0, True), Malformed),
        (put(1, 7), Malformed),
        (put(1, "x" * 33), Malformed),
        (put(2, b"\x01" * 16), Unauthorized),
        (put(2, b""), Malformed),
        (put(3, b"\x01" * 31), Malformed),
        (put(3, drawn_device("B").signing.public), Unauthorized),
        (put(4, []), Malformed),
        (put(4, [b"\x01" * 31]), Malformed),
        (put(4, [b"\x02" * 32, b"\x01" * 32]), Malformed),
        (put(4, [b"\x01" * 32] * 2), Malformed),
        (put(4, [n.to_bytes(32, "big") for n in range(65)]), LimitExceeded),
        (put(5, 5), Malformed),
        (put_body("sealing", bytes(32)), Malformed),
        (put_body("sealing", b"\x01" * 31), Malformed),
        (put_body("more", 1), Malformed),
    ],
)
def test_a_signature_does_not_make_a_wrong_form_right(change: Any, error: type[Exception]) -> None:
    anchor, _ = world()
    with pytest.raises(error):
        parse_statement(resigned(change), anchor)


@pytest.mark.parametrize(
    ("place", "name", "new"),
    [
        (0, "collections", ["follows", "directory"]),
        (0, "collections", ["directory", "directory"]),
        (0, "collections", ["elsewhere"]),
        (0, "certificate", []),
        (1, "sealed", [[b"\x02" * 16, b""], [b"\x01" * 16, b""]]),
        (1, "sealed", [[b"\x02" * 16, bytes(257)]]),
        (1, "device", b"short"),
        (2, "reason", "x" * 257),
        (2, "cuts", {"elsewhere": []}),
        (2, "cuts", {"follows": [[b"\x01" * 16, -1, b"\x01" * 32]]}),
        (2, "cuts", {"follows": [[b"\x01" * 16, True, b"\x01" * 32]]}),
        (2, "cuts", {"follows": [[b"\x01" * 16, 1, b"\x01" * 32]] * 2}),
        (2, "cuts", [1]),
        (3, "removal", b"\x01" * 16),
        (3, "cut", {"follows": []}),
        (4, "parents", [b"\x02" * 16, b"\x01" * 16]),
        (4, "commitment", b""),
        (4, "sealed", [[b"\x01" * 16]]),
        (6, "incarnation", b""),
    ],
)
def test_bodies_of_another_form_are_refused(place: int, name: str, new: Any) -> None:
    anchor, _ = world()
    with pytest.raises(PeerError):
        parse_statement(resigned(put_body(name, new), bodies()[place]), anchor)


def test_the_root_signs_genesis_and_recover_and_nothing_else() -> None:
    anchor, made = world()
    with pytest.raises(Unauthorized, match="root"):
        sign_statement(drawn_root(), anchor, [made["f"].id], bodies()[5])
    other_root = SigningKey(b"\x09" * 32)
    with pytest.raises(Unauthorized, match="adder"):
        sign_statement(other_root, anchor, [made["f"].id], bodies()[8])


def test_a_recovery_signed_by_a_device_is_kept_and_judged_void() -> None:
    anchor, made = world()
    a, n = drawn_device("A"), drawn_device("N")
    certificate = issue_certificate(
        n.signing,
        static=n.static.public,
        sealing=n.sealing.public,
        incarnation=n.incarnation,
        space=anchor.space,
        adder=a.id,
    )
    body = Recover(certificate=certificate, removed={drawn_device("B").id: {}})
    statement = sign_statement(a.signing, anchor, [made["f"].id], body)
    dag = StatementDag([*made.values(), statement])
    assert resolve_dag(dag).verdicts[statement.id].reason == "shape"


def test_only_genesis_has_no_heads_and_a_second_genesis_is_of_another_space() -> None:
    anchor, made = world()
    assert parse_statement(made["a"].raw, None).id == made["a"].id
    assert parse_statement(made["a"].raw, anchor).id == made["a"].id
    with pytest.raises(Unauthorized):
        parse_statement(made["b"].raw, None)
    other = draw_signed(["a: root genesis B"])["a"]
    with pytest.raises(Unauthorized, match="another space"):
        parse_statement(other.raw, anchor)


def test_statements_of_one_space_do_not_load_as_another() -> None:
    anchor, made = world()
    raws = [one.raw for one in StatementDag(made.values()).topological()]
    dag = load_dag(raws, anchor.space)
    assert dag.anchor == anchor
    assert len(dag) == len(raws)
    other = anchor_of(draw_signed(["a: root genesis B"])["a"])
    with pytest.raises(Unauthorized):
        load_dag(raws, other.space)
    with pytest.raises(Unauthorized):
        load_dag([], anchor.space)
    with pytest.raises(Unauthorized):
        load_dag(raws[1:], anchor.space)


# --- certificates ---


def certificate_of(adder: DeviceId | None = None) -> Any:
    keys = drawn_device("N")
    return issue_certificate(
        keys.signing,
        static=keys.static.public,
        sealing=keys.sealing.public,
        incarnation=keys.incarnation,
        space=world()[0].space,
        adder=adder,
    )


def test_a_certificate_is_good_for_one_adder_and_one_space() -> None:
    anchor, made = world()
    a, b = drawn_device("A"), drawn_device("B")
    for_b = certificate_of(b.id)
    data = certificate_bytes(for_b)
    assert parse_certificate(data, anchor.space) == for_b
    with pytest.raises(Unauthorized):
        parse_certificate(data, GENESIS_SPACE)
    add = Add(certificate=for_b, collections=frozenset())
    with pytest.raises(Unauthorized, match="adder"):
        sign_statement(a.signing, anchor, [made["f"].id], add)
    assert sign_statement(b.signing, anchor, [made["f"].id], add).body == add


@pytest.mark.parametrize("place", range(6))
def test_no_part_of_a_certificate_can_be_swapped(place: int) -> None:
    anchor, _ = world()
    value = wire.decode(certificate_bytes(certificate_of(drawn_device("A").id)))
    value[place] = bytes([value[place][0] ^ 1]) + value[place][1:]
    with pytest.raises(PeerError):
        parse_certificate(wire.encode(value), anchor.space)


@pytest.mark.parametrize("small", [bytes(32), b"\x01" + bytes(31)])
def test_a_key_that_nothing_can_be_sealed_to_is_refused(small: bytes) -> None:
    """Otherwise one such certificate would stop every rotation to its device."""
    anchor, _ = world()
    keys = drawn_device("N")
    for static, sealing in ((small, keys.sealing.public), (keys.static.public, small)):
        bad = issue_certificate(
            keys.signing,
            static=static,
            sealing=sealing,
            incarnation=keys.incarnation,
            space=anchor.space,
            adder=None,
        )
        with pytest.raises(Malformed):
            parse_certificate(certificate_bytes(bad), anchor.space)


def test_a_certificate_of_any_length_is_refused_before_it_is_read() -> None:
    with pytest.raises(Malformed, match="too long"):
        parse_certificate(bytes(513), GENESIS_SPACE)


# --- bounds ---


def ids(count: int, size: int) -> list[bytes]:
    return [number.to_bytes(size, "big") for number in range(count)]


def test_a_removal_with_the_cuts_of_a_thousand_logs_fits() -> None:
    half = {LogId(one): (2**40, EntryHash(b"\x07" * 32)) for one in ids(500, 16)}
    body = Remove(
        device=drawn_device("B").id, reason="x" * 256, cuts={"follows": half, "sessions": half}
    )
    assert signed(body).body == body
    more = Remove(
        device=drawn_device("B").id,
        reason="",
        cuts={"follows": half, "sessions": half, "directory": SIZED_CUT},
    )
    with pytest.raises(LimitExceeded, match="CUT_LOGS_MAX"):
        signed(more)


def test_a_recovery_of_256_devices_and_an_epoch_for_256_fit() -> None:
    devices = [DeviceId(one) for one in ids(257, 16)]
    certificate = certificate_of(None)
    cuts = {"follows": SIZED_CUT, "sessions": SIZED_CUT, "directory": SIZED_CUT}
    recover = Recover(certificate=certificate, removed=dict.fromkeys(devices[:256], cuts))
    assert len(signed(recover).raw) < limits.STATEMENT_BYTES_MAX
    with pytest.raises(LimitExceeded, match="STATEMENT_DEVICES_MAX"):
        signed(Recover(certificate=certificate, removed={one: {} for one in devices}))
    many = {LogId(one): (1, EntryHash(bytes(32))) for one in ids(600, 16)}
    with pytest.raises(LimitExceeded, match="CUT_LOGS_MAX"):
        signed(
            Recover(
                certificate=certificate, removed={one: {"follows": many} for one in devices[:2]}
            )
        )
    rotate = Rotate(
        collection="follows",
        parents=(),
        sealed={one: bytes(80) for one in devices[:256]},
        commitment=bytes(32),
    )
    assert len(signed(rotate).raw) < limits.STATEMENT_BYTES_MAX
    with pytest.raises(LimitExceeded, match="STATEMENT_DEVICES_MAX"):
        signed(
            Rotate(
                collection="follows",
                parents=(),
                sealed=dict.fromkeys(devices, b""),
                commitment=bytes(32),
            )
        )


def test_a_share_of_512_keys_fits_and_one_more_does_not() -> None:
    epochs = [EpochId(one) for one in ids(513, 16)]
    body = Share(device=drawn_device("B").id, sealed={one: bytes(80) for one in epochs[:512]})
    assert len(signed(body).raw) < limits.STATEMENT_BYTES_MAX
    with pytest.raises(LimitExceeded, match="STATEMENT_EPOCHS_MAX"):
        signed(Share(device=drawn_device("B").id, sealed=dict.fromkeys(epochs, b"")))
    with pytest.raises(LimitExceeded, match="STATEMENT_EPOCHS_MAX"):
        signed(Rotate(collection="follows", parents=tuple(epochs), sealed={}, commitment=bytes(32)))


def test_a_statement_longer_than_its_bound_is_refused_before_it_is_read() -> None:
    with pytest.raises(LimitExceeded, match="STATEMENT_BYTES_MAX"):
        parse_statement(bytes(limits.STATEMENT_BYTES_MAX + 1), None)


# --- the frozen bytes ---

VECTORS = Path(__file__).resolve().parents[3] / "docs" / "spec" / "vectors" / "statements.json"


def test_the_frozen_statements_parse_to_what_they_say() -> None:
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    anchor: Anchor | None = None
    types = set()
    for vector in vectors["statements"]:
        raw = bytes.fromhex(vector["raw"])
        statement = parse_statement(raw, anchor)
        anchor = anchor or anchor_of(statement)
        types.add(statement.type)
        assert statement.id.hex() == vector["id"]
        assert statement.type == vector["type"]
        assert (statement.author.hex() if statement.author else None) == vector["author"]
        assert [head.hex() for head in statement.heads] == vector["heads"]
        assert (statement.epoch.hex() if statement.epoch else None) == vector["epoch"]
        key = SigningKey(bytes.fromhex(vector["seed"]))
        again = sign_statement(
            key,
            None if statement.type == "genesis" else anchor,
            [StatementId(head) for head in statement.heads],
            statement.body,
        )
        assert again.raw == raw
    assert anchor is not None
    assert anchor.space.hex() == vectors["space"]
    assert anchor.root.hex() == vectors["root"]
    assert len(types) == 10
