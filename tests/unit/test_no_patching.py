"""Tests pass fakes in, use settings, or act at a wider seam; they do not patch our own code."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.support.commands import ROOT

OURS = {"bench", "demo", "django_partisan", "elk", "grafana", "tests", "tools"}
PATCHING = {f"monkeypatch.{name}" for name in ("setattr", "delattr", "setitem", "delitem")}

# What is left, by file: a number may only become smaller.
LEFT: dict[str, int] = {
    "tests/db/core/test_delay.py": 5,
    "tests/db/doctor/test_command.py": 1,
    "tests/db/doctor/test_database.py": 8,
    "tests/db/engine/test_exactly_once.py": 1,
    "tests/db/engine/test_lease.py": 1,
    "tests/db/engine/test_line.py": 2,
    "tests/db/engine/test_manager.py": 3,
    "tests/db/engine/test_orphan.py": 4,
    "tests/db/engine/test_writing.py": 1,
    "tests/db/test_admin.py": 2,
    "tests/db/test_metrics_database.py": 2,
    "tests/unit/core/test_arguments.py": 1,
    "tests/unit/core/test_processor.py": 1,
    "tests/unit/core/test_start_partisan.py": 6,
    "tests/unit/core/test_watching_application.py": 2,
    "tests/unit/doctor/test_examination.py": 2,
    "tests/unit/doctor/test_traces.py": 2,
    "tests/unit/engine/test_claimer.py": 3,
    "tests/unit/engine/test_execution.py": 3,
    "tests/unit/engine/test_lease.py": 2,
    "tests/unit/engine/test_settler.py": 5,
    "tests/unit/engine/test_starter.py": 4,
    "tests/unit/engine/test_watching.py": 5,
    "tests/unit/engine/test_worker.py": 20,
    "tests/unit/logs/conftest.py": 1,
    "tests/unit/logs/test_setting_up.py": 1,
    "tests/unit/logs/test_short_line.py": 4,
    "tests/unit/logs/test_subscriber.py": 1,
    "tests/unit/logs/test_writing.py": 3,
    "tests/unit/metrics/conftest.py": 2,
    "tests/unit/metrics/test_exporter.py": 2,
    "tests/unit/metrics/test_recorder.py": 3,
    "tests/unit/metrics/test_server.py": 6,
    "tests/unit/tracing/test_collectors.py": 1,
    "tests/unit/tracing/test_complaints.py": 1,
    "tests/unit/tracing/test_subscriber.py": 1,
    "tests/unit/tracing/test_templates.py": 1,
}


def foreign_names(tree: ast.AST) -> set[str]:
    """Return the names that a module imports from others than us."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module = getattr(node, "module", None)
            for alias in node.names:
                if (module or alias.name).partition(".")[0] not in OURS:
                    names.add((alias.asname or alias.name).partition(".")[0])
    return names


def root_of(target: ast.AST) -> str | None:
    """Return the name that an expression begins with."""
    return next((node.id for node in ast.walk(target) if isinstance(node, ast.Name)), None)


def patches(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls of ``monkeypatch`` that change something of ours."""
    foreign = foreign_names(tree)
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    for call in calls:
        if ast.unparse(call.func) in PATCHING and root_of(call.args[0]) not in foreign:
            yield call


def number_of_patches(path: Path) -> int:
    text = path.read_text()
    return len(list(patches(ast.parse(text)))) if "monkeypatch." in text else 0


def test_what_is_not_imported_from_others_is_ours():
    tree = ast.parse(
        "import os, sys\nfrom django_partisan.telemetry import bus\nmonkeypatch.setattr(os, 'x', 1)\n"
        "monkeypatch.setitem(sys.modules, 'x', 1)\nmonkeypatch.setattr(bus, 'x', 1)\n"
        "monkeypatch.setattr(type(made), 'x', 1)\nmonkeypatch.setattr('django_partisan.x', 1)\n"
    )

    assert [node.lineno for node in patches(tree)] == [5, 6, 7]


def test_no_test_patches_our_own_code_beside_those_on_the_list():
    found = Counter(
        {str(path.relative_to(ROOT)): number_of_patches(path) for path in (ROOT / "tests").rglob("*.py")}
    )

    assert found <= Counter(LEFT)
