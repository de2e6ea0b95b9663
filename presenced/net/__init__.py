"""Bytes between devices: one UDP socket, QUIC connections, discovery on the LAN.

What it promises: streams of bytes with back-pressure, both roles on one port, bounded state for
strangers; a failing peer or network ends one connection at most. What it does not: identity or
secrecy. Nothing is trusted from TLS; the link machines in `trust` run Noise inside.
"""
