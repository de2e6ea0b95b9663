"""A home restored from a copy of its files, with real daemons: nothing that was synced is lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from presenced.testing.conversation import wait_until
from presenced.testing.daemons import ScratchDaemon, paired_daemons, wait_converged, wait_linked

pytestmark = pytest.mark.system

ALONE = 1_100
"follows of one import: more than a device keeps unsent, so it seals them with nobody there"


@pytest.fixture
def pair() -> Iterator[tuple[ScratchDaemon, ScratchDaemon]]:
    with paired_daemons() as (laptop, box):
        yield laptop, box


def copied(daemon: ScratchDaemon) -> Path:
    """A copy of a stopped daemon's home, as a backup makes it."""
    copy = daemon.home.with_name(f"{daemon.home.name}-backup")
    shutil.copytree(daemon.home, copy, symlinks=True)
    return copy


def put_back(daemon: ScratchDaemon, copy: Path) -> None:
    shutil.rmtree(daemon.home)
    copy.rename(daemon.home)


def titles(daemon: ScratchDaemon) -> set[str]:
    return {follow["title"] for follow in daemon.ask("follows")}


def restored(laptop: ScratchDaemon, box: ScratchDaemon) -> None:
    """The box is set back to before its last edit, which the laptop has, and runs alone."""
    laptop.ask("follow", "https://example.org/before", "--title", "Before")
    wait_converged(laptop, box)
    assert box.stop() == 0
    copy = copied(box)
    box.start()
    wait_linked(laptop, box)
    box.ask("follow", "https://example.org/lost", "--title", "Lost")
    laptop.ask("follow", "https://example.org/beside", "--title", "Beside")
    wait_converged(laptop, box)
    assert box.stop() == 0
    assert laptop.stop() == 0
    put_back(box, copy)
    box.start()
    assert titles(box) == {"Before"}


def test_a_restored_home_gets_back_what_it_lost(
    pair: tuple[ScratchDaemon, ScratchDaemon],
) -> None:
    laptop, box = pair
    restored(laptop, box)
    box.ask("follow", "https://example.org/offline", "--title", "Offline")
    laptop.start()
    box.stop()
    box.peers = [laptop.address]
    box.start()
    wait_linked(laptop, box)
    wait_converged(laptop, box)
    everything = {"Before", "Lost", "Beside", "Offline"}
    assert titles(laptop) == titles(box) == everything
    assert not laptop.status()["alerts"], "no device looks like a thief"


def test_a_restored_home_that_wrote_on_alone_begins_a_new_incarnation(
    pair: tuple[ScratchDaemon, ScratchDaemon], tmp_path: Path
) -> None:
    laptop, box = pair
    restored(laptop, box)
    outlines = "".join(
        f'<outline type="rss" text="Feed {n}" xmlUrl="https://feeds.example.org/{n}.xml"/>'
        for n in range(ALONE)
    )
    opml = tmp_path / "feeds.opml"
    opml.write_text(f'<opml version="2.0"><head/><body>{outlines}</body></opml>')
    box.ask("import", str(opml))
    laptop.start()
    box.stop()
    box.peers = [laptop.address]
    box.start()
    wait_linked(laptop, box)
    wait_until(lambda: box.status()["alerts"], "it is said", seconds=30)
    wait_converged(laptop, box, seconds=60)
    assert titles(laptop) == titles(box)
    assert titles(laptop) >= {"Before", "Lost", "Beside"}
    assert len(titles(laptop)) == ALONE + 3
    assert "restored from a backup" in " ".join(box.status()["alerts"])
    assert not laptop.status()["alerts"], "no device looks like a thief"
    box.ask("follow", "https://example.org/after", "--title", "After")
    wait_converged(laptop, box)
    assert "After" in titles(laptop)
