"""The adapter on memory streams with a mock clock: deadlines pass at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
import trio.testing

from presenced.local.limits import HEAD_BYTES_MAX, IDLE_SECONDS_MAX, REQUEST_SECONDS_MAX
from presenced.local.server import Message, PeerCredentials, Receive, Scope, Send, serve_connection

PEER = PeerCredentials(1, 2, 3)
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"

Open = Callable[[Any], trio.StapledStream]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Opens a served connection and gives the client's end."""
    async with trio.open_nursery() as nursery:

        def open_(app: Any) -> trio.StapledStream:
            client, server = trio.testing.memory_stream_pair()
            nursery.start_soon(serve_connection, app, server, PEER)
            return client

        yield open_
        nursery.cancel_scope.cancel()


async def read_all(client: trio.StapledStream) -> bytes:
    data = b""
    while part := await client.receive_some(65_536):
        data += part
    return data


async def test_pipelined_requests_are_served_one_after_another(opened: Open) -> None:
    client = opened(echo)
    post = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n"
    await client.send_all(post + b"a" + post + b"b" + post + b"c")
    await client.send_eof()
    answers = (await read_all(client)).split(b"HTTP/1.1 200 \r\n")
    assert [answer[-1:] for answer in answers[1:]] == [b"a", b"b", b"c"]


async def test_a_request_without_body_keeps_the_connection(opened: Open) -> None:
    async def unread(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    client = opened(unread)
    await client.send_all(GET + GET)
    await client.send_eof()
    assert (await read_all(client)).count(b"HTTP/1.1 204") == 2


async def test_the_application_sees_who_asks(opened: Open) -> None:
    seen: list[Any] = []

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope["state"]["peer"], scope["path"], scope["query_string"]))
        await echo(scope, receive, send)

    client = opened(note)
    await client.send_all(b"GET /a%20b?c=d HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    await read_all(client)
    assert seen == [(PEER, "/a%20b", b"c=d")]


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n\r\n", b"GET\r\nhost: x"]
)
async def test_what_is_not_http_gets_a_400_and_is_closed(opened: Open, data: bytes) -> None:
    client = opened(echo)
    await client.send_all(data + b"\r\n\r\n")
    assert (await read_all(client)).startswith(b"HTTP/1.1 400")


async def test_a_head_beyond_the_bound_is_refused(opened: Open) -> None:
    client = opened(echo)
    await client.send_all(b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * HEAD_BYTES_MAX)
    assert (await read_all(client)).startswith(b"HTTP/1.1 431")


async def test_a_head_that_trickles_is_closed_in_time(
    opened: Open, autojump_clock: trio.testing.MockClock
) -> None:
    client = opened(echo)
    await client.send_all(b"GET / HT")
    begun = trio.current_time()
    assert await read_all(client) == b""
    assert trio.current_time() - begun == pytest.approx(REQUEST_SECONDS_MAX)


async def test_a_body_that_stops_is_closed_in_time(
    opened: Open, autojump_clock: trio.testing.MockClock
) -> None:
    client = opened(echo)
    await client.send_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc")
    begun = trio.current_time()
    assert await read_all(client) == b""
    assert trio.current_time() - begun == pytest.approx(REQUEST_SECONDS_MAX)


async def test_an_idle_connection_is_closed_in_time(
    opened: Open, autojump_clock: trio.testing.MockClock
) -> None:
    client = opened(echo)
    begun = trio.current_time()
    assert await read_all(client) == b""
    assert trio.current_time() - begun == pytest.approx(IDLE_SECONDS_MAX)


async def test_a_failing_application_gives_500_without_its_words(
    opened: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("a title")

    client = opened(broken)
    await client.send_all(GET)
    assert (await read_all(client)).startswith(b"HTTP/1.1 500")
    printed = capsys.readouterr()
    assert "ValueError" in printed.out + printed.err
    assert "a title" not in printed.out + printed.err


async def test_a_client_that_leaves_is_told_to_the_application(opened: Open) -> None:
    told: list[Message] = []
    over = trio.Event()

    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            told.append(message)
        over.set()

    client = opened(waiting)
    await client.send_all(GET)
    await trio.testing.wait_all_tasks_blocked()
    assert not over.is_set()
    await client.aclose()
    await over.wait()
    assert len(told) == 1


async def test_what_is_pipelined_behind_a_stream_is_bounded(opened: Open) -> None:
    over = trio.Event()

    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        over.set()

    client = opened(waiting)
    await client.send_all(GET)
    await client.send_all(b"x" * (HEAD_BYTES_MAX - 1))
    await trio.testing.wait_all_tasks_blocked()
    assert not over.is_set()
    await client.send_all(b"x")
    await over.wait()


async def test_a_reader_that_is_stuck_is_closed_in_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})

    client, server = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_connection, endless, server, PEER)
        await client.send_all(GET)
        await client.receive_some(100)
    assert trio.current_time() >= 60
