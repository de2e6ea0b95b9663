"""How an enrolment goes, as a list that grows: whoever watches late sees it from the start.

Rules of this file: the last report is `Added` or `Failed`; nothing follows it. A code is secret
and never in a repr.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import trio

from presenced.ids import Collection, DeviceId

FailureWord: TypeAlias = Literal[
    "wrong_code", "expired", "refused", "unreachable", "version", "interrupted"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeShown:
    """This device shows the code; `addresses` (host, port) go into the QR code."""

    code: str = field(repr=False)
    addresses: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The other device, to be compared and approved."""

    name: str
    fingerprint: str
    words: Sequence[str]
    receives: Sequence[Collection]


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """Done on both sides. `device`: the new one."""

    device: DeviceId


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Over, nothing came of it on this side."""

    type: FailureWord
    detail: str = ""


PairingReport: TypeAlias = CodeShown | Candidate | Added | Failed


class PairingProgress:
    """The reports of one enrolment, in order."""

    def __init__(self) -> None:
        self._reports: list[PairingReport] = []
        self._more = trio.Event()

    @property
    def over(self) -> bool:
        return bool(self._reports) and isinstance(self._reports[-1], Added | Failed)

    @property
    def reports(self) -> Sequence[PairingReport]:
        return self._reports

    def report(self, report: PairingReport) -> None:
        """Tell whoever watches. Reports after the last one are dropped."""
        if self.over:
            return
        self._reports.append(report)
        self._more.set()
        self._more = trio.Event()

    async def watch(self) -> AsyncGenerator[PairingReport, None]:
        """All reports from the first, until the last. Close it (`aclosing`) to stop early."""
        seen = 0
        while True:
            while seen < len(self._reports):
                yield self._reports[seen]
                seen += 1
            if self.over:
                return
            await self._more.wait()
