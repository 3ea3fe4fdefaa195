"""The walkthrough in docs/operate.md, command by command, with real programs where installed."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real_parts.servers import Child, free_port
from tests.support.commands import ROOT
from tests.support.waiting import wait_until
from tests.unit.docs.consoles import Console, consoles_of
from tools.bulk_endpoint import BulkEndpoint
from tools.otlp_sink import OtlpSink

PAGE = ROOT / "docs" / "operate.md"
MANAGE = "import runpy\nrunpy.run_module('tests.manage', run_name='__main__')\n"
TARGET = "127.0.0.1:9464"


class Walk:
    """A reader with a shell in a project's folder; the page's ports are replaced with free ones."""

    def __init__(self, folder: Path, env: dict[str, str], ports: dict[str, int]) -> None:
        self.folder = folder
        self.ports = ports
        programs = f"{Path(sys.executable).parent}:{env['PATH']}"
        self.env = {**env, "PATH": programs, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": ""}
        for name in [name for name in self.env if name.startswith("OTEL_")]:
            del self.env[name]
        self.background: list[Child] = []
        (folder / "manage.py").write_text(MANAGE)

    def ported(self, text: str) -> str:
        """Return a text with the test's ports."""
        return re.sub(
            r"(?<=127\.0\.0\.1:)(\d+)|(?<=--metrics-port )(\d+)",
            lambda match: str(self.ports[match[0]]),
            text,
        )

    def take(self, console: Console) -> None:
        """Run the commands of one console block of the page."""
        if console.until is not None:
            [command] = console.commands
            child = Child(
                f"step-{console.line}",
                ["sh", "-c", f"exec env {self.ported(command)}"],
                self.folder,
                self.env,
            )
            self.background.append(child)
            until = console.until
            wait_until(lambda: self.run(until).returncode == 0 or self._ended(child), 60, until, every=0.1)
            return
        for command in console.commands:
            if console.patiently:
                wait_until(lambda: self.run(command).returncode == 0, 60, command, every=1)  # noqa: B023
                continue
            done = self.run(command)
            assert done.returncode == console.exit_code, f"{command}\n{done.stdout}"
        self._point_prometheus_at_the_manager()

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run one command in a shell."""
        return subprocess.run(
            self.ported(command),
            shell=True,
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )

    def _ended(self, child: Child) -> bool:
        assert child.process.poll() is None, child.last_words()
        return False

    def _point_prometheus_at_the_manager(self) -> None:
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
        made = Walk(tmp_path, env, ports)
        yield made
        for child in reversed(made.background):
            child.stop()


def test_every_command_of_the_page_works_in_its_order(walk: Walk) -> None:
    for console in consoles_of(PAGE.read_text()):
        if console.is_run:
            walk.take(console)

    log = (walk.folder / "partisan.log").read_text()
    assert '"event.action":"manager.started"' in log
    assert '"service.name":"shop"' in log
    assert len(walk.background) == 2
    assert os.path.exists(walk.folder / "prometheus-data")
