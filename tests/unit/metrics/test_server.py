"""An HTTP server in which no client can block another, over real sockets."""

import contextlib
import errno
import http.client
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_partisan.metrics import access, server
from django_partisan.metrics.access import CannotServe
from django_partisan.metrics.server import Limits, Request, Response, Server, plain
from tests.support.waiting import wait_until

from .certificates import Certificates
from .certificates import run as openssl

GET = b"GET /a HTTP/1.1\r\n\r\n"
BIG = 20_000_000

Start = Callable[..., int]


def echo(request: Request) -> Response:
    return plain(200, f"{request.method} {request.target} {sorted(request.headers.items())}")


def big(request: Request) -> Response:
    return Response(200, "text/plain", b"x" * (BIG if request.target == "/big" else 0))


@pytest.fixture
def errors() -> list[int]:
    return []


@pytest.fixture
def made(errors: list[int]) -> Iterator[list[Server]]:
    servers: list[Server] = []
    yield servers
    for one in servers:
        one.stop()


@pytest.fixture
def start(errors: list[int], made: list[Server]) -> Start:
    """Return a function that starts a server, which echoes by default, and returns its port."""

    def start(answer: Any = echo, tls: ssl.SSLContext | None = None, limits: Limits = server.LIMITS) -> int:
        made.append(Server(("127.0.0.1", 0), answer, tls, lambda: errors.append(1), limits))
        made[-1].start()
        port: int = made[-1].socket.getsockname()[1]
        return port

    return start


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def read_all(client: socket.socket) -> bytes:
    received = []
    try:
        while chunk := client.recv(1_000_000):
            received.append(chunk)
    except ConnectionResetError:
        pass  # the server reset the connection with data unread
    return b"".join(received)


def exchange(port: int, sent: bytes) -> bytes:
    with connect(port) as client:
        client.sendall(sent)
        return read_all(client)


def is_answered(port: int) -> bool:
    return exchange(port, GET).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_request_is_answered_and_head_has_no_body(start: Start, method: bytes) -> None:
    answer = exchange(start(), method + b" /a?b=c HTTP/1.1\r\nHost: x\r\nAccept:  y\r\n\r\n")

    head, _, body = answer.partition(b"\r\n\r\n")
    expected = b"%s /a?b=c [('Accept', 'y'), ('Host', 'x')]\n" % method
    assert head.splitlines() == [
        b"HTTP/1.1 200 OK",
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: %d" % len(expected),
        b"Connection: close",
    ]
    assert body == (expected if method == b"GET" else b"")


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"\x80\xff\xfe\n", b"HTTP/1.1 400 "),
        (b"GET / FTP/1.0\n\n", b"HTTP/1.1 400 "),
        (b"GET / HTTP/2.0\n\n", b"HTTP/1.1 505 "),
        (b"GET / HTTP/1.1\r\nlong: " + b"x" * 20_000 + b"\r\n\r\n", b"HTTP/1.1 431 "),
        (b"GET / HTTP/1.1\r\n" + b"many: x\r\n" * 3_000, b"HTTP/1.1 431 "),
        (b"GET /" + b"x" * 20_000, b""),
        (b"\r\n", b""),
    ],
)
def test_what_is_no_request_is_refused_at_once(
    start: Start, errors: list[int], sent: bytes, answer: bytes
) -> None:
    port = start()

    received = exchange(port, sent)

    assert received.startswith(answer)
    assert bool(received) is bool(answer)
    assert is_answered(port)
    assert errors == []


@pytest.mark.parametrize("sent", [b"", b"GET / HTT"])
def test_a_client_that_stops_halfway_is_no_error(start: Start, errors: list[int], sent: bytes) -> None:
    port = start()
    with connect(port) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)

        assert b" 200 " not in read_all(client)
    assert is_answered(port)
    assert errors == []


def test_a_body_is_not_read_and_does_not_cut_off_the_answer(start: Start) -> None:
    sent = b"POST /a HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % BIG + b"x" * BIG

    assert b"POST /a" in exchange(start(), sent)


def test_a_bug_in_an_answer_is_an_error_of_that_answer(start: Start, errors: list[int]) -> None:
    port = start(lambda request: 1 / 0)

    assert exchange(port, GET).startswith(b"HTTP/1.1 500 ")
    assert errors == [1]


def test_an_answer_that_cannot_be_sent_is_counted(start: Start, errors: list[int]) -> None:
    port = start(lambda request: Response(200, "text/plain", "no bytes"))  # type: ignore[arg-type]

    assert exchange(port, GET).endswith(b"\r\n\r\n")
    wait_until(lambda: errors == [1])


def test_a_slow_sender_is_disconnected(start: Start) -> None:
    port = start(limits=Limits(seconds=0.3))
    with connect(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")

        assert b" 200 " not in read_all(client)


def test_a_slow_reader_gets_everything_and_holds_nobody_up(start: Start) -> None:
    port = start(big)
    with connect(port) as slow:
        slow.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        assert slow.recv(1) == b"H"
        assert is_answered(port)

        assert len(read_all(slow)) > BIG


def test_a_reader_that_never_reads_is_disconnected(start: Start, made: list[Server]) -> None:
    port = start(big, limits=Limits(seconds=2))
    with connect(port) as client:
        client.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        assert client.recv(1) == b"H"
        wait_until(lambda: not made[0]._deadlines, what="the connection is closed")

        assert len(read_all(client)) < BIG


def test_too_many_connections_make_room_by_the_oldest(start: Start) -> None:
    port = start(limits=Limits(connections=4))
    idle = [connect(port) for _ in range(12)]

    assert is_answered(port)
    assert read_all(idle[0]) == b""
    idle[-1].sendall(GET)
    assert read_all(idle[-1]).startswith(b"HTTP/1.1 200")
    for client in idle:
        client.close()


def test_stopping_closes_every_connection_and_frees_the_port(
    start: Start, made: list[Server], errors: list[int]
) -> None:
    port = start()
    with connect(port) as client:
        client.sendall(b"GET")
        wait_until(lambda: made[0]._deadlines, what="the connection is accepted")
        made[0].stop()

        assert read_all(client) == b""
    socket.create_server(("127.0.0.1", port)).close()
    assert errors == []
    wait_until(lambda: not any(thread.name == server.THREAD_NAME for thread in threading.enumerate()))


def test_stopping_does_not_wait_for_the_next_poll() -> None:
    took = []
    for _ in range(5):
        started = Server(("127.0.0.1", 0), echo, None, lambda: None)
        started.start()
        began = time.monotonic()
        started.stop()
        took.append(time.monotonic() - began)

    assert min(took) < 0.1


def test_stopping_what_never_started_frees_the_port() -> None:
    unstarted = Server(("127.0.0.1", 0), echo, None, lambda: None)
    port = unstarted.socket.getsockname()[1]

    unstarted.stop()

    socket.create_server(("127.0.0.1", port)).close()


class Listener(socket.socket):
    """A listener whose first ``accept()`` calls fail with these errors."""

    failures: list[int]

    def accept(self) -> Any:
        if self.failures:
            number = self.failures.pop()
            raise OSError(number, os.strerror(number))
        return super().accept()


def test_when_it_cannot_accept_it_tries_again(errors: list[int], made: list[Server]) -> None:
    made.append(Server(("127.0.0.1", 0), echo, None, lambda: errors.append(1)))
    listener = Listener(fileno=made[0].socket.detach())
    listener.failures = [errno.ECONNABORTED, errno.EMFILE]
    made[0].socket = listener
    began = time.monotonic()
    made[0].start()

    assert is_answered(listener.getsockname()[1])
    assert time.monotonic() - began >= server.ACCEPT_PAUSE_SECONDS, "it does not spin while descriptors lack"
    assert listener.failures == []
    assert errors == []


@pytest.mark.parametrize(("host", "url"), [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")])
def test_it_serves_ipv4_and_ipv6(made: list[Server], host: str, url: str) -> None:
    made.append(Server((host, 0), echo, None, lambda: None))
    made[0].start()
    connection = http.client.HTTPConnection(host, made[0].socket.getsockname()[1], timeout=10)
    connection.request("GET", "/a")

    assert connection.getresponse().status == 200
    assert made[0].url.startswith(url)
    connection.close()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "x" * 64], ids=["unknown", "label too long"])
def test_a_host_that_is_none_is_named(host: str) -> None:
    with pytest.raises(CannotServe, match=re.escape(f"on port 0 of {host!r}")):
        Server((host, 0), echo, None, lambda: None)


def test_a_burst_of_connections_waits_until_it_is_accepted(made: list[Server]) -> None:
    made.append(Server(("127.0.0.1", 0), echo, None, lambda: None))
    port = made[0].socket.getsockname()[1]

    burst = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(20)]

    made[0].start()
    burst[-1].sendall(GET)
    assert read_all(burst[-1]).startswith(b"HTTP/1.1 200")
    for client in burst:
        client.close()


def trusting(certificates: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificates.ca))


def talk(context: ssl.SSLContext, port: int) -> bytes:
    try:
        with context.wrap_socket(connect(port), server_hostname="localhost") as client:
            client.sendall(b"GET /big HTTP/1.1\r\n\r\n")
            return read_all(client)
    except (ssl.SSLError, ConnectionError):
        return b""


def test_a_large_answer_over_tls_is_whole(start: Start, certificates: Certificates) -> None:
    port = start(big, access.tls_context(*certificates.server, None))

    assert talk(trusting(certificates), port).count(b"x") >= BIG


@pytest.mark.parametrize("sent", [GET, b"\x16\x03\x01\x00\x05hello", b""])
def test_with_tls_garbage_is_closed_and_is_no_error(
    start: Start, certificates: Certificates, errors: list[int], sent: bytes
) -> None:
    port = start(tls=access.tls_context(*certificates.server, None))
    with connect(port) as client:
        client.sendall(sent)
        with contextlib.suppress(OSError):  # the server closed first
            client.shutdown(socket.SHUT_WR)

        assert b"HTTP" not in read_all(client)
    assert errors == []


def test_with_tls_a_handshake_that_never_comes_is_cut_off_and_holds_nobody_up(
    start: Start, certificates: Certificates
) -> None:
    port = start(tls=access.tls_context(*certificates.server, None), limits=Limits(seconds=3))
    with connect(port) as client:
        assert b"200 OK" in talk(trusting(certificates), port)
        assert read_all(client) == b""


def test_an_older_tls_is_refused(start: Start, certificates: Certificates) -> None:
    context = access.tls_context(*certificates.server, None)

    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("with_certificate", [True, False])
def test_a_client_ca_demands_a_certificate_that_it_signed(
    start: Start, certificates: Certificates, with_certificate: bool
) -> None:
    port = start(tls=access.tls_context(*certificates.server, certificates.ca))
    client = trusting(certificates)
    if with_certificate:
        client.load_cert_chain(*certificates.client)

    assert (b"200 OK" in talk(client, port)) is with_certificate


@pytest.mark.parametrize("files", [(None, "key.pem", None), (None, None, "ca.pem")])
def test_tls_without_a_certificate_is_refused(files: tuple[str | None, str | None, str | None]) -> None:
    with pytest.raises(CannotServe, match="--metrics-certfile"):
        access.tls_context(*files)


def test_a_key_that_needs_a_passphrase_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    openssl(
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-passout",
        "pass:x",
        "-batch",
        "-keyout",
        key,
        "-out",
        certificate,
    )

    with pytest.raises(
        CannotServe, match=r"TLS files .*key\.pem'\): the key is encrypted\. Give readable PEM"
    ):
        access.tls_context(certificate, key, None)


def test_tls_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "garbage.pem").write_text("garbage")

    for name in ("missing.pem", "garbage.pem"):
        with pytest.raises(CannotServe, match=rf"TLS files .*{name}"):
            access.tls_context(tmp_path / name, None, None)
