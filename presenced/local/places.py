"""Places and sizes as the API counts them: seconds, or the fraction of a text."""

from __future__ import annotations

from presenced.presence.progress import READING_PLACE_MAX, Unit


def place_shown(at: int, unit: Unit) -> tuple[float | None, float | None]:
    """Seconds and fraction of the text of a stored place; the one that it has not is None."""
    return (at / 1000, None) if unit is Unit.MS else (None, at / READING_PLACE_MAX)
