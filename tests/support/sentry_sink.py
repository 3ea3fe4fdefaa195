"""A stand-in for Sentry: a server on 127.0.0.1 that stores the events sent by the SDK's own transport."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class SentrySink:
    """Store events; ``dsn`` is what ``sentry_sdk.init()`` takes."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        keep = self._keep

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                keep(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def dsn(self) -> str:
        """The DSN of a project on this server."""
        return f"http://key@127.0.0.1:{self._server.server_port}/1"

    def _keep(self, envelope: bytes) -> None:
        # Source: Sentry's envelope format: a header line, then a header and a payload line for each item.
        _, *lines = envelope.splitlines()
        for header, payload in zip(lines[::2], lines[1::2], strict=False):
            if json.loads(header).get("type") == "event":
                self.events.append(json.loads(payload))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def sentry_sink() -> Iterator[SentrySink]:
    """Run a sink inside a ``with`` block."""
    sink = SentrySink()
    sink.start()
    try:
        yield sink
    finally:
        sink.stop()
