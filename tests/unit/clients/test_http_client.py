"""Requests whose answer comes before they are all sent."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from presenced.clients.cli.http_client import Exchange, HttpError

REFUSAL = b"HTTP/1.1 409 \r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"


@pytest.mark.parametrize("said", [REFUSAL, b""])
def test_who_refuses_without_reading_on_is_heard_all_the_same(said: bytes) -> None:
    near, far = socket.socketpair()
    with near, far:
        exchange = Exchange(near)

        def body() -> Iterator[bytes]:
            assert far.recv(65_536).startswith(b"POST /v1/import")
            far.sendall(said)
            far.close()
            yield b"a line\n"

        if said:
            assert exchange.request("POST", "/v1/import", body()) == 409
            assert b"".join(exchange.parts()) == b"{}"
        else:
            with pytest.raises((ConnectionError, HttpError)):
                exchange.request("POST", "/v1/import", body())
