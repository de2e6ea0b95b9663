"""The error tree: whose fault a failure is decides what happens next.

- `PeerError`: the other device broke the protocol. Its link is closed and counted; nothing else.
- `CallerError`: an app or a person asked wrongly. Becomes a 4xx problem that says what to do next.
- `HostError`: disk, network, keyring. Retried with back-off or degraded, and the person is told.
- Bugs are plain `AssertionError`s: they end the task and are seen.

A peer is told a `code` only, never a detail.
"""

from __future__ import annotations


class PresenceError(Exception):
    """Root of every error that presenced raises on purpose.

    `code` is a stable kebab-case word for machines (API problems, link close frames);
    `hint` says what a person can do next, in one sentence, without any secret, title or URI.
    """

    code: str = "error"
    hint: str = ""

    def __init__(self, detail: str = "", *, hint: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if hint is not None:
            self.hint = hint


# --- the other device broke the protocol ---


class PeerError(PresenceError):
    """The other device broke the protocol: close this link, count it, never crash."""

    code = "peer-error"


class Malformed(PeerError):
    """Bytes that are not what they must be. `offset` is where, if known; nothing was kept."""

    code = "malformed"

    def __init__(self, detail: str = "", *, offset: int | None = None) -> None:
        super().__init__(detail if offset is None else f"{detail} (at byte {offset})")
        self.offset = offset


class Unauthorized(PeerError):
    """A signature, key, membership or position that does not permit what was sent."""

    code = "unauthorized"


class LimitExceeded(PeerError):
    """A named bound was passed; `limit` is its name."""

    code = "limit-exceeded"

    def __init__(self, limit: str, detail: str = "") -> None:
        super().__init__(f"{limit}: {detail}" if detail else limit)
        self.limit = limit


class VersionMismatch(PeerError):
    """No protocol version in common; `detail` names which side is older."""

    code = "version"


# --- an app or a person asked wrongly ---


class CallerError(PresenceError):
    """The request cannot be done as asked. `status` is the HTTP status of its problem."""

    code = "bad-request"
    status: int = 400


class NotFound(CallerError):
    code = "not-found"
    status = 404


class NotAllowed(CallerError):
    code = "not-allowed"
    status = 403


class Conflict(CallerError):
    code = "conflict"
    status = 409


class NotSetUp(CallerError):
    """There is no identity here yet."""

    code = "not-set-up"
    status = 409
    hint = "Run `presence init --name NAME`, or `presence join CODE` to join your other devices."


class InvalidValue(CallerError):
    """A value that the document cannot hold (lone surrogate, NaN, too deep, too large)."""

    code = "invalid-value"
    status = 422


# --- this machine ---


class HostError(PresenceError):
    """Disk, network or keyring failed. `status` is the HTTP status of its problem."""

    code = "host-error"
    status: int = 503


class StoreError(HostError):
    code = "store-error"
    status = 507


class WrongKey(StoreError):
    """The database does not open with this key; the file was not touched."""

    code = "wrong-key"


class StoreCorrupt(StoreError):
    """The database failed its integrity check; the file was not touched."""

    code = "store-corrupt"


class StoreFull(StoreError):
    code = "disk-full"
    hint = "Free some disk space; the edit was not recorded."
