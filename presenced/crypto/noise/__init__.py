"""Noise Protocol Framework, revision 34, suite `25519_ChaChaPoly_BLAKE2b`, sans-IO.

Promises: every one-way, fundamental and deferred pattern, `psk0`–`psk4` and `fallback`
modifiers, rekey; files and objects are named as in the specification. Does not promise: other
suites, framing, reordering of transport messages.
"""

from presenced.crypto.noise.cipherstate import CipherState
from presenced.crypto.noise.errors import NoiseMisuse
from presenced.crypto.noise.handshakestate import HandshakeState
from presenced.crypto.noise.patterns import PATTERNS

__all__ = ["PATTERNS", "CipherState", "HandshakeState", "NoiseMisuse"]
