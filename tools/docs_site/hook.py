"""Functions that MkDocs calls while it builds the site; ``hooks`` in mkdocs.yml registers them."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

from tools.docs_site.offline import loaded_by_page
from tools.docs_site.paths import DOCS, ROOT, for_site, linked_files, site_path

LANGUAGES: Final = {".py": "python", ".yaml": "yaml", ".service": "ini"}
# Excluded from the search, which finds the page that links to the file.
AS_PAGE: Final = "---\nsearch:\n  exclude: true\n---\n# {path}\n\n````{language}\n{text}\n````\n"

_paths: dict[str, str] = {}
"""The Markdown files of the repository by their path on the site."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the repository's root, and every file that a page links to."""
    _paths.clear()
    for path in _pages_and_linked():
        place = site_path(path)
        if path.endswith(".md"):
            _paths[place] = path
        if files.get_file_from_path(place) is None:
            files.append(_generated(config, path, place))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return a page's text with links to pages of the site, and with its diagram as a picture."""
    path = _paths.get(page.file.src_uri)
    return markdown if path is None else for_site(path, markdown, _diagram(path))


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Fail the build if an element of a page loads something from another server."""
    if foreign := loaded_by_page(output):
        raise PluginError(f"{page.file.src_uri} loads {', '.join(foreign)}; the site must work offline.")
    return output


def _pages_and_linked() -> Iterator[str]:
    """Yield the pages of the root and of ``docs/``, and all files that they link to, each once."""
    found = [str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob(f"{DOCS}/*.md")]]
    seen = set(found)
    while found:
        path = found.pop()
        yield path
        if path.endswith(".md"):
            linked = {*linked_files(path, (ROOT / path).read_text())} - seen
            seen |= linked
            found += [file for file in linked if (ROOT / file).is_file()]


def _generated(config: MkDocsConfig, path: str, place: str) -> File:
    if path.endswith(".md"):
        return File.generated(config, place, abs_src_path=str(ROOT / path))
    language = LANGUAGES.get(PurePosixPath(path).suffix, "text")
    text = AS_PAGE.format(path=path, language=language, text=(ROOT / path).read_text().rstrip())
    return File.generated(config, place, content=text, inclusion=InclusionLevel.NOT_IN_NAV)


def _diagram(path: str) -> str:
    """Return the picture of the page's diagram; an empty string if there is none."""
    picture = ROOT / DOCS / "images" / f"{PurePosixPath(path).stem}.svg"
    return f"<figure>\n{picture.read_text().strip()}\n</figure>" if picture.exists() else ""
