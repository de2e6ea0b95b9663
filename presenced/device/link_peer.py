"""One live link as the device machine sees it: statements first, then one sync per collection."""

from __future__ import annotations

from dataclasses import dataclass, field

from presenced.device.effects import LinkNumber
from presenced.device.guests import Guest
from presenced.ids import Collection, DeviceId
from presenced.replica.sync import SyncMachine
from presenced.trust.statement_sync import StatementSync


@dataclass(slots=True, kw_only=True)
class LinkPeer:
    """State of one link. `syncs` is empty until content may flow."""

    number: LinkNumber
    device: DeviceId | None
    "None while no statement here names the peer's key: it gets statements only"
    static: bytes
    inbound: bool
    statements: StatementSync
    up_at_ms: int
    "by the monotonic clock"
    guest: Guest | None = None
    "while the key is no member's"
    level: bool = False
    syncs: dict[Collection, SyncMachine] = field(default_factory=dict)
    behind: set[Collection] = field(default_factory=set)
    "collections that have not caught up since this link came up"
    early: dict[Collection, list[bytes]] = field(default_factory=dict)
    "messages that came before our own sync had begun"
    asked: dict[Collection, tuple[bytes, int]] = field(default_factory=dict)
    "our point, and what the peer held of our log, when a snapshot was asked for: once at each"
    resume_at_ms: int | None = None
    "when to ask again for what was not taken, by the monotonic clock"
    sound: dict[Collection, int] = field(default_factory=dict)
    "collections whose own log is whole here as far as the peer knows, by which frontier of it"
    asked_anew: set[Collection] = field(default_factory=set)
    "collections whose own log the peer was asked for from its beginning"
    recover_by_ms: int | None = None
    "when to give up on what the peer claims to have of our own logs, by the monotonic clock"

    def is_sound(self, collection: Collection) -> bool:
        """Whether the own log is known to have all that the peer has of it."""
        sync = self.syncs.get(collection)
        return sync is not None and self.sound.get(collection) == sync.frontiers_heard

    def is_unsound(self, collection: Collection) -> bool:
        """Whether the peer has said that it has more, or other entries, of the own log."""
        sync = self.syncs.get(collection)
        return sync is not None and sync.greeted and not self.is_sound(collection)
