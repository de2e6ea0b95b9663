"""Links as such: whose each is, and that a device has one.

Rules of this file: a link is a device's while its key is an active member's, by the newest view; it
is a guest's otherwise. Its content is what both may have. The owner hears of devices that come and
go, not of links. Whose link ended has nothing here any more, whatever is still on its way to it.

Theory of operation. Two devices may dial each other at once, or one again because it lost a link
that still seems to be up here; which link stays is decided alike on both sides.
"""

from __future__ import annotations

from collections.abc import Callable

from presenced.clock import Instant
from presenced.device.effects import CloseLink, Emit, Event, LinkNumber
from presenced.device.guests import Guest
from presenced.device.limits import CROSSED_DIALS_MS
from presenced.device.link_peer import LinkPeer
from presenced.device.membership import Membership
from presenced.device.pipeline import CommitPipeline
from presenced.errors import PeerError
from presenced.ids import Collection, DeviceId, show_id
from presenced.trust.statement_sync import StatementSync


class Links:
    """The links that are up, by number."""

    def __init__(
        self, *, membership: Membership, pipeline: CommitPipeline, ended: Callable[[], None]
    ) -> None:
        """`ended`: a link ended, by itself or for what its peer did; `all` has it no more."""
        self.all: dict[LinkNumber, LinkPeer] = {}
        self._membership = membership
        self._pipeline = pipeline
        self._ended = ended

    def forget(self, membership: Membership) -> None:
        """Nothing in memory holds: every link begins anew, under this membership."""
        self._membership = membership
        self.end_all("host-error")

    # --- what others ask ---

    @property
    def devices(self) -> frozenset[DeviceId]:
        """Devices with an authenticated link now."""
        return frozenset(peer.device for peer in self.all.values() if peer.device is not None)

    def device_on(self, number: LinkNumber) -> DeviceId | None:
        """Whose a link is; None while it is nobody's, and when it has ended."""
        peer = self.all.get(number)
        return None if peer is None else peer.device

    def in_sync(self, device: DeviceId) -> bool:
        """Whether a linked device has, and has given, everything."""
        return any(
            peer.level and not peer.behind and all(sync.in_sync for sync in peer.syncs.values())
            for peer in self.all.values()
            if peer.device == device
        )

    @property
    def next_wakeup(self) -> Instant | None:
        """When time has something to do on a link."""
        times = [
            wakeup
            for peer in self.all.values()
            for wakeup in (
                peer.resume_at_ms,
                peer.recover_by_ms,
                *(one.next_wakeup for one in peer.syncs.values()),
            )
            if wakeup is not None
        ]
        return Instant(min(times), 0) if times else None

    # --- coming ---

    def up(
        self,
        number: LinkNumber,
        device: DeviceId | None,
        static: bytes,
        now: Instant,
        *,
        inbound: bool,
    ) -> LinkPeer:
        """A link is authenticated. It is not in `all` if another one of its device stays."""
        guest = Guest(self._membership, static) if device is None else None
        sync = StatementSync(self._membership.dag) if guest is None else guest.sync()
        peer = LinkPeer(
            number=number,
            device=device,
            static=static,
            inbound=inbound,
            statements=sync,
            guest=guest,
            up_at_ms=now.mono_ms,
        )
        self.all[number] = peer
        if device is not None:
            self._came_up(device, now)
        return peer

    def _came_up(self, device: DeviceId, now: Instant) -> None:
        """One more link is a device's."""
        if sum(peer.device == device for peer in self.all.values()) > 1:
            self._one_each(device, now)
        else:
            self._pipeline.tell(Event("link.up", {"device": show_id(device)}))

    def _one_each(self, device: DeviceId, now: Instant) -> None:
        """Of links dialled from both sides at once the one dialled by the lower id stays.

        Otherwise the newest: whoever dials again has lost the link that still seems to be up here.
        """
        same = [peer for peer in self.all.values() if peer.device == device]
        own = self._membership.device

        def rank(peer: LinkPeer) -> tuple[bool, bytes, int]:
            dialler = device if peer.inbound else own
            old = now.mono_ms - peer.up_at_ms > CROSSED_DIALS_MS
            return (old, dialler, -peer.number)

        for peer in sorted(same, key=rank)[1:]:
            self._pipeline.at_once(CloseLink(peer.number, "duplicate"))
            self.all.pop(peer.number)

    def name(self, now: Instant) -> None:
        """Whose each link is, under the newest view; content for members only, and only theirs."""
        mine = set(self._membership.collections)
        for peer in list(self.all.values()):
            device = self._membership.device_with_static(peer.static)
            shared: set[Collection] = set()
            if device is not None:
                shared = mine & self._membership.members.collections(device)
            for collection in sorted(peer.syncs.keys() - shared):
                del peer.syncs[collection]
                peer.behind.discard(collection)
            if device == peer.device or peer.number not in self.all:
                continue
            before, peer.device = peer.device, device
            peer.level = False
            if before is not None:
                self._pipeline.tell(Event("link.down", {"device": show_id(before)}))
            if device is not None:
                self._came_up(device, now)
            else:
                peer.guest = Guest(self._membership, peer.static)
                peer.guest.demote(peer.statements)

    # --- going ---

    def down(self, number: LinkNumber) -> LinkPeer | None:
        """A link ended, for whatever reason; None if it had already."""
        peer = self.all.pop(number, None)
        if peer is not None:
            self._left(peer)
        return peer

    def drop(self, peer: LinkPeer, error: PeerError) -> None:
        """End a link for what its peer did."""
        self.all.pop(peer.number, None)
        self._pipeline.after(CloseLink(peer.number, error.code, error.detail))
        self._left(peer)

    def end_all(self, code: str) -> None:
        """End every link for what happened here, without waiting for a commit."""
        self._pipeline.at_once(*[CloseLink(number, code) for number in self.all])
        for device in self.devices:
            self._pipeline.at_once(Emit((Event("link.down", {"device": show_id(device)}),)))
        self.all.clear()

    def _left(self, peer: LinkPeer) -> None:
        if peer.device is not None and peer.device not in self.devices:
            self._pipeline.tell(Event("link.down", {"device": show_id(peer.device)}))
        self._ended()
