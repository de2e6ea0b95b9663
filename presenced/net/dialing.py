"""Whom to dial, and when. Sans-IO: time and randomness are passed in.

Theory of operation. A target is an address with what is known of it: who is there (a device, or
nobody knows yet), where it comes from, how often it failed. A device is wanted unless it is
linked. Every input records what happened; `due` says which dials begin now, `next_wakeup` when to
ask again.

Rules of this file:
1. A failure doubles the delay of its address up to `RETRY_LAST_MS`, with jitter; a lost link, a
   network change, waking and a new hint start again from the beginning, as stale delays are what
   makes people wait for minutes (ZeroTier 1958, freenet-core 2968).
2. An address that nobody verified is dialled `CANDIDATE_DIALS_MAX` times a minute at most, also
   through resets, and only `CANDIDATES_MAX` of them are kept: announcements can be forged.
3. A device's addresses race: the best first, the next a little later, one success ends the race.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from presenced.clock import Entropy, Instant
from presenced.ids import DeviceId
from presenced.net.limits import (
    CANDIDATE_DIALS_MAX,
    CANDIDATE_DIALS_MS,
    CANDIDATE_FORGET_MS,
    CANDIDATES_MAX,
    DEVICE_ADDRESSES_MAX,
    DIALS_AT_ONCE_MAX,
    HINT_RESET_MS,
    RACE_STAGGER_MS,
    RETRY_FIRST_MS,
    RETRY_LAST_MS,
    UNVERIFIED_DIALS_MAX,
)

Address = tuple[str, int]


class Origin(IntEnum):
    """Where an address comes from, the most trusted last."""

    FOUND = 1
    "on the LAN"
    REMEMBERED = 2
    "a device was there before"
    CONFIGURED = 3
    "the owner named it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """Dial this address now."""

    address: Address
    device: DeviceId | None
    "who should be there; None if nobody knows"


@dataclass(slots=True, kw_only=True)
class _Target:
    address: Address
    device: DeviceId | None
    origin: Origin
    due_ms: int
    seen_ms: int
    hinted_ms: int
    "when a hint last made it due"
    failures: int = 0
    verified_ms: int | None = None
    is_dialling: bool = False
    recent: deque[int] = field(default_factory=deque)

    @property
    def is_bounded(self) -> bool:
        """Nobody but the network vouches for it."""
        return self.origin is Origin.FOUND and self.verified_ms is None

    @property
    def rank(self) -> tuple[int, int]:
        """The better to try, the smaller."""
        last_good = self.verified_ms
        return (0 if last_good is not None else 1, -(last_good or 0) - self.origin)


class Dialer:
    """See the module."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._targets: dict[Address, _Target] = {}
        self._linked: set[DeviceId] = set()
        self._started_ms: dict[DeviceId, int] = {}
        "when the last dial of a device began"
        self._unverified: deque[int] = deque(maxlen=UNVERIFIED_DIALS_MAX)
        "when the last dials of unverified addresses began"

    # --- what is known ---

    def configure(self, addresses: Iterable[Address], now: Instant) -> None:
        """Addresses that the owner named."""
        for address in addresses:
            self._know(address, None, Origin.CONFIGURED, now)

    def remember(self, device: DeviceId, addresses: Iterable[Address], now: Instant) -> None:
        """Addresses where a device was before, the last good one first."""
        for rank, address in enumerate(addresses):
            target = self._know(address, device, Origin.REMEMBERED, now)
            target.due_ms = now.mono_ms + rank * RACE_STAGGER_MS

    def found(self, device: DeviceId, addresses: Iterable[Address], now: Instant) -> None:
        """An announcement says that a known device is there. It may be forged."""
        for address in addresses:
            self._know(address, device, Origin.FOUND, now)

    def forget(self, device: DeviceId) -> None:
        """A device that is not wanted any more; what the owner named stays."""
        for target in list(self._targets.values()):
            if target.device == device:
                if target.origin is Origin.CONFIGURED:
                    target.device = None
                else:
                    del self._targets[target.address]
        self._linked.discard(device)
        self._started_ms.pop(device, None)

    def addresses(self, device: DeviceId) -> tuple[Address, ...]:
        """Where a device answered, the last good one first: what to remember."""
        verified = [
            target
            for target in self._targets.values()
            if target.device == device and target.verified_ms is not None
        ]
        verified.sort(key=lambda target: target.rank)
        return tuple(target.address for target in verified[:DEVICE_ADDRESSES_MAX])

    # --- what happened ---

    def succeeded(self, address: Address, device: DeviceId, now: Instant) -> None:
        """A dial led to an authenticated link with a device."""
        target = self._know(address, device, Origin.REMEMBERED, now)
        target.device = device
        target.is_dialling = False
        target.failures = 0
        target.verified_ms = now.mono_ms
        self.linked(device)
        self._trim(device)

    def failed(self, address: Address, now: Instant) -> None:
        """A dial failed, was refused, or led to somebody else."""
        target = self._targets.get(address)
        if target is None:
            return
        target.is_dialling = False
        delay_ms = min(RETRY_FIRST_MS << min(target.failures, 16), RETRY_LAST_MS)
        target.failures += 1
        target.due_ms = now.mono_ms + self._jittered(delay_ms)

    def linked(self, device: DeviceId) -> None:
        """A link with a device is up, whoever dialled."""
        self._linked.add(device)

    def unlinked(self, device: DeviceId, now: Instant) -> None:
        """The last link with a device is down: try again soon."""
        self._linked.discard(device)
        targets = [target for target in self._targets.values() if target.device == device]
        targets.sort(key=lambda target: target.rank)
        for rank, target in enumerate(targets):
            target.failures = 0
            target.due_ms = now.mono_ms + self._jittered(RETRY_FIRST_MS) + rank * RACE_STAGGER_MS

    def reset(self, now: Instant) -> None:
        """The network changed, or the machine woke: every delay is stale."""
        for target in self._targets.values():
            target.failures = 0
            target.due_ms = now.mono_ms

    # --- what to do ---

    def due(self, now: Instant) -> list[Dial]:
        """The dials that begin now; each is answered by `succeeded` or `failed`."""
        self._expire(now)
        room = DIALS_AT_ONCE_MAX - sum(t.is_dialling for t in self._targets.values())
        dials: list[Dial] = []
        for target in sorted(self._wanted(), key=lambda target: (target.due_ms, target.rank)):
            if len(dials) >= room:
                break
            if self._when(target, now) > now.mono_ms:
                continue
            target.is_dialling = True
            if target.is_bounded:
                target.recent.append(now.mono_ms)
                self._unverified.append(now.mono_ms)
            if target.device is not None:
                self._started_ms[target.device] = now.mono_ms
            dials.append(Dial(address=target.address, device=target.device))
        return dials

    def next_wakeup(self, now: Instant) -> Instant | None:
        """When to ask `due` again; None if something has to happen first."""
        if sum(t.is_dialling for t in self._targets.values()) >= DIALS_AT_ONCE_MAX:
            return None
        times = [self._when(target, now) for target in self._wanted()]
        if not times:
            return None
        delay_ms = max(0, min(times) - now.mono_ms)
        return Instant(now.mono_ms + delay_ms, now.wall_ms + delay_ms)

    def _wanted(self) -> list[_Target]:
        return [
            target
            for target in self._targets.values()
            if not target.is_dialling and target.device not in self._linked
        ]

    def _when(self, target: _Target, now: Instant) -> int:
        """The earliest moment for a target, by all rules."""
        when = target.due_ms
        if target.is_bounded:
            while target.recent and target.recent[0] <= now.mono_ms - CANDIDATE_DIALS_MS:
                target.recent.popleft()
            if len(target.recent) >= CANDIDATE_DIALS_MAX:
                when = max(when, target.recent[0] + CANDIDATE_DIALS_MS)
            if len(self._unverified) >= UNVERIFIED_DIALS_MAX:
                when = max(when, self._unverified[0] + CANDIDATE_DIALS_MS)
        device = target.device
        if device is not None and any(
            other.is_dialling and other.device == device for other in self._targets.values()
        ):
            when = max(when, self._started_ms[device] + RACE_STAGGER_MS)
        return when

    def _know(
        self, address: Address, device: DeviceId | None, origin: Origin, now: Instant
    ) -> _Target:
        target = self._targets.get(address)
        if target is None:
            target = _Target(
                address=address,
                device=device,
                origin=origin,
                due_ms=now.mono_ms,
                seen_ms=now.mono_ms,
                hinted_ms=now.mono_ms,
            )
            self._targets[address] = target
            self._evict()
            return target
        target.seen_ms = now.mono_ms
        target.origin = max(target.origin, origin)
        if target.verified_ms is None and device is not None:
            target.device = device
        is_fresh = origin is not Origin.FOUND or now.mono_ms >= target.hinted_ms + HINT_RESET_MS
        if is_fresh and target.device not in self._linked and not target.is_dialling:
            target.hinted_ms = now.mono_ms
            target.failures = 0
            target.due_ms = min(target.due_ms, now.mono_ms)
        return target

    def _evict(self) -> None:
        bounded = [target for target in self._targets.values() if target.is_bounded]
        if len(bounded) > CANDIDATES_MAX:
            oldest = min(bounded, key=lambda target: target.seen_ms)
            del self._targets[oldest.address]

    def _trim(self, device: DeviceId) -> None:
        """Keep the last good addresses of a device only."""
        kept = set(self.addresses(device))
        for target in list(self._targets.values()):
            if (
                target.device == device
                and target.verified_ms is not None
                and target.origin is not Origin.CONFIGURED
                and target.address not in kept
            ):
                del self._targets[target.address]

    def _expire(self, now: Instant) -> None:
        for target in list(self._targets.values()):
            if (
                target.is_bounded
                and not target.is_dialling
                and target.seen_ms + CANDIDATE_FORGET_MS <= now.mono_ms
            ):
                del self._targets[target.address]

    def _jittered(self, delay_ms: int) -> int:
        """Between half the delay and all of it, so that two devices do not stay in step."""
        fraction = int.from_bytes(self._entropy(2), "big") / 0xFFFF
        return round(delay_ms * (0.5 + fraction / 2))
