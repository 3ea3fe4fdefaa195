"""The walkthrough in docs/operate.md, command by command, with real programs where installed."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real_parts.servers import free_port
from tests.support.commands import ROOT
from tests.support.consoles import Console, consoles_of
from tests.support.walking import Walk
from tools.bulk_endpoint import BulkEndpoint
from tools.otlp_sink import OtlpSink

PAGE = ROOT / "docs" / "operate.md"
MANAGE = "import runpy\nrunpy.run_module('tests.manage', run_name='__main__')\n"
TARGET = "127.0.0.1:9464"


class OperatorsWalk(Walk):
    """A walkthrough of the page in a project with the tests' settings; Prometheus scrapes the test's port."""

    def __init__(self, folder: Path, env: dict[str, str], ports: dict[str, int]) -> None:
        super().__init__(folder, env, ports)
        (folder / "manage.py").write_text(MANAGE)

    def take(self, console: Console) -> None:
        super().take(console)
        scrape = self.folder / "partisan-grafana" / "prometheus" / "scrape.yaml"
        if scrape.exists() and TARGET in scrape.read_text():
            scrape.write_text(self.ported(scrape.read_text()))


@pytest.fixture
def walk(
    tmp_path: Path, env: dict[str, str], sink: OtlpSink, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Walk]:
    """A project with a database, a collector for spans and a stand-in for Elasticsearch."""
    monkeypatch.chdir(tmp_path)
    with BulkEndpoint() as endpoint:
        ports = {
            "9464": free_port(),
            "9090": free_port(),
            "9200": endpoint.port,
            "4318": int(sink.url.rpartition(":")[2]),
        }
        with OperatorsWalk(tmp_path, env, ports) as made:
            yield made


def test_every_command_of_the_page_works_in_its_order(walk: Walk) -> None:
    for console in consoles_of(PAGE.read_text()):
        if console.is_run:
            walk.take(console)

    log = (walk.folder / "partisan.log").read_text()
    assert '"event.action":"manager.started"' in log
    assert '"service.name":"shop"' in log
    assert len(walk.background) == 2
    assert os.path.exists(walk.folder / "prometheus-data")
