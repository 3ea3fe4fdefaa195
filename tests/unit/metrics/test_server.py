"""An HTTP server that no client can hold up: over real sockets."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_partisan.metrics import access, server
from django_partisan.metrics.server import Request, Response, Server

from .certificates import Certificates

Start = Callable[..., int]


@pytest.fixture
def errors() -> list[int]:
    return []


@pytest.fixture
def start(errors: list[int]) -> Iterator[Start]:
    """Start servers that answer with ``answer``, by default the request itself; return the port."""
    servers = []

    async def echo(request: Request) -> Response:
        return server.plain(200, f"{request.method} {request.target} {sorted(request.headers.items())}")

    def start(answer: Any = echo, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> int:
        listener = access.listen(host, 0)
        made = Server(listener, answer, tls, lambda: errors.append(1))
        port: int = listener.getsockname()[1]
        made.start()
        servers.append(made)
        return port

    yield start
    for made in servers:
        made.stop()


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, port), timeout=10)


def read_all(client: socket.socket) -> bytes:
    received = []
    try:
        while chunk := client.recv(1_000_000):
            received.append(chunk)
    except ConnectionResetError:
        pass  # what the server did not read
    return b"".join(received)


def exchange(port: int, sent: bytes, host: str = "127.0.0.1") -> bytes:
    with connect(port, host) as client:
        client.sendall(sent)
        return read_all(client)


def is_answered(port: int) -> bool:
    return exchange(port, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_request_is_read_and_answered(start: Start) -> None:
    answer = exchange(start(), b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nAccept:  y \r\n\r\n")

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.splitlines() == [
        b"HTTP/1.1 200 OK",
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: %d" % len(body),
        b"Connection: close",
    ]
    assert body == b"GET /a?b=c [('accept', 'y'), ('host', 'x')]\n"


def test_bare_line_ends_are_taken_too(start: Start) -> None:
    assert exchange(start(), b"GET /a HTTP/1.0\n\n").endswith(b"GET /a []\n")


def test_head_has_the_same_head_and_no_body(start: Start) -> None:
    answer = exchange(start(), b"HEAD / HTTP/1.1\r\n\r\n")

    assert b"Content-Length: 10\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_it_listens_on_ipv6(start: Start) -> None:
    assert b"200 OK" in exchange(start(host="::1"), b"GET / HTTP/1.1\r\n\r\n", "::1")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\n", 400),
        (b"\x80\xff\xfe\n", 400),
        (b"GET /\n\n", 400),
        (b"GET / FTP/1.0\n\n", 400),
        (b"G{T / HTTP/1.1\n\n", 400),
        (b"\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nlong: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"many: x\r\n" * 3_000, 431),
    ],
)
def test_what_is_no_request_is_refused_at_once(start: Start, sent: bytes, status: int) -> None:
    port = start()

    assert exchange(port, sent).startswith(b"HTTP/1.1 %d " % status)
    assert is_answered(port)


def test_half_a_request_is_refused_when_its_sender_stops(start: Start) -> None:
    with connect(start()) as client:
        client.sendall(b"GET / HTT")
        client.shutdown(socket.SHUT_WR)

        assert read_all(client).startswith(b"HTTP/1.1 400 ")


def test_a_client_that_says_nothing_is_no_error(start: Start, errors: list[int]) -> None:
    port = start()
    connect(port).close()

    assert is_answered(port)
    assert errors == []


def test_a_body_is_not_read_and_does_not_cut_off_the_answer(start: Start) -> None:
    sent = b"POST /a HTTP/1.1\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000

    assert b"POST /a" in exchange(start(), sent)


def test_a_bug_in_an_answer_is_an_error_of_that_answer(start: Start, errors: list[int]) -> None:
    async def answer(request: Request) -> Response:
        raise RuntimeError("a bug")

    assert exchange(start(answer), b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 500 ")
    assert errors == [1]


def test_an_answer_that_cannot_be_sent_is_counted(start: Start, errors: list[int]) -> None:
    async def answer(request: Request) -> Response:
        return Response(999, "text/plain", b"")

    assert exchange(start(answer), b"GET / HTTP/1.1\r\n\r\n") == b""
    assert errors == [1]


def test_a_slow_sender_is_cut_off(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.3)
    port = start()
    began = time.monotonic()
    with connect(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")

        assert read_all(client) == b""
        assert time.monotonic() - began < 5


def test_a_slow_reader_gets_everything_and_holds_nobody_up(start: Start) -> None:
    body = b"x" * 20_000_000

    async def answer(request: Request) -> Response:
        return Response(200, "text/plain", body if request.target == "/big" else b"")

    port = start(answer)
    with connect(port) as slow:
        slow.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        assert slow.recv(1) == b"H"
        assert is_answered(port)

        assert len(read_all(slow)) > len(body)


def test_a_reader_that_never_reads_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ANSWER_SECONDS", 0.3)
    size = 50_000_000

    async def answer(request: Request) -> Response:
        return Response(200, "text/plain", b"x" * size)

    listener = access.listen("127.0.0.1", 0)
    made = Server(listener, answer, None, lambda: None)
    made.start()
    with connect(listener.getsockname()[1]) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert client.recv(1) == b"H"
        deadline = time.monotonic() + 10
        while made._connections:
            assert time.monotonic() < deadline, "it was not cut off"
            time.sleep(0.01)

        assert len(read_all(client)) < size
    made.stop()


def test_too_many_connections_make_room_by_the_oldest(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 4)
    port = start()
    idle = [connect(port) for _ in range(12)]
    try:
        assert is_answered(port)
        assert read_all(idle[0]) == b""
        idle[-1].sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert read_all(idle[-1]).startswith(b"HTTP/1.1 200")
    finally:
        for client in idle:
            client.close()


@pytest.mark.parametrize("attempt", range(5))
def test_stopping_closes_every_connection_and_frees_the_port(
    start: Start, errors: list[int], attempt: int
) -> None:
    listener = access.listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    made = Server(listener, start, None, lambda: errors.append(1))  # type: ignore[arg-type]
    made.start()
    with connect(port) as client:
        client.sendall(b"GET")
        made.stop()

        assert read_all(client) == b""
    access.listen("127.0.0.1", port).close()
    assert not any(thread.name == "partisan-metrics" for thread in threading.enumerate())
    assert errors == []


def test_stopping_what_never_started_frees_the_port(start: Start) -> None:
    listener = access.listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    Server(listener, start, None, lambda: None).stop()  # type: ignore[arg-type]

    access.listen("127.0.0.1", port).close()


class Listener(socket.socket):
    """Fails to accept, as told."""

    failures: list[OSError]

    def accept(self) -> Any:
        if self.failures:
            raise self.failures.pop()
        return super().accept()


def test_when_it_cannot_accept_it_tries_again(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ACCEPT_PAUSE_SECONDS", 0.01)
    bound = access.listen("127.0.0.1", 0)
    listener = Listener(fileno=bound.detach())
    listener.failures = [OSError(24, "Too many open files"), BlockingIOError()]
    monkeypatch.setattr(access, "listen", lambda host, port: listener)

    assert is_answered(start())
    assert listener.failures == []


def test_with_tls_a_client_that_trusts_the_certificate_is_answered(
    start: Start, certificates: Certificates
) -> None:
    port = start(tls=access.tls_context(*certificates.server, None))
    trusting = ssl.create_default_context(cafile=str(certificates.ca))
    with trusting.wrap_socket(connect(port), server_hostname="localhost") as client:
        client.sendall(b"GET /a HTTP/1.1\r\n\r\n")

        assert read_all(client).endswith(b"GET /a []\n")
        assert client.version() in ("TLSv1.2", "TLSv1.3")


def test_a_large_answer_over_tls_is_whole(start: Start, certificates: Certificates) -> None:
    async def answer(request: Request) -> Response:
        return Response(200, "text/plain", b"x" * 5_000_000)

    port = start(answer, access.tls_context(*certificates.server, None))
    trusting = ssl.create_default_context(cafile=str(certificates.ca))
    with trusting.wrap_socket(connect(port), server_hostname="localhost") as client:
        client.sendall(b"GET /a HTTP/1.1\r\n\r\n")

        assert read_all(client).count(b"x") >= 5_000_000


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b""])
def test_with_tls_garbage_is_closed_and_is_no_error(
    start: Start, certificates: Certificates, errors: list[int], sent: bytes
) -> None:
    port = start(tls=access.tls_context(*certificates.server, None))
    with connect(port) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)

        assert b"HTTP" not in read_all(client)
    assert errors == []


def test_with_tls_a_handshake_that_never_comes_is_cut_off(
    start: Start, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.3)
    port = start(tls=access.tls_context(*certificates.server, None))
    with connect(port) as client:
        assert read_all(client) == b""


def test_an_older_tls_is_refused(certificates: Certificates) -> None:
    context = access.tls_context(*certificates.server, None)

    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("with_certificate", [True, False])
def test_a_client_ca_demands_a_certificate_that_it_signed(
    start: Start, certificates: Certificates, with_certificate: bool
) -> None:
    files = (*certificates.server, certificates.ca)
    port = start(tls=access.tls_context(*files))
    trusting = ssl.create_default_context(cafile=str(certificates.ca))
    if with_certificate:
        trusting.load_cert_chain(*certificates.client)

    assert (b"200 OK" in talk(trusting, port)) is with_certificate


def talk(context: ssl.SSLContext, port: int) -> bytes:
    try:
        with context.wrap_socket(connect(port), server_hostname="localhost") as client:
            client.sendall(b"GET /a HTTP/1.1\r\n\r\n")
            return read_all(client)
    except (ssl.SSLError, ConnectionError):
        return b""
