"""What can go wrong between this machine and the network."""

from __future__ import annotations

from presenced.errors import HostError


class DialFailed(HostError):
    """Nobody answered, or the network is down. `detail` says which."""

    code = "unreachable"
    hint = "Check that the other device is on, and on the same network or reachable from here."


class DialRefused(DialFailed):
    """Nobody listens there, or there is no such place: this machine or the network said so."""


class CannotListen(HostError):
    """The UDP port or address cannot be had."""

    code = "cannot-listen"
    hint = "Choose another address with --listen HOST:PORT."


class PortInUse(CannotListen):
    """Another program has the UDP port."""

    code = "port-in-use"
    hint = "Another presenced may be running; choose a port with --listen HOST:PORT."
