"""An exporter over OTLP/HTTP that encodes by templates and sends as the SDK's own does.

Endpoint, headers, certificates, compression, timeout and retries are the SDK's exporter's: it is asked to
send a batch without spans, and our bytes take the place of its own where they go out.
"""

import gzip
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter

from django_partisan.tracing.templates import Templates

_COMPRESSIONS: Final[dict[object, Callable[[bytes], bytes]]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}


REQUEST_MAX_BYTES: Final = 64 << 20
"""Longest request, before compression; what is longer is not sent. As in the SDK's exporter."""


class TemplateExporter(SpanExporter):
    """Export spans, those of completed runs by template; the batch processor exports one batch at a time."""

    takes_light_spans = True

    def __init__(self) -> None:
        self._templates = Templates()
        self._courier = _Courier()
        session = Session()
        session.mount("http://", self._courier)
        session.mount("https://", self._courier)
        self._exporter: SpanExporter = OTLPSpanExporter(session=session)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        load = self._templates.encode(spans)
        if len(load) > REQUEST_MAX_BYTES:
            return SpanExportResult.FAILURE
        self._courier.take(load)
        result = self._exporter.export([])
        # What did not go through the courier was an empty batch, whatever came of it.
        return result if self._courier.drop() else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class _Courier(HTTPAdapter):
    """Send what it was given as the body of each request."""

    def __init__(self) -> None:
        super().__init__()
        self._load = b""
        self._sent = False

    def take(self, load: bytes) -> None:
        """Take what the next requests are to send: the first, and those that try again."""
        self._load, self._sent = load, False

    def drop(self) -> bool:
        """Forget the load, and tell whether it was sent."""
        self._load = b""
        return self._sent

    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        if request.method == "POST":  # not one that follows a redirection
            compress = _COMPRESSIONS.get(request.headers.get("Content-Encoding"))
            request.body = compress(self._load) if compress else self._load
            request.headers["Content-Length"] = str(len(request.body))
            self._sent = True
        return super().send(request, *args, **options)
