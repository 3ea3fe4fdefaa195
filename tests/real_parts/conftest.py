"""One real stack for all tests that watch managers, and one database for each module of the others."""

from collections.abc import Iterator

import pytest

from tests.real_parts.live_stack import Stack, live_stack, project


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL, Prometheus with shortened rules, Alertmanager and a webhook; tests bring managers."""
    with live_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="module")
def env() -> Iterator[dict[str, str]]:
    """PostgreSQL with the tables; the environment that leads the project's processes there."""
    with project() as environment:
        yield environment
