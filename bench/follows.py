"""Follows as real lists have them, from a seed: the same seed gives the same list.

What matters for bytes and time is how much the lines share. Six in ten lie on one of a few dozen
large hosts (video channels, podcast and newsletter hosting) whose addresses differ only in an
identifier that does not compress; the others on hosts of their own, some with several feeds.
Words are as frequent as in any language: the n-th one as 1/(n + 2.7) (Zipf and Mandelbrot). URLs
have 40 to 90 characters, titles 20 to 60, and no URL comes twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from mnemonic import Mnemonic

URI_CHARACTERS = (40, 90)
TITLE_CHARACTERS = (20, 60)
LARGE_HOST_SHARE = 0.6
SECOND_FEED_SHARE = 0.2
"of the small hosts, how often one appears again with another feed"

_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_HEX = "0123456789abcdef"
_ALNUM = "abcdefghijklmnopqrstuvwxyz0123456789"

# Pattern and kind, most frequent first: frequency falls as one over the rank.
_LARGE_HOSTS = (
    ("https://www.youtube.com/feeds/videos.xml?channel_id=UC{base64:22}", "channel"),
    ("https://anchor.fm/s/{hex:8}/podcast/rss?show={alnum:8}", "podcast"),
    ("https://feeds.megaphone.fm/{upper:3}{digits:10}?ref={word}", "podcast"),
    ("https://{word}{word}.substack.com/feed?sort=new&v={digits:2}", "feed"),
    ("https://medium.com/feed/@{word}.{word}{digits:4}", "feed"),
    ("https://feeds.buzzsprout.com/{digits:7}.rss?from={word}", "podcast"),
    ("https://www.reddit.com/r/{word}{word}/top.rss?t=week&limit=25", "feed"),
    ("https://feeds.simplecast.com/{base64:8}?show={word}", "podcast"),
    ("https://mastodon.social/@{word}_{word}{digits:2}.rss", "person"),
    ("https://www.omnycontent.com/d/playlist/{uuid}/podcast.rss", "podcast"),
    ("https://{word}{word}{digits:2}.tumblr.com/tagged/{word}/rss", "feed"),
    ("https://feeds.acast.com/public/shows/{uuid}", "podcast"),
    ("https://github.com/{word}-{word}/{word}{word}/releases.atom", "feed"),
    ("https://vimeo.com/channels/{word}{word}{digits:3}/videos/rss", "channel"),
    ("https://rss.art19.com/{word}-{word}-{word}-{word}", "podcast"),
    ("https://www.twitch.tv/{word}{word}{digits:3}/videos?filter=all", "stream"),
    ("https://audioboom.com/channels/{digits:7}.rss?name={word}", "podcast"),
    ("https://{word}{word}.wordpress.com/category/{word}/feed/", "feed"),
    ("https://{word}{word}{digits:3}.blogspot.com/feeds/posts/default", "feed"),
    ("https://www.spreaker.com/show/{digits:7}/episodes/feed", "podcast"),
)
_WEIGHTS = tuple(1 / rank for rank in range(1, len(_LARGE_HOSTS) + 1))
_ENDINGS = ("com", "org", "net", "io", "dev", "blog", "co.uk", "de", "fr", "info")
_PATHS = (
    "/feed/",
    "/rss.xml",
    "/index.xml",
    "/atom.xml",
    "/blog/feed/",
    "/feeds/{word}.xml",
    "/category/{word}/feed/",
    "/{word}/{word}/rss.xml",
)
_ZIPF_SHIFT = 2.7
_SMALL_WORDS = ("the", "of", "and", "for", "with", "in", "on", "a", "from", "about")
_KINDS_SMALL = ("feed", "feed", "feed", "feed", "podcast", "person")


@dataclass(frozen=True, slots=True)
class Follow:
    """One line of a follow list."""

    uri: str
    title: str
    kind: str


class _Words:
    """A vocabulary whose words are as frequent as those of a language."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._words = Mnemonic("english").wordlist
        Random(0).shuffle(self._words)  # the list is sorted by letter, not by frequency
        ranks = range(1, len(self._words) + 1)
        self._weights = list(accumulate(1 / (rank + _ZIPF_SHIFT) for rank in ranks))

    def draw(self) -> str:
        return self._random.choices(self._words, cum_weights=self._weights)[0]


def realistic_follows(count: int, *, seed: int) -> Iterator[Follow]:
    """Yield `count` follows with distinct URIs."""
    random = Random(seed)
    words = _Words(random)
    hosts: list[str] = []
    seen: set[str] = set()
    while len(seen) < count:
        if random.random() < LARGE_HOST_SHARE:
            pattern, kind = random.choices(_LARGE_HOSTS, _WEIGHTS)[0]
            uri = _filled(pattern, random, words)
        else:
            uri, kind = _on_small_host(random, words, hosts), random.choice(_KINDS_SMALL)
        if URI_CHARACTERS[0] <= len(uri) <= URI_CHARACTERS[1] and uri not in seen:
            seen.add(uri)
            yield Follow(uri=uri, title=_title(random, words), kind=kind)


def _on_small_host(random: Random, words: _Words, hosts: list[str]) -> str:
    if hosts and random.random() < SECOND_FEED_SHARE:
        host = random.choice(hosts)
    else:
        host = f"www.{words.draw()}-{words.draw()}-{words.draw()}"
        host += f".{random.choice(_ENDINGS)}"
        hosts.append(host)
    return f"https://{host}{_filled(random.choice(_PATHS), random, words)}"


def _filled(pattern: str, random: Random, words: _Words) -> str:
    parts = []
    for piece in pattern.split("{"):
        if "}" not in piece:
            parts.append(piece)
            continue
        name, rest = piece.split("}", 1)
        parts.append(_drawn(name, random, words) + rest)
    return "".join(parts)


def _drawn(name: str, random: Random, words: _Words) -> str:
    if name == "word":
        return words.draw()
    if name == "uuid":
        digits = "".join(random.choices(_HEX, k=32))
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    alphabet, length = name.split(":")
    characters = {
        "base64": _BASE64,
        "hex": _HEX,
        "alnum": _ALNUM,
        "digits": "0123456789",
        "upper": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    }[alphabet]
    return "".join(random.choices(characters, k=int(length)))


def _title(random: Random, words: _Words) -> str:
    length = random.randint(TITLE_CHARACTERS[0], TITLE_CHARACTERS[1] - 10)
    title = words.draw().capitalize()
    while len(title) < length:
        joint = f"{random.choice(_SMALL_WORDS)} " if random.random() < 0.3 else ""
        title = f"{title} {joint}{words.draw().capitalize()}"
    return title[: TITLE_CHARACTERS[1]].rstrip()
