"""Export spans over OTLP/HTTP, encoded with templates and sent by the SDK's own exporter.

Endpoint, headers, certificates, compression, timeout and retries are those of the SDK's exporter: it exports
an empty batch, and our body replaces its body when the request is sent.
"""

import gzip
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter

from django_partisan.tracing.otlp_templates import Templates

_COMPRESSIONS: Final[dict[object, Callable[[bytes], bytes]]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}


class TemplateExporter(OTLPSpanExporter):
    """Exports spans, using templates for those of completed runs; called for one batch at a time."""

    def __init__(self, request_max_bytes: int = 64 << 20) -> None:
        """Limit the size of requests before compression; the default is that of the SDK's exporter."""
        self._request_max_bytes = request_max_bytes
        self._templates = Templates()
        self._adapter = BodyAdapter()
        session = Session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, self._adapter)
        super().__init__(session=session)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        body = self._templates.encode(spans)
        if len(body) > self._request_max_bytes:
            return SpanExportResult.FAILURE
        self._adapter.replace_by(body)
        result = super().export([])
        # A request that did not pass through the adapter sent an empty batch, whatever its result.
        return result if self._adapter.was_replaced else SpanExportResult.FAILURE


class BodyAdapter(HTTPAdapter):
    """An adapter that replaces the body of each request, including those that retry it."""

    _body = b""
    was_replaced = False

    def replace_by(self, body: bytes) -> None:
        """Set the body of the next requests, before compression."""
        self._body, self.was_replaced = body, False

    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        if request.method == "POST":  # not for a request that follows a redirect
            compress = _COMPRESSIONS.get(request.headers.get("Content-Encoding"), bytes)
            request.body = compress(self._body)
            request.headers["Content-Length"] = str(len(request.body))
            self.was_replaced = True
        return super().send(request, *args, **options)
