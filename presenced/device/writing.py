"""Own edits on their way into the logs: they wait, are written together, and are answered.

Rules of this file: a request is written to every collection it touches, or to none; requests that
waited become one batch, at most `EDITS_PER_COMMIT_MAX` edits; if a document refuses a batch, each
request is tried alone, so that one refuses nobody else's. An answer follows the commit.

Theory of operation. The editor makes operations of requests; what a replica makes of these, an
entry or unsent edits, depends on whether the collection is live. The clock's last reading is on
disk with the operations that it stamped, or a restart could stamp others alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from presenced.clock import Entropy, Instant
from presenced.device.editing import Editor
from presenced.device.edits import Edit
from presenced.device.effects import Answer, RequestNumber
from presenced.device.founding import HLC
from presenced.device.limits import EDITS_PER_COMMIT_MAX
from presenced.device.pipeline import CommitPipeline
from presenced.device.shelf import Shelf
from presenced.errors import CallerError, HostError
from presenced.ids import Collection, DeviceId
from presenced.replica.document import DocumentLost
from presenced.replica.hlc import HybridClock
from presenced.replica.rows import Outcome
from presenced.replica.slot import Operation


class Writing:
    """Requests that wait for the next commit, and what running players have reached."""

    def __init__(
        self,
        *,
        device: DeviceId,
        shelf: Shelf,
        clock: HybridClock,
        entropy: Entropy,
        pipeline: CommitPipeline,
        keep: Callable[[Collection, Outcome, Instant], None],
        is_live: Callable[[Collection], bool],
        lose: Callable[[DocumentLost], list[Answer]],
    ) -> None:
        """`keep`: put an outcome into the next commit. `is_live`: whether edits become entries.

        `lose`: the documents do not hold; returns the answers that this refuses.
        """
        self._editor = Editor(
            device=device, source=shelf, tick=lambda now: clock.tick(now.wall_ms), entropy=entropy
        )
        self._shelf = shelf
        self._clock = clock
        self._pipeline = pipeline
        self._keep = keep
        self._is_live = is_live
        self._lose = lose
        self._waiting: list[tuple[RequestNumber, Sequence[Edit]]] = []

    def add(self, request: RequestNumber, edits: Sequence[Edit]) -> None:
        """Edits to carry out, all or nothing."""
        self._waiting.append((request, edits))

    def refuse(self, error: HostError) -> list[Answer]:
        """Give up what waits: every answer is `error`."""
        refused = [Answer(request, error=error) for request, _ in self._waiting]
        self._waiting.clear()
        return refused

    def forget(self) -> None:
        """Nothing in memory holds: what players were told is not on disk."""
        self._editor.forget_sittings()

    def write_waiting(self, now: Instant) -> None:
        """Put the requests that waited into the next commit, as many as fit."""
        if not self._waiting:
            return
        taken: list[tuple[RequestNumber, Sequence[Edit]]] = []
        count = 0
        while self._waiting and (not taken or count < EDITS_PER_COMMIT_MAX):
            request = self._waiting.pop(0)
            count += len(request[1])
            taken.append(request)
        try:
            if not self._write_together(taken, now):
                for request in taken:
                    self._write_together([request], now)
        except DocumentLost as error:
            refused = {one.request for one in self._lose(error)}
            self._pipeline.at_once(
                *[Answer(request, error=error) for request, _ in taken if request not in refused]
            )

    def checkpoint(self, now: Instant) -> None:
        """Write what running players have reached, before remote entries are applied."""
        batch = self._editor.batch(now)
        batch.checkpoint_all()
        self.write(batch.operations(), now)
        self._editor.keep(batch)

    def write(self, operations: Mapping[Collection, Sequence[Operation]], now: Instant) -> None:
        """Write to every collection, or to none: raises `CallerError`s before anything is done."""
        if len(operations) > 1:
            for collection, writes in operations.items():
                self._shelf.replicas[collection].check(writes)
        for collection, writes in operations.items():
            replica = self._shelf.replicas[collection]
            outcome = replica.write(writes, live=self._is_live(collection))
            self._keep(collection, outcome, now)
        if operations:
            self._pipeline.commit.meta[HLC] = self._clock.last.to_bytes(8, "big")

    def _write_together(
        self, requests: Sequence[tuple[RequestNumber, Sequence[Edit]]], now: Instant
    ) -> bool:
        """Write requests as one batch. False: the document refuses the batch, nothing was done."""
        batch = self._editor.batch(now)
        answers = []
        for request, edits in requests:
            try:
                answers.append(Answer(request, value=batch.request(edits)))
            except CallerError as error:
                answers.append(Answer(request, error=error))
        try:
            self.write(batch.operations(), now)
            self._editor.keep(batch)
        except CallerError as error:
            if len(requests) > 1:
                return False
            answers = [Answer(request, error=error) for request, _ in requests]
        self._pipeline.after(*answers)
        return True
