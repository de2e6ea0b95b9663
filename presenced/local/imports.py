"""`POST /v1/import`: many follows as JSON lines, streamed in; progress as JSON lines, streamed out.

Rules of this file:
1. lines are committed as they arrive, `IMPORT_CHUNK_EDITS` together: what `progress` counts is on
   disk, so an import that is cut can simply be run again (what is followed is left alone);
2. one bad line is skipped and told; it never spoils its neighbours;
3. what is counted are follows: one that is listed twice is one;
4. neither the body nor what it says is ever held as a whole, only the ids of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec
import trio

from presenced.device.edits import Edit, EditResult, Follow
from presenced.errors import InvalidValue, PresenceError
from presenced.ids import RecordId
from presenced.local import model
from presenced.local.limits import (
    IMPORT_BYTES_MAX,
    IMPORT_CHUNK_EDITS,
    IMPORT_LINE_BYTES_MAX,
    IMPORT_SKIPPED_MAX,
)
from presenced.local.owner import FollowQuery, Owner, Records
from presenced.local.problems import BodyTooLarge, map_errors
from presenced.local.routing import Request, Route, Streamed, encode

_decoder = msgspec.json.Decoder(model.ImportedFollow)


class LineTooLong(BodyTooLarge):
    code = "line-too-long"


def import_routes(owner: Owner) -> list[Route]:
    async def post(request: Request) -> Streamed:
        return Streamed(_Import(owner.records).run(request), watches=False)

    return [Route("POST", "/v1/import", post)]


class _Import:
    def __init__(self, records: Records) -> None:
        self._records = records
        self._chunk: list[tuple[int, Edit]] = []
        self._line = 0
        self._imported: set[RecordId] = set()
        self._known: set[RecordId] = set()
        self._skipped: list[model.SkippedLine] = []
        self._skipped_more = 0

    async def run(self, request: Request) -> AsyncGenerator[bytes, None]:
        try:
            self._records.follows(FollowQuery(limit=1))  # an empty list needs an identity, too
            async with aclosing(_lines(request)) as lines:
                async for line in lines:
                    self._line += 1
                    self._take(line)
                    if len(self._chunk) >= IMPORT_CHUNK_EDITS:
                        await self._commit()
                        yield _line_of(model.ImportProgress(done=self._line))
            await self._commit()
        except PresenceError as error:
            imported = len(self._imported)
            yield _line_of(model.ImportFailed(problem=map_errors(error), imported=imported))
            return
        yield _line_of(
            model.ImportDone(
                lines=self._line,
                imported=len(self._imported),
                already_followed=len(self._known - self._imported),
                skipped=self._skipped,
                skipped_more=self._skipped_more,
            )
        )

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            asked = _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._skip(self._line, str(error))
            return
        self._chunk.append(
            (
                self._line,
                Follow(
                    uri=asked.uri,
                    title=asked.title,
                    kind=asked.kind,
                    tags=tuple(asked.tags),
                    notify=asked.notify,
                    imported=True,
                ),
            )
        )

    async def _commit(self) -> None:
        chunk, self._chunk = self._chunk, []
        if chunk:
            await self._commit_all(chunk)

    async def _commit_all(self, chunk: Sequence[tuple[int, Edit]]) -> None:
        """All of a chunk; if one of it is refused, halves, until the bad ones stand alone."""
        try:
            results: Sequence[EditResult] = await self._records.edit([edit for _, edit in chunk])
        except InvalidValue as error:
            if len(chunk) == 1:
                self._skip(chunk[0][0], f"{error.code}: {error.detail}")
                return
            middle = len(chunk) // 2
            await self._commit_all(chunk[:middle])
            await self._commit_all(chunk[middle:])
            return
        for result in results:
            (self._imported if result.written else self._known).add(result.record)

    def _skip(self, line: int, reason: str) -> None:
        if len(self._skipped) < IMPORT_SKIPPED_MAX:
            self._skipped.append(model.SkippedLine(line=line, reason=reason))
        else:
            self._skipped_more += 1


async def _lines(request: Request) -> AsyncGenerator[bytes, None]:
    """Raises `BodyTooLarge`, `LineTooLong`."""
    rest = b""
    async with aclosing(request.parts(IMPORT_BYTES_MAX)) as parts:
        async for part in parts:
            *lines, rest = (rest + part).split(b"\n")
            if len(rest) > IMPORT_LINE_BYTES_MAX:
                raise LineTooLong(f"a line has more than {IMPORT_LINE_BYTES_MAX} bytes")
            for line in lines:
                yield line
            await trio.lowlevel.checkpoint()
    if rest:
        yield rest


def _line_of(answer: model.Answer) -> bytes:
    return encode(answer) + b"\n"
