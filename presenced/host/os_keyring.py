"""The operating system's keyring: Secret Service, KWallet, macOS Keychain.

Rules of this file: `keyring` is imported here and only when it is asked for (it costs start-up
time and memory); every call runs in a thread, because a backend may wait for a person to unlock
it; a backend that stores in clear or not at all does not count as a keyring.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

import trio

from presenced.errors import HostError

SERVICE: Final = "presenced"

REAL_PRIORITY_MIN: Final = 1
"keyring's own mark: recommended backends have 1 and more, files in clear and null have less"

_Result = TypeVar("_Result")


class KeyringUnavailable(HostError):
    """There is no keyring, it is locked, or it does not answer."""

    code = "keyring-unavailable"
    hint = "Unlock the keyring of your desktop session and start again."


class SecretStore(Protocol):
    """Where small secrets are kept by name. Every method raises `KeyringUnavailable`."""

    async def get(self, account: str) -> str | None: ...

    async def put(self, account: str, secret: str) -> None: ...

    async def remove(self, account: str) -> None: ...


class OsKeyring:
    """The real one. The caller sets a deadline; a call that is cancelled may still take effect."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(1)

    async def get(self, account: str) -> str | None:
        return await self._run(lambda backend: backend.get_password(SERVICE, account))

    async def put(self, account: str, secret: str) -> None:
        await self._run(lambda backend: backend.set_password(SERVICE, account, secret))

    async def remove(self, account: str) -> None:
        await self._run(lambda backend: backend.delete_password(SERVICE, account))

    async def _run(self, call: Callable[[_Backend], _Result]) -> _Result:
        return await trio.to_thread.run_sync(
            _call, call, abandon_on_cancel=True, limiter=self._limiter
        )


class _Backend(Protocol):
    def get_password(self, service: str, account: str, /) -> str | None: ...

    def set_password(self, service: str, account: str, secret: str, /) -> None: ...

    def delete_password(self, service: str, account: str, /) -> None: ...


def _call(call: Callable[[_Backend], _Result]) -> _Result:
    try:
        import keyring

        backend = keyring.get_keyring()
        priority = float(backend.priority)
    except Exception as error:  # a backend is anybody's plug-in and raises what it likes
        raise KeyringUnavailable(f"no keyring: {type(error).__name__}") from error
    if priority < REAL_PRIORITY_MIN:
        raise KeyringUnavailable("this session has no keyring")
    try:
        return call(backend)
    except Exception as error:
        raise KeyringUnavailable(f"the keyring failed: {type(error).__name__}") from error
