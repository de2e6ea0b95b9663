from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing

from presenced.device.effects import Event
from presenced.ids import show_id
from presenced.local.event_stream import event_routes
from presenced.local.events import EventHub, EventReader
from presenced.local.limits import COMMENT_SECONDS, EVENTS_REPLAY_MAX, EVENTS_UNREAD_MAX
from presenced.testing.fake_owner import OWN, FakeOwner


def parsed(frames: bytes) -> list[tuple[str, str, Any]]:
    events = []
    for frame in frames.decode().split("\n\n")[:-1]:
        lines = dict(line.split(": ", 1) for line in frame.splitlines())
        events.append((lines["id"], lines["event"], json.loads(lines["data"])))
    return events


def numbered(count: int, first: int = 1) -> list[Event]:
    return [Event("x", {"n": number}) for number in range(first, first + count)]


async def test_a_reader_gets_what_is_published_from_then_on() -> None:
    hub = EventHub("e")
    hub.publish(numbered(1))
    reader = hub.subscribe()
    hub.publish([Event("follow.changed", {"id": OWN, "title": "ü"})])
    assert parsed(await reader.read()) == [
        ("e-2", "follow.changed", {"id": show_id(OWN), "title": "ü"})
    ]


async def test_a_reader_waits_for_the_next_event() -> None:
    hub = EventHub("e")
    reader = hub.subscribe()
    async with trio.open_nursery() as nursery:
        got: list[bytes] = []

        async def read() -> None:
            got.append(await reader.read())

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        hub.publish(numbered(2))
    assert [event_id for event_id, _, _ in parsed(got[0])] == ["e-1", "e-2"]


async def test_places_are_shown_in_seconds_or_as_a_fraction() -> None:
    hub = EventHub("e")
    reader = hub.subscribe()
    hub.publish(
        [
            Event("session.changed", {"at": 1_500, "kind": "media"}),
            Event("session.changed", {"at": 250_000, "kind": "reading"}),
        ]
    )
    media, reading = parsed(await reader.read())
    assert (media[2]["position"], media[2]["place"]) == (1.5, None)
    assert (reading[2]["position"], reading[2]["place"]) == (None, 0.25)


async def test_who_comes_back_gets_what_was_missed() -> None:
    hub = EventHub("e")
    hub.publish(numbered(5))
    reader = hub.subscribe("e-3")
    assert [event_id for event_id, _, _ in parsed(await reader.read())] == ["e-4", "e-5"]


async def test_who_missed_nothing_gets_nothing() -> None:
    hub = EventHub("e")
    hub.publish(numbered(5))
    reader = hub.subscribe(hub.last_id)
    with pytest.raises(trio.TooSlowError):
        with trio.fail_after(0):
            await reader.read()


@pytest.mark.parametrize(
    "after", ["f-3", "e-6", "e--1", "e-x", "e-", "3", "", "e-٣", "e-" + "9" * 40]
)
async def test_an_id_that_is_not_kept_gives_one_reset(after: str) -> None:
    hub = EventHub("e")
    hub.publish(numbered(5))
    reader = hub.subscribe(after)
    assert [kind for _, kind, _ in parsed(await reader.read())] == ["reset"]


async def test_an_id_older_than_what_is_kept_gives_a_reset() -> None:
    hub = EventHub("e")
    hub.publish(numbered(EVENTS_REPLAY_MAX + 2))
    assert [kind for _, kind, _ in parsed(await hub.subscribe("e-1").read())] == ["reset"]
    assert len(parsed(await hub.subscribe("e-2").read())) == EVENTS_REPLAY_MAX


async def test_a_reader_that_does_not_read_is_bounded_and_reset() -> None:
    hub = EventHub("e")
    slow, quick = hub.subscribe(), hub.subscribe()
    for start in range(1, EVENTS_UNREAD_MAX + 2, 1_000):
        hub.publish(numbered(1_000, start))
        await quick.read()
    hub.publish(numbered(1))
    events = parsed(await slow.read())
    assert events[0][1] == "reset"
    assert len(events) < EVENTS_UNREAD_MAX
    assert events[-1][0] == hub.last_id
    assert [kind for _, kind, _ in parsed(await quick.read())] == ["x"]


async def test_a_closed_reader_is_forgotten() -> None:
    hub = EventHub("e")
    reader = hub.subscribe()
    reader.close()
    hub.publish(numbered(1))
    assert reader._unread == EventReader(hub)._unread


async def test_the_stream_begins_with_an_id_to_come_back_to(served: Any, client: Any) -> None:
    await client.send_head("GET", "/v1/events", 0)
    head = await client.head()
    assert (b"content-type", b"text/event-stream") in list(head.headers)
    first = bytes((await client.event()).data).decode()
    assert first == f"id: {served.fake.events.last_id}\nretry: 1000\n\n"
    served.fake.events.publish(numbered(1))
    assert b"event: x" in bytes((await client.event()).data)


async def test_the_stream_goes_on_after_the_last_id_of_the_client(served: Any, client: Any) -> None:
    before = served.fake.events.last_id
    served.fake.events.publish(numbered(3))
    await client.send_head("GET", "/v1/events", 0, last_event_id=before)
    await client.head()
    data = b""
    while data.count(b"event: x") < 3:
        data += bytes((await client.event()).data)
    assert b"reset" not in data


async def test_a_client_that_leaves_is_no_reader_any_more(served: Any, client: Any) -> None:
    await client.send_head("GET", "/v1/events", 0)
    await client.head()
    assert len(served.fake.events._readers) == 1
    await client.stream.aclose()
    with trio.fail_after(5):
        while served.fake.events._readers:
            await trio.lowlevel.checkpoint()


async def test_a_quiet_stream_says_that_it_is_there(
    autojump_clock: trio.testing.MockClock,
) -> None:
    (route,) = event_routes(FakeOwner().owner())

    class Asked:
        def __init__(self) -> None:
            self.query: dict[str, str] = {}

        def header(self, _name: bytes) -> None:
            return None

    answer: Any = await route.handler(Asked())  # type: ignore[arg-type]
    assert b"retry" in await anext(answer.parts)
    begun = trio.current_time()
    assert await anext(answer.parts) == b":\n\n"
    assert trio.current_time() - begun == pytest.approx(COMMENT_SECONDS)
    await answer.parts.aclose()
