"""The OpenAPI 3.1 document of the owner API, made from the Structs of `model`.

Rules of this file: every route has a row here (a test compares); nothing of it is computed before
somebody asks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import msgspec

import presenced
from presenced.local import model
from presenced.local.routing import (
    EVENT_STREAM,
    JSON,
    JSON_LINES,
    PROBLEM,
    Answered,
    Request,
    Route,
)

PATH: Final = "/v1/openapi.json"
_LIST_QUERY: Final = ("limit", "after", "state", "text")


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a route asks for and answers with."""

    about: str
    asks: Any = None
    asks_media: bytes = JSON
    answers: Any = None
    answers_media: bytes = JSON
    status: int = 200
    query: tuple[str, ...] = ()


DESCRIBED: Final[dict[tuple[str, str], Described]] = {
    ("GET", "/v1/status"): Described(about="This device.", answers=model.StatusShown),
    ("GET", "/v1/doctor"): Described(about="A self-check.", answers=model.DoctorShown),
    ("PUT", "/v1/net"): Described(
        about="Hold all links down, or let them come back.",
        asks=model.NetRequest,
        answers=model.NetShown,
    ),
    ("GET", "/v1/devices"): Described(about="All devices.", answers=model.DeviceList),
    ("GET", "/v1/devices/{reference}"): Described(
        about="One device, by the beginning of its id or name.", answers=model.DeviceShown
    ),
    ("GET", "/v1/follows"): Described(
        about="What is followed, in pages.",
        answers=model.FollowList,
        query=(*_LIST_QUERY, "kind", "tag"),
    ),
    ("GET", "/v1/follows/{reference}"): Described(
        about="One follow, by id or URI.", answers=model.FollowShown
    ),
    ("GET", "/v1/sessions"): Described(
        about="Sessions, in pages.", answers=model.SessionList, query=_LIST_QUERY
    ),
    ("GET", "/v1/sessions/{reference}"): Described(
        about="One session, by the beginning of its id, or by URI.", answers=model.SessionShown
    ),
    ("GET", "/v1/sessions/{reference}/history"): Described(
        about="What was done to a session.", answers=model.HistoryList
    ),
    ("POST", "/v1/edits"): Described(
        about="Edits, all or nothing, on disk when answered.",
        asks=list[model.Edit],
        answers=model.EditsDone,
    ),
    ("POST", "/v1/import"): Described(
        about="Many follows as JSON lines; progress as JSON lines.",
        asks=model.ImportedFollow,
        asks_media=JSON_LINES,
        answers=model.ImportProgress | model.ImportDone | model.ImportFailed,
        answers_media=JSON_LINES,
    ),
    ("GET", "/v1/events"): Described(
        about="What happens, from now on or after `Last-Event-ID`; `reset`: read lists again.",
        answers=str,
        answers_media=EVENT_STREAM,
        query=("after",),
    ),
    ("GET", "/v1/summary"): Described(
        about="What changed while devices were apart.", answers=model.SummaryShown
    ),
    ("POST", "/v1/summary/seen"): Described(about="The summary was read.", status=204),
    ("POST", "/v1/pairing"): Described(
        about="Begin an enrolment; it lives as long as this response is read.",
        asks=model.PairingBegin,
        answers=model.PairingEvent,
        answers_media=JSON_LINES,
    ),
    ("GET", "/v1/pairing"): Described(
        about="The running or last enrolment.", answers=model.PairingShown
    ),
    ("POST", "/v1/pairing/approve"): Described(about="Add the candidate.", status=204),
    ("POST", "/v1/pairing/refuse"): Described(about="Refuse the candidate.", status=204),
    ("DELETE", "/v1/pairing"): Described(about="End the enrolment.", status=204),
    ("POST", "/v1/init"): Described(
        about="Make an identity.", asks=model.InitRequest, answers=model.InitDone, status=201
    ),
    ("GET", "/v1/phrase"): Described(
        about="The recovery phrase, until it is confirmed.", answers=model.PhraseShown
    ),
    ("POST", "/v1/phrase/confirm"): Described(
        about="Two of its words: it is written down and forgotten here.",
        asks=model.PhraseConfirm,
        answers=model.PhraseShown,
    ),
    ("GET", PATH): Described(about="This document.", answers=dict[str, Any]),
}


def openapi_routes() -> list[Route]:
    async def get(_request: Request) -> Answered:
        return Answered(document())

    return [Route("GET", PATH, get)]


def document() -> dict[str, Any]:
    """The whole document as JSON-able values."""
    kinds = [kind for it in DESCRIBED.values() for kind in (it.asks, it.answers) if kind]
    schemas, components = msgspec.json.schema_components(
        [*kinds, model.Problem], ref_template="#/components/schemas/{name}"
    )
    named = {repr(kind): schema for kind, schema in zip(kinds, schemas, strict=False)}
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), it in DESCRIBED.items():
        paths.setdefault(path, {})[method.lower()] = _operation(path, it, named, schemas[-1])
    return {
        "openapi": "3.1.0",
        "info": {"title": "presenced owner API", "version": presenced.__version__},
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(
    path: str, it: Described, named: dict[str, Any], problem: dict[str, Any]
) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", path)
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}}
        for name in it.query
    ]
    answer: dict[str, Any] = {"description": it.about}
    if it.answers is not None:
        answer["content"] = _content(it.answers_media, named[repr(it.answers)])
    operation: dict[str, Any] = {
        "summary": it.about,
        "responses": {
            str(it.status): answer,
            "default": {
                "description": "A problem (RFC 9457).",
                "content": _content(PROBLEM, problem),
            },
        },
    }
    if parameters:
        operation["parameters"] = parameters
    if it.asks is not None:
        operation["requestBody"] = {
            "required": True,
            "content": _content(it.asks_media, named[repr(it.asks)]),
        }
    return operation


def _content(media: bytes, schema: dict[str, Any]) -> dict[str, Any]:
    return {media.decode("ascii"): {"schema": schema}}
