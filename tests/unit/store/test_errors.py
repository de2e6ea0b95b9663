"""What SQLite and the system report, as a person is told it."""

from __future__ import annotations

import errno
from pathlib import Path

import apsw
import pytest

from presenced.errors import StoreCorrupt, StoreError, StoreFull
from presenced.store.connection import errors_named

PATH = Path("/home/somebody/presenced.db")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (apsw.SQLITE_CORRUPT, StoreCorrupt),
        (apsw.SQLITE_NOTADB, StoreCorrupt),
        (apsw.SQLITE_IOERR_DATA, StoreCorrupt),
        (apsw.SQLITE_IOERR_CORRUPTFS, StoreCorrupt),
        (apsw.SQLITE_FULL, StoreFull),
        (apsw.SQLITE_IOERR_WRITE, StoreFull),
        (apsw.SQLITE_IOERR_FSYNC, StoreError),
        (apsw.SQLITE_IOERR_READ, StoreError),
        (apsw.SQLITE_CANTOPEN, StoreError),
        (apsw.SQLITE_READONLY, StoreError),
        (apsw.SQLITE_PERM, StoreError),
        (apsw.SQLITE_BUSY, StoreError),
        (apsw.SQLITE_NOMEM, StoreError),
    ],
)
def test_what_the_machine_does_wrong_names_the_file_and_the_way_out(
    code: int, told: type[StoreError]
) -> None:
    with pytest.raises(StoreError) as caught, errors_named(PATH):
        raise apsw.exception_for(code)
    assert type(caught.value) is told
    assert str(PATH) in caught.value.detail
    assert caught.value.hint


@pytest.mark.parametrize("code", [apsw.SQLITE_CONSTRAINT, apsw.SQLITE_ERROR, apsw.SQLITE_MISUSE])
def test_what_only_a_bug_can_cause_stays_a_bug(code: int) -> None:
    with pytest.raises(apsw.Error), errors_named(PATH):
        raise apsw.exception_for(code)


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EACCES, StoreError),
        (errno.EROFS, StoreError),
    ],
)
def test_the_systems_errors_are_told_too(number: int, told: type[StoreError]) -> None:
    with pytest.raises(StoreError) as caught, errors_named(PATH):
        raise OSError(number, "said the system")
    assert type(caught.value) is told
    assert str(PATH) in caught.value.detail
    assert caught.value.hint
