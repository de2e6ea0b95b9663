"""The operating system's keyring, with backends as people have them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import keyring
import keyring.backend
import keyring.backends.fail
import keyring.backends.null
import pytest
import trio

from presenced.host.os_keyring import SERVICE, KeyringUnavailable, OsKeyring


class Backend(keyring.backend.KeyringBackend):
    """A real keyring, as far as its mark says."""

    priority = 5

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.entries[service, username]


class ClearBackend(Backend):
    """Stores in clear, as the file backends of `keyrings.alt` do."""

    priority = 0.5


class LockedBackend(Backend):
    def get_password(self, service: str, username: str) -> str | None:
        raise RuntimeError("secret text of a foreign error")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = keyring.get_keyring()
    yield
    keyring.set_keyring(before)


async def test_a_secret_is_kept_under_our_name_found_and_removed() -> None:
    backend = Backend()
    keyring.set_keyring(backend)
    store = OsKeyring()
    await store.put("account", "secret")
    assert backend.entries == {(SERVICE, "account"): "secret"}
    assert await store.get("account") == "secret"
    await store.remove("account")
    assert await store.get("account") is None


@pytest.mark.parametrize(
    "backend", [ClearBackend, keyring.backends.fail.Keyring, keyring.backends.null.Keyring]
)
async def test_a_backend_that_does_not_protect_is_no_keyring(
    backend: type[keyring.backend.KeyringBackend],
) -> None:
    keyring.set_keyring(backend())
    with pytest.raises(KeyringUnavailable):
        await OsKeyring().put("account", "secret")


async def test_a_backend_that_fails_is_told_by_its_kind_only() -> None:
    keyring.set_keyring(LockedBackend())
    with pytest.raises(KeyringUnavailable) as refused:
        await OsKeyring().get("account")
    assert "RuntimeError" in refused.value.detail
    assert "secret" not in refused.value.detail
    assert refused.value.hint


async def test_a_machine_where_no_backend_can_be_chosen_has_no_keyring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise OSError("no session bus")

    monkeypatch.setattr(keyring, "get_keyring", fail)
    with pytest.raises(KeyringUnavailable, match="OSError"):
        await OsKeyring().get("account")


async def test_a_backend_that_never_answers_can_be_left() -> None:
    asked, answered = threading.Event(), threading.Event()

    class Silent(Backend):
        def get_password(self, service: str, username: str) -> str | None:
            asked.set()
            answered.wait(60)
            return None

    keyring.set_keyring(Silent())
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(OsKeyring().get, "account")
            await trio.to_thread.run_sync(asked.wait)
            nursery.cancel_scope.cancel()
    finally:
        answered.set()


def test_it_costs_nothing_until_it_is_asked() -> None:
    program = "import sys, presenced.host.keys; print('keyring' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert told.stdout == "False\n", told.stderr
