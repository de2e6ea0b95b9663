"""No core dumps: a crash must not write the keys that are in memory to the disk in clear."""

from __future__ import annotations

import resource


def forbid_core_dumps() -> None:
    """For this process, and for good. systemd-coredump heeds it too (coredump.conf(5))."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
