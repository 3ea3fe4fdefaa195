"""Find what a page of the site would load from other servers; the site must work without them."""

import re
from typing import Final

# Links that a reader follows (``<a href>``) are no resources; ``<link rel="canonical">`` is not loaded.
_RESOURCE: Final = re.compile(
    r"<(?:audio|embed|iframe|img|script|source|video)\b[^>]*?\ssrc=[\"']?(?P<src>(?:https?:)?//[^\s\"'>]+)"
    r"|<link\b(?=[^>]*\srel=[\"']?(?:icon|preconnect|preload|stylesheet))[^>]*?\shref=[\"']?(?P<href>(?:https?:)?//[^\s\"'>]+)"
    r"|(?:@import\s+[\"']|url\([\"']?)(?P<css>(?:https?:)?//[^\s\"')]+)"
)


def foreign_resources(text: str) -> list[str]:
    """Return the addresses from which a page or a style sheet loads something."""
    return [found["src"] or found["href"] or found["css"] for found in _RESOURCE.finditer(text)]
