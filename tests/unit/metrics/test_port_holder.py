"""The exporter waits for a port that another manager holds, and refuses one held by anything else."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from django_partisan.metrics import port_holder
from django_partisan.metrics.access import CannotServe, PortInUse, TlsFiles
from django_partisan.metrics.exporter import Exporter
from django_partisan.metrics.port_wait import PortWait
from django_partisan.metrics.server import THREAD_NAME
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.telemetry import MetricsPortTaken, MetricsServed
from tests.support.events import RecordedEvents
from tests.support.queue_statistics import FakeQuery
from tests.support.waiting import wait_until

from .certificates import Certificates
from .conftest import QUEUE, snapshot

HOST = "127.0.0.1"
NO_TLS = TlsFiles()

Make = Callable[..., Exporter]


@pytest.fixture
def make(state: SimpleNamespace) -> Iterator[Make]:
    """Return a function that makes exporters, which are stopped after the test."""
    made: list[Exporter] = []

    def make(port: int = 0, **options: Any) -> Exporter:
        options = {"host": HOST, "query": FakeQuery(), **options}
        made.append(Exporter(QUEUE, lambda: snapshot(state), port=port, **options))
        return made[-1]

    yield make
    for exporter in made:
        exporter.stop()


def port_of(address: str | None) -> int:
    assert address is not None
    return int(address.rpartition(":")[2])


def queue_at(port: int, files: TlsFiles = NO_TLS, seconds: float = 5.0) -> str | None:
    return port_holder.queue_of_manager_at(HOST, port, files, seconds)


def test_a_manager_is_recognised_with_and_without_tls(make: Make, certificates: Certificates):
    plain = port_of(make().start())
    encrypted = port_of(make(certfile=certificates.server[0], keyfile=certificates.server[1]).start())

    assert [queue_at(port) for port in (plain, encrypted)] == [QUEUE, QUEUE]
    assert queue_at(plain, TlsFiles(*certificates.server)) == QUEUE


def test_a_manager_that_wants_certificates_is_recognised_by_one_that_its_ca_signed(
    make: Make, certificates: Certificates
):
    certfile, keyfile = certificates.server
    port = port_of(make(certfile=certfile, keyfile=keyfile, client_ca=certificates.ca).start())

    assert queue_at(port, TlsFiles(*certificates.client)) == QUEUE
    assert queue_at(port) is None


class _OtherPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<title>another program</title>")

    def log_message(self, *args: Any) -> None:
        pass


def test_nobody_else_is_taken_for_a_manager():
    with HTTPServer((HOST, 0), _OtherPage) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        found = queue_at(other.server_port)
        other.shutdown()
        thread.join()
    with socket.create_server((HOST, 0)) as silent:
        found_silent = queue_at(silent.getsockname()[1], seconds=0.1)

    assert (found, found_silent) == (None, None)


def test_a_manager_counts_while_another_holds_its_port_and_serves_when_it_has_gone(
    make: Make, recorded: RecordedEvents
):
    first = make()
    port = port_of(first.start())
    second = make(port)

    assert second.start() is None
    assert second.recorder in bus.subscribers()
    first.stop()
    wait_until(lambda: recorded.of(MetricsServed))

    assert recorded.events == [
        MetricsPortTaken(QUEUE, port, QUEUE),
        MetricsServed(QUEUE, f"http://{HOST}:{port}"),
    ]
    assert queue_at(port) == QUEUE


def test_a_manager_that_ends_while_it_waits_for_its_port_leaves_nothing(make: Make):
    first = make()
    port = port_of(first.start())
    before = bus.subscribers()
    second = make(port)
    second.start()

    second.stop()
    first.stop()

    assert not set(bus.subscribers()) - set(before)
    assert all(thread.name != "partisan-metrics-port" for thread in threading.enumerate())


def test_a_manager_that_ends_as_it_gets_its_port_leaves_nothing(make: Make, monkeypatch: pytest.MonkeyPatch):
    first = make()
    port = port_of(first.start())
    second = make(port)
    second.start()
    starting, start = threading.Event(), threading.Thread.start

    def start_slowly(thread: threading.Thread) -> None:
        if thread.name == THREAD_NAME:
            starting.set()
            time.sleep(0.3)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_slowly)
    first.stop()
    assert starting.wait(20.0)
    second.stop()

    socket.create_server((HOST, port)).close()
    assert all(thread.name != THREAD_NAME for thread in threading.enumerate())


def test_an_error_that_waiting_does_not_cure_ends_the_wait():
    errors = iter([PortInUse("taken"), CannotServe("no such address")])
    failed: list[CannotServe] = []

    def bind() -> None:
        raise next(errors)

    waiting = PortWait(bind, failed.append, retry_seconds=0.001)
    wait_until(lambda: failed)
    waiting.stop()

    assert [str(error) for error in failed] == ["no such address"]
