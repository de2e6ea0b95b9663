"""The owner API over its Unix socket, as any program of the owner would use it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from presenced.socket_path import connect
from presenced.testing.conversation import COMMAND_SECONDS_MAX


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over the owner socket, kept alive between requests."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = connect(self._path, seconds=self.timeout)


class OwnerConnection:
    """The owner API of one daemon, over one kept-alive connection."""

    def __init__(self, path: Path, *, seconds: float = COMMAND_SECONDS_MAX) -> None:
        self._http = _UnixConnection(path, seconds)

    def request(self, method: str, target: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON document of one request."""
        content = None if body is None else json.dumps(body).encode()
        headers = {} if content is None else {"content-type": "application/json"}
        self._http.request(method, target, content, headers)
        response = self._http.getresponse()
        data = response.read()
        return response.status, json.loads(data) if data else None

    def get(self, target: str) -> Any:
        """The document of a GET that must succeed."""
        status, document = self.request("GET", target)
        assert status == 200, (target, status, document)
        return document

    def edit(self, *edits: dict[str, Any]) -> Any:
        """Edits in one request, all or nothing; on disk when it returns."""
        status, document = self.request("POST", "/v1/edits", list(edits))
        assert status == 200, (status, document)
        return document

    def import_follows(self, follows: Iterable[dict[str, Any]]) -> Any:
        """Many follows, streamed in, committed as they arrive; what the daemon said at the end."""
        lines = (json.dumps(follow).encode() + b"\n" for follow in follows)
        self._http.request("POST", "/v1/import", lines, encode_chunked=True)
        response = self._http.getresponse()
        assert response.status == 200, response.status
        done = json.loads(response.read().splitlines()[-1])
        assert done["event"] == "done", done
        return done

    def events(self) -> Iterator[tuple[str, Any]]:
        """Kind and data of each event from now on. Takes the connection for itself.

        Kind and data are empty when the daemon only says that it is still there, so that a
        reader can look at its deadline.
        """
        self._http.request("GET", "/v1/events")
        response = self._http.getresponse()
        assert response.status == 200, response.status
        return _events(response)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _events(response: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    kind, data = "", ""
    while line := response.readline():
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            data = value
        elif line.startswith(b":"):
            yield "", None
        elif not name and kind:
            yield kind, json.loads(data)
            kind, data = "", ""
