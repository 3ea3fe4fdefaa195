"""Find and replace tables on the pages of the documentation; each is between two comments."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools.document_tables.tables import TABLES

ROOT: Final = Path(__file__).resolve().parents[2]

_MARKED = re.compile(
    r"(?P<begin><!-- table (?P<name>[a-z-]+): made by python -m tools\.document_tables -->\n)"
    r".*?(?P<end><!-- end of table -->)",
    re.DOTALL,
)


def pages() -> Iterator[Path]:
    """Yield every page of the documentation."""
    yield from sorted(ROOT.glob("*.md"))
    yield from sorted(ROOT.glob("docs/*.md"))


def tables_of(text: str) -> list[str]:
    """Return the names of the tables on a page."""
    return [match["name"] for match in _MARKED.finditer(text)]


def with_tables(text: str) -> str:
    """Return a page's text with its tables generated from the code."""
    return _MARKED.sub(lambda match: f"{match['begin']}\n{TABLES[match['name']]()}\n{match['end']}", text)


def out_of_date() -> dict[Path, str]:
    """Return the pages whose tables differ from the code, with the text that they should have."""
    found = {}
    for path in pages():
        text = path.read_text()
        right = with_tables(text)
        if right != text:
            found[path] = right
    return found
