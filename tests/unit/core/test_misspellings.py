"""Names that are probably misspelled raise warnings; a project's own names do not."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core import checks as django_checks
from django.test import override_settings

from django_partisan import checks, registry
from django_partisan.processor import BaseTaskProcessor

PROCESSORS = """
from django_partisan import registry
from django_partisan.processor import BaseTaskProcessor
from django_partisan.metrics.custom import CounterMeasure


class Base(BaseTaskProcessor):
    {attribute} = {value}

    def run(self):
        {code}


@registry.register
class Letter(Base):
    pass


@registry.register
class Parcel(Base):
    pass
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that imports two processors with a common base class that has an attribute."""

    def write(attribute: str, value: str = "5", code: str = "pass") -> ModuleType:
        name = "misspelt_partisan_tasks"
        path = tmp_path / f"{name}.py"
        path.write_text(PROCESSORS.format(attribute=attribute, value=value, code=code))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return __import__(name)

    yield write
    sys.modules.pop("misspelt_partisan_tasks", None)


def messages() -> list[django_checks.CheckMessage]:
    return django_checks.run_checks(tags=[checks.TAG])


@pytest.mark.parametrize(
    ("attribute", "meant"),
    [
        ("QUEUE", "QUEUE_NAME"),
        ("QUEUE_NAMES", "QUEUE_NAME"),
        ("TASK_QUEUE_NAME", "QUEUE_NAME"),
        ("PRIORTY", "PRIORITY"),
        ("priority", "PRIORITY"),
        ("UNIQUE", "UNIQUE_FOR_PARAMS"),
        ("UNIQUE_FOR_PARAM", "UNIQUE_FOR_PARAMS"),
        ("RETRY_ON_ERRORS_CONFIG", "RETRY_ON_ERROR_CONFIG"),
        ("RETRY_CONFIG", "RETRY_ON_ERROR_CONFIG"),
        ("POSTPONES_CONFIG", "POSTPONE_CONFIG"),
        ("ATOMIK", "ATOMIC"),
        ("MEASURE", "MEASURES"),
        ("TIMEOUT", "TIMEOUT_SECONDS"),
        ("MAX_CRASHES", "MAX_CRASHES"),
        ("MAX_CRASH", "MAX_CRASHES"),
    ],
)
def test_an_attribute_close_to_a_known_one_is_one_warning_that_names_it(project, attribute, meant):
    module = project(attribute)

    [warning] = messages()

    assert warning.id == "partisan.W003"
    assert str(warning.msg).startswith(f"The name of an attribute of Base is {attribute!r}; expected ")
    assert meant in str(warning.msg)
    assert warning.obj is module.Base
    assert "Correct its name" in str(warning.hint)
    assert not warning.is_serious()


def test_a_key_of_a_queue_on_a_processor_says_where_it_belongs(project):
    project("MAX_CRASHES")

    [warning] = messages()

    assert "'MAX_CRASHES' is a key of a queue in PARTISAN_CONFIG" in str(warning.msg)


@pytest.mark.parametrize(
    ("attribute", "value", "code"),
    [
        ("TIMEOUT", "5", "print(self.TIMEOUT)"),
        ("QUEUE", "5", "print(type(self).QUEUE)"),
        ("RETRIES", "5", "getattr(self, 'RETRIES')"),
        ("QUEUE: int", "5", "print(getattr(self, 'QUEUE'))"),
        ("TEMPLATE", "'a.html'", "pass"),
        ("SUBJECT", "'a'", "pass"),
        ("NAME", "'a'", "pass"),
        ("CONFIG", "{}", "pass"),
        ("SIZE", "1", "pass"),
        ("MAX_LENGTH", "1", "pass"),
        ("API_VERSION", "1", "pass"),
        ("BATCH_SIZE", "1", "pass"),
        ("_QUEUE", "1", "pass"),
        ("retry", "lambda self: None", "pass"),
        ("queue", "property(lambda self: 1)", "pass"),
        ("PRIORITY", "5", "pass"),
        ("MEASURES", "[CounterMeasure('mails', 'Mails sent.')]", "pass"),
    ],
)
def test_an_attribute_that_is_right_or_the_projects_own_is_no_warning(project, attribute, value, code):
    project(attribute, value, code)

    assert messages() == []


def test_an_attribute_that_a_class_of_another_module_reads_is_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "reading_base.py").write_text(
        "from django_partisan.processor import BaseTaskProcessor\n"
        "class Mail(BaseTaskProcessor):\n"
        "    def run(self):\n"
        "        print(self.QUEUE)\n"
    )
    (tmp_path / "setting_processor.py").write_text(
        "from django_partisan import registry\n"
        "from reading_base import Mail\n"
        "@registry.register\n"
        "class Letter(Mail):\n"
        "    QUEUE = 5\n"
    )
    try:
        __import__("setting_processor")

        assert messages() == []
    finally:
        for name in ("setting_processor", "reading_base"):
            sys.modules.pop(name, None)


def test_without_a_source_to_read_there_is_no_warning():
    registry.register(
        type("Letter", (BaseTaskProcessor,), {"__module__": "nowhere", "QUEUE": 1, "run": lambda self: None})
    )

    assert messages() == []


@pytest.mark.parametrize(
    ("setting", "meant"),
    [
        ("PARTISAN_CONFG", "PARTISAN_CONFIG"),
        ("PARTISAN_CONFIGS", "PARTISAN_CONFIG"),
        ("PARTISAN_CONF", "PARTISAN_CONFIG"),
        ("DJANGO_PARTISAN_CONFIG", "PARTISAN_CONFIG"),
        ("PARTISAN", "PARTISAN_CONFIG"),
        ("PARTISAN_OBSERVABILTY", "PARTISAN_OBSERVABILITY"),
        ("PARTISAN_OBSERVABLITY", "PARTISAN_OBSERVABILITY"),
    ],
)
def test_a_setting_close_to_a_known_one_is_a_warning_that_names_it(setting, meant):
    with override_settings(**{setting: {}}):
        [warning] = messages()

    assert warning.id == "partisan.W004"
    assert warning.msg == f"The name of a setting is {setting!r}; expected {meant!r}."
    assert "Correct its name" in str(warning.hint)
    assert not warning.is_serious()


@pytest.mark.parametrize(
    "setting", ["PARTISAN_DASHBOARD_URL", "OBSERVABILITY", "CONFIG", "PARTIAL_CONFIG_DIR", "ARTISAN_KEY"]
)
def test_a_setting_of_the_project_or_of_another_application_is_no_warning(setting):
    with override_settings(**{setting: {}}):
        assert messages() == []
