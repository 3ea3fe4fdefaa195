"""Projects whose processes need more set-up than the name of a settings module."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.app import partisan_tasks as processors
from tests.support.commands import ROOT
from tests.support.rows import number_of

from .managing import Bench

CONFIGURED = """
import sys
from shop_environment import prepare
prepare()
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
ENVIRONMENT = """
from django.conf import settings

def prepare():
    from tests.processes import settings as module
    settings.configure(**{name: value for name, value in vars(module).items() if name.isupper()})
"""
BY_CLASS = """
import sys
from configurations.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
CLASSES = """
from configurations import Configuration
from tests.processes import settings as module

class Shop(Configuration):
    locals().update({name: value for name, value in vars(module).items() if name.isupper()})
"""


def run(
    bench: Bench, program: str, *options: str, preload: bool = True, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run a project's ``manage.py`` with ``start_partisan --once`` until it exits."""
    script = bench.folder / "manage.py"
    script.write_text(program)
    partisan = {"default": {"WORKERS_COUNT": 1, "PRELOAD": preload}}
    environment = (
        bench.environment(None, {"PARTISAN_CONFIG": partisan}) | {"PYTHONPATH": str(ROOT)} | variables
    )
    if "DJANGO_SETTINGS_MODULE" not in variables:
        del environment["DJANGO_SETTINGS_MODULE"]
    command = [sys.executable, str(script), "start_partisan", "--once", *options]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def module(bench: Bench, name: str, text: str) -> Path:
    path = bench.folder / f"{name}.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize("preload", [True, False])
def test_settings_that_a_function_configures_are_those_of_the_workers_too(bench: Bench, preload: bool):
    module(bench, "shop_environment", ENVIRONMENT)
    processors.Pass().delay()

    done = run(bench, CONFIGURED, "--setup", "shop_environment.prepare", preload=preload)

    assert done.returncode == 0, done.stderr + done.stdout
    assert number_of("finished") == 1


def test_settings_that_no_worker_could_read_are_refused_in_one_line(bench: Bench):
    module(bench, "shop_environment", ENVIRONMENT)

    done = run(bench, CONFIGURED)

    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.endswith("--setup package.module.function, or PARTISAN_SETUP.")


def test_django_configurations_works_by_itself(bench: Bench):
    module(bench, "shop_settings", CLASSES)
    processors.Pass().delay()

    done = run(bench, BY_CLASS, "--configuration", "Shop", DJANGO_SETTINGS_MODULE="shop_settings")

    assert done.returncode == 0, done.stderr + done.stdout
    assert number_of("finished") == 1
