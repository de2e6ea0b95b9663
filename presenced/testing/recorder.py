"""A UDP forwarder that stands between two daemons and keeps every datagram that passes.

One thread, so that blocking test code can sit beside it. To the daemon dialled, each dialler has
an address of its own, as behind a NAT.
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

DATAGRAM_BYTES_MAX: Final = 65_535
"largest UDP payload"

SOCKET_BUFFER_BYTES: Final = 4 * 1024 * 1024
"asked of the kernel, so that a burst is not lost here"


class Recorder:
    """What passed. `address` is where to dial."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._front = _udp_socket()
        self._front.bind(("127.0.0.1", 0))
        self._backs: dict[tuple[str, int], socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._front, selectors.EVENT_READ)
        self._stop, self._stopped = socket.socketpair()
        self._selector.register(self._stopped, selectors.EVENT_READ)
        self.datagrams: list[bytes] = []

    @property
    def address(self) -> str:
        host, port = self._front.getsockname()
        return f"{host}:{port}"

    @property
    def bytes_carried(self) -> int:
        """Payload bytes both ways, without UDP and IP headers."""
        return sum(map(len, self.datagrams))

    def contains(self, text: str) -> bool:
        """Whether any datagram carries this text in clear (UTF-8 or UTF-16)."""
        needles = (text.encode(), text.encode("utf-16-le"))
        return any(needle in datagram for datagram in self.datagrams for needle in needles)

    def run(self) -> None:
        """Forward until `stop`."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._stopped:
                    return
                if key.fileobj is self._front:
                    data, dialler = self._front.recvfrom(DATAGRAM_BYTES_MAX)
                    self.datagrams.append(data)
                    _send(self._back_for(dialler), data, self._target)
                else:
                    back: socket.socket = key.data[0]
                    try:
                        data = back.recv(DATAGRAM_BYTES_MAX)
                    except ConnectionRefusedError:
                        continue  # nobody listens there now: datagrams are lost, as on a network
                    self.datagrams.append(data)
                    _send(self._front, data, key.data[1])

    def stop(self) -> None:
        self._stop.send(b"\0")

    def close(self) -> None:
        self._selector.close()
        for one in (self._front, self._stop, self._stopped, *self._backs.values()):
            one.close()

    def _back_for(self, dialler: tuple[str, int]) -> socket.socket:
        if dialler not in self._backs:
            back = self._backs[dialler] = _udp_socket()
            back.bind(("127.0.0.1", 0))
            self._selector.register(back, selectors.EVENT_READ, (back, dialler))
        return self._backs[dialler]


@contextmanager
def recording(target: tuple[str, int]) -> Iterator[Recorder]:
    """A forwarder to `target` that runs within the block."""
    recorder = Recorder(target)
    thread = threading.Thread(target=recorder.run, name="udp-recorder")
    thread.start()
    try:
        yield recorder
    finally:
        recorder.stop()
        thread.join()
        recorder.close()


def _udp_socket() -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        one.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
    return one


def _send(one: socket.socket, data: bytes, address: tuple[str, int]) -> None:
    try:
        one.sendto(data, address)
    except (ConnectionRefusedError, BlockingIOError):
        return  # lost, as on a network
