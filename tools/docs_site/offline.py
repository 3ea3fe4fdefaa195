"""Find what a page of the site would load from other servers; the site must work without them."""

import re
from typing import Final

_FOREIGN: Final = r"(?P<address>(?:https?:)?//[^\s\"'>)]+)"
# Links that a reader follows (``<a href>``) and ``<link rel="canonical">`` are not loaded.
_PAGE: Final = (
    rf"<(?:audio|embed|iframe|img|script|source|video)\b[^>]*?\ssrc(?:set)?=[\"']?{_FOREIGN}",
    rf"<(?:object|image|use)\b[^>]*?\s(?:data|(?:xlink:)?href)=[\"']?{_FOREIGN}",
    rf"<link\b(?=[^>]*\srel=[^>]*(?:icon|preconnect|preload|stylesheet))[^>]*?\shref=[\"']?{_FOREIGN}",
)
_STYLE: Final = (rf"@import\s+[\"']{_FOREIGN}", rf"url\([\"']?{_FOREIGN}")


def loaded_by_page(html: str) -> list[str]:
    """Return the addresses on other servers from which the elements of a page load something."""
    return _found(_PAGE, html)


def loaded_by_style(css: str) -> list[str]:
    """Return the addresses on other servers from which a style sheet loads something."""
    return _found(_STYLE, css)


def _found(patterns: tuple[str, ...], text: str) -> list[str]:
    return [
        found["address"] for one in patterns for found in re.finditer(one, text, re.IGNORECASE | re.DOTALL)
    ]
