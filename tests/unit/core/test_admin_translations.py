"""Every text that the admin shows can be translated."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import django_partisan

PACKAGE = Path(django_partisan.__file__).parent
MODULES = sorted((PACKAGE / "admin").glob("*.py"))
TEMPLATES = sorted((PACKAGE / "templates").rglob("*.html"))
TRANSLATING = {"_", "gettext", "gettext_lazy", "ngettext", "ngettext_lazy", "pgettext"}
# The beginnings of SQL statements.
NO_WORDS = re.compile(r"\s*(CASE WHEN|SELECT )")
TITLES = {
    "description",
    "title",
    "verbose_name",
    "short_description",
    "label",
    "help_text",
    "search_help_text",
}


def untranslated(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield texts of several words, and titles, outside translating calls, with their lines."""
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            child.parent = node  # type: ignore[attr-defined]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        plain = re.sub(r"<[^>]*>|\{[^}]*\}|%\(\w+\)\w", "", node.value)
        is_title = isinstance(node.parent, ast.keyword) and str(node.parent.arg) in TITLES  # type: ignore[attr-defined]
        has_words = re.search(r"[a-z]{2,} [a-z]{2,}", plain) is not None
        if (has_words or (is_title and plain)) and not _is_exempt(node):
            yield node.lineno, node.value


def _is_exempt(node: ast.Constant) -> bool:
    """Return whether a text is translated, a docstring, or an SQL statement."""
    if NO_WORDS.match(str(node.value)):
        return True
    parent = node.parent  # type: ignore[attr-defined]
    while parent is not None:
        if isinstance(parent, ast.Expr):
            return isinstance(parent.value, ast.Constant)
        if isinstance(parent, ast.Call) and getattr(parent.func, "id", "") in TRANSLATING:
            return True
        if isinstance(parent, ast.JoinedStr) and NO_WORDS.match(ast.unparse(parent).lstrip("f\"'\\n ")):
            return True
        parent = getattr(parent, "parent", None)
    return False


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_no_text_of_the_admin_s_modules_is_left_without_translation(module: Path) -> None:
    assert list(untranslated(ast.parse(module.read_text()))) == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_text_of_the_templates_is_left_without_translation(template: Path) -> None:
    text = template.read_text()
    text = re.sub(r"\{% block bodyclass %\}.*?\{% endblock %\}", "", text)  # names of CSS classes
    text = re.sub(r"\{% blocktranslate.*?%\}.*?\{% endblocktranslate %\}", "", text, flags=re.DOTALL)
    text = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|<[^>]*>|&\w+;", "", text, flags=re.DOTALL)

    assert re.findall(r"\w+", text) == []


@pytest.mark.parametrize(
    "code",
    [
        'title = "two words"',
        '@display(description="one")\ndef f(): pass',
        'def f():\n    return format_html("<b>two words</b>")',
        'x = ("the box", 1)',
    ],
)
def test_a_text_without_translation_is_found(code: str) -> None:
    assert len(list(untranslated(ast.parse(code)))) == 1


def test_translated_texts_statements_and_docstrings_are_none() -> None:
    code = (
        '"""Two words here."""\nx = _("two words")\ny = ngettext("one of them", "two of them", 1)\nz = "<b>"'
    )

    assert list(untranslated(ast.parse(code))) == []
