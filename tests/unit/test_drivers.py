"""The library works with either driver alone, because it uses them only through Django."""

import ast
from collections.abc import Iterator

import django_partisan
from tests.support.commands import ROOT

PACKAGE = ROOT / django_partisan.__name__
DRIVERS = {"psycopg", "psycopg2", "psycopg_pool"}


def imported_in(tree: ast.AST) -> Iterator[str]:
    """Yield the top-level package of every import of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def test_no_module_imports_a_driver_by_name():
    found = {
        path.name: DRIVERS.intersection(imported_in(ast.parse(path.read_text())))
        for path in PACKAGE.rglob("*.py")
    }

    assert {name: drivers for name, drivers in found.items() if drivers} == {}


def test_an_import_of_a_driver_is_found():
    tree = ast.parse("import os, psycopg2.extras\ndef later():\n    from psycopg import sql")

    assert DRIVERS.intersection(imported_in(tree)) == {"psycopg", "psycopg2"}
