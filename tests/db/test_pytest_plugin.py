"""The fixtures that pytest finds through the package's entry point."""

import importlib
import os
from importlib.metadata import entry_points
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from django.conf import settings

import django_partisan
from django_partisan import pytest_plugin, registry
from django_partisan.models import Task
from django_partisan.processor import BaseTaskProcessor
from tests.support.commands import python


class Counted(BaseTaskProcessor):
    runs = 0

    def run(self) -> None:
        Counted.runs += 1
        if self.args[0] == "fail":
            raise KeyError("broken")


@pytest.fixture(autouse=True)
def the_processor(own_registry: None) -> None:
    registry.register(Counted)
    Counted.runs = 0


def test_the_entry_point_names_the_plugin():
    [found] = entry_points(group="pytest11", name="partisan")

    assert found.load() is pytest_plugin


def test_the_modules_that_pytest_loads_before_coverage_starts_can_be_loaded_again():
    importlib.reload(django_partisan)

    assert importlib.reload(pytest_plugin) is pytest_plugin


@pytest.mark.django_db
def test_tasks_are_run_by_fixtures(partisan_run_pending: Any, partisan_drain: Any):
    Counted(1).delay()
    assert [one.outcome for one in partisan_run_pending()] == ["completed"]
    Counted(2).delay()
    assert [one.outcome for one in partisan_drain()] == ["completed"]


@pytest.mark.django_db
def test_tasks_run_after_the_commit_and_their_errors_are_raised(
    partisan_immediate: None, django_capture_on_commit_callbacks: Any
):
    with django_capture_on_commit_callbacks(execute=True):
        Counted(1).delay()
    with pytest.raises(KeyError), django_capture_on_commit_callbacks(execute=True):
        Counted("fail").delay()

    assert Counted.runs == 2


@pytest.mark.django_db
def test_tasks_wait_as_always_without_the_fixture(django_capture_on_commit_callbacks: Any):
    with django_capture_on_commit_callbacks(execute=True):
        Counted(1).delay()

    assert Task.objects.waiting().count() == 1
    assert not hasattr(settings, "PARTISAN_IMMEDIATE")


@pytest.mark.django_db
def test_what_a_test_emits_is_captured(
    partisan_events: Any, partisan_spans: Any, partisan_metrics: Any, partisan_drain: Any
):
    Counted(1).delay()
    partisan_drain()

    assert "task.completed" in partisan_events.names
    assert partisan_spans.names == ["send default", "process default"]
    assert partisan_metrics.value("partisan_tasks_completed_total", processor="Counted") == 1


PROJECT = {
    "test_plain.py": """
        import sys

        def test_nothing_of_django_is_imported(request):
            assert request.config.pluginmanager.has_plugin("partisan")
            loaded = [name for name in sys.modules if name.startswith(("django.", "django_partisan."))]
            assert loaded == ["django_partisan.pytest_plugin"], loaded
    """,
}


@pytest.mark.parametrize("processes", [(), ("-n", "2")])
def test_a_project_without_django_pays_only_for_one_small_module(tmp_path: Path, processes):
    for name, text in PROJECT.items():
        (tmp_path / name).write_text(dedent(text))
    env = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "PYTEST"))}
    options = ["-p", "no:django", "-p", "no:randomly", "-p", "no:cacheprovider", "-c", os.devnull]

    done = python("-m", "pytest", str(tmp_path), "--rootdir", str(tmp_path), *options, *processes, env=env)

    assert done.returncode == 0, done.stdout
