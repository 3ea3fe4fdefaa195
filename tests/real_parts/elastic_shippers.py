"""Shippers that only send to Elasticsearch, built by `make parts PARTS=all`: Filebeat and the Collector."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.real_parts.log_path import ELK, LOG_FOLDER, STREAM
from tests.real_parts.opensearch import DataStream
from tests.real_parts.servers import HOST, free_port
from tests.support.child import Child
from tests.support.tcp_proxy import TcpProxy
from tools import parts
from tools.parts.go_programs import FILEBEAT, OTELCOL

QUIET: Final = "--set=service::telemetry::metrics::level=none"
"""The Collector's own metrics would use a fixed port, which another run may be using."""

ADDED: Final = ("agent.", "host.", "input.", "log.file.", "log.offset")
"""Fields that Filebeat adds to a line."""


def is_there(part: parts.Part) -> pytest.MarkDecorator:
    """Return a mark that skips a test if a part is not built; the reason gives the command to build it."""
    try:
        parts.find(part)
    except parts.PartMissing as missing:
        return pytest.mark.skip(reason=str(missing))
    return pytest.mark.skipif(False, reason="it is there")


OTELCOL_IS_THERE: Final = is_there(OTELCOL)
FILEBEAT_IS_THERE: Final = is_there(FILEBEAT)


class ElasticStream:
    """A data stream as Elastic clients see it, behind a connection that can be broken.

    Shippers set their own document ids; here documents are identified by the ``event.id`` of their line.
    """

    def __init__(self, data_stream: DataStream, way: TcpProxy) -> None:
        self.way = way
        self.stream = data_stream.stream
        self.refused = DataStream(data_stream.server, namespace="")
        self.refused.stream = refused_stream(self.stream)
        self._documents = data_stream

    @property
    def url(self) -> str:
        """The URL of the proxy."""
        return f"http://{HOST}:{self.port}"

    @property
    def port(self) -> int:
        """The port of the proxy."""
        return self.way.port

    def documents(self) -> list[dict[str, Any]]:
        """Return every document with dotted field names, without the fields that shippers add."""
        return [lines_fields(hit["_source"]) for hit in self._documents.hits({})]

    def ids(self) -> set[str]:
        """Return the ids of the stored lines."""
        return {document["event.id"] for document in self.documents() if "event.id" in document}

    def received(self) -> object:
        """Return a value that changes with each document that the server stores or refuses."""
        return self._documents.received()

    def stored(self) -> dict[str, dict[str, Any]]:
        """Return the stored lines by id; fail if one was stored twice."""
        documents = [document for document in self.documents() if "event.id" in document]
        by_id = {document["event.id"]: document for document in documents}
        assert len(by_id) == len(documents)
        return by_id


def refused_stream(stream: str) -> str:
    """Return the name of the data stream for lines that ``stream`` refuses."""
    return stream.replace(".events-", ".refused-")


def lines_fields(document: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a document that come from the line, with dotted names."""
    return {name: value for name, value in _flat(document, "") if not name.startswith(ADDED)}


def _flat(document: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def recipe(name: str, replaced: dict[str, str]) -> str:
    """Return a recipe with paths, ports and data stream replaced by those of the test, and nothing else."""
    text = (ELK / name).read_text()
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    return text


class Filebeat(Child):
    """A real Filebeat that runs the shipped recipe."""

    def __init__(self, folder: Path, url: str, stream: str) -> None:
        config, home = folder / "filebeat.yml", folder / "filebeat"
        replaced = {
            LOG_FOLDER: str(folder / "log"),
            STREAM: stream,
            refused_stream(STREAM): refused_stream(stream),
        }
        config.write_text(recipe("filebeat/filebeat.yml", replaced))
        paths = ["-c", str(config), "--path.home", str(home), "--path.data", str(home / "data")]
        # The file belongs to the user who runs the tests; if that is root, Filebeat would refuse it.
        command = [str(parts.find(FILEBEAT)), *paths, "--strict.perms=false"]
        super().__init__("filebeat", command, folder, {**os.environ, "ELASTICSEARCH_URL": url})


class Collector(Child):
    """A real Collector that runs the shipped recipe; it accepts spans at ``otlp_url``."""

    def __init__(self, folder: Path, url: str, stream: str, tempo: str = f"{HOST}:1") -> None:
        config = folder / "collector.yaml"
        ports = {port: free_port() for port in ("13133", "4317", "4318")}
        self.otlp_url = f"http://{HOST}:{ports['4318']}"
        replaced = {LOG_FOLDER: str(folder / "log"), STREAM: stream}
        replaced |= {"/var/lib/otelcol": str(folder / "otelcol")}
        replaced |= {f":{port}": f":{free}" for port, free in ports.items()}
        config.write_text(recipe("collector/collector.yaml", replaced))
        env = {**os.environ, "ELASTICSEARCH_URL": url, "TEMPO_ENDPOINT": tempo}
        command = [str(parts.find(OTELCOL)), "--config", str(config), QUIET]
        super().__init__("otelcol", command, folder, env)
        self.wait_until_it_answers(f"http://{HOST}:{ports['13133']}/")
