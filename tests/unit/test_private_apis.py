"""Private APIs of libraries are in one list, and have not changed since they were listed.

The walk does not see a private name of a library that one of our modules also defines, or undocumented
names without an underscore.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import django_partisan
from tools.private_apis import PRIVATE_APIS, PrivateApi

PACKAGE = Path(django_partisan.__file__).parent
DOCUMENTED = {"_asdict", "_fields", "_make", "_replace", "_meta", "_exit"}
"""Names of named tuples, Django's models and ``os``."""
OURS = {"_postgresql"}
"""Our own: a module among the migrations. Without the underscore, Django would load it as a migration."""


def id_of(api: PrivateApi) -> str:
    return f"{api.library}: {api.name}"


@pytest.mark.parametrize("api", PRIVATE_APIS, ids=id_of)
def test_private_api_is_as_it_was_seen(api: PrivateApi):
    assert not (problem := api.problem()), problem


@pytest.mark.parametrize("api", [api for api in PRIVATE_APIS if " " not in api.name], ids=id_of)
def test_listed_file_uses_it(api: PrivateApi):
    assert re.split(r"\W", api.name.rstrip(")"))[-1] in (PACKAGE / api.used_in).read_text()


def test_api_that_is_gone_is_named_with_its_library_its_file_and_its_purpose():
    def gone() -> None:
        raise AttributeError

    api = PrivateApi("Django", "Model._gone", "models.py", "There is no other.", "5.2", gone)

    problem = str(api.problem())
    assert problem.startswith("Django ")
    assert (
        "lacks Model._gone or has changed it (checked in 5.2). "
        "django_partisan/models.py uses it: There" in problem
    )


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name.isidentifier()


def private_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of each private attribute, import and ``getattr`` not defined in the module."""
    nodes = list(ast.walk(tree))
    own = {
        node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    own |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    own |= {
        node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    for node in nodes:
        names: list[str] = []
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Attribute):
            names = [node.attr]
        elif isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("attr"):
            names = [
                arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            ]
        for name in names:
            if is_private(name) and name not in own:
                yield line, name


@pytest.mark.parametrize(
    "code",
    [
        "connection._close()",
        "self._theirs()",
        "getattr(x, '_key', 1)",
        "from a._b import c",
        "from a import _b",
    ],
)
def test_the_walk_finds_private_names(code: str):
    assert list(private_names(ast.parse(code)))


def test_no_private_api_is_used_beside_the_list():
    listed = {part for api in PRIVATE_APIS for part in api.name.split(".")} | DOCUMENTED | OURS
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, name in private_names(ast.parse(path.read_text()))
        if name not in listed
    ]

    assert found == [], "use a public API, or add it to tools/private_apis.py"
