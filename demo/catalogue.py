"""A local HTTP server that describes packages and fails from time to time.

It simulates the unreliable external services that real tasks use.
"""

import json
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

from demo import library

MOST_FAILURES_IN_A_ROW = 2


class Catalogue(ThreadingHTTPServer):
    """A server that answers `GET /NAME` with JSON, or with 503 if it fails."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._asked: Counter[str] = Counter()
        self._lock = Lock()

    @property
    def address(self) -> str:
        """The host and port."""
        return f"127.0.0.1:{self.server_port}"

    def fails_request(self, name: str) -> bool:
        """Return whether this request fails: by name, never, every other time, or two times in three."""
        failures_in_a_row = zlib.crc32(name.encode()) % (MOST_FAILURES_IN_A_ROW + 1)
        with self._lock:
            asked = self._asked[name]
            self._asked[name] += 1
        return asked % (failures_in_a_row + 1) < failures_in_a_row


class _Handler(BaseHTTPRequestHandler):
    server: Catalogue

    def do_GET(self) -> None:
        name = self.path.removeprefix("/")
        if self.server.fails_request(name):
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "The catalogue is temporarily unavailable")
            return
        body = json.dumps({"name": name, "summary": library.summary_of(name)}).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing: the terminal shows the progress line."""


@contextmanager
def serving() -> Iterator[Catalogue]:
    """Serve for the length of a `with` block, on a free port of the loopback interface."""
    with Catalogue() as catalogue:
        Thread(target=catalogue.serve_forever, name="catalogue", daemon=True).start()
        try:
            yield catalogue
        finally:
            catalogue.shutdown()
