"""Preloading: what goes wrong is told by the workers, since the fork server has nobody to tell."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import django
import pytest

NAME = "django_partisan.engine.forkserver.preload"
SETTINGS_WITH_A_THREAD = """
import threading
from tests.settings import *
threading.Thread(target=threading.Event().wait, name="bookkeeping", daemon=True).start()
"""


def _warnings_of(settings: str, folder: Path) -> str:
    """Preload in a process of its own, as the fork server does."""
    path = os.pathsep.join([str(folder), *sys.path])
    return subprocess.run(
        [sys.executable, "-c", f"import {NAME} as preload; print(preload.warnings)"],
        env={**os.environ, "PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": settings},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def test_a_project_that_does_not_load_is_a_warning(monkeypatch: pytest.MonkeyPatch):
    def fail() -> None:
        raise ImportError("no module named shop")

    monkeypatch.setattr(django, "setup", fail)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    preload = importlib.import_module(NAME)
    monkeypatch.delitem(sys.modules, NAME)

    assert preload.warnings == ["preloading failed: ImportError: no module named shop"]


@pytest.mark.slow
def test_a_project_that_loads_has_no_warnings(tmp_path: Path):
    assert _warnings_of("tests.settings", tmp_path) == "[]\n"


@pytest.mark.slow
def test_threads_that_the_project_starts_are_named(tmp_path: Path):
    (tmp_path / "settings_with_a_thread.py").write_text(SETTINGS_WITH_A_THREAD)

    assert "importing the project started threads, which do not exist in the workers: bookkeeping." in (
        _warnings_of("settings_with_a_thread", tmp_path)
    )
