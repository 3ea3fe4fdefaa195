"""Allow browsers to break long words in tables, such as camel-case names, hosts and paths."""

import re
from typing import Final

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

# Before an uppercase letter that follows a lowercase one, and after signs that join words.
_BREAKS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[-._:/@=])(?=\w)")
_BREAK: Final = mark_safe("<wbr>")
# At most 14 characters without spaces, with the spaces before them.
_PARTS: Final = re.compile(r"\s*\S{1,14}|\s+")


def wrappable(text: str) -> SafeString:
    """Return a text that a browser may break within long words, at suitable places."""
    parts = [part for piece in _BREAKS.split(text) for part in _PARTS.findall(piece)]
    return format_html_join(_BREAK, "{}", ((part,) for part in parts))


def unbroken(text: str) -> SafeString:
    """Return a moment or a duration that a browser breaks only at its spaces."""
    return format_html_join(
        " ", '<span class="partisan-unbroken">{}</span>', ((part,) for part in text.split(" "))
    )


def two_lines(first: str, second: str | None) -> SafeString:
    """Return a cell with a main line and, if ``second`` is given, a less prominent line below it."""
    main = first if isinstance(first, SafeString) else wrappable(first)
    if not second:
        return format_html("{}", main)
    return format_html('{}<span class="partisan-below">{}</span>', main, wrappable(second))
