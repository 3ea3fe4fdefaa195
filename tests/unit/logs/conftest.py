"""Fixtures: restored logging, and a log file whose lines a test reads."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from django_partisan.logs import configuration, dropped, write_errors
from django_partisan.logs.log_event import WORKER
from django_partisan.logs.subscriber import LOGGER
from tests.support.telemetry import telemetry_kept

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with telemetry_kept():
        yield
        monkeypatch.undo()  # otherwise it would restore patched handlers


@pytest.fixture(autouse=True)
def nothing_reported_yet() -> None:
    dropped.taken()
    write_errors.reported_at.clear()


@pytest.fixture
def last_resort(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of messages passed to the handler of last resort."""
    messages: list[str] = []
    handler = SimpleNamespace(
        level=logging.NOTSET, handle=lambda record: messages.append(record.getMessage())
    )
    monkeypatch.setattr(logging, "lastResort", handler)
    return messages


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    """Set up ECS lines to a file, as a worker does, from the debug level on."""
    path = tmp_path / "partisan.log"
    logging.getLogger(LOGGER).setLevel(logging.DEBUG)
    configuration.setup(WORKER, "ecs", path)
    return path


@pytest.fixture
def lines(log_file: Path) -> Lines:
    """Return a function that reads and parses the lines written so far."""

    def read() -> list[dict[str, Any]]:
        text = log_file.read_text() if log_file.exists() else ""
        return [json.loads(line, parse_constant=_refuse) for line in text.splitlines()]

    return read


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested fields under dotted names."""
    found: dict[str, Any] = {}
    for name, value in nested.items():
        found.update(flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return found
