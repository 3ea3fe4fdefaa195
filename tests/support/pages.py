"""The pages of the documentation and their parts."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.commands import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]

_FENCED = re.compile(r"^(?P<fence>`{3,})(?P<kind>\w*)\n(?P<text>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+)(.+?)\1")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: the word after the fence, the line where it begins, and its text."""

    kind: str
    line: int
    text: str


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def page(name: str) -> str:
    return (ROOT / name).read_text()


def blocks_of(text: str) -> Iterator[Block]:
    for match in _FENCED.finditer(text):
        yield Block(match["kind"], text.count("\n", 0, match.start()) + 2, match["text"])


def without_blocks(text: str) -> str:
    return _FENCED.sub("", text)


def prose_of(text: str) -> str:
    """Return a page without code and without link targets."""
    return re.sub(r"\]\([^)]*\)", "]", _CODE.sub("", without_blocks(text)))


def code_in(text: str) -> list[str]:
    """Return the inline code of a page's prose."""
    return [match[2] for match in _CODE.finditer(without_blocks(text))]


def anchors_of(text: str) -> set[str]:
    """Return the anchors that GitHub makes from a page's headings."""
    titles = _HEADING.findall(without_blocks(text))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def first_cells_below(heading: str, text: str) -> list[str]:
    """Return the first cell of each row of the table below a heading."""
    part = text.partition(f"{heading}\n")[2]
    rows = re.search(r"^\|.*?(?=\n\n|\Z)", part, re.MULTILINE | re.DOTALL)
    assert rows is not None, f"no table below {heading!r}"
    return [line.split("|")[1].strip().strip("`") for line in rows[0].splitlines()[2:]]
