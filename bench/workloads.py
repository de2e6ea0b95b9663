"""The workloads of `make bench`: two daemons as processes of their own, used as people use them.

Each function yields its figures as it gets them. Edits go through the owner API of A, what B sees
comes from its events and its lists. Times are wall-clock seconds of this machine, so a figure holds
beside the yardsticks of the same run only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from figures import Figure
from follows import realistic_follows

from presenced.testing.conversation import TooLate, wait_until
from presenced.testing.daemons import (
    ScratchDaemon,
    pair,
    paired_daemons,
    scratch_daemons,
    wait_converged,
    wait_linked,
)
from presenced.testing.recorder import recording

BATCH = 1_000
"edits of one request"

FEW_FIELDS = 100
SECONDS_MAX = 120.0
"for any one step: a bench that hangs says where"

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


# --- doing ---


def drawn_follows(count: int, *, seed: int) -> list[dict[str, Any]]:
    return [
        {"uri": follow.uri, "title": follow.title, "kind": follow.kind}
        for follow in realistic_follows(count, seed=seed)
    ]


def follow_edits(count: int, *, seed: int) -> list[dict[str, Any]]:
    return [{"op": "follow"} | follow for follow in drawn_follows(count, seed=seed)]


def edit_in_batches(daemon: ScratchDaemon, edits: Sequence[dict[str, Any]]) -> None:
    with daemon.owner() as owner:
        remaining = iter(edits)
        while batch := list(islice(remaining, BATCH)):
            owner.edit(*batch)


def import_follows(daemon: ScratchDaemon, follows: Sequence[dict[str, Any]]) -> None:
    """One operation per follow, as the yardstick writes one key."""
    with daemon.owner() as owner:
        assert owner.import_follows(follows)["imported"] == len(follows)


def hold_links(daemon: ScratchDaemon, state: str) -> None:
    with daemon.owner() as owner:
        status, document = owner.request("PUT", "/v1/net", {"state": state})
        assert status == 200, document


def wait_follows(daemon: ScratchDaemon, count: int) -> None:
    """Until its list has `count` follows; not for timing, as asking takes time."""
    with daemon.owner() as owner:
        wait_until(
            lambda: owner.get("/v1/status")["follows"] >= count,
            f"{count} follows",
            seconds=SECONDS_MAX,
        )


def until_event(events: Iterator[tuple[str, Any]], kind: str) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    for seen, _ in events:
        if seen == kind:
            return
        if time.monotonic() > deadline:
            raise TooLate(f"no event {kind}")


def until_changed(events: Iterator[tuple[str, Any]], count: int) -> None:
    """Until events told of `count` changed follows."""
    deadline = time.monotonic() + SECONDS_MAX
    changed = 0
    for kind, data in events:
        if kind == "follow.changed":
            changed += data.get("count", 1)
        if changed >= count:
            return
        if time.monotonic() > deadline:
            raise TooLate(f"events told of {changed} follows of {count}")


def wait_unlinked(*daemons: ScratchDaemon) -> None:
    wait_until(
        lambda: not any(daemon.status()["links"] for daemon in daemons), "no link", seconds=30
    )


# --- W1: how fast one edit is on the other device ---


def w1(echo_ms: float, *, edits: int, sustained: int) -> Iterator[Figure]:
    with paired_daemons() as (laptop, box):
        latencies = live_latencies(laptop, box, follow_edits(edits, seed=11))
        cuts = quantiles(latencies, n=100)
        p50, p99 = cuts[49] * 1000, cuts[98] * 1000
        yield Figure(name="W1 edit on A to event on B, p50", value=p50, unit="ms")
        yield Figure(name="W1   of the bare echo", value=p50 / echo_ms, unit="x", target=5)
        yield Figure(name="W1 edit on A to event on B, p99", value=p99, unit="ms")
        yield Figure(name="W1   of the p50", value=p99 / p50, unit="x", target=5)
        more = follow_edits(sustained, seed=12)
        with box.owner() as listener:
            events = listener.events()
            begun = time.perf_counter()
            edit_in_batches(laptop, more)
            until_changed(events, sustained)
            rate = sustained / (time.perf_counter() - begun)
        yield Figure(
            name="W1 sustained, in batches", value=rate, unit="edits/s", target=5_000, at_least=True
        )


def live_latencies(
    laptop: ScratchDaemon, box: ScratchDaemon, edits: Sequence[dict[str, Any]]
) -> list[float]:
    """Seconds from asking A to the event of B, one edit after the other."""
    latencies = []
    with laptop.owner() as owner, box.owner() as listener:
        events = listener.events()
        for edit in edits:
            begun = time.perf_counter()
            record = owner.edit(edit)["results"][0]["id"]
            for kind, data in events:
                if kind == "follow.changed" and data["id"] == record:
                    break
            latencies.append(time.perf_counter() - begun)
    return latencies


# --- W2: catching up ---


def w2(counts: Sequence[int], websocket: dict[str, Any]) -> Iterator[Figure]:
    largest = max(counts)
    for count in counts:
        follows = drawn_follows(count, seed=1)
        seconds = catch_up_seconds(follows)
        yield Figure(
            name=f"W2 catch-up after {count:,} distinct offline edits",
            value=seconds,
            unit="s",
            target=1.5 if count == 100_000 else None,
        )
        carried = catch_up_bytes(follows)
        ratio = carried / websocket["catch_up"][str(count)]["bytes"]
        yield Figure(name=f"W2   bytes on the wire, {count:,}", value=carried, unit="B")
        yield Figure(
            name=f"W2   of what pycrdt-websocket sends, {count:,}",
            value=ratio,
            unit="x",
            target=0.3 if count == 100_000 else None,
        )
    seconds, carried = few_fields(largest)
    full = largest == 100_000
    name = f"W2 catch-up after {largest:,} edits over {FEW_FIELDS} fields"
    yield Figure(name=name, value=seconds, unit="s", target=0.2 if full else None)
    yield Figure(
        name="W2   bytes on the wire, few fields",
        value=carried,
        unit="B",
        target=50_000 if full else None,
    )
    yield Figure(
        name=f"W2 a new device gets {largest:,} records",
        value=join_seconds(drawn_follows(largest, seed=1)),
        unit="s",
        target=2.5 if full else None,
    )


def catch_up_seconds(follows: Sequence[dict[str, Any]]) -> float:
    """From the moment that links are allowed again until B lists everything."""
    with paired_daemons() as (laptop, box):
        have_met(laptop, box)
        import_follows(laptop, follows)
        return seconds_to_see(laptop, box, len(follows))


def have_met(laptop: ScratchDaemon, box: ScratchDaemon) -> None:
    """Something on both before they part: a device that has nothing is not catching up."""
    laptop.ask("follow", "https://example.org/first", "--title", "The first")
    wait_converged(laptop, box)
    hold_links(laptop, "down")
    wait_unlinked(laptop, box)


def seconds_to_see(laptop: ScratchDaemon, box: ScratchDaemon, count: int) -> float:
    """Let links come back; seconds from the new link until B told of `count` follows."""
    with box.owner() as listener:
        events = listener.events()
        hold_links(laptop, "up")
        until_event(events, "link.up")
        begun = time.perf_counter()
        until_changed(events, count)
        seconds = time.perf_counter() - begun
    wait_converged(laptop, box, seconds=SECONDS_MAX)
    return seconds


def catch_up_bytes(follows: Sequence[dict[str, Any]]) -> int:
    """UDP payload both ways, from the new link until both agree."""
    with scratch_daemons("laptop", "box") as (laptop, box):
        laptop.start()
        laptop.ask("init", "--name", "laptop")
        with recording(("127.0.0.1", laptop.port)) as recorder:
            box.peers = [recorder.address]
            box.start()
            pair(laptop, box, via=recorder.address)
            wait_linked(laptop, box)
            have_met(laptop, box)
            import_follows(laptop, follows)
            before = recorder.bytes_carried
            hold_links(laptop, "up")
            wait_follows(box, len(follows) + 1)
            wait_converged(laptop, box, seconds=SECONDS_MAX)
            return recorder.bytes_carried - before


def few_fields(count: int) -> tuple[float, int]:
    """Seconds and bytes to catch up with many edits of few fields."""
    follows = follow_edits(FEW_FIELDS, seed=3)
    changes = [
        {"op": "change_follow", "uri": follows[n % FEW_FIELDS]["uri"], "title": f"title {n}"}
        for n in range(count)
    ]
    last = {change["title"] for change in changes[-FEW_FIELDS:]}

    def shown(owner: Any) -> bool:
        rows = owner.get(f"/v1/follows?limit={FEW_FIELDS}")["follows"]
        return {row["title"] for row in rows} == last

    with scratch_daemons("laptop", "box") as (laptop, box):
        laptop.start()
        laptop.ask("init", "--name", "laptop")
        edit_in_batches(laptop, follows)
        with recording(("127.0.0.1", laptop.port)) as recorder:
            box.peers = [recorder.address]
            box.start()
            pair(laptop, box, via=recorder.address)
            wait_linked(laptop, box)
            wait_converged(laptop, box)
            hold_links(laptop, "down")
            wait_unlinked(laptop, box)
            edit_in_batches(laptop, changes)
            before = recorder.bytes_carried
            with box.owner() as listener, box.owner() as owner:
                events = listener.events()
                hold_links(laptop, "up")
                until_event(events, "link.up")
                begun = time.perf_counter()
                wait_until(lambda: shown(owner), "the last titles", seconds=SECONDS_MAX)
                seconds = time.perf_counter() - begun
            wait_converged(laptop, box, seconds=SECONDS_MAX)
            return seconds, recorder.bytes_carried - before


def join_seconds(follows: Sequence[dict[str, Any]]) -> float:
    """From `added` on the new device until it lists everything."""
    with scratch_daemons("laptop", "box") as (laptop, box):
        laptop.start()
        laptop.ask("init", "--name", "laptop")
        import_follows(laptop, follows)
        box.peers = [laptop.address]
        box.start()
        with box.owner() as owner:
            pair(laptop, box)
            begun = time.perf_counter()
            wait_until(
                lambda: owner.get("/v1/status")["follows"] >= len(follows),
                "every record on the new device",
                seconds=SECONDS_MAX,
            )
            return time.perf_counter() - begun


# --- W3: starting and coming back ---


def w3(*, rounds: int) -> Iterator[Figure]:
    ready, linked, asked = [], [], []
    with paired_daemons() as (laptop, box):
        edit_in_batches(laptop, follow_edits(BATCH, seed=5))
        wait_converged(laptop, box)
        for _ in range(rounds):
            begun = time.perf_counter()
            laptop.ask("status")
            asked.append(time.perf_counter() - begun)
        yield Figure(
            name="W3 `presence status`, exec to exit",
            value=median(asked) * 1000,
            unit="ms",
            target=150,
        )
        with laptop.owner() as listener:
            events = listener.events()
            for _ in range(rounds):
                box.stop()
                until_event(events, "link.down")
                begun = time.perf_counter()
                box.start()
                ready.append(time.perf_counter() - begun)
                until_event(events, "link.up")
                linked.append(time.perf_counter() - begun)
        yield Figure(name="W3 exec to API ready", value=median(ready) * 1000, unit="ms", target=700)
        yield Figure(
            name="W3 exec to linked, address known", value=median(linked) * 1000, unit="ms"
        )
        back = []
        with box.owner() as listener:
            events = listener.events()
            for _ in range(rounds):
                hold_links(laptop, "down")
                until_event(events, "link.down")
                wait_unlinked(laptop, box)
                begun = time.perf_counter()
                hold_links(laptop, "up")
                until_event(events, "link.up")
                back.append(time.perf_counter() - begun)
        yield Figure(
            name="W3 network back to linked", value=median(back) * 1000, unit="ms", target=300
        )
    yield from linked_by_mdns(rounds=rounds)


def linked_by_mdns(*, rounds: int) -> Iterator[Figure]:
    """Exec to linked, found on the local network. Nothing where there is no multicast."""
    seconds = []
    with scratch_daemons("laptop", "box") as (laptop, box):
        for daemon in (laptop, box):
            daemon.mdns, daemon.listen = True, "0.0.0.0:0"
        laptop.start()
        laptop.ask("init", "--name", "laptop")
        box.start()
        pair(laptop, box)
        try:
            for _ in range(rounds):
                box.stop()
                begun = time.perf_counter()
                box.start()
                wait_linked(laptop, box, seconds=15)
                seconds.append(time.perf_counter() - begun)
        except TooLate:
            return
    yield Figure(
        name="W3 exec to linked by mDNS", value=median(seconds) * 1000, unit="ms", target=2_500
    )


# --- W4: doing nothing ---


def w4(*, seconds: float) -> Iterator[Figure]:
    with paired_daemons() as (laptop, box):
        edit_in_batches(laptop, follow_edits(BATCH, seed=6))
        wait_converged(laptop, box)
        time.sleep(5)  # what an edit still has to do is not idling
        before = {
            daemon.pid: (cpu_seconds(daemon.pid), switches(daemon.pid)) for daemon in (laptop, box)
        }
        time.sleep(seconds)
        per_minute = 60 / seconds
        cpu = max(cpu_seconds(pid) - was for pid, (was, _) in before.items()) * per_minute
        often = max(switched(was, switches(pid)) for pid, (_, was) in before.items()) * per_minute
        memory = max(rss_mib(daemon.pid) for daemon in (laptop, box))
        assert laptop.status()["links"], "the link was lost while idle"
    yield Figure(name="W4 idle and linked: RSS", value=memory, unit="MiB", target=80)
    yield Figure(name="W4   CPU per minute", value=cpu, unit="s", target=0.1)
    yield Figure(name="W4   context switches per minute", value=often, unit="", target=120)


def cpu_seconds(pid: int) -> float:
    """User and system time of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def switches(pid: int) -> dict[str, int]:
    """Voluntary and other context switches of each of its threads."""
    return {
        task.name: sum(
            _status(task / "status", name)
            for name in ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
        )
        for task in Path(f"/proc/{pid}/task").iterdir()
    }


def switched(before: dict[str, int], after: dict[str, int]) -> int:
    """Between two looks; a thread that ended meanwhile is not counted, a new one wholly."""
    return sum(count - before.get(thread, 0) for thread, count in after.items())


def rss_mib(pid: int) -> float:
    return _status(Path(f"/proc/{pid}/status"), "VmRSS") / 1024


def _status(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise AssertionError(f"{path} has no {name}")


# --- W5: what it costs to keep ---


def w5(*, singles: int, bulk: int) -> Iterator[Figure]:
    with paired_daemons() as (laptop, box):
        edit_in_batches(laptop, follow_edits(BATCH, seed=7))
        wait_converged(laptop, box)
        before = checkpointed_bytes(laptop)
        laptop.start()
        wait_linked(laptop, box)
        with laptop.owner() as owner:
            for number in range(singles):
                owner.edit(edit_of_150_bytes(number))
        wait_converged(laptop, box)
        grown = (checkpointed_bytes(laptop) - before) / singles
        yield Figure(name="W5 database per single edit of 150 B", value=grown, unit="B", target=600)
    for count in (bulk // 10, bulk):
        with paired_daemons() as (laptop, box):
            before = checkpointed_bytes(laptop)
            laptop.start()
            wait_linked(laptop, box)
            import_follows(laptop, drawn_follows(count, seed=8))
            wait_follows(box, count)
            wait_converged(laptop, box, seconds=SECONDS_MAX)
            yield Figure(
                name=f"W5 RSS with {count:,} records, just received",
                value=rss_mib(box.pid),
                unit="MiB",
            )
            grown = (checkpointed_bytes(laptop) - before) / count
            if count == bulk:
                yield Figure(name="W5 database per edit in bulk", value=grown, unit="B", target=350)
            laptop.start()
            wait_linked(laptop, box)
            with laptop.owner() as owner:
                owner.get("/v1/follows?limit=100")
                yield Figure(
                    name=f"W5 RSS with {count:,} records, restarted, a page read",
                    value=rss_mib(laptop.pid),
                    unit="MiB",
                )
                owner.edit(edit_of_150_bytes(0))
                yield Figure(
                    name=f"W5 RSS with {count:,} records, document loaded",
                    value=rss_mib(laptop.pid),
                    unit="MiB",
                )


def checkpointed_bytes(daemon: ScratchDaemon) -> int:
    """Stop it, which checkpoints, and weigh every file of its database."""
    daemon.stop()
    return sum(file.stat().st_size for file in daemon.home.rglob("*.db*"))


def edit_of_150_bytes(number: int) -> dict[str, Any]:
    """A follow whose URI and title have 150 bytes that do not compress away."""
    (follow,) = realistic_follows(1, seed=1_000_000 + number)
    uri = f"https://feeds.example.org/{number:06d}/" + follow.uri.replace("/", "-")
    return {"op": "follow", "uri": uri[:90].ljust(90, "0"), "title": follow.title.ljust(60, ".")}
