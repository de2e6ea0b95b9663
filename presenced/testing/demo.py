"""`make demo`: two real daemons meet, part, disagree and agree again, on one screen.

Headings and labels are written here; every value beside them was asked of the daemons, and every
expectation that is not met ends the demo with exit code 1. A recording UDP forwarder carries all
that the two say to each other, so that the last section can look for a title in it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import quoteattr

from presenced.testing.conversation import wait_until
from presenced.testing.daemons import ScratchDaemon, pair, scratch_daemons, wait_linked
from presenced.testing.recorder import Recorder, recording

FOLLOWS: Final = (
    ("The Salt-Marsh Bulletin", "https://saltmarsh.example/bulletin.xml"),
    ("Lantern & Lathe", "https://lanternlathe.example/episodes.rss"),
    ("Night Trains Quarterly", "https://nighttrains.example/quarterly/atom.xml"),
    ("Dr. Okonkwo's Beetle Hour", "https://beetlehour.example/feed"),
    ("Marginalia of a Cartographer", "https://marginalia.example/@cartographer.rss"),
    ("Kelp Forest, Live", "https://kelpforest.example/live/feed"),
)
BULLETIN, LATHE = FOLLOWS[0][1], FOLLOWS[1][1]
ON_LAPTOP: Final = ("Copper Kettle Dispatch", "https://copperkettle.example/dispatch.xml")
ON_BOX: Final = ("Understory Sound Archive", "https://understory.example/sounds.rss")
FILM: Final = ("The Cartographer's Orchard", "https://films.example/orchard", 5_400)

WIDTH: Final = 34
"of a column"

LOG_LINES: Final = 40
"of each daemon, shown when something is not as it should be"


class Deviation(Exception):
    """The daemons did not do what the demo is about to show."""


class Screen:
    """Headed sections with two columns, one per device."""

    def __init__(self) -> None:
        self._bold = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._begun = time.monotonic()
        self._section = 0

    def section(self, title: str) -> None:
        self._section += 1
        seconds = time.monotonic() - self._begun
        text = f"{self._section}  {title}"
        padding = " " * max(1, 2 * WIDTH + 10 - len(text))
        heading = f"\033[1m{text}\033[0m" if self._bold else text
        print(f"\n{heading}{padding}{seconds:5.1f} s", flush=True)

    def typed(self, daemon: ScratchDaemon, arguments: Sequence[str]) -> None:
        shown = " ".join(f'"{one}"' if " " in one else one for one in arguments)
        print(f"   {daemon.home.name}$ presence {shown}", flush=True)

    def pair(self, label: str, left: object, right: object) -> None:
        """One value of each device."""
        columns = f"{_cut(label, 15):<16}{_cut(left, WIDTH):<{WIDTH + 2}}{_cut(right, WIDTH)}"
        print(f"   {columns}".rstrip())

    def plain(self, line: str) -> None:
        """A line that a command printed."""
        print(f"   {line}", flush=True)

    def told(self, label: str, value: object) -> None:
        print(f"   {_cut(label, 15):<16}{value}".rstrip(), flush=True)


def main() -> int:
    """Run the demo. 0 if everything was as it should be."""
    screen = Screen()
    try:
        with ExitStack() as stack:
            laptop, box = stack.enter_context(scratch_daemons("laptop", "box"))
            stack.enter_context(_telling_why((laptop, box)))
            demo = _Demo(screen, laptop, box, stack)
            demo.run()
            screen.told("checked", f"{demo.held} things on the way, all as they should be")
    except (Deviation, AssertionError):
        return 1
    return 0


@contextmanager
def _telling_why(daemons: Sequence[ScratchDaemon]) -> Iterator[None]:
    """Say what was not as it should be, and what the daemons logged last."""
    try:
        yield
    except (Deviation, AssertionError) as error:
        print(f"\nnot as it should be: {error}", file=sys.stderr)
        for daemon in daemons:
            last = "\n".join(daemon.log.splitlines()[-LOG_LINES:])
            print(f"\nlog of {daemon.home.name}:\n{last}", file=sys.stderr)
        raise


class _Demo:
    def __init__(
        self, screen: Screen, laptop: ScratchDaemon, box: ScratchDaemon, stack: ExitStack
    ) -> None:
        self._screen = screen
        self._laptop = laptop
        self._box = box
        self._stack = stack
        self._both = (laptop, box)
        self.held = 0
        "expectations that were met"

    def run(self) -> None:
        recorder = self._start()
        self._pair(recorder)
        self._import()
        film = self._watch_together()
        self._part()
        self._disagree(film)
        self._reunite(film)
        self._search(recorder)

    # --- the sections, in order ---

    def _start(self) -> Recorder:
        self._screen.section("Two daemons, two homes, a recorder on the wire between them")
        laptop = self._laptop.start()
        recorder = self._stack.enter_context(recording(("127.0.0.1", laptop.port)))
        self._box.peers = [recorder.address]
        self._box.start()
        self._screen.pair("", "laptop", "box")
        self._screen.pair("listens on", *(f"UDP port {one.port}" for one in self._both))
        self._screen.told("recorder", f"box dials {recorder.address}, which passes on to laptop")
        return recorder

    def _pair(self, recorder: Recorder) -> None:
        self._screen.section("Paired once, by a code that can be said aloud")
        made = self._do(self._laptop, "init", "--name", "laptop")
        self._screen.told("identity", made["identity"])
        self._screen.told("phrase", f"{len(made['phrase'].split())} words, to be written down")
        paired = pair(self._laptop, self._box, via=recorder.address)
        self._screen.told("code", paired.code)
        here, there = paired.shown_to_old, paired.shown_to_new
        self._screen.pair("", "laptop shows", "box shows")
        self._screen.pair("other device", here["name"], there["name"])
        self._screen.pair("words", here["words"], there["words"])
        self._expect(here["words"] == there["words"], "both screens show the same words")
        wait_linked(*self._both)
        evidence = self._ask(self._laptop, "devices", "show", paired.device)["evidence"]
        basis = sorted({claim["basis"] for claim in evidence["claims"] if claim["basis"]})
        self._screen.told("evidence", f"{evidence['status']} ({', '.join(basis)})")

    def _import(self) -> None:
        self._screen.section("A list of subscriptions, imported on the laptop")
        file = self._laptop.home.with_name("subscriptions.opml")
        file.write_text(_opml(), encoding="utf-8")
        self._do(self._laptop, "import", str(file), shown=("import", file.name))
        self._converge()
        listed = [self._follows(one) for one in self._both]
        self._screen.pair("", "laptop follows", "box follows")
        for left, right in zip(*(sorted(one.values()) for one in listed), strict=True):
            self._screen.pair("", left, right)
        wanted = {uri: title for title, uri in FOLLOWS}
        self._expect(listed == [wanted, wanted], "both follow what the file lists")

    def _watch_together(self) -> str:
        self._screen.section("A film begun on the laptop goes on on the box")
        title, uri, seconds = FILM
        self._do(
            self._laptop, "session", "start", uri, "--title", title, "--duration", str(seconds)
        )
        film: str = self._session(self._laptop)["id"]
        self._do(self._laptop, "session", "update", film, "--position", "1510")
        self._converge()
        self._screen.pair("place", *(self._place(one) for one in self._both))
        self._do(self._box, "continue", film)
        self._converge()
        box = self._ask(self._box, "status")["device"]
        sessions = [self._session(one) for one in self._both]
        self._screen.pair("held by", *(one["holder_name"] for one in sessions))
        self._expect(all(one["holder"] == box for one in sessions), "the box holds it")
        self._expect(all(one["position"] == 1510 for one in sessions), "no second was lost")
        return film

    def _part(self) -> None:
        self._screen.section("The link goes down; both are edited")
        for one in self._both:
            self._do(one, "net", "down")
        wait_until(lambda: not any(one.status()["links"] for one in self._both), "no link")
        self._screen.pair("links", *(len(one.status()["links"]) for one in self._both))

    def _disagree(self, film: str) -> None:
        laptop, box = self._laptop, self._box
        self._do(laptop, "unfollow", BULLETIN)
        self._do(laptop, "follow", LATHE, "--title", "Lantern & Lathe (tools)")
        self._do(laptop, "follow", ON_LAPTOP[1], "--title", ON_LAPTOP[0])
        self._do(laptop, "session", "restart", film)
        self._do(box, "unfollow", BULLETIN)
        self._do(box, "follow", BULLETIN)
        self._do(box, "follow", LATHE, "--title", "L & L, for the train")
        self._do(box, "follow", ON_BOX[1], "--title", ON_BOX[0])
        self._do(box, "session", "update", film, "--position", "2700")
        self._screen.pair("", "laptop has", "box has")
        self._differences()
        for one in self._both:
            self._expect(
                one.status()["pending"]["unsent"] > 0, f"{one.home.name} has edits to send"
            )

    def _reunite(self, film: str) -> None:
        self._screen.section("The link comes back: what merged, and by which rule")
        for one in self._both:
            self._do(one, "net", "up")
        wait_linked(*self._both)
        self._converge()
        self._screen.pair("", "laptop has", "box has")
        self._differences()
        self._summary(self._laptop)
        follows = [self._follows(one) for one in self._both]
        self._expect(follows[0] == follows[1], "both follow the same")
        self._expect(BULLETIN in follows[0], "following again wins over an unfollow made apart")
        self._expect(
            {ON_LAPTOP[1], ON_BOX[1]} <= follows[0].keys(), "what each found alone is on both"
        )
        sessions = [self._session(one) for one in self._both]
        self._expect(
            all(one["position"] == 0 and one["id"] == film for one in sessions),
            "the restart is not swallowed by a player that did not know of it",
        )
        digests = [one.status()["digest"] for one in self._both]
        for collection in digests[0]:
            self._screen.pair(collection, *(f"digest {one[collection][:24]}" for one in digests))
        self._expect(digests[0] == digests[1], "the digests are equal")
        self._take_back(film)

    def _take_back(self, film: str) -> None:
        """A value that lost is one command away, on either device."""
        self._screen.section("What lost is one command away")
        self._do(self._box, "resolve", film, "progress")
        self._converge()
        self._screen.pair("film", *(self._place(one) for one in self._both))
        sessions = [self._session(one) for one in self._both]
        self._expect(
            all(one["position"] == 2700 for one in sessions), "both are back where the box was"
        )

    def _search(self, recorder: Recorder) -> None:
        self._screen.section("No title, no URI in clear: on the disks, in the logs, on the wire")
        for one in self._both:
            self._expect(one.stop() == 0, f"{one.home.name} ends well")
        secrets = self._secrets()
        for one in self._both:
            files = [file for file in one.home.rglob("*") if file.is_file()] + [one.log_file]
            found = [(secret, file.name) for file in files for secret in _found(secrets, file)]
            size = sum(file.stat().st_size for file in files)
            self._screen.told(
                one.home.name, f"{size:,} bytes in {len(files)} files: {len(found)} found"
            )
            self._expect(not found, f"nothing in clear on the disk: {found}")
        carried = [secret for secret in secrets if recorder.contains(secret)]
        packets = f"{recorder.bytes_carried:,} bytes in {len(recorder.datagrams):,} packets"
        self._screen.told("wire", f"{packets}: {len(carried)} found")
        self._screen.told("looked for", f"{len(secrets)} titles and URIs")
        self._expect(not carried, f"nothing in clear on the wire: {carried}")

    # --- asking and showing ---

    def _do(
        self, daemon: ScratchDaemon, *arguments: str, shown: Sequence[str] | None = None
    ) -> Any:
        """Run a command, shown as a person would type it."""
        self._screen.typed(daemon, shown or arguments)
        return self._ask(daemon, *arguments)

    def _ask(self, daemon: ScratchDaemon, *arguments: str) -> Any:
        told = daemon.presence(*arguments)
        if told.code != 0:
            raise Deviation(f"presence {' '.join(arguments)}: {told.code} {told.stderr}")
        return told.lines[-1]

    def _expect(self, holds: bool, what: str) -> None:
        if not holds:
            raise Deviation(what)
        self.held += 1

    def _converge(self) -> None:
        def equal() -> bool:
            shown = [one.status() for one in self._both]
            return shown[0]["digest"] == shown[1]["digest"] and not any(
                any(one["pending"].values()) for one in shown
            )

        wait_until(equal, "equal digests")

    def _follows(self, daemon: ScratchDaemon) -> dict[str, str]:
        return {row["uri"]: row["title"] for row in self._ask(daemon, "follows")}

    def _session(self, daemon: ScratchDaemon) -> dict[str, Any]:
        rows = [row for row in self._ask(daemon, "session", "list") if row["uri"] == FILM[1]]
        self._expect(len(rows) == 1, "the film is one session")
        session: dict[str, Any] = rows[0]
        return session

    def _place(self, daemon: ScratchDaemon) -> str:
        session = self._session(daemon)
        return f"{_clock(session['position'])} of {_clock(session['duration'])}"

    def _differences(self) -> None:
        """What was edited apart, as each device lists it now."""
        follows = [self._follows(one) for one in self._both]
        for uri in (BULLETIN, LATHE, ON_LAPTOP[1], ON_BOX[1]):
            host = uri.split("/")[2].partition(".")[0]
            self._screen.pair(host, *(one.get(uri, "not followed") for one in follows))
        self._screen.pair("film", *(self._place(one) for one in self._both))

    def _summary(self, daemon: ScratchDaemon) -> None:
        """What a person is shown, line by line as the command prints it."""
        self._screen.told("", "")
        self._screen.typed(daemon, ["summary"])
        printed = daemon.say("summary")
        for line in printed.splitlines():
            self._screen.plain(line)
        both = self._ask(daemon, "summary")["both"]
        self._expect(
            {line["field"] for line in both} >= {"state", "title", "progress"},
            f"{daemon.home.name} names all three fields that both sides changed",
        )
        self._expect(all(line["losing"] for line in both), "every value that lost is named")

    def _secrets(self) -> list[str]:
        """What must be nowhere in clear."""
        titles = [title for title, _ in FOLLOWS] + [ON_LAPTOP[0], ON_BOX[0], FILM[0]]
        uris = [uri for _, uri in FOLLOWS] + [ON_LAPTOP[1], ON_BOX[1], FILM[1]]
        return titles + uris


def _opml() -> str:
    lines = "".join(
        f'    <outline type="rss" text={quoteattr(title)} xmlUrl={quoteattr(uri)}/>\n'
        for title, uri in FOLLOWS
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<opml version="2.0">\n'
        f"  <head><title>Subscriptions</title></head>\n  <body>\n{lines}  </body>\n</opml>\n"
    )


def _found(secrets: Sequence[str], file: Path) -> list[str]:
    data = file.read_bytes()
    return [
        secret
        for secret in secrets
        if secret.encode() in data or secret.encode("utf-16-le") in data
    ]


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _cut(value: object, width: int) -> str:
    text = str(value)
    return text if len(text) <= width else f"{text[: width - 1]}…"


if __name__ == "__main__":
    sys.exit(main())
