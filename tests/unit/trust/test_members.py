"""What the members answer beyond the fixtures: certificates, logs, and what binds content."""

from __future__ import annotations

import pytest

from presenced.crypto import derive
from presenced.errors import NotAllowed
from presenced.ids import DeviceId, StatementId
from presenced.testing.draw import CUT_LOG, Drawing, cut_word, draw, drawn_device
from presenced.trust import admission
from presenced.trust.admission import ClientCollision, KeyRemoved, add_body, remove_body
from presenced.trust.certificate import Certificate
from presenced.trust.limits import CUT_LOGS_MAX
from presenced.trust.logs import WHOLE_LOG
from presenced.trust.members import Members, resolve

A, B, C, N = (drawn_device(name).id for name in "ABCN")


def world(*lines: str) -> tuple[Drawing, Members]:
    drawing = draw(list(lines))
    return drawing, resolve(drawing.statements)


def id_(word: str) -> StatementId:
    return StatementId(word.encode())


def bound(members: Members, device: DeviceId, collection: str = "follows") -> list[list[str]]:
    """Each alternative as `removal` (open), `removal=cut`, or `removal=` (empty cut)."""
    shown = []
    for alternative in members.bounds(device, collection):  # type: ignore[arg-type]
        row = []
        for one in alternative:
            word = one.id.decode()
            if one.cut is not None:
                word += "=" + (cut_word(one.cut) if CUT_LOG in one.cut else "")
            row.append(word)
        shown.append(row)
    return shown


def test_a_log_belongs_to_the_device_of_its_certificate_for_collections_it_may_have() -> None:
    _, members = world("a: root genesis A", "b: A add B has follows after a")
    logs = drawn_device("B")
    follows = derive.log_id(logs.id, logs.incarnation, "follows")
    owner = members.logs[follows]
    assert owner.device == B
    assert owner.collection == "follows"
    assert owner.signing == logs.signing.public
    assert owner.client == derive.client_id(follows)
    assert derive.log_id(logs.id, logs.incarnation, "sessions") not in members.logs
    assert len(members.logs) == 4


def test_a_stranger_has_no_log_and_no_certificate() -> None:
    _, members = world(
        "a: root genesis A", "b: X add B after a", "c: A recover C removes A after a"
    )
    assert len(members.logs) == 3
    assert members.certificate(B) is None
    assert members.certificate(C) is None
    assert members.sealing_key(B) is None
    assert members.bounds(B, "follows") == ()
    assert members.active == (A,)


def test_the_logs_of_a_device_whose_add_fell_are_known_and_bound_by_what_felled_it() -> None:
    _, members = world(
        "a: root genesis A",
        "b: A add B after a",
        "c: B add C has follows after b",
        "d: A remove B after b",
    )
    assert members.active == (A,)
    logs = drawn_device("C")
    assert derive.log_id(logs.id, logs.incarnation, "follows") in members.logs
    assert derive.log_id(logs.id, logs.incarnation, "sessions") not in members.logs
    assert bound(members, C) == [["d="]]
    assert bound(members, B) == [["d"]]
    assert bound(members, A) == [[]]


def test_with_several_void_adds_passing_for_one_is_enough() -> None:
    _, members = world(
        "a: root genesis A",
        "b: A add B after a",
        "c: A add C after b",
        "d: B add N after c",
        "e: C add N after c",
        "f: A remove B after c",
        "g: A remove C cuts follows=5 after c",
    )
    assert sorted(bound(members, N)) == [["f="], ["g="]]
    assert bound(members, C) == [["g=5"]]


def test_a_collection_that_an_adder_lost_is_bound_by_what_took_it() -> None:
    _, members = world(
        "a: root genesis A",
        "b: A add B after a",
        "c: A add C has follows after b",
        "d: B add C after c",
        "e: C add N after d",
        "f: A remove B after c",
    )
    assert members.collections(N) == {"follows"}
    assert bound(members, N) == [[]]
    assert bound(members, N, "sessions") == [["f="]]
    logs = drawn_device("N")
    assert derive.log_id(N, logs.incarnation, "sessions") in members.logs


def test_a_void_add_to_one_collection_is_not_freed_by_an_add_to_another() -> None:
    _, members = world(
        "a: root genesis A",
        "b: A add B after a",
        "c: B add C has sessions after b",
        "d: A remove B after b",
        "e: A add C has follows after d",
    )
    assert bound(members, C) == [[]]
    assert bound(members, C, "sessions") == [["d="]]
    assert bound(members, C, "directory") == []


def test_one_add_that_counts_frees_a_device_of_the_blame_of_others() -> None:
    _, members = world(
        "a: root genesis A",
        "b: A add B after a",
        "c: B add C after b",
        "d: A remove B after b",
        "e: A add C after d",
    )
    assert bound(members, C) == [[]]
    assert C in members.active
    certificate = members.certificate(C)
    assert certificate is not None
    assert certificate.adder == A


def test_all_cuts_for_an_open_collection_bind_and_a_void_one_does_not() -> None:
    _, members = world(
        "a: root genesis A",
        "b: A add B after a",
        "c: A add C after b",
        "d: A add N after c",
        "e: A remove B after d",
        "f: C cut e B follows=3 after e",
        "g: N cut e B follows=4 after e",
        "h: C cut e B follows=9 after f",
        "i: A remove C after e f g",
        "j: B cut e B sessions=1 after e",
    )
    assert sorted(bound(members, B)[0]) == ["e=3", "e=4"]
    assert bound(members, B, "sessions") == [["e"]]


def test_an_incarnation_ends_the_earlier_logs_of_its_device_only() -> None:
    drawing, members = world(
        "a: root genesis A",
        "b: A add B after a",
        "c: B incarnation cuts follows=7 after b",
        "d: B sealing_key after c",
    )
    (ends,) = members.bounds(B, "follows")[0]
    assert ends.id == id_("c")
    assert ends.cut is not None
    assert cut_word(ends.cut) == "7"
    old = drawn_device("B")
    assert derive.log_id(B, old.incarnation, "follows") not in ends.cut
    nonce = drawing["c"].body.incarnation  # type: ignore[union-attr]
    assert ends.cut[derive.log_id(B, nonce, "follows")] == WHOLE_LOG
    assert derive.log_id(B, nonce, "follows") in members.logs
    assert members.bounds(B, "sessions") == ((),)


def test_concurrent_incarnations_do_not_end_each_other() -> None:
    drawing, members = world(
        "a: root genesis A",
        "b: A incarnation cuts follows=1 after a",
        "c: A incarnation cuts follows=2 after a",
        "d: A incarnation cuts follows=3 after c",
    )
    log = {
        word: derive.log_id(A, drawing[word].body.incarnation, "follows")  # type: ignore[union-attr]
        for word in "bcd"
    }
    ended = {one.id: one.cut for one in members.bounds(A, "follows")[0]}
    whole = {
        word: "".join(w for w in "bcd" if (ended[id_(word)] or {}).get(log[w]) == WHOLE_LOG)
        for word in "bcd"
    }
    assert whole == {"b": "bcd", "c": "bcd", "d": "bd"}


def test_the_highest_sealing_key_holds() -> None:
    _, members = world(
        "a: root genesis A",
        "b: A sealing_key after a",
        "c: A sealing_key after b",
        "d: A sealing_key after b",
    )
    assert members.sealing_statement(A) == id_("c")
    assert members.sealing_key(A) != drawn_device("A").sealing.public
    _, fresh = world("a: root genesis A")
    assert fresh.sealing_statement(A) is None
    assert fresh.sealing_key(A) == drawn_device("A").sealing.public


# --- making statements that will count ---


def certificate(name: str, adder: DeviceId | None) -> Certificate:
    keys = drawn_device(name)
    return Certificate(
        signing=keys.signing.public,
        static=keys.static.public,
        sealing=keys.sealing.public,
        incarnation=keys.incarnation,
        adder=adder,
        signature=b"",
    )


def test_an_add_gives_at_most_what_the_adder_has() -> None:
    _, members = world("a: root genesis A", "b: A add B has follows after a")
    assert add_body(members, B, certificate("C", B), ["follows", "sessions"]).collections == {
        "follows"
    }


def test_an_add_that_would_be_void_is_refused_with_the_reason() -> None:
    _, members = world("a: root genesis A", "b: A add B after a", "c: A remove B after b")
    with pytest.raises(NotAllowed):
        add_body(members, B, certificate("C", B), ["follows"])
    with pytest.raises(NotAllowed):
        add_body(members, A, certificate("C", B), ["follows"])
    with pytest.raises(KeyRemoved):
        add_body(members, A, certificate("B", A), ["follows"])


def test_a_yjs_client_that_is_taken_is_refused_at_admission(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, members = world("a: root genesis A", "b: A add B after a")
    assert members.client_collisions == ()
    assert add_body(members, A, certificate("B", A), []).certificate.device == B
    monkeypatch.setattr(derive, "client_id", lambda log: 7)
    _, members = world("a: root genesis A", "b: A add B has follows after a")
    ((first, second),) = members.client_collisions
    assert members.logs[first].collection == members.logs[second].collection == "follows"
    with pytest.raises(ClientCollision):
        add_body(members, A, certificate("C", A), ["follows"])
    assert admission.collides(members, certificate("C", A))


def test_no_number_of_logs_blocks_a_removal() -> None:
    cut = {
        derive.log_id(B, n.to_bytes(16, "big"), "follows"): (1, b"\x01" * 32)
        for n in range(CUT_LOGS_MAX)
    }
    few = dict(list(cut.items())[:1])
    body = remove_body(B, [("follows", cut), ("sessions", few)], "stolen")  # type: ignore[list-item]
    assert body.cuts == {"sessions": few}
    assert body.reason == "stolen"
