"""An HTTP server for a few small pages, in which no client can block another.

One thread accepts connections, and each connection has a thread. Connections are limited in number and have
a deadline; when there are too many, the oldest is closed.

| Attribute | Written by |
| --- | --- |
| ``_deadlines`` | the accepting thread adds, each connection's thread removes its own |
"""

import contextlib
import errno
import io
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from email.message import Message
from http import HTTPStatus
from http.client import HTTPException, LineTooLong
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, Final, NamedTuple

from django_partisan.metrics.access import CannotServe, PortInUse

THREAD_NAME: Final = "partisan-metrics"
HEAD_BYTES_MAX: Final = 16_384
ACCEPT_PAUSE_SECONDS: Final = 0.5
OUT_OF_RESOURCES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Limits(NamedTuple):
    """The maximum number of open connections, and the maximum time that one stays open."""

    connections: int = 64
    seconds: float = 30.0


LIMITS: Final = Limits()


class Request(NamedTuple):
    """A request without its body; header names are case-insensitive."""

    method: str
    target: str
    headers: Message


class Response(NamedTuple):
    """A response; the headers ``Content-Length`` and ``Connection`` are added."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Server(ThreadingTCPServer):
    """A server that answers requests with ``answer`` from ``start()`` to ``stop()``."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128  # with the default of 5, simultaneous scrapes are delayed by a second

    def __init__(
        self,
        place: tuple[str, int],
        answer: Callable[[Request], Response],
        tls: ssl.SSLContext | None,
        on_error: Callable[[], None],
        limits: Limits = LIMITS,
    ) -> None:
        """Bind host and port; ``on_error`` is called in an ``except`` clause. Raises ``CannotServe``."""
        host, port = place
        self.answer = answer
        self.on_error = on_error
        self._tls = tls
        self._limits = limits
        self._deadlines: dict[socket.socket, float] = {}
        self._thread = threading.Thread(target=self.serve_forever, name=THREAD_NAME, daemon=True)
        try:
            self.address_family, _, _, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            super().__init__(address, _Handler)  # type: ignore[arg-type]
        except (OSError, UnicodeError) as error:  # the latter for a host with a label that is too long
            reason = getattr(error, "strerror", None) or error
            is_taken = getattr(error, "errno", None) == errno.EADDRINUSE
            raise (PortInUse if is_taken else CannotServe)(
                f"Cannot serve metrics on port {port} of {host!r}: {reason}. "
                "Choose another --metrics-port or --metrics-host, or stop the process that uses the port."
            ) from error

    @property
    def url(self) -> str:
        """The URL with the numeric address."""
        host, port = self.socket.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        return f"{'http' if self._tls is None else 'https'}://{shown}:{port}"

    def start(self) -> None:
        """Start to answer requests."""
        self._thread.start()

    def stop(self) -> None:
        """Close every connection, and release the port."""
        if self._thread.ident is not None:
            with contextlib.suppress(OSError):  # wakes the thread, if the system supports it
                self.socket.shutdown(socket.SHUT_RDWR)
            self.shutdown()
        self.server_close()
        for connection in list(self._deadlines):
            _cut(connection)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; if descriptors or memory run out, pause before the next attempt."""
        try:
            connection, address = self.socket.accept()
        except OSError as error:
            if error.errno in OUT_OF_RESOURCES:
                time.sleep(ACCEPT_PAUSE_SECONDS)
            raise
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the thread of a connection; close the oldest if there are too many."""
        excess = len(self._deadlines) - self._limits.connections + 1
        for oldest in list(self._deadlines)[: max(excess, 0)]:
            _cut(oldest)
        self._deadlines[request] = time.monotonic() + self._limits.seconds
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Close connections past their deadline; called twice a second."""
        now = time.monotonic()
        for connection, deadline in list(self._deadlines.items()):
            if deadline < now:
                _cut(connection)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self._deadlines.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an error of the server, but ignore clients that disconnect or violate the protocol."""
        if not isinstance(sys.exc_info()[1], OSError | HTTPException):
            self.on_error()


class _Handler(BaseHTTPRequestHandler):
    """The handler of one request, in the thread of its connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # a malformed request gets a status line, too
    rbufsize = 0  # ``_Head`` has the buffer

    def setup(self) -> None:
        """Limit the size of the head."""
        super().setup()
        self.rfile = _Head(self.rfile)

    def do_GET(self) -> None:
        """Send the response of the server's ``answer`` function."""
        try:
            response = self.server.answer(Request(self.command, self.path, self.headers))
        except Exception:
            self.server.on_error()
            response = plain(500)
        self._send(response)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a malformed request; handle every method, such as HEAD, like GET."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self.do_GET()
        else:
            self._send(plain(code))

    def finish(self) -> None:
        """Read what the client still sends: closing with unread data would cut off the response."""
        super().finish()
        self.request.shutdown(socket.SHUT_WR)
        while self.request.recv(HEAD_BYTES_MAX):
            pass

    def _send(self, response: Response) -> None:
        self.send_response_only(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Connection", "close")
        for name, value in response.headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)


class _Head(io.BufferedReader):
    """A reader that limits the size of a request's head.

    The standard library limits the length and number of lines, which still allows 6 MB per connection.
    """

    _left = HEAD_BYTES_MAX

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(self._left + 1)
        self._left -= len(line)
        if self._left < 0:
            raise LineTooLong("head")
        return line


def plain(status: int, text: str = "", *headers: tuple[str, str]) -> Response:
    """Return a plain-text response of one paragraph, by default the phrase of the status."""
    body = f"{text or HTTPStatus(status).phrase}\n"
    return Response(status, "text/plain; charset=utf-8", body.encode(), headers)


def _cut(connection: socket.socket) -> None:
    """Disconnect a client; the thread of the connection reads the end of the stream."""
    with contextlib.suppress(OSError):
        # Not the TLS socket's own method, which ends the encryption first: the thread of the connection
        # could then send plain text.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
