"""Format durations, moments and long texts for the admin."""

import re
from contextlib import suppress
from datetime import datetime
from math import isfinite
from typing import Any, Final

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import is_aware, localtime

from django_partisan.formatting import duration_text

_BEFORE_UNIT: Final = re.compile(r"(?<=\d) ")


def moment(stored: datetime | None) -> str | None:
    """Return a moment in local time to the millisecond; Django's own format ends at the minute."""
    if stored is None:
        return None
    local = localtime(stored) if is_aware(stored) else stored
    return local.replace(tzinfo=None).isoformat(" ", "milliseconds")


def seconds_of(stored: Any) -> float | None:
    """Return a stored number or text as seconds; ``None`` for anything else, such as infinity."""
    with suppress(TypeError, ValueError, OverflowError):
        seconds = float(stored)
        return seconds if isfinite(seconds) else None
    return None


def duration(seconds: float) -> str:
    """Return a duration in a readable form: ``250 ms``, ``1.5 s``, ``2 h 5 min``.

    The spaces before units are non-breaking.
    """
    shown = f"{seconds * 1000:.0f} ms" if seconds < 1 else duration_text(seconds)
    return _BEFORE_UNIT.sub("\xa0", shown)


def block(text: str | None) -> SafeString:
    """Return a text with its line breaks kept, or a dash if there is no text."""
    return format_html('<div class="partisan-text">{}</div>', text or "-")
