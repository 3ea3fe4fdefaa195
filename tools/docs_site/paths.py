"""Map files of the repository to paths on the site, and rewrite the links between them.

The pages in ``docs/`` and in the repository's root are at the root of the site. Every other file that a page
links to gets its own page that shows it, so links work offline.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = "docs"

# Code is matched first, so that text inside it is never treated as a link.
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_CODE_OR_LINK: Final = re.compile(
    r"(?P<block>^(?P<fence>`{3,})(?P<kind>\w*)\n(?:.*?)^(?P=fence)$)"
    r"|(?P<code>(?P<ticks>`+)[^`].*?(?P=ticks))"
    r"|(?P<before>\]\()(?P<target>[^)\s]+)(?P<after>\))",
    re.MULTILINE | re.DOTALL,
)


def site_path(path: str) -> str:
    """Return the path on the site for a file of the repository: ``tasks.md`` for ``docs/tasks.md``."""
    path = path.removeprefix(f"{DOCS}/")
    # Pictures are copied unchanged.
    return path if path.endswith((".md", ".png", ".svg")) else f"{path}.md"


def linked_files(path: str, text: str) -> Iterator[str]:
    """Yield the files of the repository that the page at ``path`` links to."""
    for match in _CODE_OR_LINK.finditer(text):
        if match["target"] and (file := _file_of(path, match["target"])):
            yield file


def for_site(path: str, text: str, diagram: str) -> str:
    """Return the text of the page at ``path`` with links for the site.

    Its Mermaid block is replaced with ``diagram``, because Mermaid would be loaded from another server.
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
    """Return the file that a link on the page at ``path`` points to; ``None`` for other links."""
    file = target.partition("#")[0]
    if not file or _SCHEME.match(file):
        return None
    return os.path.normpath(PurePosixPath(path).parent / file)
