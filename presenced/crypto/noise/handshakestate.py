"""HandshakeState (Noise revision 34 §5.3): bytes in and out, no I/O.

Rules of this file: a call that our side got wrong (`NoiseMisuse`) changes nothing; a message that
the peer got wrong ends the handshake, and every later call says so. Keys are 32 raw bytes.
Invariants: an ephemeral key serves one handshake; `split` gives the same two objects each time,
so that no nonce restarts; after `fallback` the responder of the pattern writes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nacl.utils import random

from presenced.crypto.keys import KEY_BYTES, DhKey
from presenced.crypto.noise.cipherstate import TAG_BYTES, CipherState
from presenced.crypto.noise.errors import NoiseMisuse
from presenced.crypto.noise.patterns import pattern_of
from presenced.crypto.noise.symmetricstate import SymmetricState
from presenced.errors import LimitExceeded, Malformed, PeerError, Unauthorized
from presenced.limits import FRAME_BYTES_MAX

_E: Final = "e"
_S: Final = "s"
_PSK: Final = "psk"


class HandshakeState:
    """One side of one handshake.

    `s`, `e` are private keys, `rs`, `re` public ones. `e=None` draws a fresh ephemeral key.
    A static key that the pattern does not use is ignored; an `rs` that the peer will send itself
    is a pin: any other key ends the handshake. `psks` are in the order of the psk tokens; `None`
    keeps a place for `set_psk`. Raises `NoiseMisuse` for an unknown name or a missing key.
    """

    def __init__(
        self,
        protocol_name: str,
        *,
        initiator: bool,
        prologue: bytes = b"",
        s: bytes | None = None,
        e: bytes | None = None,
        rs: bytes | None = None,
        re: bytes | None = None,
        psks: Sequence[bytes | None] = (),
    ) -> None:
        self._pattern = pattern_of(protocol_name)
        self._initiator = initiator
        self._s = _private("s", s)
        self._e = _private("e", e)
        self._rs = _checked("rs", rs)
        self._re = _checked("re", re)
        self._psks = [_checked("psk", psk) for psk in psks]
        self._psk_at = 0
        self._place = 0
        self._failed = False
        self._pinned: bytes | None = None
        self._ciphers: tuple[CipherState, CipherState] | None = None
        self._require_keys()
        self._symmetric = SymmetricState(protocol_name.encode("ascii"))
        self._symmetric.mix_hash(prologue)
        self._mix_known()

    def __repr__(self) -> str:
        side = "initiator" if self._initiator else "responder"
        return f"HandshakeState({side}, message={self._place}, finished={self.finished})"

    @property
    def finished(self) -> bool:
        """Whether the last message has been written or read: `split` may be called."""
        return not self._failed and self._place == len(self._pattern.messages)

    @property
    def handshake_hash(self) -> bytes:
        """64 bytes over all that was said so far; after the last message the channel binding."""
        return self._symmetric.handshake_hash

    @property
    def remote_static(self) -> bytes | None:
        """The peer's static public key, given or received."""
        return self._rs

    @property
    def writes_next(self) -> bool:
        """Whether it is this side's turn to write."""
        if self._failed or self.finished:
            return False
        return (self._place % 2 == 0) == (self._initiator == self._pattern.initiator_first)

    def set_psk(self, index: int, psk: bytes) -> None:
        """Fill the place of the `index`-th psk token, e.g. once message 1 named the peer."""
        if not 0 <= index < len(self._psks) or index < self._psk_at:
            raise NoiseMisuse("there is no such psk, or it was used already")
        self._psks[index] = _checked("psk", psk)

    def write_message(self, payload: bytes = b"") -> bytes:
        """The next handshake message. `NoiseMisuse` out of turn or beyond 65,535 bytes."""
        self._require_turn(writes=True)
        payload = _copied(payload)
        tokens = self._pattern.messages[self._place]
        if self._message_bytes(tokens, len(payload)) > FRAME_BYTES_MAX:
            raise NoiseMisuse(f"a Noise message has at most {FRAME_BYTES_MAX} bytes")
        self._require_psks(tokens)
        parts = []
        try:
            for token in tokens:
                if token == _E:
                    parts.append(self._write_ephemeral())
                elif token == _S:
                    parts.append(self._symmetric.encrypt_and_hash(self._own_static().public))
                else:
                    self._mix_token(token)
            parts.append(self._symmetric.encrypt_and_hash(payload))
        except PeerError:  # the peer's key was of small order
            self._end()
            raise
        self._place += 1
        return b"".join(parts)

    def read_message(self, message: bytes) -> bytes:
        """The payload of the peer's message. Any `PeerError` has ended the handshake."""
        self._require_turn(writes=False)
        message = _copied(message)
        tokens = self._pattern.messages[self._place]
        self._require_psks(tokens)
        try:
            if len(message) > FRAME_BYTES_MAX:
                raise LimitExceeded("frame-bytes", "Noise message too long")
            at = 0
            for token in tokens:
                if token == _E:
                    at = self._read_ephemeral(message, at)
                elif token == _S:
                    at = self._read_static(message, at)
                else:
                    self._mix_token(token)
            payload = self._symmetric.decrypt_and_hash(message[at:])
        except PeerError:
            self._end()
            raise
        self._place += 1
        return payload

    def split(self) -> tuple[CipherState, CipherState]:
        """The transport ciphers: initiator→responder, responder→initiator; for both roles.

        After a one-way pattern the second refuses every use (§7.4).
        """
        if not self.finished:
            raise NoiseMisuse("the handshake is not finished")
        if self._ciphers is None:
            self._ciphers = self._symmetric.split()
            if self._pattern.one_way:
                self._ciphers[1].refuse("a one-way pattern has no way back")
        return self._ciphers

    # --- what the tokens do ---

    def _mix_known(self) -> None:
        own, peer = (self._s, self._e), (self._rs, self._re)
        initiator, responder = (own, peer) if self._initiator else (peer, own)
        for tokens, (static, ephemeral) in (
            (self._pattern.initiator_known, initiator),
            (self._pattern.responder_known, responder),
        ):
            for token in tokens:
                key = static if token == _S else ephemeral
                assert key is not None  # _require_keys
                public = key.public if isinstance(key, DhKey) else key
                self._symmetric.mix_hash(public)
                if token == _E and self._pattern.psks:
                    self._symmetric.mix_key(public)

    def _write_ephemeral(self) -> bytes:
        if self._e is None:
            self._e = DhKey(random(KEY_BYTES))
        self._mix_ephemeral(self._e.public)
        return self._e.public

    def _read_ephemeral(self, message: bytes, at: int) -> int:
        self._re = _taken(message, at, KEY_BYTES)
        self._mix_ephemeral(self._re)
        return at + KEY_BYTES

    def _mix_ephemeral(self, public: bytes) -> None:
        self._symmetric.mix_hash(public)
        if self._pattern.psks:
            self._symmetric.mix_key(public)  # §9.2: randomizes the key when a psk is used

    def _read_static(self, message: bytes, at: int) -> int:
        size = KEY_BYTES + (TAG_BYTES if self._symmetric.cipher.has_key else 0)
        self._rs = self._symmetric.decrypt_and_hash(_taken(message, at, size))
        if self._pinned is not None and self._rs != self._pinned:
            raise Unauthorized("the peer has another static key than expected")
        return at + size

    def _mix_token(self, token: str) -> None:
        if token == _PSK:
            psk = self._psks[self._psk_at]
            assert psk is not None  # _require_psks
            self._psk_at += 1
            self._symmetric.mix_key_and_hash(psk)
            return
        own, peer = (0, 1) if self._initiator else (1, 0)
        key = self._own_static() if token[own] == _S else self._e
        public = self._rs if token[peer] == _S else self._re
        assert key is not None  # the pattern sends or knows a key before it uses it
        assert public is not None
        self._symmetric.mix_key(key.exchange(public))

    # --- validity ---

    def _require_keys(self) -> None:
        pattern, own = self._pattern, self._initiator
        if pattern.uses_static(initiator=own) and self._s is None:
            raise NoiseMisuse("this pattern needs a static key s")
        own_known, peer_known = (
            (pattern.initiator_known, pattern.responder_known)
            if own
            else (pattern.responder_known, pattern.initiator_known)
        )
        if _S in peer_known and self._rs is None:
            raise NoiseMisuse("this pattern needs the peer's static key rs")
        if _E in peer_known and self._re is None:
            raise NoiseMisuse("this pattern needs the peer's ephemeral key re")
        if _E in own_known and self._e is None:
            raise NoiseMisuse("this pattern needs the ephemeral key e that the peer was shown")
        if _E not in peer_known and self._re is not None:
            raise NoiseMisuse("the peer sends its ephemeral key itself: re is not given")
        if len(self._psks) != pattern.psks:
            raise NoiseMisuse(f"this pattern takes {pattern.psks} psks")
        if self._rs is not None and _S not in peer_known:
            if not pattern.uses_static(initiator=not own):
                raise NoiseMisuse("the peer has no static key in this pattern: rs is not used")
            self._pinned, self._rs = self._rs, None

    def _require_turn(self, *, writes: bool) -> None:
        if self._failed:
            raise NoiseMisuse("the handshake has failed")
        if self.finished:
            raise NoiseMisuse("the handshake is finished")
        if writes != self.writes_next:
            raise NoiseMisuse("it is the peer's turn" if writes else "it is this side's turn")

    def _require_psks(self, tokens: tuple[str, ...]) -> None:
        wanted = self._psks[self._psk_at : self._psk_at + tokens.count(_PSK)]
        if None in wanted:
            raise NoiseMisuse("the psk of this message is not set")

    def _message_bytes(self, tokens: tuple[str, ...], payload_bytes: int) -> int:
        keyed, size = self._symmetric.cipher.has_key, payload_bytes
        for token in tokens:
            if token in (_E, _S):
                size += KEY_BYTES
                if token == _S and keyed:
                    size += TAG_BYTES
                keyed = keyed or (token == _E and bool(self._pattern.psks))
            else:
                keyed = True
        return size + (TAG_BYTES if keyed else 0)

    def _own_static(self) -> DhKey:
        assert self._s is not None  # _require_keys
        return self._s

    def _end(self) -> None:
        self._failed = True
        self._s = self._e = None
        self._psks = []
        self._symmetric.cipher.refuse("the handshake has failed")


def _taken(message: bytes, at: int, size: int) -> bytes:
    if len(message) < at + size:
        raise Malformed("handshake message is too short", offset=len(message))
    return message[at : at + size]


def _copied(data: bytes) -> bytes:
    """Bytes of our own, whatever buffer was given; what is none raises before any state changes."""
    return bytes(memoryview(data))


def _private(name: str, key: bytes | None) -> DhKey | None:
    checked = _checked(name, key)
    return None if checked is None else DhKey(checked)


def _checked(name: str, key: bytes | None) -> bytes | None:
    if key is not None and len(key) != KEY_BYTES:
        raise NoiseMisuse(f"{name} has 32 bytes")
    return None if key is None else bytes(key)
