"""Each kind of process sets up its telemetry according to options and settings."""

import argparse
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
from django.db import connections
from prometheus_client import REGISTRY

from django_partisan import signals
from django_partisan.config import observability
from django_partisan.metrics.access import CannotServe
from django_partisan.metrics.application import ClientMetrics
from django_partisan.metrics.recorder import Recorder
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.managers import ManagerDraining
from django_partisan.telemetry.events.runs import TaskFailed
from django_partisan.telemetry.setup import manager, worker
from django_partisan.telemetry.setup.application import set_up_application
from tests.support.engine import config_of
from tests.support.telemetry import started_snapshot, telemetry_kept
from tests.unit.logs import samples
from tests.unit.metrics.certificates import Certificates


@pytest.fixture(autouse=True)
def process_as_it_was() -> Iterator[None]:
    """Restore this process's telemetry after each test."""
    with telemetry_kept():
        yield


class Flushed(bus.Subscriber):
    """Record the timeout given for flushing."""

    def __init__(self) -> None:
        self.timeouts: list[float] = []

    def close(self, timeout: float) -> None:
        self.timeouts.append(timeout)


@pytest.fixture
def flushed() -> Flushed:
    subscriber = Flushed()
    bus.subscribe(subscriber)
    return subscriber


def options(*words: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    manager.add_arguments(parser, lambda name: ["--" + name.replace("_", "-")])
    return vars(parser.parse_args(words))


def test_nothing_is_asked_for_by_default():
    given = options()

    assert given.pop("log_format") == "auto"
    assert set(given.values()) == {None}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--metrics-port", "many"), "invalid int value: 'many'"),
        (("--log-format", "prose"), "invalid choice: 'prose'"),
    ],
)
def test_a_port_is_a_number_and_a_format_one_of_those_there_are(words, said, capsys):
    with pytest.raises(SystemExit):
        options(*words)

    assert said in capsys.readouterr().err


@pytest.fixture
def serve() -> Iterator[Callable[..., Any]]:
    """Return a function that serves metrics until the test ends, and returns the address."""
    with ExitStack() as stack:

        def serve(*words: str) -> Any:
            telemetry = stack.enter_context(manager.set_up_manager(config_of(), options(*words)))
            return telemetry.serve(started_snapshot)

        yield serve


def status(address: Any, tls: ssl.SSLContext | None = None, token: str = "") -> int:
    """Request metrics; return the status of the answer."""
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with urlopen(Request(f"{address}/metrics", headers=headers), timeout=10, context=tls) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code


def test_without_a_port_nothing_is_served(serve):
    assert serve() is None


def test_metrics_are_served_as_the_settings_say_until_the_end(settings, tmp_path):
    token = tmp_path / "token"
    token.write_text("mine")
    settings.PARTISAN_OBSERVABILITY = {
        "METRICS_PORT": {"default": 0},
        "METRICS_HOST": "::1",
        "METRICS_TOKEN_FILE": token,
    }

    with manager.set_up_manager(config_of(), options()) as telemetry:
        address = telemetry.serve(started_snapshot) or ""
        answers = [status(address), status(address, token="mine")]

    assert address.startswith("http://[::1]:")
    assert answers == [401, 200]
    with pytest.raises(URLError, match="refused"):
        status(address)


def test_an_option_wins_over_its_setting(serve, settings, tmp_path):
    certificates = Certificates(tmp_path)
    token = tmp_path / "token"
    token.write_text("mine")
    settings.PARTISAN_OBSERVABILITY = {
        "METRICS_PORT": 1,
        "METRICS_HOST": "::1",
        "METRICS_TOKEN_FILE": "/another",
    }
    certificate, key = certificates.server
    tls = ssl.create_default_context(cafile=certificates.ca)

    address = serve(
        *("--metrics-port", "0", "--metrics-host", "127.0.0.1", "--metrics-token-file", str(token)),
        *("--metrics-certfile", str(certificate), "--metrics-keyfile", str(key)),
        *("--metrics-client-ca", str(certificates.ca)),
    )

    assert address.startswith("https://127.0.0.1:")
    with pytest.raises(OSError, match=r"closed connection|certificate required|EOF occurred|Broken pipe"):
        status(address, tls)
    tls.load_cert_chain(*certificates.client)
    assert status(address, tls) == 401
    assert status(address, tls, "mine") == 200


@pytest.mark.parametrize("required", [True, False])
def test_a_port_that_cannot_be_served_ends_the_manager_only_if_it_is_required(required, serve, settings):
    settings.PARTISAN_OBSERVABILITY = {"METRICS_REQUIRED": required}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ("--metrics-port", str(taken.getsockname()[1]))

        if required:
            with pytest.raises(CannotServe):
                serve(*words)
        else:
            assert serve(*words) is None


@pytest.mark.parametrize(("words", "count"), [((), False), (("--metrics-port", "0"), True)])
def test_workers_are_set_up_as_their_manager_is(words, count, settings):
    settings.PARTISAN_OBSERVABILITY = {"LOG_TASK_ARGS": True}
    given = options("--log-format", "json", "--log-file", "/log", *words)

    spec = manager.ManagerTelemetry(config_of(), given, ExitStack()).worker_spec

    assert (spec.config, spec.manager_pid, spec.flush_seconds) == (config_of(), os.getpid(), 5)
    assert spec.database == connections["default"].settings_dict["NAME"]
    assert spec.subscribe == (
        f"{worker.__name__}.{worker.set_up_worker.__name__}",
        {"log_format": "json", "log_file": "/log", "count": count, "settings": observability.resolved()},
    )


def test_a_manager_logs_by_settings_looked_up_once_and_flushes_at_its_end(flushed, settings, tmp_path):
    settings.PARTISAN_OBSERVABILITY = {"SPAN_NAMING": "processor", "TELEMETRY_SHUTDOWN_TIMEOUT": 3}
    log = tmp_path / "log"

    with manager.set_up_manager(config_of(), options("--log-format", "ecs", "--log-file", str(log))):
        settings.PARTISAN_OBSERVABILITY = {}
        naming = observability.value("SPAN_NAMING")
        bus.emit(ManagerDraining, "default", "SIGTERM", 2)
        flushed_before = list(flushed.timeouts)

    line = json.loads(log.read_text())
    assert line["event.action"] == "manager.draining"
    assert naming == "processor"
    assert observability.value("SPAN_NAMING") == "queue"
    assert (flushed_before, flushed.timeouts) == ([], [pytest.approx(3, abs=0.2)])


def test_a_manager_that_ends_with_an_error_flushes_too(flushed):
    with pytest.raises(ZeroDivisionError), manager.set_up_manager(config_of(), options()):
        raise ZeroDivisionError

    assert flushed.timeouts == [pytest.approx(5, abs=0.2)]


@pytest.mark.parametrize(("waited", "left"), [(0.0, 4.0), (1.5, 2.5), (60.0, 0.4)])
def test_a_manager_that_waited_for_the_flush_of_its_workers_has_the_rest_of_the_time(
    waited, left, flushed, settings
):
    settings.PARTISAN_OBSERVABILITY = {"TELEMETRY_SHUTDOWN_TIMEOUT": 4}

    with manager.set_up_manager(config_of(), options()) as telemetry:
        telemetry.waited_seconds = waited

    assert flushed.timeouts == [pytest.approx(left, abs=0.2)]


@pytest.mark.parametrize("count", [True, False])
def test_a_worker_logs_counts_and_uses_settings_as_its_manager_says(count, tmp_path):
    before = bus.subscribers()
    log = tmp_path / "log"
    settings = {**observability.resolved(), "SPAN_NAMING": "processor"}
    spec = manager.ManagerTelemetry(config_of(), options(), ExitStack()).worker_spec

    worker.set_up_worker(spec, "ecs", str(log), count, settings)

    bus.emit(ManagerDraining, "default", "SIGTERM", 2)
    assert log.exists()
    assert [type(one) for one in bus.subscribers() if one not in before] == [Recorder] * count
    assert observability.value("SPAN_NAMING") == "processor"


@pytest.mark.parametrize(
    ("given", "counts"), [({}, 0), ({"CLIENT_METRICS": "yes"}, 0), ([], 0), ({"CLIENT_METRICS": True}, 1)]
)
def test_an_application_counts_what_it_enqueues_where_asked_and_starts_with_wrong_settings(
    given, counts, settings
):
    settings.PARTISAN_OBSERVABILITY = given

    set_up_application()

    counting = [one for one in bus.subscribers() if isinstance(one, ClientMetrics)]
    for one in counting:
        REGISTRY.unregister(one)
    assert len(counting) == counts


@pytest.mark.parametrize("is_application", [True, False])
def test_a_manager_calls_no_receiver_of_signals(is_application: bool):
    received: list[Any] = []

    def receive(task: Any, **_: Any) -> None:
        received.append(task)

    signals.install()
    if not is_application:
        bus.unsubscribe(signals._subscriber)
    signals.task_finished.connect(receive)
    try:
        with manager.set_up_manager(config_of(), options()):
            bus.emit(TaskFailed, samples.TASK, None, "worker_lost", samples.ERROR)
        in_manager = list(received)
        bus.emit(TaskFailed, samples.RUN, 0.5, "error", samples.ERROR)
    finally:
        signals.task_finished.disconnect(receive)

    assert in_manager == []
    assert received == ([samples.RUN] if is_application else [])
