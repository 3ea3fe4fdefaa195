"""Workers are set up like the manager: by a named function, by a known one, or not at all."""

import os
import sys
from types import ModuleType

import pytest

from django_partisan.engine import project_setup
from django_partisan.engine.project_setup import VARIABLE, exported_setup, set_up_process
from django_partisan.exceptions import CannotStart

calls: list[str] = []

HERE = "module_of_the_host"


def prepare() -> None:
    calls.append("prepared")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a module of the host, with no function named in the environment and none called."""
    module = ModuleType(HERE)
    vars(module).update(prepare=prepare, NO_FUNCTION="none")
    monkeypatch.setitem(sys.modules, HERE, module)
    monkeypatch.delenv(VARIABLE, raising=False)
    project_setup._called.clear()
    calls.clear()


def during(option: str | None) -> str | None:
    """Return the variable as inherited by processes started with this option."""
    with exported_setup(option):
        return os.environ.get(VARIABLE)


def test_without_a_function_nothing_is_called():
    assert during(None) is None
    set_up_process()

    assert calls == []


def test_the_option_wins_over_the_variable_which_is_as_before_afterwards(monkeypatch: pytest.MonkeyPatch):
    assert during(f"{HERE}.prepare") == f"{HERE}.prepare"
    assert VARIABLE not in os.environ
    monkeypatch.setenv(VARIABLE, "os.getcwd")

    assert during(None) == "os.getcwd"
    assert during(f"{HERE}.prepare") == f"{HERE}.prepare"
    assert os.environ[VARIABLE] == "os.getcwd"


def test_the_function_is_called_once_also_by_a_worker_whose_preloading_failed(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv(VARIABLE, f"{HERE}.prepare")

    set_up_process()
    set_up_process()

    assert calls == ["prepared"]


def test_a_function_that_failed_in_the_fork_server_is_called_again_in_the_worker(
    monkeypatch: pytest.MonkeyPatch,
):
    def fail_once() -> None:
        calls.append("tried")
        if len(calls) == 1:
            raise ConnectionError("the vault is away")

    vars(sys.modules[HERE]).update(fail_once=fail_once)
    monkeypatch.setenv(VARIABLE, f"{HERE}.fail_once")

    with pytest.raises(ConnectionError):
        set_up_process()
    set_up_process()
    set_up_process()

    assert calls == ["tried", "tried"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("nowhere.prepare", "ModuleNotFoundError: No module named 'nowhere'"),
        ("prepare", "ValueError: Empty module name"),
        ("os.prepare", "AttributeError: module 'os' has no attribute 'prepare'"),
        (f"{HERE}.NO_FUNCTION", "it is not callable"),
    ],
)
def test_what_cannot_be_called_is_refused_in_one_line(path: str, why: str, monkeypatch: pytest.MonkeyPatch):
    remedy = "Give the dotted path of a function without arguments: package.module.function"
    with pytest.raises(CannotStart) as refused:
        during(path)
    monkeypatch.setenv(VARIABLE, path)
    with pytest.raises(CannotStart) as refused_variable:
        during(None)

    assert str(refused.value) == f"--setup is {path!r}, which cannot be called ({why}). {remedy}"
    assert str(refused_variable.value).startswith(f"PARTISAN_SETUP is {path!r}, which")


def test_settings_that_come_from_no_module_are_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")

    with pytest.raises(
        CannotStart, match=r"settings\.configure\(\) was called.*--setup package\.module\.func"
    ):
        during(None)
    assert during(f"{HERE}.prepare") == f"{HERE}.prepare"


@pytest.mark.parametrize("installed", [True, False])
def test_django_configurations_works_by_itself_where_it_is_in_use(
    installed: bool, monkeypatch: pytest.MonkeyPatch
):
    module = ModuleType("configurations.importer")
    vars(module).update(installed=installed)
    monkeypatch.setitem(sys.modules, module.__name__, module)

    assert during(None) == ("configurations.importer.install" if installed else None)
