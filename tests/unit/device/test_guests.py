"""Links of keys that no member has: their statements are tried apart, and they hear little."""

from __future__ import annotations

from collections.abc import Callable

from presenced.crypto.keys import SigningKey
from presenced.device.edits import Follow
from presenced.device.effects import LinkNumber
from presenced.device.limits import GUEST_TRIALS_MAX, LATE_STATEMENTS_MAX
from presenced.testing.desk import Desk, Line, founder, joiner, linked_pair, rest
from presenced.trust.admission import remove_body
from presenced.trust.dag import StatementDag
from presenced.trust.statement import Statement, sign_statement
from presenced.trust.statement_messages import Statements, parse_message
from presenced.trust.statement_sync import StatementSync

FEED = "https://one.example/feed.xml"
FOUNDERS = (lambda one: one.machine.membership.fingerprint(one.device))(founder())


class Stranger:
    """Somebody who knows the space and nothing else, on a link to a desk."""

    def __init__(self, desk: Desk, *, known: int = 1) -> None:
        """`known`: how many of the space's statements it has."""
        self.desk = desk
        self.key = SigningKey(b"s" * 32)
        statements = desk.machine.membership.dag.topological()
        self.dag = StatementDag(statements[:known])
        self.sync = StatementSync(self.dag)
        self.number: LinkNumber = desk.new_link()
        self.heard: list[bytes] = []
        self.unread = 0
        desk.lines[self.number] = self  # type: ignore[assignment]
        self.is_cut = False
        desk.perform(desk.machine.link_up(self.number, None, b"x" * 32, desk.now, inbound=True))
        self.say(self.sync.start())

    def put(self, _sender: Desk, messages: list[bytes]) -> None:
        self.heard += messages

    def say(self, messages: list[bytes]) -> None:
        """Say this, and go on until both are quiet."""
        while messages:
            for message in messages:
                self.desk.hear(self.number, message)
            fresh, self.unread = self.heard[self.unread :], len(self.heard)
            messages = [one for message in fresh for one in self.sync.receive(message).send]

    def sign(self, device: Desk) -> None:
        body = remove_body(device.device, [], "because")
        self.dag.add(sign_statement(self.key, self.dag.anchor, self.dag.citable_heads, body))
        self.say(self.sync.announce())

    @property
    def told(self) -> list[Statement]:
        """Statements that it was given."""
        parsed = map(parse_message, self.heard)
        return [
            self.dag.parse(raw) for one in parsed if isinstance(one, Statements) for raw in one.raws
        ]


def test_what_a_stranger_signs_is_not_kept_and_it_hears_no_statement() -> None:
    first, second, line = linked_pair()
    before, commits = len(first.machine.membership.dag), first.commits
    stranger = Stranger(first)
    for _ in range(GUEST_TRIALS_MAX - 1):
        stranger.sign(second)
    assert len(first.machine.membership.dag) == before
    assert first.commits == commits
    assert stranger.told == []
    assert second.device in first.machine.linked
    first.edit(Follow(uri=FEED, title="One"))
    line.deliver()
    assert second.follows() == {FEED: "One"}


def test_a_guest_that_has_its_statements_tried_again_and_again_loses_its_link() -> None:
    first, second, _ = linked_pair()
    stranger = Stranger(first)
    for _ in range(GUEST_TRIALS_MAX):
        stranger.sign(second)
    assert first.closed == {}
    stranger.sign(second)
    assert first.closed == {stranger.number: "limit-exceeded"}


def test_a_device_that_a_sibling_added_meanwhile_is_let_in_with_what_it_brings() -> None:
    first, second, line = linked_pair()
    line.cut()
    third = joiner(second, "Phone")
    meeting = Line(third, first, known=False)
    meeting.deliver()
    assert third.device in first.machine.linked
    assert first.machine.in_sync(third.device)
    third.edit(Follow(uri=FEED, title="One"))
    meeting.deliver()
    assert first.follows() == {FEED: "One"}


def test_a_guest_becomes_a_member_when_somebody_else_tells_of_it() -> None:
    first, second, line = linked_pair()
    line.cut()
    third = joiner(second, "Phone")
    meeting = Line(third, first, known=False)  # nothing of it is delivered yet
    again = Line(second, first)
    again.deliver()
    assert third.device in first.machine.linked
    rest(meeting, again)
    assert first.machine.in_sync(third.device)


def removed_meanwhile(act: Callable[[Desk], None]) -> tuple[Desk, Desk, Desk, Line]:
    """The second device was away, acts, and does not know that the first has removed it."""
    first, second, line = linked_pair()
    third = joiner(first, "Phone")
    link = Line(first, third)
    rest(line, link)
    line.cut()
    first.sign(remove_body(second.device, [], "lost"))
    link.deliver()
    act(second)
    return first, second, third, link


def test_a_removed_device_hears_of_its_removal_and_nothing_later() -> None:
    first, second, _, link = removed_meanwhile(lambda _: None)
    later = joiner(first, "Box 2")
    link.deliver()
    meeting = Line(second, first, known=False)
    meeting.deliver()
    assert not second.machine.membership.active
    assert later.device not in second.machine.membership.members.active
    assert meeting.number(first) in first.machine.links


def test_few_late_statements_of_a_removed_device_are_taken_from_itself() -> None:
    """Its removal of a third device falls, and a person is asked whether to sign it anew."""

    def removes_the_phone(second: Desk) -> None:
        membership = second.machine.membership
        [phone] = [one for one in membership.siblings if membership.fingerprint(one) != FOUNDERS]
        second.sign(remove_body(phone, [], "stolen"))

    first, second, third, link = removed_meanwhile(removes_the_phone)
    Line(second, first, known=False).deliver()
    link.deliver()
    assert len(first.machine.membership.members.undone) == 1
    assert third.device in first.machine.membership.members.active
    assert third.machine.membership.dag.heads == first.machine.membership.dag.heads


def test_a_flood_of_late_statements_is_bounded_over_links() -> None:
    first, second, _, _ = removed_meanwhile(lambda _: None)
    before = len(first.machine.membership.dag)
    for batch in range(3):
        for number in range(LATE_STATEMENTS_MAX // 2 + 1):
            second.sign(remove_body(first.device, [], f"{batch}-{number}"))
        meeting = Line(second, first, known=False)
        meeting.deliver()
        meeting.cut()
    assert len(first.machine.membership.dag) - before == LATE_STATEMENTS_MAX
