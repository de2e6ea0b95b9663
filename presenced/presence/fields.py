"""The one table of fields: which rule resolves a field, its default, its shape, whether it asks.

A field that is not in the table (a newer version's) has the rule `latest`, any shape, and never
asks. `docs/spec/rules.md` repeats this table; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from presenced.presence.progress import BEGINNING, Unit, is_progress

FOLLOW_MAP: Final = "follow"
SESSION_MAP: Final = "session"
DEVICE_MAP: Final = "device"

CORE: Final = "core"
STATE: Final = "state"
TITLE: Final = "title"
NOTIFY: Final = "notify"
PROGRESS: Final = "progress"
SPEED: Final = "speed"
HOLDER: Final = "holder"
NAME: Final = "name"
TAG_PREFIX: Final = "tag/"
ALIAS_PREFIX: Final = "alias/"

FOLLOWED: Final = "followed"
UNFOLLOWED: Final = "unfollowed"
OPEN: Final = "open"
ENDED: Final = "ended"
NOTIFY_CHOICES: Final = ("default", "all", "none")
PHASES: Final = ("active", "paused", "free")
CLAIM_MAX: Final = 2**31 - 1
"highest claim number"
SPEED_MIN: Final = 50
SPEED_MAX: Final = 16_000
SPEED_DEFAULT: Final = 1_000
"thousandths: 1,000 is the speed it was made for"


class Rule(Enum):
    """How the live values of a field become one."""

    FIRST = "first"
    FOLLOW_WINS = "follow-wins"
    OPEN_WINS = "open-wins"
    TAG_WINS = "tag-wins"
    CLAIM = "claim"
    INTENT = "intent"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One row of the table."""

    rule: Rule
    default: Callable[[], Any]
    "makes the value shown when there is no slot"
    readable: Callable[[Any, Unit], bool]
    "whether a value has the field's shape; an unreadable one never wins and is never dropped"
    asks: bool
    "whether a difference is put to the person (`claim` and `intent` decide case by case)"


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def _among(*choices: str) -> Callable[[Any, Unit], bool]:
    return lambda value, _: type(value) is str and value in choices


def _is_map(value: Any, _: Unit) -> bool:
    return type(value) is dict


def _is_text_or_null(value: Any, _: Unit) -> bool:
    return value is None or type(value) is str


def _is_speed(value: Any, _: Unit) -> bool:
    return type(value) is int and SPEED_MIN <= value <= SPEED_MAX


def _is_claim(value: Any, _: Unit) -> bool:
    return (
        type(value) is list
        and len(value) == 2
        and type(value[0]) is int
        and 1 <= value[0] <= CLAIM_MAX
        and type(value[1]) is str
        and value[1] in PHASES
    )


def _is_anything(_value: Any, _: Unit) -> bool:
    return True


_CORE = FieldSpec(Rule.FIRST, dict, _is_map, asks=False)
_LABEL = FieldSpec(Rule.TAG_WINS, _constant(None), _is_text_or_null, asks=False)

FIELDS: Final[dict[str, FieldSpec]] = {
    "follow.core": _CORE,
    "follow.state": FieldSpec(
        Rule.FOLLOW_WINS, _constant(FOLLOWED), _among(FOLLOWED, UNFOLLOWED), asks=True
    ),
    "follow.title": FieldSpec(Rule.LATEST, _constant(None), _is_text_or_null, asks=True),
    "follow.notify": FieldSpec(
        Rule.LATEST, _constant("default"), _among(*NOTIFY_CHOICES), asks=False
    ),
    "session.core": _CORE,
    "session.progress": FieldSpec(Rule.INTENT, BEGINNING.to_value, is_progress, asks=True),
    "session.speed": FieldSpec(Rule.LATEST, _constant(SPEED_DEFAULT), _is_speed, asks=False),
    "session.state": FieldSpec(Rule.OPEN_WINS, _constant(OPEN), _among(OPEN, ENDED), asks=True),
    "session.holder": FieldSpec(Rule.CLAIM, _constant(None), _is_claim, asks=True),
}

LABELS: Final[dict[str, tuple[str, FieldSpec]]] = {
    FOLLOW_MAP: (TAG_PREFIX, _LABEL),
    SESSION_MAP: (ALIAS_PREFIX, _LABEL),
}
"per map the prefix of the fields that carry one label each"

UNKNOWN: Final = FieldSpec(Rule.LATEST, _constant(None), _is_anything, asks=False)


def spec_of(map_name: str, field: str) -> FieldSpec:
    """The row of a field; `UNKNOWN` for what this version does not know."""
    spec = FIELDS.get(f"{map_name}.{field}")
    if spec is not None:
        return spec
    prefix, label = LABELS.get(map_name, ("", UNKNOWN))
    return label if prefix and field.startswith(prefix) else UNKNOWN


def is_label(field: str) -> bool:
    """Whether a field carries a tag or an alias."""
    return field.startswith((TAG_PREFIX, ALIAS_PREFIX))
