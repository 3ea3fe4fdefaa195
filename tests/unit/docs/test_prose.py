"""Documentation, docstrings, comments and messages are plain English, without the project's former idioms."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import django_partisan
from tests.support.commands import ROOT

PACKAGE = ROOT / django_partisan.__name__
OTHERS = ("bench", "demo", "elk", "grafana", "tests", "tools")
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("elk/*.md"), *ROOT.glob("grafana/*.md")]
IDIOMS = re.compile(
    r"\b(anew|at fault|bur(?:y|ied)|for good|g(?:a|i)ves? back|hears?|heard|in vain|its like|meanwhile"
    r"|of its own accord|tells|thereof|told|twins?|whose like)\b",
    re.IGNORECASE,
)
GLOSSARY_ROW = re.compile(r"^\|.*\|$", re.MULTILINE)
"""The rows of the glossary list the words that it replaces."""


def strings_in(module: Path) -> Iterator[str]:
    """Yield all strings of a module, docstrings included."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def remarks_in(module: Path) -> Iterator[str]:
    """Yield the docstrings and comments of a module."""
    source = module.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
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

    found = [
        (path, idiom)
        for path in modules
        for text in (*strings_in(path), *remarks_in(path))
        for idiom in idioms_in(text)
    ]

    assert found == []


@pytest.mark.parametrize("folder", OTHERS)
def test_no_docstring_or_comment_outside_the_package_has_one_of_the_idioms(folder: str):
    found = [
        (path, idiom)
        for path in (ROOT / folder).rglob("*.py")
        if "node_modules" not in path.parts
        for text in remarks_in(path)
        for idiom in idioms_in(text)
    ]

    assert found == []


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
    module.write_text('"""Kept for\\ngood."""\n\nTEXT = f"Gave back {1}"  # nobody was told\n')

    remarks, strings = ([*map(idioms_in, read(module))] for read in (remarks_in, strings_in))

    assert remarks == [["Kept for good."], ["# nobody was told"]]
    assert ["Gave back"] in strings
