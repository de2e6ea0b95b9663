"""Names that come from content: URIs in normal form (version 1, frozen) and ids made of them.

The normal form is RFC 3986 §6.2.2 (case of scheme, host and escapes; needless escapes; dot
segments) and, for http and https, §6.2.3 (empty path, default or empty port). Nothing else is
touched: not the query, not a fragment, not a trailing slash. The exact string is kept in `core`;
the normal form only makes the identifier. Changing it would give records new ids: never.

Vectors: `docs/spec/vectors/uris.json`, `record_ids.json`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final

from presenced.errors import InvalidValue
from presenced.ids import ID_BYTES, RecordId, identifier, show_id
from presenced.presence.fields import ALIAS_PREFIX, FOLLOW_MAP, SESSION_MAP, TAG_PREFIX
from presenced.presence.limits import TAG_BYTES_MAX, URI_BYTES_MAX

FOLLOW_DOMAIN: Final = b"pd/follow/1"
SESSION_DOMAIN: Final = b"pd/session/1"
LABEL_DOMAIN: Final = b"pd/label/1"

CONTENT_KINDS: Final = frozenset(("media", "reading"))
"kinds of session whose record is that of their URI; the others are events and get random ids"

_NORMAL_FORM: Final = (
    r"https?://[a-z0-9._~-]++/[A-Za-z0-9._~!$&'()*+,;=:@/-]*+"
    r"(?:\?[A-Za-z0-9._~!$&'()*+,;=:@/?-]*+)?+"
)
"http(s) URIs that are normal if they hold no `/.`: no port, no escape, no fragment"
_NORMAL: Final = re.compile(_NORMAL_FORM).fullmatch
_ALL_NORMAL: Final = re.compile(rf"(?:{_NORMAL_FORM}\n)*+").fullmatch
_RUN: Final = 64
"URIs looked at in one go: half the cost, and an odd one spoils it for its neighbours only"

_FOLLOW_HASH: Final = blake2b(digest_size=ID_BYTES, person=FOLLOW_DOMAIN)

_SPLIT: Final = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*):(?://([^/?#]*))?([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL
).fullmatch
_CHARACTERS: Final = re.compile(r"(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*").fullmatch
_AUTHORITY: Final = re.compile(
    r"((?:[^@:\[\]]|:)*@)?(\[[0-9A-Fa-f:.]+\]|\[v[0-9A-Fa-f]+\.[^\]]+\]|[^@:\[\]]*)(:[0-9]*)?"
).fullmatch
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


class NotAUri(InvalidValue):
    """Text that is not a URI (RFC 3986)."""

    code = "not-a-uri"
    hint = (
        "Give a whole URI such as https://example.org/feed.xml; write spaces and letters outside "
        "ASCII as %XX."
    )


class NotATag(InvalidValue):
    code = "not-a-tag"
    hint = f"A tag is text of 1 to {TAG_BYTES_MAX} bytes."


class UriTooLong(InvalidValue):
    code = "uri-too-long"
    hint = f"A URI may have {URI_BYTES_MAX} bytes."


def normal_uri(uri: str) -> str:
    """The normal form of a URI. Raises `NotAUri` or `UriTooLong`."""
    if _NORMAL(uri) and "/." not in uri and len(uri) <= URI_BYTES_MAX:
        return uri
    return _normalise(uri)


def follow_id(uri: str) -> RecordId:
    """The record of a follow. Raises like `normal_uri`."""
    # One hashed part needs no length before it: the same as `identifier`, a microsecond cheaper.
    state = _FOLLOW_HASH.copy()
    state.update(normal_uri(uri).encode("ascii"))
    return RecordId(state.digest())


def _normal_follow_ids(uris: Sequence[Any]) -> list[RecordId] | None:
    """`follow_id` of each, if all are text in normal form; else None."""
    if set(map(type, uris)) != {str} or max(map(len, uris)) > URI_BYTES_MAX:
        return None
    lines = "\n".join((*uris, ""))
    is_one_line_each = lines.count("\n") == len(uris)
    if not is_one_line_each or "/." in lines or not _ALL_NORMAL(lines):
        return None
    ids = []
    for line in lines.encode("ascii").split(b"\n")[: len(uris)]:
        state = _FOLLOW_HASH.copy()
        state.update(line)
        ids.append(RecordId(state.digest()))
    return ids


def session_id(kind: str, uri: str) -> RecordId:
    """The record of a media or reading session; its kind is hashed with the URI.

    Raises like `normal_uri`.
    """
    return RecordId(
        identifier(SESSION_DOMAIN, kind.encode("utf-8"), normal_uri(uri).encode("ascii"))
    )


def tag_field(text: str) -> str:
    """The field of a tag: the identifier of its exact text. Raises `NotATag`."""
    return TAG_PREFIX + _label(_checked_tag(text))


def alias_field(uri: str) -> str:
    """The field of another URI for the same work, by its normal form. Raises like `normal_uri`."""
    return ALIAS_PREFIX + _label(normal_uri(uri))


class ContentNaming:
    """Ids of records that come from content, as the replica derives them from a `core` value."""

    def derive_all(self, map_name: str, cores: Sequence[Any]) -> list[RecordId | None]:
        """`derive` of each."""
        if map_name != FOLLOW_MAP:
            return [self.derive(map_name, core) for core in cores]
        derived: list[RecordId | None] = []
        for start in range(0, len(cores), _RUN):
            run = cores[start : start + _RUN]
            uris = [core.get("uri") if type(core) is dict else None for core in run]
            derived += _normal_follow_ids(uris) or [self.derive(map_name, core) for core in run]
        return derived

    def derive(self, map_name: str, core: Any) -> RecordId | None:
        """The id that a `core` of this map must have, or None if its id is not from content.

        Never raises: a core that names no URI that this version can read has no such id.
        """
        if type(core) is not dict:
            return None
        uri = core.get("uri")
        if type(uri) is not str:
            return None
        try:
            if map_name == FOLLOW_MAP:
                return follow_id(uri)
            if map_name == SESSION_MAP and core.get("kind") in CONTENT_KINDS:
                return session_id(core["kind"], uri)
        except (InvalidValue, TypeError):  # a kind that cannot be hashed is not in the set
            return None
        return None


def _label(text: str) -> str:
    return show_id(identifier(LABEL_DOMAIN, text.encode("utf-8")))


def _checked_tag(text: str) -> str:
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise NotATag("a lone surrogate") from error
    if not 0 < size <= TAG_BYTES_MAX:
        raise NotATag("empty or too long")
    return text


# --- the normal form, piece by piece ---


def _normalise(uri: str) -> str:
    if len(uri) > URI_BYTES_MAX:
        raise UriTooLong("longer than the limit")
    pieces = _SPLIT(uri)
    if pieces is None:
        raise NotAUri("no scheme")
    scheme, authority, path, query, fragment = pieces.groups()
    scheme = scheme.lower()
    web = scheme in _DEFAULT_PORTS
    for piece in (path, (query or "")[1:], (fragment or "")[1:]):
        if _CHARACTERS(piece) is None:
            raise NotAUri("a character that URIs do not have")
    if authority is None:
        if web:
            raise NotAUri("no host")
        before = ""
    else:
        before = "//" + _normal_authority(authority, scheme)
    path = _plain_escapes(path)
    if path.startswith("/"):
        shorter = _without_dot_segments(path)
        if before or not shorter.startswith("//"):  # else it would read as an authority
            path = shorter
    elif web:
        path = "/"
    return f"{scheme}:{before}{path}{_plain_escapes(query or '')}{_plain_escapes(fragment or '')}"


def _normal_authority(authority: str, scheme: str) -> str:
    pieces = _AUTHORITY(authority)
    if pieces is None:
        if scheme not in _DEFAULT_PORTS and _CHARACTERS(authority) is not None:
            return authority  # at://did:plc:… names no host and port; nothing in it may change
        raise NotAUri("no readable host")
    user, host, port = pieces.group(1) or "", pieces.group(2), pieces.group(3) or ""
    if _CHARACTERS(user) is None or (not host.startswith("[") and _CHARACTERS(host) is None):
        raise NotAUri("a character that URIs do not have")
    default_port = _DEFAULT_PORTS.get(scheme)
    if default_port is not None:
        if not host:
            raise NotAUri("no host")
        if port in (":", default_port):
            port = ""
    return _plain_escapes(user) + _lower_host(host) + port


def _lower_host(host: str) -> str:
    """Lower case, but escapes that must stay are written with capitals."""
    return _ESCAPE.sub(lambda found: found.group().upper(), _plain_escapes(host).lower())


def _plain_escapes(text: str) -> str:
    """Escapes of unreserved characters undone, the others with capital digits (§6.2.2.1, .2)."""
    if "%" not in text:
        return text

    def plain(found: re.Match[str]) -> str:
        character = chr(int(found.group(1), 16))
        return character if character in _UNRESERVED else found.group().upper()

    return _ESCAPE.sub(plain, text)


def _without_dot_segments(path: str) -> str:
    """RFC 3986 §5.2.4 for a path that begins with a slash."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    last = len(segments) - 1
    for index, segment in enumerate(segments):
        if segment not in (".", ".."):
            kept.append(segment)
            continue
        if segment == ".." and kept:
            kept.pop()
        if index == last:
            kept.append("")
    return "/" + "/".join(kept)
