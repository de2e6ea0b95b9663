"""MEMBERSHIP.md read word for word, slowly, for comparison with `resolve`.

Nothing here is shared with the implementation but the `Statement` type. Step 1 is not computed in
an order: an assignment of verdicts is *checked* against the text, and found by trying (small
worlds) or by repeating the text until nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from presenced.trust.bodies import (
    Add,
    CutOff,
    Genesis,
    NewSealingKey,
    Recover,
    Remove,
    Rotate,
    Share,
    UnknownBody,
)
from presenced.trust.statement import Statement

ALL = frozenset({"directory", "follows", "sessions"})


class Reference:
    def __init__(self, statements: Iterable[Statement]) -> None:
        given = {one.id: one for one in statements}
        self.complete = self._complete(given)
        self.waiting = sorted(given.keys() - self.complete.keys())
        self.pasts = {id_: self._past(id_) for id_ in self.complete}
        self.heights = {id_: self._height(id_) for id_ in self.complete}
        self.known = [
            one for one in self.complete.values() if not isinstance(one.body, UnknownBody)
        ]
        self.admissions = [one for one in self.known if one.admits]
        self.acts = [
            one for one in self.known if isinstance(one.body, Add | Remove | Recover | Genesis)
        ]
        rank = sorted(
            self.admissions,
            key=lambda one: (
                (0, -self.heights[one.id], one.id)
                if one.author is None
                else (1, self.heights[one.id], one.id)
            ),
        )
        self.place = {one.id: place for place, one in enumerate(rank)}

    @staticmethod
    def _complete(given: dict) -> dict:
        complete: dict = {}
        grown = True
        while grown:
            grown = False
            for id_, one in given.items():
                if id_ not in complete and all(head in complete for head in one.heads):
                    complete[id_] = one
                    grown = True
        return complete

    def _past(self, id_) -> set:
        reached: set = set()
        todo = list(self.complete[id_].heads)
        while todo:
            below = todo.pop()
            if below not in reached:
                reached.add(below)
                todo.extend(self.complete[below].heads)
        return reached

    def _height(self, id_) -> int:
        heads = self.complete[id_].heads
        return 1 + max(map(self._height, heads)) if heads else 0

    # --- shape ---

    def adds_below(self, device, one) -> list:
        return [
            a for a in self.admissions if a.admits.device == device and a.id in self.pasts[one.id]
        ]

    def fault(self, one) -> str | None:
        if one.author is None:
            return None
        if not self.adds_below(one.author, one):
            return "unadmitted"
        past = [self.complete[id_] for id_ in self.pasts[one.id]]
        rotates = {p.epoch: p.body.collection for p in past if isinstance(p.body, Rotate)}
        body = one.body
        good = True
        if isinstance(body, Genesis | Recover):
            good = False
        elif isinstance(body, Remove):
            good = bool(self.adds_below(body.device, one))
        elif isinstance(body, Share):
            good = bool(self.adds_below(body.device, one)) and all(
                e in rotates for e in body.sealed
            )
        elif isinstance(body, Rotate):
            good = all(self.adds_below(d, one) for d in body.sealed) and all(
                rotates.get(p) == body.collection for p in body.parents
            )
        elif isinstance(body, CutOff):
            named = [p for p in past if p.id == body.removal]
            good = (
                bool(named)
                and body.device in named[0].removes
                and body.device != one.author
                and body.collection not in named[0].removes[body.device]
            )
        return None if good else "shape"

    # --- step 1, as a condition on a set of standing statements ---

    def seniority_of(self, one, stands) -> int:
        """A statement's seniority: -1 for the root; without a standing add it is below all."""
        if one.author is None:
            return -1
        places = [self.place[a.id] for a in self.adds_below(one.author, one) if a.id in stands]
        return min(places, default=len(self.place))

    def should_stand(self, x, stands) -> bool:
        if x.author is None:
            return True
        if self.fault(x) or not any(a.id in stands for a in self.adds_below(x.author, x)):
            return False
        mine = self.seniority_of(x, stands)
        return all(
            x.id in self.pasts[v.id]
            for v in self.acts
            if v.id in stands and x.author in v.removes and self.seniority_of(v, stands) < mine
        )

    def solutions(self) -> list[frozenset]:
        """Every set of adds and removals that the text allows (2^n tries)."""
        free = [one for one in self.acts if one.author is not None]
        root = {one.id for one in self.acts if one.author is None}
        found = []
        for choice in product((False, True), repeat=len(free)):
            stands = root | {one.id for one, yes in zip(free, choice, strict=True) if yes}
            if self.consistent(stands):
                found.append(frozenset(stands))
        return found

    def consistent(self, stands) -> bool:
        return all((x.id in stands) == self.should_stand(x, stands) for x in self.acts)

    def iterated(self) -> frozenset:
        """The solution by repetition: verdicts settle from the most senior down."""
        stands = frozenset(one.id for one in self.acts)
        for _ in range(4 * len(self.acts) + 4):
            following = frozenset(x.id for x in self.acts if self.should_stand(x, stands))
            if following == stands:
                return stands
            stands = following
        raise AssertionError("the text gave no fixed point")

    # --- step 2 ---

    def answer(self, stands: frozenset) -> dict:
        self.stands = stands
        self.blames1: dict = {}
        for x in sorted(self.acts, key=lambda one: self.heights[one.id]):
            self.blames1[x.id] = self._step1(x)[1]
        self.final: dict = {}
        self.given: dict = {}
        for x in sorted(self.known, key=lambda one: self.heights[one.id]):
            self.final[x.id] = self._judge(x)
            if x.admits and self.final[x.id][0] is None:
                self.given[x.id] = (
                    ALL if x.author is None else x.body.collections & self.has(x.author, x)
                )
        counting = [a for a in self.admissions if self.final[a.id][0] is None]
        removed = {d for v in self.acts if v.id in stands for d in v.removes}
        active = {a.admits.device for a in counting} - removed
        standing_place = {
            d: min(
                self.place[a.id] for a in self.admissions if a.admits.device == d and a.id in stands
            )
            for d in active
        }
        collections = {
            d: frozenset().union(*(self.given[a.id] for a in counting if a.admits.device == d))
            for d in active
        }
        return {
            "active": sorted(active, key=standing_place.__getitem__),
            "void": {
                id_: (reason, frozenset(blame))
                for id_, (reason, blame) in self.final.items()
                if reason
            },
            "waiting": self.waiting,
            "undone": sorted(
                x.id
                for x in self.known
                if isinstance(x.body, Remove) and self.final[x.id][0] in ("removed", "hangs")
            ),
            "collections": collections,
            "owed": {name: self._owed(name, active, collections) for name in sorted(ALL)},
            "removals": self._removals(removed),
            "sealing": {d: self._sealing(d) for d in active},
        }

    def removals_of(self, device) -> list:
        return [v for v in self.acts if v.id in self.stands and device in v.removes]

    def _step1(self, x) -> tuple:
        if x.id in self.stands:
            return None, set()
        fault = self.fault(x)
        if fault:
            return fault, set()
        below = self.adds_below(x.author, x)
        if not any(a.id in self.stands for a in below):
            return "hangs", set().union(*(self.blames1[a.id] for a in below))
        mine = self.seniority_of(x, self.stands)
        return "removed", {
            v.id
            for v in self.removals_of(x.author)
            if self.seniority_of(v, self.stands) < mine and x.id not in self.pasts[v.id]
        }

    def has(self, device, x) -> frozenset:
        return frozenset().union(
            *(self.given.get(a.id, frozenset()) for a in self.adds_below(device, x))
        )

    def _judge(self, x) -> tuple:
        if x.author is None:
            return None, set()
        if isinstance(x.body, Remove):
            return self._step1(x)
        fault = self.fault(x)
        if fault:
            return fault, set()
        below = self.adds_below(x.author, x)
        if not any(self.final[a.id][0] is None for a in below):
            return "hangs", set().union(*(self.final[a.id][1] for a in below))
        outside = {v.id for v in self.removals_of(x.author) if x.id not in self.pasts[v.id]}
        if outside:
            return "removed", outside
        receivers: list = []
        touched: set = set()
        if isinstance(x.body, Add):
            receivers = [x.body.certificate.device]
        if isinstance(x.body, Share):
            receivers = [x.body.device]
            touched = {
                r.body.collection for r in self.known if r.epoch and r.epoch in x.body.sealed
            }
        if isinstance(x.body, Rotate):
            receivers = list(x.body.sealed)
            touched = {x.body.collection}
        if isinstance(x.body, CutOff):
            touched = {x.body.collection}
        dead = {v.id for d in receivers for v in self.removals_of(d) if v.id in self.pasts[x.id]}
        if dead:
            return "dead", dead
        if not touched <= self.has(x.author, x):
            return "reader", set()
        return None, set()

    def _owed(self, name, active, collections) -> tuple | None:
        counting = [x for x in self.known if self.final[x.id][0] is None]
        epochs = {
            x.epoch: x for x in counting if isinstance(x.body, Rotate) and x.body.collection == name
        }
        parents = {p for x in epochs.values() for p in x.body.parents}
        leaves = sorted(e for e in epochs if e not in parents)
        readers = {d for d in active if name in collections[d]}
        if len(leaves) == 1:
            leaf = epochs[leaves[0]]
            holders = {leaf.author, *leaf.body.sealed}
            holders |= {
                x.body.device
                for x in counting
                if isinstance(x.body, Share) and leaves[0] in x.body.sealed
            }
            if holders == readers:
                return None
            if holders < readers:
                return ("share", leaves[0], tuple(sorted(readers - holders)))
        return ("rotate", tuple(leaves), tuple(sorted(readers))) if readers else None

    def _removals(self, removed) -> dict:
        found: dict = {}
        for device in removed:
            for v in self.removals_of(device):
                for name in ALL:
                    own = v.removes[device].get(name)
                    cuts = (
                        [own]
                        if own is not None
                        else [
                            x.body.cut
                            for x in self.known
                            if isinstance(x.body, CutOff)
                            and self.final[x.id][0] is None
                            and (x.body.removal, x.body.device, x.body.collection)
                            == (v.id, device, name)
                        ]
                    )
                    found[device, v.id, name] = sorted(map(repr, cuts)) or "open"
        return found

    def _sealing(self, device):
        keys = [
            x
            for x in self.known
            if isinstance(x.body, NewSealingKey)
            and x.author == device
            and self.final[x.id][0] is None
        ]
        keys.sort(key=lambda x: (-self.heights[x.id], x.id))
        return keys[0].id if keys else None
