"""A stub of Elasticsearch on the loopback interface that fails on demand, which a real server cannot.

It stores templates and documents, and answers 429, 503 or 401 if ``mode`` says so. It neither searches nor
checks whether documents match a template; tests of that need a real server.
"""

import json
import threading
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Literal

HOST: Final = "127.0.0.1"
VERSION: Final = "9.1.4"
Mode = Literal["accept", "429", "503", "401"]
_WHOLE: Final[dict[Mode, tuple[int, str]]] = {
    "503": (503, "unavailable_shards_exception"),
    "401": (401, "security_exception"),
}


class BulkEndpoint:
    """A server that runs while used as a context manager; ``mode`` can be set at any time.

    Mode ``429`` refuses every second document, like a server with a full queue. Modes ``503`` and ``401``
    refuse every request, like a server that is starting or does not accept the credentials. ``documents`` has
    the stored documents by id; ``root`` is the answer to a GET; ``headers`` are those of the last request.
    """

    def __init__(self, stream: str = "logs-partisan.events-default") -> None:
        self.mode: Mode = "accept"
        self.stream = stream
        self.documents: dict[str, dict[str, Any]] = {}
        self.templates: dict[str, dict[str, Any]] = {}
        self.throttled = 0
        self.root: dict[str, Any] = {"version": {"number": VERSION}, "tagline": "You Know, for Search"}
        self.headers: Mapping[str, str] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer((HOST, 0), _handler_of(self))
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.url = f"http://{HOST}:{self.port}"

    def __enter__(self) -> "BulkEndpoint":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def ids(self) -> Set[str]:
        """Return the ids of the stored documents."""
        return self.documents.keys()

    def stored(self) -> dict[str, dict[str, Any]]:
        """Return the stored documents by id."""
        return self.documents

    def received(self) -> object:
        """Return a value that changes with each new document that is stored or throttled."""
        return len(self.documents), self.throttled

    def handle(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Answer one request with a status and a body."""
        if self.mode in _WHOLE:
            status, kind = _WHOLE[self.mode]
            return status, {"error": {"type": kind, "reason": f"mode {self.mode}"}, "status": status}
        if method in ("GET", "HEAD"):
            return 200, self.root
        if method == "PUT" and "_template/" in path:
            self.templates[path] = json.loads(body)
            return 200, {"acknowledged": True}
        if method == "POST" and path.split("?")[0].endswith("/_bulk"):
            with self._lock:
                items = [{"create": self._write(*each)} for each in _actions(body)]
            return 200, {"errors": any(item["create"]["status"] >= 400 for item in items), "items": items}
        return 405, {"error": {"type": "illegal_argument_exception", "reason": path}, "status": 405}

    def _write(self, number: int, stream: str, key: str, line: bytes) -> dict[str, Any]:
        status, kind = self._judge(number, stream, key)
        item: dict[str, Any] = {"_index": stream, "_id": key, "status": status}
        if status >= 400:
            item["error"] = {"type": kind, "reason": f"[{key}] in {stream}"}
        else:
            self.documents[key] = json.loads(line)
        return item

    def _judge(self, number: int, stream: str, key: str) -> tuple[int, str]:
        if stream != self.stream:
            return 404, "index_not_found_exception"
        if self.mode == "429" and number % 2:
            self.throttled += 1
            return 429, "es_rejected_execution_exception"
        if key in self.documents:
            return 409, "version_conflict_engine_exception"
        return 201, ""


def _actions(body: bytes) -> Iterator[tuple[int, str, str, bytes]]:
    """Yield number, data stream, id and document of each creation of a bulk request."""
    lines = iter(line for line in body.split(b"\n") if line.strip())
    for number, (head, line) in enumerate(zip(lines, lines, strict=False)):
        action = json.loads(head)["create"]
        yield number, action["_index"], action["_id"], line


def _handler_of(endpoint: BulkEndpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            endpoint.headers = dict(self.headers)
            status, answer = endpoint.handle(self.command, self.path, body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("X-Elastic-Product", "Elasticsearch")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                with suppress(OSError):  # the client has exited
                    self.wfile.write(data)

        def do_GET(self) -> None:
            self.answer()

        def do_HEAD(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def do_PUT(self) -> None:
            self.answer()

        def log_message(self, *_: Any) -> None:
            """Log nothing: tests read ``documents``."""

    return Handler
