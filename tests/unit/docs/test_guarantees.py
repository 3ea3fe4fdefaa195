"""Each promise in docs/guarantees.md names a test that exists."""

import ast
import re

import pytest

from tests.support.commands import ROOT
from tests.support.pages import page

LINKED = re.compile(r"\[`(?P<path>[^`]+)::(?P<name>\w+)`\]\(\.\./(?P<target>[^)]+)\)")
TEXT = page("docs/guarantees.md")
PROMISES = TEXT.partition("## What is not promised")[0]


def test_every_promise_is_linked_to_a_test():
    rows = [line for line in PROMISES.splitlines() if line.startswith("| ") and "---" not in line]
    promises = [row for row in rows if row != "| Promise | Test |"]

    assert len(promises) > 30
    assert [row for row in promises if len(LINKED.findall(row)) != 1] == []


@pytest.mark.parametrize("link", list(LINKED.finditer(TEXT)), ids=lambda link: link["name"])
def test_linked_test_exists(link: re.Match[str]):
    assert link["target"] == link["path"]
    tree = ast.parse((ROOT / link["path"]).read_text())

    assert link["name"] in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
