"""Processors are registered by class name, and found in ``partisan_tasks`` modules."""

import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from django_partisan import registry
from django_partisan.definitions import TaskDefinition
from django_partisan.exceptions import ProcessorClassAlreadyRegistered, ProcessorClassNotFound
from django_partisan.processor import BaseTaskProcessor
from tests.support.registry import Idle


def processor_named(name: str, module: str = "shop.partisan_tasks") -> type[BaseTaskProcessor]:
    return type(name, (Idle,), {"__module__": module})


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that gives a context with an installed app with this ``partisan_tasks.py``."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(tasks: str) -> Any:
        package = tmp_path / "made_for_a_test"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "partisan_tasks.py").write_text(tasks)
        return override_settings(INSTALLED_APPS=["django_partisan", "made_for_a_test"])

    yield install
    for name in [name for name in sys.modules if name.startswith("made_for_a_test")]:
        del sys.modules[name]


def test_the_decorator_registers_the_class_and_returns_it():
    made = processor_named("Letter")

    assert registry.register(made) is made
    assert list(registry.definitions) == ["Letter"]
    assert registry.definitions["Letter"] is registry.find("Letter") is registry.definition_of(made)
    assert registry.definitions["Letter"].source is made


def test_a_class_that_was_imported_again_has_a_definition_of_its_own():
    registry.register(processor_named("Letter"))
    again = processor_named("Letter")

    assert registry.definition_of(again).source is again


def test_a_class_that_is_not_registered_has_no_definition():
    registry.register(processor_named("Letter"))

    with pytest.raises(ProcessorClassNotFound, match=r"'Parcel' in shop\.partisan_tasks is not registered"):
        registry.definition_of(processor_named("Parcel"))
    with pytest.raises(ProcessorClassNotFound, match=r"for a class in shop\.partisan_tasks"):
        registry.definition_of(processor_named("Letter", "mail.partisan_tasks"))


def test_two_processors_of_one_name_are_refused_with_both_modules():
    registry.register(processor_named("Letter", "shop.partisan_tasks"))

    with pytest.raises(
        ProcessorClassAlreadyRegistered, match=r"one in shop\.partisan_tasks, one in mail\.partisan_tasks"
    ):
        registry.register(processor_named("Letter", "mail.partisan_tasks"))


def test_a_module_that_is_imported_anew_registers_its_classes_anew():
    registry.register(processor_named("Letter"))
    again = processor_named("Letter")

    registry.register(again)

    assert registry.definitions["Letter"].source is again


def test_a_name_as_long_as_its_column_is_registered_and_a_longer_one_refused():
    registry.register(processor_named("L" * 255))

    with pytest.raises(ValueError, match="has 256 characters; expected at most 255"):
        registry.register(processor_named("L" * 256))


def test_a_name_that_is_not_registered_is_told_with_the_remedy():
    error = registry.unknown("Letter")

    assert registry.find("Letter") is None
    assert isinstance(error, ProcessorClassNotFound)
    assert "No processor is registered as 'Letter'" in str(error)
    assert "partisan_tasks.py" in str(error)


def test_the_registry_shows_itself_read_only():
    with pytest.raises(TypeError):
        registry.definitions["Letter"] = TaskDefinition.of_processor(processor_named("Letter"))  # type: ignore[index]


def test_processors_in_partisan_tasks_of_an_installed_app_are_found_at_start(app):
    tasks = (
        "from django_partisan import registry\n"
        "from django_partisan.processor import BaseTaskProcessor\n"
        "@registry.register\n"
        "class Found(BaseTaskProcessor):\n"
        "    def run(self): ...\n"
    )

    with app(tasks):
        pass

    assert registry.definitions["Found"].source.__module__ == "made_for_a_test.partisan_tasks"


@pytest.mark.parametrize(
    ("tasks", "error"),
    [
        ("import no_such_package_anywhere\n", "No module named 'no_such_package_anywhere'"),
        ("from django_partisan import no_such_name\n", "cannot import name 'no_such_name'"),
    ],
)
def test_an_import_error_inside_partisan_tasks_is_shown(app, tasks, error):
    with pytest.raises(ImportError, match=error), app(tasks):
        pass


def test_an_app_without_partisan_tasks_is_passed_over():
    with override_settings(INSTALLED_APPS=["django.contrib.contenttypes", "django_partisan"]):
        pass

    assert not registry.definitions


@override_settings(TASKS={})
def test_without_a_backend_of_ours_modules_of_functions_are_not_imported(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "tests.app.tasks", raising=False)

    registry.autodiscover()

    assert "tests.app.tasks" not in sys.modules
