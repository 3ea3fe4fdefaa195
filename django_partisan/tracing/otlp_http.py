"""Export spans over OTLP/HTTP, encoded by ``otlp_encoding`` and sent by the SDK's own exporter.

Endpoint, headers, certificates, compression, timeout and retries are those of the SDK's exporter. That one
cannot send bytes, so it exports an empty batch, and its session replaces the body of the request.
"""

import gzip
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from requests import Response, Session
from requests.structures import CaseInsensitiveDict

from django_partisan.tracing.otlp_encoding import encode

_COMPRESSIONS: Final[dict[str | None, Callable[[bytes], bytes]]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}


class OtlpHttpExporter(OTLPSpanExporter):
    """The SDK's exporter with a faster encoder; called for one batch at a time."""

    def __init__(self, request_max_bytes: int = 64 << 20) -> None:
        """Limit the size of requests before compression; the default is that of the SDK's exporter."""
        self._request_max_bytes = request_max_bytes
        self._bodies = BodySession()
        super().__init__(session=self._bodies)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        body = encode(spans)
        if len(body) > self._request_max_bytes:
            return SpanExportResult.FAILURE
        self._bodies.body, self._bodies.was_replaced = body, False
        try:
            result = super().export([])
        finally:
            self._bodies.body = b""  # it may be large, and the next export may be far away
        # A request that did not pass through the session sent an empty batch, whatever its result.
        return result if self._bodies.was_replaced else SpanExportResult.FAILURE


class BodySession(Session):
    """A session that replaces the body of each request, including those that retry it."""

    body = b""
    """The body of the next requests, before compression."""
    was_replaced = False

    def request(self, *args: Any, **options: Any) -> Response:
        headers = CaseInsensitiveDict({**self.headers, **(options.get("headers") or {})})
        compress = _COMPRESSIONS.get(headers.get("Content-Encoding"), bytes)
        self.was_replaced = True
        return super().request(*args, **{**options, "data": compress(self.body)})
