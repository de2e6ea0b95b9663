"""No bytes make a parser of the trust room do anything but parse or refuse."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from presenced import wire
from presenced.crypto.keys import SigningKey
from presenced.errors import PeerError
from presenced.ids import hash_bytes
from presenced.testing.draw import draw_signed, drawn_device
from presenced.trust.bodies import StatementType
from presenced.trust.certificate import parse_certificate
from presenced.trust.identity import DeviceSecrets
from presenced.trust.statement import STATEMENT_DOMAIN, anchor_of, parse_statement
from presenced.trust.statement_messages import parse_message

GENESIS = draw_signed(["a: root genesis A"])["a"]
ANCHOR = anchor_of(GENESIS)
KEY: SigningKey = drawn_device("A").signing

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-5, 70)
    | st.binary(max_size=40)
    | st.sampled_from([bytes(16), bytes(32), b"\x09" + bytes(31), bytes(64)])
    | st.sampled_from(["follows", "sessions", "directory", "personal", "elsewhere"])
)
NAMES = (
    "certificate collections device sealed reason cuts removal collection cut parents commitment "
    "sealing incarnation ends removed kind follows sessions"
)
names = st.sampled_from(NAMES.split())
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    for parse in (
        lambda: parse_statement(data, ANCHOR),
        lambda: parse_statement(data, None),
        lambda: parse_certificate(data, ANCHOR.space),
        lambda: parse_message(data),
        lambda: DeviceSecrets.from_bytes(data),
    ):
        try:
            parse()
        except PeerError:
            continue


@settings(deadline=None)
@given(st.sampled_from([1, 2, 3, 4, 16]), values)
def test_any_body_of_a_message(kind: int, value: Any) -> None:
    try:
        parse_message(bytes([kind]) + wire.encode(value))
    except PeerError:
        return


def signed(type_: str, heads: Any, body: Any) -> bytes:
    unsigned = [1, type_, ANCHOR.space, KEY.public, heads, body]
    digest = hash_bytes(STATEMENT_DOMAIN, type_.encode(), wire.encode(unsigned))
    return wire.encode([*unsigned, KEY.sign_hash(digest)])


def check(type_: str, heads: Any, body: Any) -> None:
    """Whatever a member signs, the outcome is a statement that says just that, or a refusal."""
    try:
        statement = parse_statement(signed(type_, heads, body), ANCHOR)
    except PeerError:
        return
    assert wire.encode(statement.body.value) == wire.encode(body)


@settings(deadline=None)
@given(st.sampled_from(sorted(StatementType)), st.lists(values, max_size=3), values)
def test_any_signed_body_of_any_type(type_: StatementType, heads: list[Any], body: Any) -> None:
    check(str(type_), [GENESIS.id], body)
    check(str(type_), heads, body)


REAL = [
    (one.type, wire.decode(wire.encode(one.body.value)))
    for one in draw_signed(
        [
            "a: root genesis A",
            "b: A add B has follows,sessions after a",
            "c: A rotate follows to A,B after b",
            "d: A rotate follows parents c to A,B after c",
            "e: A share B epochs c,d after d",
            "f: A sealing_key after e",
            "g: A incarnation cuts follows=7 sessions=8 after e",
            "h: A remove B cuts follows=8 after f g",
            "i: A cut h B sessions=3 after h",
            "r: root recover N removes A,B cuts sessions=9 after i",
        ]
    ).statements
]


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(REAL), st.lists(st.integers(0, 7), max_size=5), values)
def test_any_real_body_with_one_part_replaced(
    real: tuple[str, Any], path: list[int], part: Any
) -> None:
    type_, body = real
    check(type_, [GENESIS.id], replaced(body, path, part))


def replaced(value: Any, path: list[int], part: Any) -> Any:
    """The value with what the path leads to replaced; a path that ends early replaces there."""
    if not path or not isinstance(value, list | dict) or not value:
        return part
    if isinstance(value, list):
        at = path[0] % len(value)
        return [*value[:at], replaced(value[at], path[1:], part), *value[at + 1 :]]
    key = sorted(value)[path[0] % len(value)]
    return {**value, key: replaced(value[key], path[1:], part)}
