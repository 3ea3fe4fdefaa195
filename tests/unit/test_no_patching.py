"""Tests pass fakes in, use settings, or test at a wider seam; they do not patch our own code."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.commands import ROOT

OURS = {"bench", "demo", "django_partisan", "elk", "grafana", "tests", "tools"}
PATCHING = {f"monkeypatch.{name}" for name in ("setattr", "delattr", "setitem", "delitem")}


def foreign_names(tree: ast.AST) -> set[str]:
    """Return the names that a module imports from other packages than ours."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module = getattr(node, "module", None)
            for alias in node.names:
                if (module or alias.name).partition(".")[0] not in OURS:
                    names.add((alias.asname or alias.name).partition(".")[0])
    return names


def root_of(target: ast.AST) -> str | None:
    """Return the first name in an expression."""
    return next((node.id for node in ast.walk(target) if isinstance(node, ast.Name)), None)


def patches(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls of ``monkeypatch`` that change our own code."""
    foreign = foreign_names(tree)
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    for call in calls:
        if ast.unparse(call.func) in PATCHING and root_of(call.args[0]) not in foreign:
            yield call


def places(path: Path) -> list[str]:
    text = path.read_text()
    found = patches(ast.parse(text)) if "monkeypatch." in text else ()
    return [f"{path.relative_to(ROOT)}:{call.lineno}" for call in found]


def test_what_is_not_imported_from_others_is_ours():
    tree = ast.parse(
        "import os, sys\nfrom django_partisan.telemetry import bus\nmonkeypatch.setattr(os, 'x', 1)\n"
        "monkeypatch.setitem(sys.modules, 'x', 1)\nmonkeypatch.setattr(bus, 'x', 1)\n"
        "monkeypatch.setattr(type(made), 'x', 1)\nmonkeypatch.setattr('django_partisan.x', 1)\n"
    )

    assert [node.lineno for node in patches(tree)] == [5, 6, 7]


def test_no_test_patches_our_own_code():
    files = (ROOT / "tests").rglob("*.py")

    assert [place for path in files for place in places(path)] == []
