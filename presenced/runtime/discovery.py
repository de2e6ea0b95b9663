"""Finding this identity's devices on the LAN, and codes that are shown there.

A record is a hint: it is matched against the tags of known pairs and leads to a dial at most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final

import trio

from presenced.clock import Clock
from presenced.crypto import derive
from presenced.ids import DeviceId
from presenced.net.lan_find import Found, TagStrings
from presenced.runtime.home import Home
from presenced.trust.tags import hour_of, match, tag_set

if TYPE_CHECKING:
    from presenced.net.lan import Lan

CODES_MAX: Final = 16
"announced pairing numbers that are remembered; the oldest goes"

Address = tuple[str, int]


class Discovery:
    """See the module. `open_lan` is None where mDNS is switched off."""

    def __init__(
        self,
        *,
        open_lan: Callable[[], AbstractAsyncContextManager[Lan]] | None,
        home: Home,
        clock: Clock,
        hint: Callable[[Sequence[Address], DeviceId], None],
    ) -> None:
        self._open_lan = open_lan
        self._lan: Lan | None = None
        self._home = home
        self._clock = clock
        self._hint = hint
        self._number: str | None = None
        self._codes: dict[str, tuple[Address, ...]] = {}
        self._unmatched: dict[str, Found] = {}

    @property
    def problem(self) -> str:
        """Why devices are not found on the LAN; empty if they can be."""
        if self._open_lan is None:
            return "looking on the local network is switched off"
        if self._lan is not None and self._lan.state.value == "unavailable":
            return f"multicast does not work here: {self._lan.detail}"
        return ""

    def reopen(self) -> None:
        """The network changed, or the machine woke."""
        if self._lan is not None:
            self._lan.reopen()

    def announce_pairing(self, number: int | None) -> None:
        self._number = None if number is None else str(number)
        if self._lan is not None:
            self._lan.announce_pairing(self._number)

    def pairing(self, number: int) -> Sequence[Address]:
        """Where that code's number was announced."""
        return self._codes.get(str(number), ())

    def membership_changed(self) -> None:
        """Other devices to be found by, and to find."""
        if self._lan is None or not self._home.settled.is_set():
            return
        self._lan.announce(self._tags)
        for found in list(self._unmatched.values()):
            self._take(found)

    async def run(self) -> None:
        """Announce this device once it has an identity, and take announcements in."""
        if self._open_lan is None:
            return
        async with self._open_lan() as self._lan, trio.open_nursery() as nursery:
            if self._number is not None:
                self._lan.announce_pairing(self._number)
            nursery.start_soon(self._announce)
            async for found in self._lan.found:
                self._take(found)

    async def _announce(self) -> None:
        await self._home.settled.wait()
        self.membership_changed()

    def _take(self, found: Found) -> None:
        if found.pairing is not None:
            if len(self._codes) >= CODES_MAX and found.pairing not in self._codes:
                self._codes.pop(next(iter(self._codes)))
            self._codes[found.pairing] = found.addresses
        if found.tags is None:
            return
        device = None
        if self._home.settled.is_set():
            keys = self._home.peers.tag_keys()
            device = match(found.tags, keys, hour_of(self._clock.now()))
        if device is not None:
            self._unmatched.pop(found.instance, None)
            self._hint(found.addresses, device)
            return
        if len(self._unmatched) >= CODES_MAX and found.instance not in self._unmatched:
            self._unmatched.pop(next(iter(self._unmatched)))
        self._unmatched[found.instance] = found

    def _tags(self) -> TagStrings:
        secrets = self._home.driver.machine.membership.secrets
        return tag_set(
            secrets.device,
            derive.decoy_key(secrets.static.private),
            self._home.peers.tag_keys(),
            hour_of(self._clock.now()),
        )
