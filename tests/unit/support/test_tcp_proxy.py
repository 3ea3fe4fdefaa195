"""The tests' proxy forwards, refuses, resets, stalls and loses answers as documented."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import wait_until


class Echo:
    """A server that echoes what it receives, and stores it."""

    def __init__(self) -> None:
        self.got = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=self.listener.accept()[:1], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            while data := client.recv(100):
                self.got += data
                client.sendall(data)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Client:
    """A connection through the proxy."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)

    def says(self, data: bytes) -> bytes:
        self.socket.sendall(data)
        return self.socket.recv(100)

    def is_silent(self) -> bool:
        self.socket.settimeout(0.1)
        try:
            self.socket.recv(100)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(10)
        return False

    def is_reset(self) -> bool:
        with suppress(OSError):
            return self.says(b"?") == b""
        return True

    def gets_no_answer(self) -> bool:
        """Wait for the end of the connection, without sending anything."""
        with suppress(ConnectionResetError):
            return self.socket.recv(100) == b""
        return True


def is_refused(port: int) -> bool:
    """Make a new connection: the reset may come immediately, or with the first answer."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"?")
        return client.recv(100) == b""
    return True


@pytest.fixture
def echo() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[TcpProxy]:
    with TcpProxy(echo.port) as made:
        yield made


@pytest.fixture
def connect(proxy: TcpProxy) -> Iterator[Callable[[], Client]]:
    """Return a function that connects a client to the proxy."""
    clients: list[Client] = []

    def made() -> Client:
        clients.append(Client(proxy.port))
        return clients[-1]

    yield made
    for client in clients:
        client.socket.close()


def test_refusing_resets_new_connections_and_forwards_on_others(proxy, connect):
    client = connect()
    assert client.says(b"one") == b"one"

    proxy.mode = "refuse"

    assert client.says(b"two") == b"two"
    assert is_refused(proxy.port)


def test_resetting_ends_every_connection(proxy, connect):
    client = connect()
    assert client.says(b"one") == b"one"

    proxy.mode = "reset"

    assert client.is_reset()
    assert is_refused(proxy.port)
    proxy.mode = "pass"
    assert connect().says(b"two") == b"two"


def test_swallowing_holds_old_and_new_connections_until_it_passes_again(proxy, connect, echo):
    old = connect()
    assert old.says(b"one") == b"one"
    proxy.mode = "swallow"
    old.socket.sendall(b"two")
    new = connect()
    new.socket.sendall(b"three")
    assert old.is_silent()
    assert new.is_silent()
    assert echo.got == b"one"

    proxy.mode = "pass"

    assert old.socket.recv(100) == b"two"
    assert new.socket.recv(100) == b"three"


def test_abandoned_connections_stay_silent_and_new_ones_work(proxy, connect):
    old = connect()
    assert old.says(b"one") == b"one"

    proxy.abandon()

    old.socket.sendall(b"two")
    assert old.is_silent()
    assert connect().says(b"three") == b"three"


def test_an_answer_to_drop_is_lost_after_the_server_got_the_request(proxy, connect, echo):
    client = connect()
    other = connect()
    proxy.drop_answers(to=b"commit")
    assert client.says(b"begin") == b"begin"

    client.socket.sendall(b"commit")

    assert client.gets_no_answer()
    assert echo.got == b"begincommit"
    assert proxy.lost == 1
    assert other.says(b"commit") == b"commit"


def test_a_connection_that_a_side_has_closed_is_closed_on_the_other(proxy, connect):
    client = connect()
    assert client.says(b"one") == b"one"
    assert proxy.connections == 1

    client.socket.close()

    wait_until(lambda: proxy.connections == 0)
