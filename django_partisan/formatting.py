"""Format durations, moments and numbers for sentences and narrow columns of commands and the admin."""

from datetime import datetime
from typing import Final

from django.utils.timezone import is_aware, localtime

_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration_text(seconds: float) -> str:
    """Return a duration in its two largest units, such as ``2 h 5 min``; below ten seconds, as ``1.5 s``."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    at = next(place for place, (size, _) in enumerate(_UNITS) if whole >= size)
    parts = []
    for size, name in _UNITS[at : at + 2]:
        number, whole = divmod(whole, size)
        if number:
            parts.append(f"{number} {name}")
    return " ".join(parts)


def moment(stored: datetime) -> str:
    """Return a moment to the second, in local time, with the name of its time zone if that is known."""
    local = localtime(stored) if is_aware(stored) else stored
    return f"{local:%Y-%m-%d %H:%M:%S %Z}".rstrip()


def number(value: int) -> str:
    """Return a number in at most six characters; numbers from 100,000 are rounded."""
    if value < 100_000:
        return str(value)
    for size, unit in ((1_000, "k"), (1_000_000, "M"), (1_000_000_000, "G")):
        if value < 999.5 * size:
            return f"{value / size:.3g}{unit}"
    return f"{value / 1_000_000_000:.0f}G"


def count(value: int, word: str) -> str:
    """Return a number with its noun, such as ``1 task`` or ``2,000 tasks``."""
    return f"{value:,} {word}" if value == 1 else f"{value:,} {word}s"


def printable(line: str) -> str:
    """Return a line for the terminal, without the control characters that names and messages may contain."""
    return "".join(character if character.isprintable() else " " for character in line).rstrip()
