"""Fixtures for the tests of observability: managers of the watched application."""

import pytest

from tests.processes.managing import Bench
from tests.processes.observability.watching import Watching


@pytest.fixture
def watching(bench: Bench) -> Watching:
    """Start managers of the watched application."""
    return Watching(bench)
