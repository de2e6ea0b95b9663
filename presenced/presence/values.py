"""Values that people give, checked once before they are written.

Raised here as `CallerError`s that say what to do; what other devices wrote is judged by the
field's shape instead (`fields`), never refused.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from presenced.errors import InvalidValue
from presenced.presence.limits import TITLE_BYTES_MAX

FOLLOW_KINDS: Final = ("feed", "podcast", "channel", "person", "stream")
SESSION_KINDS: Final = ("media", "reading", "watching-together", "call", "custom")


class TitleTooLong(InvalidValue):
    code = "title-too-long"
    hint = f"A title may have {TITLE_BYTES_MAX} bytes as UTF-8."


class UnknownChoice(InvalidValue):
    """A word that is not among those a field knows."""

    code = "unknown-choice"


def checked_title(title: str) -> str:
    """Raises `TitleTooLong`, or `InvalidValue` for text that is not Unicode."""
    try:
        size = len(title.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InvalidValue("a lone surrogate", hint="Titles are Unicode text.") from error
    if size > TITLE_BYTES_MAX:
        raise TitleTooLong("longer than the limit")
    return title


def checked_choice(word: str, choices: Collection[str]) -> str:
    """Raises `UnknownChoice`, whose hint lists the choices."""
    if word not in choices:
        raise UnknownChoice("not among the choices", hint=f"Choose {', '.join(choices)}.")
    return word
