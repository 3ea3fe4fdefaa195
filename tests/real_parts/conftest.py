"""Shared fixtures: one monitoring stack, one OpenSearch, and one database for each module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real_parts import opensearch as opensearch_server
from tests.real_parts.live_stack import Stack, live_stack, project
from tests.real_parts.log_path import ELK
from tests.real_parts.opensearch import DataStream, OpenSearch
from tests.support.commands import run
from tools import parts
from tools.parts.opensearch import OPENSEARCH, java


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL, Prometheus with shortened rules, Alertmanager and a webhook; tests start the managers."""
    with live_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="module")
def env() -> Iterator[dict[str, str]]:
    """The environment of the project's processes, with a running PostgreSQL that has the tables."""
    with project() as environment:
        yield environment


@pytest.fixture(scope="session")
def opensearch() -> Iterator[OpenSearch]:
    """A server with our templates installed; each test has its own data stream on it."""
    try:
        parts.find(OPENSEARCH)
        java()
    except parts.PartMissing as missing:
        pytest.skip(str(missing))
    with opensearch_server.running() as server:
        run(str(ELK / "elasticsearch" / "install.sh"), server.url).check_returncode()
        yield server


@pytest.fixture
def data_stream(opensearch: OpenSearch, tmp_path: Path) -> Iterator[DataStream]:
    """A new data stream; removed after the test, because templates in use cannot be removed."""
    made = DataStream(opensearch, namespace=tmp_path.name.lower())
    yield made
    made.remove()
