"""Pure cryptography: Noise, keys, sealing, derivations, phrases; no I/O, no clock.

Promises: domain separation for every signature and derivation, lengths checked before libsodium
sees a byte, secrets in no `repr` and no message. Does not promise to wipe memory: Python cannot.
Randomness is passed in; the exceptions, `HandshakeState(e=None)` and `seal_to` without an
`ephemeral`, are for callers that are not machines.
"""
