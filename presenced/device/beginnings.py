"""By whose word a collection began here, and who has confirmed it.

Rules of this file: a snapshot stands on its sponsor's word, and on the word of those by whose word
alone the sponsor had it (`via`), until a device that is none of them tells the same digest at the
same point. A device whose own beginning is unconfirmed confirms nobody's. Source: DESIGN §5.

Theory of operation. When a device disagrees, somebody is wrong, and without the entries nobody here
can tell who. The side with more devices is followed; of two equal ones that of the most senior
device, so that a thief's young device displaces nothing. The person is told both names in any
case; removing the one that lied settles it: what stands only on a removed device's word is taken
anew. In one dispute no device's snapshot is taken twice, so it ends.
"""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from presenced.ids import Collection, DeviceId
from presenced.wire import decode, encode

BEGINNINGS: Final = "beginnings"
"meta row: per collection that began with a snapshot, how that stands"

_NOBODY: Final[frozenset[DeviceId]] = frozenset()


class Standing(StrEnum):
    """How a snapshot stands. The values are shown."""

    CONFIRMED = "confirmed"
    "a second device has told the same digest"
    PROVISIONAL = "provisional"
    "no second device has told its digest yet"
    ONLY = "only"
    "there is no second device"
    DISPUTED = "disputed"
    "a device told another digest at the same point"
    STALE = "stale"
    "a removal reaches below it: it may hold what no longer counts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """One collection's snapshot."""

    sponsor: DeviceId
    via: frozenset[DeviceId] = _NOBODY
    "those by whose unconfirmed word the sponsor had it"
    confirmer: DeviceId | None = None
    against: frozenset[DeviceId] = _NOBODY
    "devices that told another digest at the same point"
    tried: frozenset[DeviceId] = _NOBODY
    "whose snapshots were taken in this dispute, the present one's included"
    stale: bool = False

    def standing(self, siblings: AnyCollection[DeviceId]) -> Standing:
        """How it stands, given the other active devices."""
        if self.stale:
            return Standing.STALE
        if not self.against.isdisjoint(siblings):
            return Standing.DISPUTED
        if self.confirmer is not None:
            return Standing.CONFIRMED
        others = set(siblings) - self.word
        return Standing.PROVISIONAL if others else Standing.ONLY

    @property
    def word(self) -> frozenset[DeviceId]:
        """On whose word it stands."""
        return self.via | {self.sponsor}

    @property
    def vouched(self) -> bool:
        """Whether it stands on more than that."""
        return self.confirmer is not None and not self.stale and not self.against

    def yields_to(self, device: DeviceId, siblings: Sequence[DeviceId]) -> bool:
        """Whether a snapshot of this device is to take its place.

        `siblings`: the other active devices, most senior first.
        """
        if self.stale:
            return True
        if device in self.tried:
            return False
        if self.confirmer is None and self.sponsor not in siblings:
            return device not in self.word
        if device not in self.against:
            return False
        supporters = {self.sponsor} | ({self.confirmer} if self.confirmer else set())
        for_it = [one for one in siblings if one in supporters and one not in self.against]
        against_it = [one for one in siblings if one in self.against]
        if len(for_it) != len(against_it):
            return len(for_it) < len(against_it)
        return siblings.index(against_it[0]) < siblings.index(for_it[0])


class Beginnings:
    """How each collection's snapshot stands. A collection read from its log has none."""

    def __init__(self, stored: bytes | None) -> None:
        self._of: dict[Collection, Beginning] = {}
        self._is_dirty = False
        for name, sponsor, via, confirmer, against, tried, stale in (
            [] if stored is None else decode(stored)
        ):
            self._of[name] = Beginning(
                sponsor=sponsor,
                via=frozenset(via),
                confirmer=DeviceId(confirmer) if confirmer else None,
                against=frozenset(against),
                tried=frozenset(tried),
                stale=stale,
            )

    def __getitem__(self, collection: Collection) -> Beginning | None:
        return self._of.get(collection)

    @property
    def all(self) -> Mapping[Collection, Beginning]:
        return self._of

    def vouches(self, collection: Collection) -> bool:
        """Whether this device's digest confirms another's."""
        beginning = self._of.get(collection)
        return beginning is None or beginning.vouched

    def via(self, collection: Collection) -> Iterable[DeviceId]:
        """On whose unconfirmed word a snapshot given from here stands, but for our own."""
        beginning = self._of.get(collection)
        return () if beginning is None or beginning.vouched else sorted(beginning.word)

    def adopted(
        self, collection: Collection, sponsor: DeviceId, via: Iterable[DeviceId], *, disputed: bool
    ) -> None:
        """A snapshot was taken. `disputed`: because devices disagreed about the one before."""
        before = self._of.get(collection)
        beginning = Beginning(sponsor=sponsor, via=frozenset(via), tried=frozenset((sponsor,)))
        if before is not None and disputed:
            agreed = sorted(before.against - {sponsor})
            beginning = replace(
                beginning,
                confirmer=agreed[0] if agreed else None,
                against=frozenset((before.sponsor,)) - {sponsor},
                tried=before.tried | {sponsor},
            )
        self._put(collection, beginning)

    def agreed(self, collection: Collection, device: DeviceId, *, vouched: bool) -> None:
        """A device has the same digest at the same point."""
        if (one := self._of.get(collection)) is None:
            return
        confirmer = one.confirmer
        if confirmer is None and vouched and device not in one.word:
            confirmer = device
        self._put(collection, replace(one, confirmer=confirmer, against=one.against - {device}))

    def disagreed(self, collection: Collection, device: DeviceId) -> None:
        """A device, by more than another's word, has another digest at the same point."""
        if (one := self._of.get(collection)) is not None:
            confirmer = None if one.confirmer == device else one.confirmer
            self._put(collection, replace(one, confirmer=confirmer, against=one.against | {device}))

    def judged(self, collection: Collection, *, stale: bool) -> bool:
        """Whether a cut reaches below the snapshot; True if that is new."""
        if (one := self._of.get(collection)) is None or one.stale == stale:
            return False
        self._put(collection, replace(one, stale=stale))
        return stale

    def _put(self, collection: Collection, beginning: Beginning) -> None:
        if self._of.get(collection) != beginning:
            self._of[collection] = beginning
            self._is_dirty = True

    def take_row(self) -> bytes | None:
        """The meta row, if it is not what is on disk; then it counts so."""
        if not self._is_dirty:
            return None
        self._is_dirty = False
        return encode(
            [
                [
                    name,
                    one.sponsor,
                    sorted(one.via),
                    one.confirmer or b"",
                    sorted(one.against),
                    sorted(one.tried),
                    one.stale,
                ]
                for name, one in sorted(self._of.items())
            ]
        )
