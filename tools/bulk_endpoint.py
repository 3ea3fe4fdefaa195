"""A stand-in for Elasticsearch on loopback: takes index templates and bulk requests, and types every field.

It stores, refuses and fails as Elasticsearch does where a log shipper can tell, and does nothing else:
no mapping is ever added, nothing can be searched. ``python -m tools.bulk_endpoint --port 9200`` says each
second how many documents it holds.
"""

import argparse
import fnmatch
import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Literal

from tools.ecs import ECS, problems_of, types_of

HOST: Final = "127.0.0.1"
VERSION: Final = "9.1.4"
Mode = Literal["accept", "429", "503", "down"]


class BulkEndpoint:
    """Serve while used as a context manager; ``mode`` may be changed at any time with ``become()``.

    ``429`` refuses every second document as a full queue does, ``503`` every request, ``down`` refuses
    connections. ``documents`` are those stored, by id; ``refused`` what was wrong with others.
    """

    def __init__(self, port: int = 0) -> None:
        self.mode: Mode = "accept"
        self.documents: dict[str, dict[str, Any]] = {}
        self.streams: set[str] = set()
        self.refused: list[str] = []
        self.conflicts = 0
        self.throttled = 0
        self._components: dict[str, dict[str, Any]] = {}
        self._templates: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._serve(port)

    @property
    def url(self) -> str:
        """The address; it stays the same while the endpoint is down."""
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> "BulkEndpoint":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.become("down")

    def become(self, mode: Mode) -> None:
        """Behave differently from now on; no request is under way when this returns to ``down``."""
        before, self.mode = self.mode, mode
        if mode == "down" != before:
            self._server.shutdown()
            self._server.server_close()
            for connection in list(self._open):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        elif before == "down" != mode:
            self._serve(self.port)

    def handle(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Answer one request with a status and a body."""
        if self.mode == "503":
            return 503, {
                "error": {"type": "unavailable_shards_exception", "reason": "mode 503"},
                "status": 503,
            }
        parts = path.split("?")[0].strip("/").split("/")
        if method == "PUT" and parts[0] in ("_component_template", "_index_template"):
            store = self._components if parts[0] == "_component_template" else self._templates
            store[parts[1]] = json.loads(body)
            return 200, {"acknowledged": True}
        if method in ("POST", "PUT") and parts[-1] == "_bulk":
            with self._lock:
                items = [self._write(*each) for each in _actions(body, parts[0] if len(parts) > 1 else "")]
            failed = any(item["create"]["status"] >= 400 for item in items)
            return 200, {"took": 1, "errors": failed, "items": items}
        if method in ("GET", "HEAD"):
            return 200, {
                "version": {"number": VERSION},
                "tagline": "a stand-in for Elasticsearch",
                "status": "green",
            }
        return 405, {"error": {"type": "illegal_argument_exception", "reason": path}, "status": 405}

    def _write(self, number: int, action: str, stream: str, key: str, line: bytes) -> dict[str, Any]:
        status, kind, reason = self._judge(number, action, stream, key, line)
        item: dict[str, Any] = {"_index": stream, "_id": key, "status": status}
        if status >= 400:
            item["error"] = {"type": kind, "reason": reason}
        return {"create": item}

    def _judge(self, number: int, action: str, stream: str, key: str, line: bytes) -> tuple[int, str, str]:
        types = self._types_of(stream)
        if types is None:
            return self._refuse(404, "index_not_found_exception", f"no template matches {stream!r}")
        if action != "create":
            return self._refuse(400, "illegal_argument_exception", "only create in data streams")
        if not key:
            return self._refuse(400, "illegal_argument_exception", "no _id: a retry would duplicate it")
        if self.mode == "429" and number % 2:
            self.throttled += 1
            return 429, "es_rejected_execution_exception", "the queue is full"
        if key in self.documents:
            self.conflicts += 1
            return 409, "version_conflict_engine_exception", f"[{key}]: document already exists"
        try:
            document = json.loads(line)
            problems = problems_of(document, types)
        except (ValueError, AttributeError) as error:
            return self._refuse(400, "document_parsing_exception", str(error))
        if problems:
            return self._refuse(400, "document_parsing_exception", "; ".join(problems))
        self.documents[key] = document
        self.streams.add(stream)
        return 201, "", ""

    def _refuse(self, status: int, kind: str, reason: str) -> tuple[int, str, str]:
        self.refused.append(reason)
        return status, kind, reason

    def _types_of(self, stream: str) -> dict[str, str] | None:
        """Return the types that the best index template for a data stream composes, with those of ECS."""
        fitting = [
            template
            for template in self._templates.values()
            if any(fnmatch.fnmatchcase(stream, pattern) for pattern in template["index_patterns"])
        ]
        if not fitting:
            return None
        types = dict(ECS)
        for name in max(fitting, key=lambda template: template.get("priority", 0))["composed_of"]:
            component = self._components.get(name, {"template": {}})
            types |= types_of(component["template"].get("mappings", {}).get("properties", {}))
        return types

    def _serve(self, port: int) -> None:
        self._server = ThreadingHTTPServer((HOST, port), _handler_of(self))
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()


def _actions(body: bytes, stream: str) -> Iterator[tuple[int, str, str, str, bytes]]:
    """Yield number, operation, data stream, id and document of each action of a bulk request."""
    lines = iter(line for line in body.split(b"\n") if line.strip())
    for number, (head, line) in enumerate(zip(lines, lines, strict=False)):
        [(operation, of_action)] = json.loads(head).items()
        yield number, operation, of_action.get("_index", stream), of_action.get("_id", ""), line


def _handler_of(endpoint: BulkEndpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            endpoint._open.add(self.connection)

        def finish(self) -> None:
            endpoint._open.discard(self.connection)
            with suppress(OSError):
                super().finish()

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            status, answer = endpoint.handle(self.command, self.path, body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("X-Elastic-Product", "Elasticsearch")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
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
            """Say nothing: what came is in ``documents``."""

    return Handler


def main() -> None:
    """Say each second how many documents are there, until interrupted."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=9200, help="0 takes any free port")
    with BulkEndpoint(parser.parse_args().port) as endpoint, suppress(KeyboardInterrupt):
        print(f"{endpoint.url} takes templates and bulk requests; Ctrl-C ends it.", flush=True)
        while True:
            time.sleep(1)
            print(f"{len(endpoint.documents)} documents, {len(endpoint.refused)} refused", flush=True)


if __name__ == "__main__":
    main()
