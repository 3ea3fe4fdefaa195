"""A folder of its own for presence files, and somebody who listens."""

import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from django_partisan.engine.presence import PresenceFile
from tests.support.engine import FakeWorker
from tests.support.events import RecordedEvents


@pytest.fixture
def heard(recorded_events: RecordedEvents) -> RecordedEvents:
    """Listen to all that is told during a test."""
    return recorded_events


@pytest.fixture
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the presence files of a test in a folder that nobody else sees."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def presence(temporary_folder: Path) -> Iterator[PresenceFile]:
    """Make the presence file of a manager with two workers."""
    file = PresenceFile(uuid.uuid4(), 2)
    yield file
    file.remove()


@pytest.fixture
def worker_in() -> Iterator[Callable[..., FakeWorker]]:
    """Make fake workers that are closed after the test; arguments as of ``FakeWorker``."""
    with ExitStack() as stack:

        def make(*args: Any, **more: Any) -> FakeWorker:
            worker = FakeWorker(*args, **more)
            stack.callback(worker.close)
            return worker

        yield make
