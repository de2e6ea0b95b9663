"""The encrypted database: one file, one writer, one transaction per commit.

What it promises: a commit that returned is on disk (WAL, `synchronous=FULL`), all of it; the
reader answers from committed state; nothing of the file is readable without its key; a file that
does not open is left untouched. What it does not: know what any row means.
"""

from presenced.store.store import Store, open_store

__all__ = ["Store", "open_store"]
