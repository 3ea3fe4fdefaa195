"""A real OpenSearch for tests: its core, fetched by `make parts`, without security."""

import json
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.real_parts.servers import HOST
from tests.support.child import NotReady, answers
from tests.support.waiting import wait_until
from tests.unit.elk.files import types_of
from tools import parts
from tools.parts.opensearch import OPENSEARCH, java
from tools.postgres.programs import account
from tools.postgres.server import free_port

START_SECONDS: Final = 180.0
"""An idle machine needs about 6 s; on a loaded one, the server may log nothing for this long."""
MOST_DOCUMENTS: Final = 10_000
"""The maximum number of documents that one search returns."""

# The program's own jvm.options have memory and log options for large servers; the others suit short runs.
_JVM: Final = (
    "-Xms512m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Djava.security.manager=allow",
    "-Dlog4j2.formatMsgNoLookups=true",
)
_LOGGING: Final = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""


class Answer(NamedTuple):
    """The server's answer to one request."""

    status: int
    body: Any


class OpenSearch:
    """A server on loopback; after `kill()` or `stop()`, `start()` restarts it at the same address."""

    def __init__(self, program: Path, base: Path) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self._base = base
        self._home = program.parent.parent
        self._log = base / "opensearch.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._configure()

    def start(self) -> None:
        """Start the server, and wait until it accepts documents."""
        config = self._base / "config"
        command = [
            str(java()),
            *_JVM,
            f"-Djava.io.tmpdir={self._base / 'tmp'}",
            f"-Dopensearch.path.home={self._home}",
            f"-Dopensearch.path.conf={config}",
            *("-cp", f"{self._home / 'lib'}/*", "org.opensearch.bootstrap.OpenSearch"),
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._base, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **account()
            )
        wait_until(
            self._is_ready,
            START_SECONDS,
            lambda: f"OpenSearch\n{self.log_end()}",
            every=0.1,
            progress=lambda: self._log.stat().st_size,
        )

    def kill(self) -> None:
        """Kill the server, as in a crash; a regular stop would take half a minute."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def log_end(self) -> str:
        """Return the end of the log."""
        return self._log.read_text(errors="replace")[-4000:]

    def request(self, method: str, path: str, body: object = None) -> Answer:
        """Return the answer to a request, whatever its status."""
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Answer(response.status, json.load(response))
        except urllib.error.HTTPError as error:
            return Answer(error.code, json.load(error))

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Return the body of a successful answer; raise `NotReady` with the server's error otherwise."""
        status, answer = self.request(method, path, body)
        if status >= 300:
            raise NotReady(f"{method} {path}: {status} {answer}")
        return answer

    def bulk(self, stream: str, documents: Mapping[str, Mapping[str, object]]) -> Any:
        """Create documents with a bulk request; return the answer."""
        pairs = ((json.dumps({"create": {"_id": key}}), json.dumps(each)) for key, each in documents.items())
        return self.ask(
            "POST", f"{stream}/_bulk", "".join(f"{head}\n{line}\n" for head, line in pairs).encode()
        )

    def refused(self) -> int:
        """Return how many documents the server has refused since it started, for any reason."""
        return self.received().get("4xx", 0)

    def received(self) -> dict[str, int]:
        """Return how many documents the server has received since it started, by the kind of its answer."""
        [node] = self.ask("GET", "_nodes/stats/indices")["nodes"].values()
        counted: dict[str, int] = node["indices"]["indexing"]["doc_status"]
        return counted

    def _configure(self) -> None:
        config = self._base / "config"
        for folder in (config, self._base / "tmp"):
            folder.mkdir()
        settings = {
            "network.host": HOST,
            "http.port": self.port,
            "transport.port": free_port(),
            "discovery.type": "single-node",
            "path.data": str(self._base / "data"),
            "path.logs": str(self._base / "logs"),
            "cluster.routing.allocation.disk.threshold_enabled": False,
        }
        (config / "opensearch.yml").write_text(json.dumps(settings))
        (config / "log4j2.properties").write_text(_LOGGING)
        if as_account := account():
            for path in (self._base, *self._base.rglob("*")):
                os.chown(path, as_account["user"], as_account["group"])

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise NotReady(f"OpenSearch ended: {self.log_end()}")
        return answers(f"{self.url}/_cluster/health?wait_for_status=yellow&timeout=1s")


class DataStream:
    """One data stream of a server, for the documents of a test."""

    def __init__(self, server: OpenSearch, namespace: str) -> None:
        self.server = server
        self.stream = f"logs-partisan.events-{namespace}"

    @property
    def url(self) -> str:
        """The server's URL."""
        return self.server.url

    @property
    def port(self) -> int:
        """The server's port."""
        return self.server.port

    def create(self, documents: Mapping[str, Mapping[str, object]]) -> None:
        """Store documents by id, as a shipper does; fail with the reason if one is refused."""
        answer = self.server.bulk(self.stream, documents)
        refused = [item["create"] for item in answer["items"] if item["create"]["status"] != 201]
        assert refused == []

    def ids(self) -> set[str]:
        """Return the ids of the stored documents."""
        return {hit["_id"] for hit in self.hits({"_source": False})}

    def stored(self) -> dict[str, dict[str, Any]]:
        """Return the stored documents by id."""
        return {hit["_id"]: hit["_source"] for hit in self.hits({})}

    def received(self) -> object:
        """Return a value that changes with each document that the server stores or refuses."""
        try:
            return self.server.received()
        except OSError:  # the server is down
            return None

    def hits(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the current hits of a search; an empty list while the data stream does not exist."""
        try:
            status, _ = self.server.request("POST", f"{self.stream}/_refresh")
        except OSError:  # the server is down
            return []
        if status != 200:
            return []
        found = self.search({"size": MOST_DOCUMENTS, **body})["hits"]["hits"]
        assert len(found) < MOST_DOCUMENTS
        return found  # type: ignore[no-any-return]

    def search(self, body: dict[str, Any]) -> Any:
        """Return the answer to a search."""
        return self.server.ask("POST", f"{self.stream}/_search", body)

    def block_writes(self, blocked: bool) -> None:
        """Refuse documents with 403 from now on, as a server with a full disk does, or accept them again."""
        self.server.ask("PUT", f"{self.stream}/_settings", {"index.blocks.write": blocked})

    def remove(self) -> None:
        """Remove the data stream and its documents, if it exists."""
        self.server.request("DELETE", f"_data_stream/{self.stream}")

    def types(self) -> dict[str, str]:
        """Return the type of each field of the data stream."""
        [index] = self.server.ask("GET", f"{self.stream}/_mapping").values()
        return types_of(index["mappings"]["properties"])


@contextmanager
def running() -> Iterator[OpenSearch]:
    """Run a server without data inside a ``with`` block."""
    program = parts.find(OPENSEARCH)
    with tempfile.TemporaryDirectory(prefix="opensearch-") as name:
        base = Path(name)
        server = OpenSearch(_within_reach(program, base), base)
        try:
            server.start()
            yield server
        finally:
            server.kill()


def _within_reach(program: Path, base: Path) -> Path:
    """Return the program, copied to the base folder if the account that runs it cannot read it."""
    if not account():
        return program
    home = program.parent.parent
    return Path(shutil.copytree(home, base / home.name)) / "bin" / program.name
