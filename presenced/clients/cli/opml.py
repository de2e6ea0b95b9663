"""OPML 2.0 (opml.org/spec2.opml) to follows and back.

Rules of this file:
1. what is written here reads back exactly: URI, title, kind, tags, notify (in attributes of a
   namespace of ours, which other programs pass over);
2. what others write is read leniently: groups become tags, unknown attributes mean nothing,
   an outline that cannot be followed is told, not fatal;
3. an XML document may be hostile: no entity is ever declared, size, depth and count are bounded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from xml.parsers import expat

from presenced.clients.cli.failure import Exit, Failure
from presenced.clients.cli.iri import uri_of

FILE_BYTES_MAX: Final = 32 * 1024 * 1024
"as much as the daemon takes in one import"

DEPTH_MAX: Final = 64
"outlines within outlines"

OUTLINES_MAX: Final = 200_000
"outlines of one file"

SKIPPED_MAX: Final = 100
"outlines that are told one by one"

TAGS_MAX: Final = 32
"tags of one follow that are taken from a file"

KINDS: Final = frozenset({"feed", "podcast", "channel", "person", "stream"})
NOTIFY: Final = frozenset({"default", "all", "none"})

_NAMESPACE: Final = "urn:presenced:opml:1"
_EXACT: Final = "presenced:exact"
"JSON of the title or URI that XML cannot carry, and of the tags"
_LINKS: Final = frozenset({"include", "link"})


class NotOpml(Failure):
    """The file is not something to import. Nothing was imported."""

    def __init__(self, detail: str, next_step: str = "Export it again as OPML.") -> None:
        super().__init__(detail, Exit.FAILED, next_step=next_step, code="not-opml")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFollow:
    """One outline that can be followed."""

    uri: str
    title: str | None = None
    kind: str = "feed"
    tags: tuple[str, ...] = ()
    notify: str | None = None

    def to_json(self) -> dict[str, object]:
        """A line of the daemon's import."""
        line: dict[str, object] = {"uri": self.uri}
        if self.title is not None:
            line["title"] = self.title
        if self.kind != "feed":
            line["kind"] = self.kind
        if self.tags:
            line["tags"] = list(self.tags)
        if self.notify is not None:
            line["notify"] = self.notify
        return line


@dataclass(slots=True)
class Listed:
    """What a file lists, and what of it cannot be followed (`uri`, `reason`)."""

    follows: list[ListedFollow] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)


def read(content: bytes) -> Listed:
    """The follows of an OPML document. Raises `NotOpml`."""
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.EntityDeclHandler = _refuse_entity
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code) or "unreadable"
        raise NotOpml(f"not readable XML: {reason}, in line {error.lineno}") from error
    except (ValueError, LookupError) as error:  # an encoding that nobody knows
        raise NotOpml("not readable XML: unknown encoding") from error
    if not reader.is_opml:
        raise NotOpml("not an OPML file")
    return Listed(follows=list(reader.found.values()), skipped=reader.skipped)


def write(rows: Iterable[dict[str, Any]]) -> str:
    """The OPML document of follows, as `presence --json follows` shows them."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<opml version="2.0" xmlns:presenced="{_NAMESPACE}">',
        "  <head><title>Follows</title></head>",
        "  <body>",
    ]
    lines += [f"    <outline {_attributes(row)}/>" for row in rows]
    lines += ["  </body>", "</opml>"]
    return "\n".join(lines) + "\n"


class _Reader:
    def __init__(self) -> None:
        self.is_opml = False
        self.found: dict[str, ListedFollow] = {}
        self.skipped: list[dict[str, str]] = []
        self._groups: list[str | None] = []
        self._depth = 0
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX + 2:
            raise NotOpml(f"outlines are nested more than {DEPTH_MAX} deep")
        if self._depth == 1:
            self.is_opml = name.lower() == "opml"
        if name.lower() != "outline" or not self.is_opml:
            return
        self._count += 1
        if self._count > OUTLINES_MAX:
            raise NotOpml(f"more than {OUTLINES_MAX} outlines", "Split it into several files.")
        self._groups.append(self._outline({key.lower(): it for key, it in attributes.items()}))

    def end(self, name: str) -> None:
        self._depth -= 1
        if name.lower() == "outline" and self._groups:
            self._groups.pop()

    def _outline(self, attributes: dict[str, str]) -> str | None:
        """Note one outline; the name of the group that it opens, if it is one."""
        uri = attributes.get("xmlurl", "").strip()
        name = (attributes.get("title") or attributes.get("text") or "").strip()
        kind = attributes.get("type", "").strip().lower()
        if uri:
            self._follow(uri, attributes)
            return None
        if kind in _LINKS or kind == "rss":
            reason = "a link to another list" if kind in _LINKS else "no address of a feed"
            if len(self.skipped) < SKIPPED_MAX:
                self.skipped.append({"uri": attributes.get("url", "") or name, "reason": reason})
            return None
        return name or None

    def _follow(self, uri: str, attributes: dict[str, str]) -> None:
        exact = _exact(attributes.get(_EXACT, ""))
        uri = exact.get("uri") or uri_of(uri)
        title = exact.get("title") or attributes.get("title") or _text(attributes)
        tags = exact.get("tags")
        if tags is None:
            groups = [group for group in self._groups if group]
            tags = [*groups, *_categories(attributes.get("category", ""))]
        kind = attributes.get("presenced:kind", "feed")
        notify = attributes.get("presenced:notify")
        known = self.found.get(uri)
        if known is not None:  # listed in several groups
            tags = [*known.tags, *tags]
        self.found[uri] = ListedFollow(
            uri=uri,
            title=known.title if known is not None and known.title else title,
            kind=kind if kind in KINDS else "feed",
            tags=tuple(dict.fromkeys(tags))[:TAGS_MAX],
            notify=notify if notify in NOTIFY else None,
        )


def _exact(text: str) -> dict[str, Any]:
    """What `_attributes` wrote, shape checked; empty for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    exact = {key: value[key] for key in ("uri", "title") if type(value.get(key)) is str}
    tags = value.get("tags")
    if isinstance(tags, list) and all(type(tag) is str for tag in tags):
        exact["tags"] = tags
    return exact


def _categories(text: str) -> Sequence[str]:
    """OPML 2.0: slash-delimited categories, separated by commas; one without slashes is a tag."""
    parts = (part.strip().strip("/") for part in text.split(","))
    return [part for part in parts if part]


def _text(attributes: dict[str, str]) -> str | None:
    """`text` is required by OPML: where there is no title it repeats the URI."""
    text = attributes.get("text")
    return None if not text or text == attributes.get("xmlurl") else text


def _attributes(row: dict[str, Any]) -> str:
    uri, title, tags = row["uri"], row["title"], row["tags"]
    exact: dict[str, object] = {
        key: text
        for key, text in (("uri", uri), ("title", title))
        if _carried(text) != text or text.strip() != text or (key == "uri" and not text.isascii())
    }
    if tags:
        exact["tags"] = tags
    attributes = {"type": "rss", "text": title or uri, "xmlUrl": uri}
    if title:
        attributes["title"] = title
    if tags:
        attributes["category"] = ",".join(tag for tag in tags if not set(tag) & set(",/"))
    if row["kind"] != "feed":
        attributes["presenced:kind"] = row["kind"]
    if row["notify"] != "default":
        attributes["presenced:notify"] = row["notify"]
    if exact:
        attributes[_EXACT] = json.dumps(exact)
    return " ".join(f"{name}={_quoted(value)}" for name, value in attributes.items())


def _quoted(text: str) -> str:
    from xml.sax.saxutils import quoteattr

    return quoteattr(_carried(text))


def _carried(text: str) -> str:
    """What XML 1.0 can carry of a text (§2.2)."""
    return "".join(
        letter
        for letter in text
        if letter in "\t\n\r"
        or "\x20" <= letter <= "\ud7ff"
        or "\ue000" <= letter <= "\ufffd"
        or letter >= "\U00010000"
    )


def _refuse_entity(*_declared: object) -> None:
    raise NotOpml("it declares XML entities", "Such a file may be an attack; do not import it.")
