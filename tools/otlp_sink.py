"""A collector on the loopback interface that receives spans and log lines by OTLP over HTTP, and can fail.

``python -m tools.otlp_sink --file spans.jsonl`` writes each span as a line of JSON.
"""

import argparse
import gzip
import json
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

HOST = "127.0.0.1"
PATH = "/v1/traces"
PATH_OF_LINES = "/v1/logs"
DECOMPRESSIONS: Final[dict[str | None, Callable[[bytes], bytes]]] = {
    None: bytes,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
}
KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUSES = ("unset", "ok", "error")

Mode = Literal["accept", "refuse", "hang"]


@dataclass(frozen=True)
class ReceivedLink:
    """A link: hexadecimal ids and attributes."""

    trace_id: str
    span_id: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class ReceivedEvent:
    """A span event."""

    name: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class ReceivedSpan:
    """A received span: ids in hexadecimal, times in nanoseconds since the epoch."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    started: int
    ended: int
    status: str
    status_message: str
    attributes: dict[str, Any]
    links: list[ReceivedLink]
    events: list[ReceivedEvent]
    resource: dict[str, Any]


@dataclass(frozen=True)
class ReceivedLine:
    """A received log line."""

    body: Any
    severity: str
    trace_id: str
    attributes: dict[str, Any]
    resource: dict[str, Any]


class OtlpSink:
    """A server for ``/v1/traces`` and ``/v1/logs`` that runs while used as a context manager.

    ``mode`` can be set at any time: ``accept`` answers after ``delay_seconds``, ``refuse`` answers 400, and
    ``hang`` answers nothing until ``let_go()`` or the end. The next ``busy`` requests that would be accepted
    get status 503, after which exporters retry.
    """

    def __init__(self, port: int = 0, heard: Callable[[ReceivedSpan], None] | None = None) -> None:
        self.mode: Mode = "accept"
        self.delay_seconds = 0.0
        self.busy = 0
        self.spans: list[ReceivedSpan] = []
        self.lines: list[ReceivedLine] = []
        self.headers: list[dict[str, str]] = []
        """The headers of each request, with lowercase names."""
        self.requests = 0
        self._heard = heard
        self._arrived = threading.Condition()
        self._released = threading.Event()
        self._server = ThreadingHTTPServer((HOST, port), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """The URL for ``OTEL_EXPORTER_OTLP_ENDPOINT``."""
        return f"http://{HOST}:{self._server.server_address[1]}"

    def __enter__(self) -> "OtlpSink":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.let_go()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def let_go(self) -> None:
        """Answer all requests that are delayed or hang, and delay no more requests."""
        self._released.set()

    def wait_for(self, count: int, name: str = "", timeout: float = 10.0) -> list[ReceivedSpan]:
        """Wait for ``count`` spans whose names start with ``name``; raise ``TimeoutError``."""

        def found() -> list[ReceivedSpan]:
            return [span for span in self.spans if span.name.startswith(name)]

        with self._arrived:
            if not self._arrived.wait_for(lambda: len(found()) >= count, timeout):
                raise TimeoutError(f"{len(found())} of {count} spans {name!r} arrived within {timeout} s")
            return found()

    def take(self, path: str, body: bytes) -> int:
        """Handle one request and return its status."""
        with self._arrived:
            self.requests += 1
        if self.mode == "hang":
            self._released.wait()
            return 400  # exporters do not retry it
        if path not in (PATH, PATH_OF_LINES):
            return 404
        self._released.wait(self.delay_seconds)
        if self.mode == "refuse":
            return 400
        if self.busy:
            self.busy -= 1
            return 503
        if path == PATH_OF_LINES:
            self.lines.extend(lines_of(ExportLogsServiceRequest.FromString(body)))
            return 200
        received = list(spans_of(ExportTraceServiceRequest.FromString(body)))
        with self._arrived:
            self.spans.extend(received)
            for span in received if self._heard else ():
                self._heard(span)  # type: ignore[misc]  # not None: checked above
            self._arrived.notify_all()
        return 200


def spans_of(request: ExportTraceServiceRequest) -> Iterable[ReceivedSpan]:
    """Yield the spans of one export."""
    for of_resource in request.resource_spans:
        resource = _attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield _received(span, resource)


def lines_of(request: ExportLogsServiceRequest) -> Iterable[ReceivedLine]:
    """Yield the log lines of one export."""
    for of_resource in request.resource_logs:
        resource = _attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_logs:
            for line in of_scope.log_records:
                attributes = _attributes(line.attributes)
                yield ReceivedLine(
                    _value(line.body), line.severity_text, line.trace_id.hex(), attributes, resource
                )


def _received(span: Span, resource: dict[str, Any]) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        kind=KINDS[span.kind],
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        started=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        status=STATUSES[span.status.code],
        status_message=span.status.message,
        attributes=_attributes(span.attributes),
        links=[_received_link(link) for link in span.links],
        events=[ReceivedEvent(event.name, _attributes(event.attributes)) for event in span.events],
        resource=resource,
    )


def _received_link(link: Span.Link) -> ReceivedLink:
    return ReceivedLink(link.trace_id.hex(), link.span_id.hex(), _attributes(link.attributes))


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return None if kind is None else getattr(value, kind)


def _handler_of(sink: OtlpSink) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = DECOMPRESSIONS[self.headers.get("Content-Encoding")](body)
            sink.headers.append({name.lower(): value for name, value in self.headers.items()})
            status = sink.take(self.path, body)
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Log nothing: tests read ``spans``."""

    return Handler


def main() -> None:
    """Write received spans to a file until interrupted."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=4318, help="0 means any free port")
    parser.add_argument("--file", type=Path, required=True, help="one line of JSON per span is appended")
    options = parser.parse_args()
    with (
        options.file.open("a", buffering=1) as file,
        OtlpSink(options.port, lambda span: print(json.dumps(asdict(span)), file=file)) as sink,
        suppress(KeyboardInterrupt),
    ):
        print(f"OTEL_EXPORTER_OTLP_ENDPOINT={sink.url}", flush=True)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
