"""Where files of the repository stand on the site, and links between them.

Pages of ``docs/`` are at the site's root, beside the pages of the repository's root. Any other file that a
page links to is shown on a page of its own, so the site needs no other server.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = "docs"

# Code comes first, so that nothing inside it is taken for a link.
_CODE_OR_LINK: Final = re.compile(
    r"(?P<block>^(?P<fence>`{3,})(?P<kind>\w*)\n(?:.*?)^(?P=fence)$)"
    r"|(?P<code>(?P<ticks>`+)[^`].*?(?P=ticks))"
    r"|(?P<before>\]\()(?P<target>[^)\s]+)(?P<after>\))",
    re.MULTILINE | re.DOTALL,
)


def site_path(path: str) -> str:
    """Return the site's source for a file of the repository: ``docs/tasks.md`` is ``tasks.md``."""
    path = path.removeprefix(f"{DOCS}/")
    # Pictures are copied as they are.
    return path if path.endswith((".md", ".png", ".svg")) else f"{path}.md"


def linked_files(path: str, text: str) -> Iterator[str]:
    """Yield the files of the repository that the page at ``path`` links to."""
    for match in _CODE_OR_LINK.finditer(text):
        if match["target"] and (file := _file_of(path, match["target"])):
            yield file


def for_site(path: str, text: str, diagram: str) -> str:
    """Return the text of the page at ``path`` with the site's links.

    Its Mermaid block is replaced by ``diagram``, because Mermaid's program would come from another server.
    """
    folder = PurePosixPath(site_path(path)).parent

    def replaced(match: "re.Match[str]") -> str:
        if match["kind"] == "mermaid":
            return diagram
        file = _file_of(path, match["target"]) if match["target"] else None
        if file is None:
            return match[0]
        anchor = match["target"].partition("#")[1:]
        return f"{match['before']}{os.path.relpath(site_path(file), folder)}{''.join(anchor)}{match['after']}"

    return _CODE_OR_LINK.sub(replaced, text)


def _file_of(path: str, target: str) -> str | None:
    """Return the file that a link on the page at ``path`` names; ``None`` for other addresses."""
    file = target.partition("#")[0]
    if not file or "://" in file:
        return None
    return os.path.normpath(PurePosixPath(path).parent / file)
