"""Names in the code use the glossary's words."""

import ast
import re
from collections.abc import Iterator

import django_partisan
from tests.support.commands import ROOT

PACKAGE = ROOT / django_partisan.__name__
NOT_OURS = re.compile(
    r"(^|_)(actors?|adopt(ed)?|bury|custody|facts?|hang_up|hear|heard|in_vain|jobs?|orphans?|sift|sighted|snooze|strays?|tell|told|twins?)(_|$)"
)
"""Words for which the glossary has others."""


def names_in(tree: ast.AST) -> Iterator[str]:
    """Yield every name that a module defines, takes or uses."""
    for node in ast.walk(tree):
        for field in ("name", "id", "attr", "arg"):
            name = getattr(node, field, None)
            if isinstance(name, str):
                yield name


def test_no_name_in_the_package_is_a_synonym():
    found = {
        (path.name, name)
        for path in PACKAGE.rglob("*.py")
        for name in names_in(ast.parse(path.read_text()))
        if NOT_OURS.search(name.lower())
    }

    assert found == set()


def test_a_synonym_in_any_place_of_a_name_is_found():
    names = names_in(ast.parse("def is_twin(told): self._facts = 1\nintellect = 1"))

    assert [name for name in names if NOT_OURS.search(name)] == ["is_twin", "told", "_facts"]
