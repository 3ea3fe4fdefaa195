"""Preloading: workers report its errors, because the fork server cannot."""

import gc
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
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
    """Preload in a separate process, as the fork server does."""
    path = os.pathsep.join([str(folder), *sys.path])
    return subprocess.run(
        [sys.executable, "-c", f"import {NAME} as preload; print(preload.warnings)"],
        env={**os.environ, "PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": settings},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def _warnings_after(setup: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Preload a project in this process whose set-up only calls ``setup``, and fails."""

    def fail() -> None:
        setup()
        raise ImportError("no module named shop")

    monkeypatch.setattr(django, "setup", fail)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    preload = importlib.import_module(NAME)
    monkeypatch.delitem(sys.modules, NAME)
    warnings: list[str] = preload.warnings
    return warnings


@pytest.fixture
def thresholds() -> Iterator[tuple[int, int, int]]:
    """Return the thresholds of the garbage collector; they are restored after the test."""
    before = gc.get_threshold()
    yield before
    gc.set_threshold(*before)


def test_a_project_that_does_not_load_is_a_warning(monkeypatch: pytest.MonkeyPatch):
    warnings = _warnings_after(lambda: None, monkeypatch)

    assert warnings == ["preloading failed: ImportError: no module named shop"]


def test_no_garbage_is_collected_while_the_project_loads(
    monkeypatch: pytest.MonkeyPatch, thresholds: tuple[int, int, int]
):
    collections = []

    def load() -> None:
        for _ in range(2):
            collections.append(sum(generation["collections"] for generation in gc.get_stats()))
            kept: list[list[int]] = [[] for _ in range(10 * thresholds[0])]
            kept.clear()

    _warnings_after(load, monkeypatch)

    assert collections[0] == collections[1]
    assert gc.get_threshold() == thresholds


def test_thresholds_that_the_project_sets_for_garbage_stay(
    monkeypatch: pytest.MonkeyPatch, thresholds: tuple[int, int, int]
):
    _warnings_after(lambda: gc.set_threshold(5_000, 6, 7), monkeypatch)

    assert gc.get_threshold() == (5_000, 6, 7)


@pytest.mark.slow
def test_a_project_that_loads_has_no_warnings(tmp_path: Path):
    assert _warnings_of("tests.settings", tmp_path) == "[]\n"


@pytest.mark.slow
def test_threads_that_the_project_starts_are_named(tmp_path: Path):
    (tmp_path / "settings_with_a_thread.py").write_text(SETTINGS_WITH_A_THREAD)

    assert "importing the project started threads, which do not exist in the workers: bookkeeping." in (
        _warnings_of("settings_with_a_thread", tmp_path)
    )
