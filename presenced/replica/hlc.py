"""Hybrid logical clock: 48 bits of milliseconds, 16 bits of counter, in one integer.

HLCs order display, `first`, `latest` and step 2 of progress; never security (DESIGN §6).
Source: Kulkarni et al., "Logical Physical Clocks", 2014.
"""

from __future__ import annotations

from typing import Final, NewType

from presenced.limits import CLOCK_AHEAD_CLAMP_MS

Hlc = NewType("Hlc", int)

_COUNTER_BITS: Final = 16
_COUNTER_MASK: Final = (1 << _COUNTER_BITS) - 1
HLC_MAX: Final = (1 << 64) - 1


def make_hlc(ms: int, counter: int = 0) -> Hlc:
    """The HLC of a time in milliseconds since 1970 and a counter below 65,536."""
    return Hlc((ms << _COUNTER_BITS) | counter)


def hlc_ms(hlc: Hlc) -> int:
    return hlc >> _COUNTER_BITS


def hlc_counter(hlc: Hlc) -> int:
    return hlc & _COUNTER_MASK


class HybridClock:
    """One device's HLC. Strictly increasing, whatever its wall clock does.

    With `max_seen` from the store after a restart it never repeats a stamp.
    """

    def __init__(self, max_seen: Hlc = Hlc(0)) -> None:
        self._last: int = max_seen

    @property
    def last(self) -> Hlc:
        return Hlc(self._last)

    def tick(self, wall_ms: int) -> Hlc:
        """A new stamp, above every earlier one."""
        self._last = max(self._last + 1, min(max(wall_ms, 0) << _COUNTER_BITS, HLC_MAX))
        return Hlc(self._last)

    def observe(self, remote: Hlc, wall_ms: int) -> int:
        """Move past a remote stamp, but no further ahead of our wall clock than the clamp.

        Returns how far, in milliseconds, the remote clock is ahead of ours (0 if it is not).
        """
        ahead_ms = max(0, (remote >> _COUNTER_BITS) - wall_ms)
        clamp = max(wall_ms + CLOCK_AHEAD_CLAMP_MS, 0) << _COUNTER_BITS
        self._last = max(self._last, min(remote, clamp))
        return ahead_ms
