"""The Python files of this interpreter's standard library, and their contents."""

import ast
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

LIBRARY = Path(os.__file__).parent

NOT_THE_LIBRARY = {"site-packages", "dist-packages", "__pycache__"}
# The catalogue's threads also parse files. Before 3.11.5, CPython counts the depth of a tree for all threads
# together, so parsing in two threads at the same time can raise a SystemError.
_parsing = Lock()

TEST_FOLDERS = {"test", "tests", "idle_test"}


@dataclass(frozen=True)
class Counts:
    """Counts of lines and definitions in one file."""

    lines: int
    functions: int
    classes: int


def python_files(at_most: int | None = None) -> list[str]:
    """Return the paths of the library's files, or an evenly spread sample of them."""
    found = [path.relative_to(LIBRARY) for path in LIBRARY.rglob("*.py") if path.is_file()]
    paths = sorted(str(path) for path in found if not NOT_THE_LIBRARY & set(path.parts))
    if at_most is None or at_most >= len(paths):
        return paths
    return [paths[len(paths) * place // at_most] for place in range(at_most)]


def count(path: str) -> Counts:
    """Parse one file and count its lines and definitions. Raise SyntaxError if it is not Python."""
    source = (LIBRARY / path).read_bytes()
    tree = parse(source, path)
    nodes = list(ast.walk(tree))
    return Counts(
        lines=source.count(b"\n"),
        functions=sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in nodes),
        classes=sum(isinstance(node, ast.ClassDef) for node in nodes),
    )


def parse(source: bytes, path: str) -> ast.Module:
    """Return the syntax tree, without warnings about invalid escapes, which some tests contain."""
    with _parsing, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source, filename=path)


def is_valid(path: str) -> bool:
    """Return whether a file can be parsed."""
    try:
        count(path)
    except SyntaxError:
        return False
    return True


def package_of(path: str) -> str:
    """Return the top-level package or module that a file belongs to."""
    return Path(path).parts[0].removesuffix(".py")


def is_test(path: str) -> bool:
    """Return whether a file is a test of the library."""
    return bool(TEST_FOLDERS & set(Path(path).parts[:-1]))


def summary_of(package: str) -> str:
    """Return the first line of a package's docstring, or an empty text."""
    for candidate in (LIBRARY / package / "__init__.py", LIBRARY / f"{package}.py"):
        if candidate.exists():
            documentation = ast.get_docstring(parse(candidate.read_bytes(), candidate.name)) or ""
            return documentation.partition("\n")[0]
    return ""
