"""The one-time key of a sealed box can be passed in, and the box stays libsodium's."""

from __future__ import annotations

import pytest

from presenced.crypto.keys import DhKey, open_sealed, seal_to
from presenced.errors import Unauthorized


def test_a_box_with_a_given_one_time_key_is_what_libsodium_opens() -> None:
    key, ephemeral = DhKey(b"\x01" * 32), DhKey(b"\x02" * 32)
    sealed = seal_to(key.public, b"an epoch key", ephemeral=ephemeral)
    assert sealed == seal_to(key.public, b"an epoch key", ephemeral=ephemeral)
    assert len(sealed) == len(seal_to(key.public, b"an epoch key"))
    assert open_sealed(key, sealed) == b"an epoch key"
    with pytest.raises(Unauthorized):
        open_sealed(ephemeral, sealed)
