"""How the admin and commands show moments and long texts."""

from datetime import datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import is_aware, localtime

MINUTE = 60
HOUR = 3600


def moment(stored: datetime | None) -> str | None:
    """Return a moment to the millisecond: Django's own format ends at the minute."""
    if stored is None:
        return None
    local = localtime(stored) if is_aware(stored) else stored
    return local.replace(tzinfo=None).isoformat(" ", "milliseconds")


def duration(seconds: float) -> str:
    """Return a duration as people read it, in the two largest units: ``250 ms``, ``1.5 s``, ``2 h 5 min``.

    The spaces before units do not break.
    """
    if seconds < 1:
        return f"{seconds * 1000:.0f}\xa0ms"
    if seconds < MINUTE:
        return f"{seconds:.3g}\xa0s"
    if seconds < HOUR:
        return "{:.0f}\xa0min {:.0f}\xa0s".format(*divmod(round(seconds), MINUTE))
    return "{:.0f}\xa0h {:.0f}\xa0min".format(*divmod(round(seconds) // MINUTE, HOUR // MINUTE))


def block(text: str | None) -> SafeString:
    """Return a text of several lines as it is, or a dash where there is none."""
    return format_html('<div class="partisan-text">{}</div>', text or "-")
