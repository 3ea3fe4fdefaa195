"""A proxy that makes Elastic clients accept an OpenSearch server as Elasticsearch.

They send nothing to a server that is not Elasticsearch, has no license, or is older than the client.
All other answers come from the server itself.
"""

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.real_parts.servers import HOST

VERSION: Final = "9.1.4"
OWN_ANSWERS: Final[dict[str, dict[str, Any]]] = {
    "/": {
        "name": "stand-in",
        "cluster_name": "stand-in",
        "version": {"number": VERSION, "build_flavor": "default"},
        "tagline": "You Know, for Search",
    },
    "/_license": {"license": {"status": "active", "type": "basic", "uid": "stand-in"}},
}
ONLY_ELASTICSEARCH: Final = {"require_data_stream", "include_source_on_error"}
"""Parameters that OpenSearch refuses."""

PASSED_ON: Final = ("Content-Type", "Content-Encoding", "Accept", "Accept-Encoding")
PASSED_BACK: Final = ("Content-Type", "Content-Encoding")


class ElasticProxy:
    """Forward to a port of this host while used as a context manager.

    While ``denies`` is true, bulk requests get the answer for an expired key; ``denied`` counts them.
    """

    def __init__(self, target_port: int) -> None:
        self.denies = False
        self.denied = 0
        self._server = ThreadingHTTPServer((HOST, 0), _handler_of(self, target_port))
        self._server.daemon_threads = True
        self.port: int = self._server.server_port

    def __enter__(self) -> "ElasticProxy":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _accepted(path: str) -> str:
    """Return a path without the parameters that the server would refuse."""
    parts = urlsplit(path)
    kept = [(name, value) for name, value in parse_qsl(parts.query, True) if name not in ONLY_ELASTICSEARCH]
    return parts._replace(query=urlencode(kept)).geturl()


def _handler_of(proxy: ElasticProxy, target_port: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            # Some tests have clients that disconnect during a request.
            try:
                super().handle_one_request()
            except ConnectionError:
                self.close_connection = True

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = urlsplit(self.path).path
            if proxy.denies and path.endswith("/_bulk"):
                proxy.denied += 1
                self._say(401, {"error": {"type": "security_exception"}, "status": 401})
            elif path in OWN_ANSWERS:
                self._say(200, OWN_ANSWERS[path])
            else:
                self._pass_on(body)

        def do_GET(self) -> None:
            self.answer()

        def do_HEAD(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def do_PUT(self) -> None:
            self.answer()

        def _pass_on(self, body: bytes) -> None:
            headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
            connection = http.client.HTTPConnection(HOST, target_port, timeout=60)
            try:
                connection.request(self.command, _accepted(self.path), body, headers)
                response = connection.getresponse()
                found = {name: response.headers[name] for name in PASSED_BACK if name in response.headers}
                self._send(response.status, found, response.read())
            except (ConnectionError, http.client.HTTPException):  # the server is down, or was just stopped
                self.close_connection = True
            finally:
                connection.close()

        def _say(self, status: int, answer: dict[str, Any]) -> None:
            self._send(status, {"Content-Type": "application/json"}, json.dumps(answer).encode())

        def _send(self, status: int, headers: dict[str, str], data: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "X-Elastic-Product": "Elasticsearch"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    return Handler
