"""Managers of the commit before the schema step and of the current code share a migrated database."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from django_partisan.models import ManagerLease, Task
from django_partisan.processor import bulk_delay
from tests.app import partisan_tasks as processors
from tests.support.commands import ROOT
from tests.support.waiting import wait_until

from .managing import Bench, ManagerProcess

BEFORE = "6bd1e30"
"""The last commit without the migrations from 0005 on."""

ENQUEUE = """
import django_partisan
from django_partisan.processor import bulk_delay
from tests.app import partisan_tasks as processors
bulk_delay(processors.Pass("old", number) for number in range(200))
processors.Pass("old", 200).delay()
print(django_partisan.__file__)
"""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the code of ``BEFORE``: the package and what its processes need to start."""
    folder = tmp_path_factory.mktemp("before")
    command = f"git archive {BEFORE} django_partisan tests lab | tar x -C '{folder}'"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"git has no commit {BEFORE} here, as in a shallow clone: {done.stderr}")
    return folder


def enqueue(bench: Bench, tree: Path) -> None:
    """Enqueue 201 tasks with the code of a folder; a manager with that folder imports it in the same way."""
    command = [sys.executable, "-m", "tests.manage", "shell", "--verbosity=0", "--command", ENQUEUE]
    variables = bench.environment(None, {})
    done = subprocess.run(command, cwd=tree, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{tree}/django_partisan/__init__.py\n"), done.stderr


def start(bench: Bench, tree: Path) -> ManagerProcess:
    manager = bench.start(tree=tree, MAX_QUEUE_SIZE=10, MIN_QUEUE_SIZE=5, SLEEP_DELAY_SECONDS=0.5)
    manager.wait_for("worker.ready", 2, seconds=40)
    return manager


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    """A folder with the current code, which a test may replace."""
    for part in ("django_partisan", "tests/app"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ("__init__.py", "manage.py", "settings.py", "urls.py", "processes/__init__.py",
                 "processes/settings.py", "processes/lean_settings.py"):  # fmt: skip
        (tmp_path / "tests" / path).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "tests" / path, tmp_path / "tests" / path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_workers_of_a_fork_server_run_the_old_code_after_its_files_were_replaced(
    bench: Bench, deployed: Path
):
    manager = bench.start(tree=deployed, WORKERS_COUNT=1)
    manager.wait_for("worker.ready", 1)

    for path in (deployed / "django_partisan").rglob("*.py"):
        path.write_text("raise RuntimeError('code of another version')")
    os.kill(manager.workers()[0], signal.SIGKILL)
    manager.wait_for("worker.ready", 2)
    task = processors.Pass().delay()

    wait_until(lambda: Task.objects.get(pk=task.pk).status == "finished")
    assert manager.stop() == 0


def test_a_manager_whose_library_is_replaced_drains_with_one_line(bench: Bench, deployed: Path):
    manager = bench.start(tree=deployed, WORKERS_COUNT=2, PRELOAD=False)
    manager.wait_for("worker.ready", 2)
    processors.Wait("gate").delay()
    [running] = bench.wait_for("begun")

    package = deployed / "django_partisan" / "__init__.py"
    package.write_text(package.read_text().replace('__version__ = "2', '__version__ = "99'))
    [idle] = set(manager.workers()) - {running["pid"]}
    os.kill(idle, signal.SIGKILL)
    [replaced] = manager.wait_for("manager.code_replaced")
    bench.open("gate")

    assert manager.ended() == 1
    assert replaced["partisan.worker.version"].startswith("99.")
    assert Task.objects.get().status == "finished"


@pytest.mark.parametrize("old_is_first", [True, False], ids=["old first", "new first"])
def test_old_and_new_managers_run_each_task_once_and_rescue_each_others(
    bench: Bench, before: Path, old_is_first: bool
):
    trees = [before, ROOT] if old_is_first else [ROOT, before]
    first, second = [start(bench, tree) for tree in trees]
    enqueue(bench, before)
    bulk_delay(processors.Pass("new", number) for number in range(200))
    processors.Pass("new", 200).delay()

    wait_until(lambda: Task.objects.filter(status="finished").count() == 402)

    begun = bench.journal("begun")
    assert len({line["id"] for line in begun}) == len(begun) == 402
    for manager in (first, second):
        assert set(manager.workers()) & {line["pid"] for line in begun}
    assert set(Task.objects.values_list("attempts", "crashes")) == {(1, 0)}

    victims = set(first.workers())
    held = bulk_delay(processors.Wait("gate", number) for number in range(40))  # more than one manager claims
    bench.wait_for("begun", 402 + 4)
    first.send_to_group(signal.SIGKILL)
    second.wait_for("task.rescued", 2)
    bench.open("gate")
    wait_until(lambda: Task.objects.filter(status="finished").count() == 402 + 40)

    runs = [line for line in bench.journal("begun") if line["id"] in held]
    crashed = {line["id"] for line in runs if line["pid"] in victims}
    assert set(Task.objects.filter(crashes=1).values_list("pk", flat=True)) == crashed
    assert sorted(line["id"] for line in runs if line["pid"] not in victims) == held
    assert second.stop() == 0
    assert not ManagerLease.objects.exists()
