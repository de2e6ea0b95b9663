"""kill -9 at random moments, under a stream of edits: what was acknowledged is never lost.

`PRESENCED_KILLS` says how often (200 is the full run), `PRESENCED_KILL_SEED` replays the choices.
"""

from __future__ import annotations

import http.client
import os
import random
import threading
import time

import pytest

from presenced.testing.daemons import ScratchDaemon, paired_daemons, wait_converged, wait_linked

KILLS = int(os.environ.get("PRESENCED_KILLS", "8"))
SEED = int(os.environ.get("PRESENCED_KILL_SEED", "0")) or random.SystemRandom().getrandbits(32)

EDIT_PAUSE_SECONDS = 0.005
"between two edits of one device, so that a long run stays at tens of thousands"

pytestmark = [pytest.mark.system, pytest.mark.timeout(300 + 10 * KILLS)]


class Editor(threading.Thread):
    """Follows one thing after the other on one device and remembers what was acknowledged."""

    def __init__(self, daemon: ScratchDaemon) -> None:
        super().__init__(name=f"editor of {daemon.home.name}")
        self._daemon = daemon
        self._finish = threading.Event()
        self.acknowledged: list[str] = []
        self.unanswered = 0

    def run(self) -> None:
        number = 0
        while not self._finish.is_set():
            try:
                with self._daemon.owner() as owner:
                    while not self._finish.wait(EDIT_PAUSE_SECONDS):
                        number += 1
                        uri = f"https://example.org/{self._daemon.home.name}/{number}"
                        owner.edit({"op": "follow", "uri": uri, "title": f"number {number}"})
                        self.acknowledged.append(uri)
            except (OSError, http.client.HTTPException):
                self.unanswered += 1
                self._finish.wait(EDIT_PAUSE_SECONDS)  # it was killed: ask again until it is back

    def finish(self) -> None:
        self._finish.set()
        self.join()


def test_nothing_acknowledged_is_lost_when_daemons_are_killed_at_random_moments() -> None:
    choices = random.Random(SEED)
    with paired_daemons() as daemons:
        editors = [Editor(daemon) for daemon in daemons]
        for editor in editors:
            editor.start()
        try:
            for _ in range(KILLS):
                time.sleep(choices.uniform(0.02, 1.0))  # the random moment
                victim = choices.choice(daemons)
                victim.kill()
                victim.start()
        finally:
            for editor in editors:
                editor.finish()
        wait_linked(*daemons, seconds=60)
        wait_converged(*daemons, seconds=120)
        for editor in editors:
            assert editor.acknowledged, f"no edit was ever acknowledged (seed {SEED})"
        acknowledged = {uri for editor in editors for uri in editor.acknowledged}
        for daemon in daemons:
            kept = {follow["uri"] for follow in daemon.ask("follows")}
            assert acknowledged <= kept, f"lost: {sorted(acknowledged - kept)[:5]} (seed {SEED})"
