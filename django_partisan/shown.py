"""How the admin and commands show moments and long texts."""

from datetime import datetime
from typing import Final

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import is_aware, localtime

_AS_IT_IS: Final = "font-family: monospace; white-space: pre-wrap; overflow-wrap: anywhere"


def moment(stored: datetime | None) -> str | None:
    """Return a moment to the millisecond: Django's own format ends at the minute."""
    if stored is None:
        return None
    local = localtime(stored) if is_aware(stored) else stored
    return local.replace(tzinfo=None).isoformat(" ", "milliseconds")


def block(text: str | None) -> SafeString:
    """Return a text of several lines as it is, or a dash where there is none."""
    return format_html('<div style="{}">{}</div>', _AS_IT_IS, text or "-")
