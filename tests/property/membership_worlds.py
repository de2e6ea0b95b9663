"""Random drawings of membership: few devices, much concurrency, every type, every mistake."""

from __future__ import annotations

import random

COLLECTIONS = ("directory", "follows", "sessions")


def random_world(seed: int, *, statements: int = 14, devices: int = 6) -> list[str]:
    """Drawn lines; the ids are shuffled, so that the hash order is not the order of making."""
    rng = random.Random(seed)
    names = [chr(ord("A") + place) for place in range(rng.randint(2, devices))]
    count = rng.randint(2, statements)
    ids = [f"{number:02d}" for number in range(count)]
    rng.shuffle(ids)
    lines = [f"{ids[0]}: root genesis {names[0]}"]
    made: list[tuple[str, str]] = [(ids[0], "genesis")]
    admitted = [names[0]]
    lonely = rng.random()
    removals = rng.choice((2, 9))
    for place in range(1, count):
        recent = ids[max(0, place - rng.choice((2, 4, 14))) : place]
        heads = rng.sample(recent, min(len(recent), 1 if rng.random() < lonely else 2))
        if rng.random() < 0.02:
            heads.append("zz")
        author = rng.choice(admitted if rng.random() < 0.95 else names)
        type_, body = _act(rng, names, admitted, made, removals)
        if type_ == "recover" and rng.random() < 0.85:
            author = "root"
        lines.append(f"{ids[place]}: {author} {type_} {body} after {' '.join(heads)}")
        made.append((ids[place], type_))
    return lines


def _act(
    rng: random.Random,
    names: list[str],
    admitted: list[str],
    made: list[tuple[str, str]],
    removals: float,
) -> tuple[str, str]:
    type_ = rng.choices(
        (
            *("add", "remove", "recover", "rotate", "share", "cut"),
            *("sealing_key", "incarnation", "novelty"),
        ),
        (9, removals, removals / 5, 4, 3, 2, 1, 1, 0.5),
    )[0]
    some = ",".join(rng.sample(COLLECTIONS, rng.randint(1, 3)))
    who = rng.choice(names)
    if type_ == "add":
        admitted.append(who)
        return type_, who if rng.random() < 0.5 else f"{who} has {some}"
    if type_ == "remove":
        cut = f" cuts {rng.choice(COLLECTIONS)}={rng.randint(1, 9)}" if rng.random() < 0.3 else ""
        return type_, who + cut
    if type_ == "recover":
        admitted.append(who)
        gone = ",".join(rng.sample(names, rng.randint(1, len(names))))
        return type_, who if rng.random() < 0.2 else f"{who} removes {gone}"
    if type_ == "rotate":
        rotates = [id_ for id_, kind in made if kind == "rotate"]
        parents = rng.sample(rotates, min(len(rotates), rng.randint(0, 2)))
        named = f" parents {','.join(parents)}" if parents else ""
        readers = ",".join(rng.sample(sorted(set(admitted)), rng.randint(1, len(set(admitted)))))
        return type_, f"{rng.choice(COLLECTIONS[:2])}{named} to {readers}"
    if type_ == "share":
        rotates = [id_ for id_, kind in made if kind == "rotate"]
        if not rotates:
            return "sealing_key", ""
        return type_, f"{who} epochs {rng.choice(rotates)}"
    if type_ == "cut":
        removals = [id_ for id_, kind in made if kind in ("remove", "recover")]
        if not removals:
            return "sealing_key", ""
        return type_, f"{rng.choice(removals)} {who} {rng.choice(COLLECTIONS)}={rng.randint(1, 9)}"
    return type_, ""
