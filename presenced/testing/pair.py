"""Two sans-IO machines joined by a line that keeps order, and nothing else.

`Pair` knows machines only through functions: what each sends at first, and what each answers to a
message. So any machine fits; effects that are not messages are the test's to look at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Literal

Side = Literal["left", "right"]
Receive = Callable[[bytes], Iterable[bytes]]

STEPS_MAX: Final = 10_000
"deliveries after which two machines are said not to settle"

_SHOWN_BYTES: Final = 24
_SHOWN_STEPS: Final = 40


class NotSettled(AssertionError):
    """The two machines kept sending; the message holds both traces."""


class Pair:
    """Deliver messages between two machines until both are quiet.

    `left` and `right` take a message and give the messages to send back; whatever they raise
    comes out of `drive`.
    """

    def __init__(self, left: Receive, right: Receive) -> None:
        self._receive: dict[Side, Receive] = {"left": left, "right": right}
        self._towards: dict[Side, deque[bytes]] = {"left": deque(), "right": deque()}
        self.traces: dict[Side, list[str]] = {"left": [], "right": []}
        self.delivered: dict[Side, list[bytes]] = {"left": [], "right": []}
        "the messages that each side received"

    def send(self, sender: Side, messages: Iterable[bytes]) -> None:
        """Put messages of one side on the line."""
        for message in messages:
            self.traces[sender].append(f"-> {_shown(message)}")
            self._towards[_other(sender)].append(message)

    def step(self, receiver: Side) -> bool:
        """Deliver one message, if there is one, and put the answers on the line."""
        line = self._towards[receiver]
        if not line:
            return False
        message = line.popleft()
        self.traces[receiver].append(f"<- {_shown(message)}")
        self.delivered[receiver].append(message)
        self.send(receiver, self._receive[receiver](message))
        return True

    def drive(
        self, steps_max: int = STEPS_MAX, choose: Callable[[list[Side]], Side] | None = None
    ) -> int:
        """Deliver until the line is empty; how many deliveries it took.

        `choose` picks the next receiver among those with something waiting (alternating by
        default). Raises `NotSettled` after `steps_max`.
        """
        last: Side = "left"
        for count in range(steps_max):
            ready: list[Side] = [side for side in ("left", "right") if self._towards[side]]
            if not ready:
                return count
            if choose is not None:
                last = choose(ready)
            elif _other(last) in ready:
                last = _other(last)
            self.step(last)
        if not any(self._towards.values()):
            return steps_max
        raise NotSettled(f"not settled after {steps_max} deliveries\n{self.show()}")

    def show(self) -> str:
        """The end of both traces."""
        return "\n".join(
            f"{side}:\n  " + "\n  ".join(trace[-_SHOWN_STEPS:])
            for side, trace in self.traces.items()
        )


def _other(side: Side) -> Side:
    return "right" if side == "left" else "left"


def _shown(message: bytes) -> str:
    more = "…" if len(message) > _SHOWN_BYTES else ""
    return f"{len(message)} bytes {message[:_SHOWN_BYTES].hex()}{more}"
