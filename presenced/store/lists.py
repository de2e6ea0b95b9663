"""A page of a list: its SQL, and the cursor from which the next page goes on.

Rules of this file: pages follow a key (never an offset), so rows that come or go elsewhere are
neither skipped nor shown twice; every order ends with the row's number, which never changes; a
cursor is checked, and only placeholders carry what a caller gave.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from presenced.device.commit import PAGE_ROWS_MAX, FollowQuery, ListOrder, SessionQuery
from presenced.errors import CallerError, Malformed
from presenced.store.packing import FOLLOW_COLUMNS, SESSION_COLUMNS, USUAL_KIND
from presenced.wire import decode, encode

KEY_COLUMNS: Final = 2
"columns before those of the row: the sort key and the number"

_SQL_INTEGER_MAX: Final = 2**63 - 1


class BadCursor(CallerError):
    """A cursor that is not one, or one of another order."""

    code = "bad-cursor"
    hint = "Begin again without `after`."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    key: str
    by: str
    beyond: str
    "rows after (?, ?): sort key, number"
    key_type: type


_ORDERS: Final[dict[ListOrder, _Order]] = {
    "added": _Order(key="number", by="number", beyond="number > max(?, ?)", key_type=int),
    "title": _Order(
        key="lower(title)",
        by="lower(title), number",
        beyond="(lower(title), number) > (?, ?)",
        key_type=str,
    ),
    "updated": _Order(
        key="updated_ms",
        by="updated_ms DESC, number",
        beyond="(-updated_ms, number) > (-?, ?)",
        key_type=int,
    ),
}


@dataclass(slots=True)
class ListPage:
    """One page's query. It asks for one row more than `limit`: whether there is another page."""

    table: str
    columns: str
    order: ListOrder
    limit: int
    where: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    @property
    def sql(self) -> str:
        order = _ORDERS[self.order]
        where = f" WHERE {' AND '.join(self.where)}" if self.where else ""
        return (
            f"SELECT {order.key}, number, {self.columns} FROM {self.table}{where}"  # noqa: S608
            f" ORDER BY {order.by} LIMIT {self.limit + 1:d}"
        )

    def only(self, condition: str, *values: Any) -> None:
        self.where.append(condition)
        self.values += values

    def only_with(self, text: str) -> None:
        """Rows whose title or URI has the text in it, whatever its case."""
        fold, part = ("lower", text.lower()) if text.isascii() else ("fold", text.casefold())
        self.only(f"(instr({fold}(title), ?) OR instr({fold}(uri), ?))", part, part)

    def only_after(self, cursor: str) -> None:
        """Raises `BadCursor`."""
        order = _ORDERS[self.order]
        try:
            name, key, number = decode(urlsafe_b64decode(cursor.encode("ascii")))
        except (ValueError, TypeError, Malformed) as error:
            raise BadCursor("not a cursor") from error
        numbers = [number, key] if order.key_type is int else [number]
        if name != self.order or type(key) is not order.key_type:
            raise BadCursor("a cursor of another order")
        if any(type(one) is not int or not 0 <= one <= _SQL_INTEGER_MAX for one in numbers):
            raise BadCursor("not a cursor")
        self.only(order.beyond, key, number)

    def next_cursor(self, found: Sequence[Sequence[Any]]) -> str | None:
        """Where the next page begins, given the rows found; None if this was the last."""
        if len(found) <= self.limit:
            return None
        key, number = found[self.limit - 1][:KEY_COLUMNS]
        return urlsafe_b64encode(encode([self.order, key, number])).decode("ascii")


def follow_list(query: FollowQuery) -> ListPage:
    """Raises `BadCursor`."""
    page = _page("follow", FOLLOW_COLUMNS, query)
    if query.kind is not None:
        page.only("kind IS ?", None if query.kind == USUAL_KIND else query.kind)
    if query.state is not None:
        page.only("NOT unfollowed" if query.state == "followed" else "unfollowed")
    if query.tag is not None:
        page.only("EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)", query.tag)
    return page


def session_list(query: SessionQuery) -> ListPage:
    """Raises `BadCursor`."""
    page = _page("session", SESSION_COLUMNS, query)
    if query.kind is not None:
        page.only("kind = ?", query.kind)
    if query.state is not None:
        page.only("NOT ended" if query.state == "open" else "ended")
    return page


def _page(table: str, columns: str, query: FollowQuery | SessionQuery) -> ListPage:
    limit = max(1, min(query.limit, PAGE_ROWS_MAX))
    page = ListPage(table, columns, query.order, limit)
    if query.after is not None:
        page.only_after(query.after)
    if query.conflicts_only:
        page.only("conflicts IS NOT NULL")
    if query.text:
        page.only_with(query.text)
    return page
