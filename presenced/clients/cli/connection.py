"""The owner API over its Unix socket: one kept-alive connection, JSON both ways, streams as lines.

Rules of this file: everything that can go wrong is a `Failure` with its exit code; the daemon at
the other end must be this user's (or root's), whatever the path says.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from presenced.clients.cli.failure import Exit, Failure, failure_of
from presenced.clients.cli.http_client import Body, Exchange, HttpError, open_http
from presenced.errors import HostError

PAGE_ROWS: Final = 1_000
_START_HINT: Final = (
    "Start it with `presence service install` (at every login) or `presenced run` (now, here)."
)


class Connection:
    """Requests to one daemon."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._http: Exchange | None = None

    def get(self, path: str, **query: str | int | None) -> Any:
        """The JSON of a GET. Query values of None are left out."""
        asked = {key: value for key, value in query.items() if value is not None}
        return self._request("GET", f"{path}?{urlencode(asked)}" if asked else path)

    def post(self, path: str, body: object = None) -> Any:
        return self._request("POST", path, body)

    def put(self, path: str, body: object) -> Any:
        return self._request("PUT", path, body)

    def delete(self, path: str) -> Any:
        return self._request("DELETE", path)

    def edit(self, *edits: dict[str, object]) -> list[dict[str, Any]]:
        """Edits, all or nothing; one result each. Keys with None are left out."""
        asked = [{key: value for key, value in edit.items() if value is not None} for edit in edits]
        results: list[dict[str, Any]] = self.post("/v1/edits", asked)["results"]
        return results

    def rows(self, path: str, key: str, limit: int | None, **query: str | None) -> list[Any]:
        """The rows of a list: all of them, or the first `limit`; read in pages."""
        rows: list[Any] = []
        after: str | None = None
        while limit is None or len(rows) < limit:
            size = PAGE_ROWS if limit is None else min(PAGE_ROWS, limit - len(rows))
            page = self.get(path, limit=size, after=after, **query)
            rows += page[key]
            after = page["next"]
            if after is None:
                break
        return rows

    def stream(self, path: str, body: object) -> Lines:
        """The lines of a streaming POST, on a connection of its own; each is JSON or empty.

        `body`: JSON, or an iterator of bytes that is streamed.
        """
        content: Body = body if isinstance(body, Iterator) else _json(body)
        return self._lines("POST", path, content, {})

    def events(self, after: str | None = None) -> Iterator[tuple[str, str, Any]]:
        """Id, kind and data of what happens, from now on or after an id, as long as it lasts.

        The first item has the kind `open` and tells the id from which it begins.
        """
        headers = {} if after is None else {"last-event-id": after}
        event_id, kind, data = after or "", "open", "{}"
        with closing(self._lines("GET", "/v1/events", b"", headers)) as lines:
            for raw in lines:
                line = raw.decode("utf-8")
                name, _, value = line.partition(": ")
                if name == "id":
                    event_id = value
                elif name == "event":
                    kind = value
                elif name == "data":
                    data = value
                elif not line and kind:
                    yield event_id, kind, json.loads(data)
                    kind, data = "", "{}"

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    # --- one exchange ---

    def _request(self, method: str, path: str, body: object = None) -> Any:
        content = b"" if body is None else _json(body)
        try:
            if self._http is None:
                self._http = open_http(self.path)
            status = self._http.request(method, path, content)
            raw = b"".join(self._http.parts())
        except (OSError, HttpError, HostError) as error:
            self.close()
            raise _broken(error, self.path) from error
        if status >= 300:
            raise failure_of(_problem(raw, status))
        return json.loads(raw) if raw else None

    def _lines(self, method: str, path: str, content: Body, headers: dict[str, str]) -> Lines:
        exchange: Exchange | None = None
        try:
            exchange = open_http(self.path)
            status = exchange.request(method, path, content, headers)
            if status < 300:
                exchange.wait_at_most(None)
                return Lines(exchange, self.path)
            raw = b"".join(exchange.parts())
        except (OSError, HttpError, HostError) as error:
            if exchange is not None:
                exchange.close()
            raise _broken(error, self.path) from error
        exchange.close()
        raise failure_of(_problem(raw, status))


class Lines(Iterator[bytes]):
    """The lines of an answer as they arrive. Close it (`closing`) to leave early."""

    def __init__(self, exchange: Exchange, path: Path) -> None:
        self._exchange = exchange
        self._path = path
        self._parts = exchange.parts()
        self._here: deque[bytes] = deque()
        self._rest = b""

    def __next__(self) -> bytes:
        try:
            while not self._here:
                *lines, self._rest = (self._rest + next(self._parts)).split(b"\n")
                self._here.extend(lines)
        except (OSError, HttpError) as error:
            raise _broken(error, self._path) from error
        return self._here.popleft()

    def come_before(self, other: int) -> bool:
        """Wait for more lines or for bytes of a file descriptor; whether lines came."""
        return bool(self._here) or self._exchange.answers_before(other)

    def close(self) -> None:
        self._exchange.close()


def _json(value: object) -> bytes:
    return json.dumps(value).encode("ascii")


def path_part(text: str) -> str:
    """Text as one part of a path."""
    return quote(text, safe="")


def _problem(raw: bytes, status: int) -> dict[str, object]:
    try:
        problem = json.loads(raw)
    except ValueError:
        problem = None
    if isinstance(problem, dict):
        return problem
    return {"status": status, "code": "failed", "detail": f"the daemon answered {status}"}


def _broken(error: Exception, path: Path) -> Failure:
    match error:
        case HostError():
            return Failure(error.detail, Exit.NOT_READY, next_step=error.hint, code=error.code)
        case FileNotFoundError() | ConnectionRefusedError():
            return Failure(
                f"presenced is not running (nobody answers on {path})",
                Exit.NOT_READY,
                next_step=_START_HINT,
                code="not-running",
            )
        case PermissionError():
            return Failure(
                f"{path} is another user's",
                Exit.NOT_ALLOWED,
                next_step="Run as the user that presenced runs as.",
                code="not-allowed",
            )
        case TimeoutError():
            return Failure(
                "presenced did not answer in time",
                Exit.NO_ANSWER,
                next_step="It may still have done it; look with `presence status`.",
                code="no-answer",
            )
        case _:
            return Failure(
                "presenced ended the connection",
                Exit.FAILED,
                next_step="Look at its log: `journalctl --user -u presenced`.",
                code="disconnected",
            )
