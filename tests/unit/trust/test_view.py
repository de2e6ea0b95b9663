"""The replica's view of membership stays what it was when it was made."""

from __future__ import annotations

from presenced.crypto import derive
from presenced.ids import LogId
from presenced.replica.seams import TrustView
from presenced.testing.draw import Drawing, draw_signed, drawn_device, drawn_epoch_key
from presenced.trust.dag import StatementDag
from presenced.trust.epochs import Keyring
from presenced.trust.identity import DeviceSecrets
from presenced.trust.members import resolve_dag
from presenced.trust.view import MembershipView


def made(words: str) -> tuple[Drawing, StatementDag, MembershipView]:
    drawing = draw_signed(
        [
            "a: root genesis A",
            "b: A add B after a",
            "c: A rotate follows to A,B after b",
            "d: A remove B cuts follows=7 after c",
        ]
    )
    dag = StatementDag(drawing[word] for word in words)
    keys = drawn_device("A")
    secrets = DeviceSecrets(
        signing=keys.signing,
        static=keys.static,
        sealing=(keys.sealing,),
        incarnation=keys.incarnation,
    )
    members = resolve_dag(dag)
    return drawing, dag, MembershipView(members, dag, Keyring.open_from(members, dag, secrets))


def test_it_answers_what_the_replica_asks() -> None:
    drawing, dag, view = made("abc")
    seam: TrustView = view
    epoch = drawing["c"].epoch
    assert epoch is not None
    assert seam.heads == (drawing["c"].id,)
    assert seam.knows([drawing["a"].id, drawing["c"].id])
    assert seam.writing_epoch("follows") == epoch
    assert seam.writing_epoch("sessions") is None
    assert seam.epoch_key(epoch) == drawn_epoch_key("c")
    b = drawn_device("B")
    owner = seam.log_owner(derive.log_id(b.id, b.incarnation, "follows"))
    assert owner is not None
    assert owner.device == b.id
    assert seam.log_owner(LogId(b"x" * 16)) is None
    assert seam.alternatives(b.id, "follows") == ((),)
    assert seam.alternatives(drawn_device("X").id, "follows") == ()
    assert seam.in_past(drawing["a"].id, [drawing["b"].id])
    assert not seam.in_past(drawing["c"].id, [drawing["b"].id])
    assert dag.heads == view.heads


def test_what_arrives_later_is_not_known_to_it() -> None:
    drawing, dag, view = made("abc")
    dag.add(drawing["d"])
    assert view.heads == (drawing["c"].id,)
    assert not view.knows([drawing["d"].id])
    assert view.alternatives(drawn_device("B").id, "follows") == ((),)
    _, _, later = made("abcd")
    ((removal,),) = later.alternatives(drawn_device("B").id, "follows")
    assert removal.id == drawing["d"].id
    assert removal.cut is not None
    ((still_open,),) = later.alternatives(drawn_device("B").id, "sessions")
    assert still_open.cut is None
