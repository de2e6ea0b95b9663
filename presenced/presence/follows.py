"""Follows: add and remove, never a whole list.

Rules of this file:
1. a person's follow or unfollow always writes `state`, so that apart from an opposite act
   `follow-wins` has something to decide; an import writes nothing for what is already followed;
2. a record is created by its `core`, which holds the exact URI, kind and title;
3. a tag is a field of its own: taking one off removes only what its author had seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from presenced.errors import NotFound
from presenced.presence.draft import RecordDraft
from presenced.presence.fields import (
    CORE,
    FOLLOW_MAP,
    FOLLOWED,
    NOTIFY,
    NOTIFY_CHOICES,
    STATE,
    TITLE,
    UNFOLLOWED,
)
from presenced.presence.naming import follow_id, normal_uri, tag_field
from presenced.presence.values import FOLLOW_KINDS, checked_choice, checked_title
from presenced.replica.hlc import Hlc
from presenced.replica.slot import Operation


class NotFollowed(NotFound):
    """There is no such follow."""

    code = "not-followed"
    hint = "`presence follows` lists what is followed."


def follow_core(uri: str, *, kind: str = "feed", title: str | None = None) -> dict[str, Any]:
    """The `core` of a follow, checked. Keys in canonical order. Raises `InvalidValue`s."""
    normal_uri(uri)
    core: dict[str, Any] = {"kind": checked_choice(kind, FOLLOW_KINDS)}
    if title:
        core["title"] = checked_title(title)
    core["uri"] = uri
    return core


def follow(
    draft: RecordDraft,
    uri: str,
    *,
    kind: str = "feed",
    title: str | None = None,
    imported: bool = False,
) -> None:
    """Follow a URI; `draft` is of the record `follow_id(uri)`. Raises `InvalidValue`s.

    `imported`: from a list. It creates what is new with `core` alone, follows again what was
    unfollowed, and leaves alone what is followed.
    """
    core = follow_core(uri, kind=kind, title=title)
    known = shown_core(draft)
    if not known:
        draft.write(CORE, core)
        if imported and not draft.field(STATE):
            return
    elif imported and draft.shown(STATE).value == FOLLOWED:
        return
    elif title and title != _shown_title(draft):
        set_title(draft, title)
    draft.write(STATE, FOLLOWED)


def new_follow(
    uri: str, *, kind: str = "feed", title: str | None = None, tick: Callable[[], Hlc]
) -> Operation:
    """The one operation that `follow(imported=True)` writes for a record not known here yet.

    For imports of many: a quarter of the cost of a draft. Raises `InvalidValue`s.
    """
    record = follow_id(uri)
    if kind not in FOLLOW_KINDS:
        checked_choice(kind, FOLLOW_KINDS)
    core = (
        {"kind": kind, "title": checked_title(title), "uri": uri}
        if title
        else {"kind": kind, "uri": uri}
    )
    return Operation(FOLLOW_MAP, record, CORE, tick(), core, {})


def unfollow(draft: RecordDraft) -> None:
    """Unfollow. Raises `NotFollowed` if there is no such record."""
    _require(draft)
    draft.write(STATE, UNFOLLOWED)


def set_title(draft: RecordDraft, title: str | None) -> None:
    """Give a title of one's own; None or empty: show the one from `core` again."""
    _require(draft)
    draft.write(TITLE, checked_title(title) if title else None)


def set_notify(draft: RecordDraft, notify: str) -> None:
    _require(draft)
    draft.write(NOTIFY, checked_choice(notify, NOTIFY_CHOICES))


def put_tag(draft: RecordDraft, text: str) -> None:
    """Put a tag on. Nothing is written if it is on already and nobody took it off."""
    _require(draft)
    field = tag_field(text)
    shown = draft.shown(field)
    if shown.value != text or shown.losing:
        draft.write(field, text)


def take_tag(draft: RecordDraft, text: str) -> None:
    """Take a tag off, as far as it is seen here."""
    _require(draft)
    field = tag_field(text)
    if draft.shown(field).value is not None:
        draft.write(field, None)


def shown_core(draft: RecordDraft) -> dict[str, Any]:
    """The `core` a person sees; empty if there is none."""
    core: dict[str, Any] = draft.shown(CORE).value
    return core


def _shown_title(draft: RecordDraft) -> str | None:
    title = draft.shown(TITLE).value
    return shown_core(draft).get("title") if title is None else title


def _require(draft: RecordDraft) -> None:
    if not draft.field(CORE):
        raise NotFollowed("no such follow")
