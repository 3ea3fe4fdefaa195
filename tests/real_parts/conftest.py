"""One real stack for all tests that watch managers."""

from collections.abc import Iterator

import pytest

from tests.real_parts.live_stack import Stack, live_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL, Prometheus with shortened rules, Alertmanager and a webhook; tests bring managers."""
    with live_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running
