"""The moving parts of the daemon: trio tasks that drive the sans-IO machines with the real edges.

What it promises: effects are performed in the order the machines gave them; a commit is on disk
before anything that depends on it leaves the device; a peer's failure ends that peer's link only.
What it does not: decide anything. Decisions are in `device`, `trust`, `replica` and `presence`.
"""
