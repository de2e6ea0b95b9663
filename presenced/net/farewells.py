"""Farewells of ended connections, repeated to a peer that did not hear them.

A CONNECTION_CLOSE may be lost; the peer would go on for half a minute. What it sends meanwhile is
answered with the same farewell (RFC 9000 §10.2.1), a few times and for a few seconds. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Iterable

from presenced.net.limits import (
    CLOSED_REMEMBERED_MAX,
    CLOSED_REMEMBERED_SECONDS,
    FAREWELLS_MAX,
)
from presenced.net.udp import SocketAddress

Datagrams = tuple[tuple[bytes, SocketAddress], ...]


class _Farewell:
    __slots__ = ("cids", "datagrams", "forget_at", "left")

    def __init__(self, cids: tuple[bytes, ...], datagrams: Datagrams, forget_at: float) -> None:
        self.cids = cids
        self.datagrams = datagrams
        self.forget_at = forget_at
        self.left = FAREWELLS_MAX


class Farewells:
    """The last farewells, by connection id."""

    def __init__(self) -> None:
        self._order: list[_Farewell] = []
        self._by_cid: dict[bytes, _Farewell] = {}

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, cid: bytes) -> bool:
        return cid in self._by_cid

    def remember(self, cids: Iterable[bytes], datagrams: Datagrams, now: float) -> None:
        """A connection with these ids ended with these datagrams."""
        while self._order and (
            len(self._order) >= CLOSED_REMEMBERED_MAX or self._order[0].forget_at <= now
        ):
            for cid in self._order.pop(0).cids:
                self._by_cid.pop(cid, None)
        farewell = _Farewell(tuple(cids), datagrams, now + CLOSED_REMEMBERED_SECONDS)
        self._order.append(farewell)
        for cid in farewell.cids:
            self._by_cid[cid] = farewell

    def repeat(self, cid: bytes, now: float) -> Datagrams:
        """What to answer to a datagram for this id."""
        farewell = self._by_cid.get(cid)
        if farewell is None or farewell.left <= 0 or farewell.forget_at <= now:
            return ()
        farewell.left -= 1
        return farewell.datagrams
