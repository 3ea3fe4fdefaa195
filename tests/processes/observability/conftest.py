"""What the tests of observability share: managers of the watched application, and a collector."""

from collections.abc import Iterator

import pytest

from tests.processes.managing import Bench
from tests.processes.observability.watching import Watching
from tools.otlp_sink import OtlpSink


@pytest.fixture
def watching(bench: Bench) -> Watching:
    """Start managers of the watched application."""
    return Watching(bench)


@pytest.fixture
def sink() -> Iterator[OtlpSink]:
    """Collect spans."""
    with OtlpSink() as made:
        yield made
