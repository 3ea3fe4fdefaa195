"""The chaos proxy breaks connections as asked, and drops statements and answers at the right moment."""

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from tests.support.waiting import wait_until
from tools import postgres
from tools.chaos.conversation import ANSWER, LATE, REQUEST, Loss
from tools.chaos.proxy import Proxy, Route

INSERT = "INSERT INTO django_partisan_task VALUES (1)"
OWN = "django_partisan claim default"


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.server() as made:
        execute(made.url, "CREATE TABLE django_partisan_task (id int)")
        yield made


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.stop()


@pytest.fixture
def route(proxy: Proxy, server: postgres.Server) -> Route:
    execute(server.url, "TRUNCATE django_partisan_task")
    return proxy.route(server.port)


def connect(route: Route, name: str = OWN, **more: Any) -> Any:
    made = psycopg2.connect(
        host="127.0.0.1", port=route.port, user="postgres", application_name=name, connect_timeout=5, **more
    )
    made.autocommit = True
    return made


def execute(url: str, statement: str) -> None:
    with closing(psycopg2.connect(url)) as connected, connected, connected.cursor() as cursor:
        cursor.execute(statement)


def ask(connected: Any, statement: str = "SELECT 1") -> None:
    with connected.cursor() as cursor:
        cursor.execute(statement)


def rows(server: postgres.Server) -> int:
    with closing(psycopg2.connect(server.url)) as connected, connected.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_partisan_task")
        [(count,)] = cursor.fetchall()
        return int(count)


def answers(connected: Any) -> bool:
    """Return whether a connection answers within a moment; if it does not, it cannot be used afterwards."""
    with socket.fromfd(connected.fileno(), socket.AF_INET, socket.SOCK_STREAM) as peer:
        peer.setblocking(False)
        peer.send(b"Q\0\0\0\rSELECT 1\0")
        peer.settimeout(0.3)
        try:
            return bool(peer.recv(1))
        except TimeoutError:
            return False


def test_what_is_sent_arrives_and_is_answered(route: Route, server: postgres.Server):
    for mode in ("disable", "prefer"):
        with closing(connect(route, sslmode=mode)) as connected:
            ask(connected, INSERT)

    assert rows(server) == 2


def test_lost_answer_leaves_what_was_committed(proxy: Proxy, route: Route, server: postgres.Server):
    loss = Loss("enqueue", ANSWER)
    proxy.lose(route, loss)

    with closing(connect(route)) as connected, pytest.raises(psycopg2.OperationalError):
        ask(connected)
        ask(connected, INSERT)

    assert rows(server) == 1
    assert len(loss.happened_at) == 1
    with closing(connect(route)) as connected:
        ask(connected, INSERT)
    assert rows(server) == 2


def test_lost_answer_of_a_commit_leaves_the_transaction_committed(
    proxy: Proxy, route: Route, server: postgres.Server
):
    proxy.lose(route, Loss("commit", ANSWER))

    with closing(connect(route)) as connected:
        connected.autocommit = False
        ask(connected, INSERT)
        with pytest.raises(psycopg2.OperationalError):
            connected.commit()

    assert rows(server) == 1


def test_lost_request_is_never_executed(proxy: Proxy, route: Route, server: postgres.Server):
    proxy.lose(route, Loss("enqueue", REQUEST, times=2))

    for _ in range(2):
        with closing(connect(route)) as connected, pytest.raises(psycopg2.OperationalError):
            ask(connected, INSERT)

    assert rows(server) == 0


def test_late_request_is_executed_after_its_client_was_reset(
    proxy: Proxy, route: Route, server: postgres.Server
):
    proxy.lose(route, Loss("enqueue", LATE, 0.3))

    with closing(connect(route)) as connected, pytest.raises(psycopg2.OperationalError):
        ask(connected, INSERT)
    before = rows(server)

    wait_until(lambda: rows(server) == 1)
    assert before == 0


def test_reset_ends_every_connection_and_new_ones_work(proxy: Proxy, route: Route):
    with closing(connect(route)) as connected, pytest.raises(psycopg2.OperationalError):
        assert proxy.reset(route) == 1
        ask(connected)

    with closing(connect(route)) as connected:
        ask(connected)


def test_refused_route_is_open_again_on_the_same_port(proxy: Proxy, route: Route):
    proxy.refuse(route)
    with pytest.raises(psycopg2.OperationalError, match="refused"):
        connect(route)

    proxy.undo_faults(route)

    with closing(connect(route)) as connected:
        ask(connected)


def test_swallowed_connection_goes_on_when_it_is_healed(proxy: Proxy, route: Route):
    with closing(connect(route)) as connected:
        proxy.swallow(route)
        assert not answers(connected)

        proxy.undo_faults(route)

        with closing(connect(route)) as other:
            ask(other)


def test_half_open_connection_of_a_manager_stays_silent_and_new_ones_work(proxy: Proxy, route: Route):
    with closing(connect(route)) as managers, closing(connect(route, name="shop")) as others:
        assert proxy.half_open(route) == 1

        assert not answers(managers)
        ask(others)
        with closing(connect(route)) as another:
            ask(another)


def test_server_that_is_away_ends_the_connection(proxy: Proxy):
    route = proxy.route(1)

    with pytest.raises(psycopg2.OperationalError):
        connect(route)
