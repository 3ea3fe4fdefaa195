"""Documentation, docstrings, comments and messages are plain English, without the project's former idioms."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import django_partisan
from tests.support.commands import ROOT

PACKAGE = ROOT / django_partisan.__name__
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("elk/*.md"), *ROOT.glob("grafana/*.md")]
IDIOMS = re.compile(
    r"\b(anew|at fault|bur(?:y|ied)|for good|g(?:a|i)ves? back|hears?|heard|in vain|its like|meanwhile"
    r"|of its own accord|tells|thereof|told|twins?|whose like)\b",
    re.IGNORECASE,
)
GLOSSARY_ROW = re.compile(r"^\|.*\|$", re.MULTILINE)
"""The rows of the glossary list the words that it replaces."""


def prose_of(module: Path) -> Iterator[str]:
    """Yield the docstrings, other strings and comments of a module."""
    source = module.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def idioms_in(text: str) -> list[str]:
    """Return each idiom with its surroundings, on one line."""
    line = " ".join(text.split())
    return [line[max(0, found.start() - 40) : found.end() + 40] for found in IDIOMS.finditer(line)]


def test_no_module_has_one_of_the_idioms():
    # The texts of a migration are part of the state that later migrations are compared with.
    modules = [path for path in PACKAGE.rglob("*.py") if path.parent.name != "migrations"]

    found = {
        str(path.relative_to(ROOT)): idioms
        for path in modules
        if (idioms := [one for text in prose_of(path) for one in idioms_in(text)])
    }

    assert found == {}


def test_no_page_has_one_of_the_idioms():
    texts = {path: path.read_text() for path in PAGES}
    glossary = ROOT / "docs" / "glossary.md"
    texts[glossary] = GLOSSARY_ROW.sub("", texts[glossary])

    found = {
        str(path.relative_to(ROOT)): idioms for path, text in texts.items() if (idioms := idioms_in(text))
    }

    assert found == {}


def test_an_idiom_is_found_in_a_docstring_a_comment_and_a_message(tmp_path: Path):
    module = tmp_path / "module.py"
    module.write_text('"""Gone for\ngood."""\n\nTEXT = f"Gave back {1}"  # nobody was told\n')

    found = [one for text in prose_of(module) for one in idioms_in(text)]

    assert found == ["Gone for good.", "Gave back", "# nobody was told"]
