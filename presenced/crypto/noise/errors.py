"""What our own side can do wrong with a Noise object; a peer's faults are `PeerError`s."""

from __future__ import annotations

from presenced.errors import CallerError


class NoiseMisuse(CallerError, ValueError):
    """A missing or superfluous key, an unknown name, a wrong turn, a message too long, a used-up
    nonce, or a session that has ended. Nothing was sent, and no state changed."""

    code = "noise-misuse"
