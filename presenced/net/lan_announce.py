"""What we announce by mDNS. Pure: names are made of randomness that is passed in.

Privacy (DESIGN §4): the instance and the host label are random, made anew at every start and with
every change of the network; the machine's own name is nowhere. Tags are a constant amount of bytes
that mean something only to the devices they are for. A pairing code has an announcement of its own,
so that the usual one does not change when a person does something.
"""

from __future__ import annotations

from base64 import b32encode
from dataclasses import dataclass
from typing import Final

from presenced.clock import Entropy
from presenced.net.lan_find import SERVICE, VERSION, TagStrings
from presenced.net.limits import TAG_STRING_BYTES

_LABEL_BYTES: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One mDNS instance of ours."""

    instance: str
    "full name, below `SERVICE`"
    host: str
    "full name of its address records"
    properties: dict[str, bytes]
    "TXT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The random names of one opening."""

    link: str
    pairing: str
    host: str


def random_names(entropy: Entropy) -> Names:
    """Names that say nothing and are used until the network changes."""
    link, pairing, host = (_label(entropy) for _ in range(3))
    return Names(link=f"{link}.{SERVICE}", pairing=f"{pairing}.{SERVICE}", host=f"{host}.local.")


def link_announcement(names: Names, tags: TagStrings) -> Announcement:
    """The usual announcement: where this device listens, for those who know its tags."""
    first, second = tags
    assert len(first) == len(second) == TAG_STRING_BYTES
    return Announcement(
        instance=names.link,
        host=names.host,
        properties={"v": VERSION, "a": first, "b": second},
    )


def pairing_announcement(names: Names, number: str) -> Announcement:
    """While a pairing code is shown: the number that finds it. It is not a secret."""
    return Announcement(
        instance=names.pairing,
        host=names.host,
        properties={"v": VERSION, "p": number.encode("ascii")},
    )


def _label(entropy: Entropy) -> str:
    return b32encode(entropy(_LABEL_BYTES)).decode("ascii").lower()
