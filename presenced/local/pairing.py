"""`/v1/pairing`: one enrolment. The request that begins it streams what happens, and carries it:

if the client that began it leaves, the enrolment is cancelled, so no code outlives its screen.
Approving and refusing are requests of their own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
import trio

from presenced.errors import InvalidValue, NotFound
from presenced.ids import show_id
from presenced.local import model
from presenced.local.owner import Owner, PairingRequest
from presenced.local.progress import (
    Added,
    Candidate,
    CodeShown,
    Failed,
    PairingProgress,
    PairingReport,
)
from presenced.local.routing import Answered, Request, Route, Streamed, encode

_begin_decoder = msgspec.json.Decoder(model.PairingBegin)
_CANCEL_SECONDS = 2.0
"for the daemon to end an enrolment whose client has left"
_PORT_MAX = 65_535


class BadAddress(InvalidValue):
    code = "bad-address"
    hint = "An address is HOST:PORT, or [IPV6]:PORT."


class NoPairing(NotFound):
    code = "no-pairing"
    hint = "Begin with `presence devices add` or `presence join`."


def pairing_routes(owner: Owner) -> list[Route]:
    async def post(request: Request) -> Streamed:
        asked = await request.decode(_begin_decoder)
        progress = await owner.pairing.begin(
            PairingRequest(
                role=asked.role,
                code=asked.code,
                peers=tuple(address_of(text) for text in asked.peers),
                name=asked.name,
            )
        )
        return Streamed(_carry(owner, progress))

    async def get(_request: Request) -> Answered:
        progress = _current(owner)
        events = [event_shown(report) for report in progress.reports]
        return Answered(model.PairingShown(over=progress.over, events=events))

    async def approve(_request: Request) -> Answered:
        _current(owner)
        await owner.pairing.approve()
        return Answered(status=204)

    async def refuse(_request: Request) -> Answered:
        _current(owner)
        await owner.pairing.refuse()
        return Answered(status=204)

    async def cancel(_request: Request) -> Answered:
        _current(owner)
        await owner.pairing.cancel()
        return Answered(status=204)

    return [
        Route("POST", "/v1/pairing", post),
        Route("GET", "/v1/pairing", get),
        Route("POST", "/v1/pairing/approve", approve),
        Route("POST", "/v1/pairing/refuse", refuse),
        Route("DELETE", "/v1/pairing", cancel),
    ]


async def _carry(owner: Owner, progress: PairingProgress) -> AsyncGenerator[bytes, None]:
    try:
        yield b"\n"  # the head of the response goes out at once
        async with aclosing(progress.watch()) as reports:
            async for report in reports:
                yield encode(event_shown(report)) + b"\n"
    finally:
        if not progress.over:
            with trio.move_on_after(_CANCEL_SECONDS, shield=True):
                await owner.pairing.cancel()


def _current(owner: Owner) -> PairingProgress:
    progress = owner.pairing.current()
    if progress is None:
        raise NoPairing("nothing is being paired")
    return progress


def event_shown(report: PairingReport) -> model.PairingEvent:
    match report:
        case CodeShown():
            addresses = [address_shown(host, port) for host, port in report.addresses]
            return model.CodeEvent(code=report.code, addresses=addresses)
        case Candidate():
            return model.CandidateEvent(
                name=report.name,
                fingerprint=report.fingerprint,
                words=" ".join(report.words),
                receives=list(report.receives),
            )
        case Added():
            return model.AddedEvent(device=show_id(report.device))
        case Failed():
            return model.FailedEvent(type=report.type, detail=report.detail)


def address_of(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT` or `[IPV6]:PORT`. Raises `BadAddress`."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise BadAddress("an IPv6 address needs brackets")
    if not (colon and host and port.isascii() and port.isdigit() and len(port) <= 5):
        raise BadAddress("not an address")
    if not 0 < int(port) <= _PORT_MAX:
        raise BadAddress("no such port")
    return host, int(port)


def address_shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
