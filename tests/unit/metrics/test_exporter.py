"""A whole exporter over real sockets, with a stand-in for the database."""

import gzip
import http.client
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import override_settings
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from django_partisan.metrics import exporter as exporting
from django_partisan.metrics.access import CannotServe
from django_partisan.metrics.catalogue import METRICS
from django_partisan.metrics.exporter import Exporter
from django_partisan.metrics.recorder import Recorder
from django_partisan.telemetry import bus, events

from .certificates import Certificates
from .conftest import ERROR, QUEUE, completed, snapshot
from .test_sampler import Source

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
MAIL = {"queue": QUEUE, "processor": "Mail"}

Start = Callable[..., "Served"]


class Served:
    """A running exporter and a client of it."""

    def __init__(self, exporter: Exporter) -> None:
        self.exporter = exporter
        self.address = exporter.start()
        self.host, _, port = self.address.split("//")[1].rpartition(":")
        self.port = int(port)

    def ask(self, target: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self.host.strip("[]"), self.port, timeout=10)
        connection.request(method, target, headers=headers)
        response = connection.getresponse()
        response.text = (response.read() if method != "HEAD" else b"").decode("latin-1")  # type: ignore[attr-defined]
        connection.close()
        return response

    def text(self, target: str = "/metrics", **headers: str) -> str:
        response = self.ask(target, **headers)
        assert response.status == 200
        return response.text  # type: ignore[attr-defined,no-any-return]

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        families = parse_text(self.text())
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        return self.samples()[name, frozenset(labels.items())]


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def start(state: SimpleNamespace, source: Source) -> Iterator[Start]:
    running = []
    state.last_loop_at = time.time()

    def start(host: str = "127.0.0.1", port: int = 0, **options: Any) -> Served:
        options.setdefault("snapshot", lambda: snapshot(state))
        exporter = Exporter(QUEUE, host=host, port=port, source=source, **options)
        running.append(exporter)
        return Served(exporter)

    yield start
    source.gate.set()
    for exporter in running:
        exporter.stop()


@pytest.fixture
def told() -> list[Any]:
    heard: list[Any] = []

    class Told(bus.Subscriber):
        def handle(self, event: Any) -> None:
            heard.append(event)

    bus.subscribe(Told())
    return heard


def test_every_family_of_the_catalogue_is_in_a_scrape_by_help_and_type(start: Start) -> None:
    lines = start().text().splitlines()

    for metric in METRICS.values():
        kind = "gauge" if metric.kind == "info" else metric.kind
        assert f"# HELP {metric.name} {metric.help}" in lines
        assert f"# TYPE {metric.name} {kind}" in lines


def test_every_family_is_there_without_a_database_or_a_snapshot_too(start: Start, source: Source) -> None:
    def broken() -> events.Snapshot:
        raise RuntimeError("a bug")

    source.error = OSError("gone")
    lines = start(snapshot=broken).text().splitlines()

    assert {f"# HELP {metric.name} {metric.help}" for metric in METRICS.values()} <= set(lines)


def test_the_labels_of_every_series_are_those_of_the_catalogue(
    start: Start, run: events.Run, state: SimpleNamespace, task: events.TaskRef
) -> None:
    state.workers = (events.WorkerSeen(0, 1, threading.get_native_id(), "busy", task, 1.0, 2.0),)
    served = start()
    send(served, events.TaskFailed(run, 0.1, "error", ERROR))
    families = {family.name: family for family in parse_openmetrics(served.text(**OPENMETRICS))}

    for metric in METRICS.values():
        family = families[metric.family]
        labels = {frozenset(sample.labels.keys() - {"le"}) for sample in family.samples}
        assert labels == {frozenset(metric.labels)}, metric.name


def test_a_scrape_is_valid_openmetrics_without_created_series(start: Start, run: events.Run) -> None:
    served = start()
    send(served, completed(run, 0.1))
    text = served.text(**OPENMETRICS)

    assert len(list(parse_openmetrics(text))) > len(METRICS)
    assert "_created" not in text


@pytest.mark.parametrize("headers", [{}, OPENMETRICS])
def test_exemplars_are_in_openmetrics_only(start: Start, headers: dict[str, str]) -> None:
    served = start()
    exemplar = ("0" * 31 + "1", "0" * 15 + "2", 0.2, 1_000.0)
    key = ("partisan_task_queue_wait_seconds", (QUEUE, "Mail"))
    bus.absorb(0, [("metrics", ({}, {key: [{3: 1}, 0.2, exemplar]}))])
    labels = f'span_id="{exemplar[1]}",trace_id="{exemplar[0]}"'
    expected = f'le="0.25",processor="Mail",queue="default"}} 1.0 # {{{labels}}} 0.2 1000.0'

    assert (expected in served.text(**headers)) is bool(headers)


def test_promtool_has_nothing_to_say(start: Start, run: events.Run) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    served = start()
    send(served, events.TaskFailed(run, 0.1, "error", ERROR))
    scrape = served.text().encode()
    checked = subprocess.run([promtool, "check", "metrics"], input=scrape, capture_output=True, check=False)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_what_workers_and_the_manager_count_is_exported(start: Start, run: events.Run) -> None:
    served = start()
    send(served, completed(run, 0.2), completed(run, 0.3))
    bus.emit(events.TasksReleased, QUEUE, 3, "stopped")

    assert served.value("partisan_tasks_completed_total", **MAIL) == 2
    assert served.value("partisan_tasks_started_total", **MAIL) == 2
    assert served.value("partisan_task_duration_seconds_sum", **MAIL, outcome="completed") == 0.5
    assert served.value("partisan_tasks_failed_total", **MAIL, reason="timeout") == 0
    assert served.value("partisan_tasks_released_total", queue=QUEUE, reason="stopped") == 3


def test_only_processors_of_the_queue_have_series_before_their_first_run(start: Start) -> None:
    scrape = start().text()

    assert 'processor="Report"' in scrape
    assert 'processor="Elsewhere"' not in scrape


def test_measures_of_users_are_exported(start: Start) -> None:
    served = start()
    before = served.text()
    send(served, events.MeasureCounted(QUEUE, "Mail", "partisan_user_mails_total", ("welcome",), 2))

    assert "# HELP partisan_user_mails_total Mails sent." in before
    assert 'partisan_user_size_bytes_bucket{le="10.0",processor="Mail",queue="default"} 0.0' in before
    assert served.value("partisan_user_mails_total", **MAIL, kind="welcome") == 2


def test_a_thousand_labels_of_a_user_are_limited(start: Start) -> None:
    with override_settings(PARTISAN_OBSERVABILITY={"METRICS_MAX_SERIES": 50}):
        served = start()
    for number in range(1_000):
        send(served, events.MeasureCounted(QUEUE, "Mail", "partisan_user_mails_total", (f"k{number}",), 1))

    series = [key for key in served.samples() if key[0] == "partisan_user_mails_total"]
    assert len(series) == 51
    assert served.value("partisan_user_mails_total", **MAIL, kind="_other") == 950
    assert served.value("partisan_telemetry_label_overflow_total", label="kind") == 950


def test_name_filters_the_families(start: Start) -> None:
    text = start().text("/metrics?name[]=partisan_tasks_claimed_total&name[]=process_cpu_seconds_total")
    families = [line for line in text.splitlines() if line.startswith("# TYPE")]

    assert set(families) == {
        "# TYPE partisan_tasks_claimed_total counter",
        "# TYPE process_cpu_seconds_total counter",
    }


def test_the_manager_s_process_and_platform_are_beside_it(start: Start) -> None:
    text = start().text()

    for name in ("process_resident_memory_bytes", "python_info", "python_gc_collections_total"):
        assert f"# HELP {name} " in text


@pytest.mark.parametrize("part", ["of_manager", "of_runs", "of_workers", "of_resources"])
def test_a_bug_in_one_part_costs_that_part_alone(
    start: Start, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def broken(*arguments: Any) -> Any:
        raise RuntimeError("a bug")

    served = start()
    monkeypatch.setattr("django_partisan.metrics.state." + part, broken)
    scrape = served.text()

    assert "# TYPE partisan_workers gauge" in scrape
    assert 'partisan_tasks_claimed_total{queue="default"} 0.0' in scrape
    assert 'partisan_telemetry_errors_total{signal="metrics"} 1.0' in scrape
    assert ("partisan_workers{" in scrape) is (part != "of_workers")


def test_a_bug_in_another_collector_costs_its_families_alone(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = start()
    monkeypatch.setattr("prometheus_client.PlatformCollector.collect", lambda self: 1 / 0)
    scrape = served.text()

    assert "python_info" not in scrape
    assert "python_gc_collections_total{" in scrape
    assert served.value("partisan_telemetry_errors_total", signal="metrics") >= 1


def test_a_database_that_is_down_leaves_the_rest(start: Start, source: Source) -> None:
    source.error = OSError("gone")
    served = start()

    assert served.value("partisan_db_up", queue=QUEUE) == 0
    assert served.value("partisan_workers", queue=QUEUE, state="idle") == 2
    assert not [key for key in served.samples() if key[0] == "partisan_queue_tasks"]


def test_a_database_that_hangs_holds_scrapes_for_its_timeout_only(start: Start, source: Source) -> None:
    source.gate.clear()
    with override_settings(PARTISAN_OBSERVABILITY={"METRICS_DB_TIMEOUT": 0.5}):
        served = start()
    began = time.monotonic()
    with ThreadPoolExecutor(10) as pool:
        values = [pool.submit(served.value, "partisan_db_up", queue=QUEUE) for _ in range(10)]

    assert [value.result() for value in values] == [0] * 10
    assert time.monotonic() - began < 3


def test_a_database_that_hangs_does_not_hold_probes(start: Start, source: Source) -> None:
    source.gate.clear()
    with override_settings(PARTISAN_OBSERVABILITY={"METRICS_DB_TIMEOUT": 60}):
        served = start()
    with ThreadPoolExecutor(10) as pool:
        scrapes = [pool.submit(served.ask, "/metrics") for _ in range(10)]
        assert source_is_asked(source)
        live = served.ask("/live")
        waiting = [not scrape.done() for scrape in scrapes]
        source.gate.set()

    assert live.status == 200
    assert all(waiting)
    assert all(scrape.result().status == 200 for scrape in scrapes)


def test_a_scrape_takes_one_snapshot(start: Start, state: SimpleNamespace) -> None:
    taken = []

    def take() -> events.Snapshot:
        taken.append(1)
        return snapshot(state)

    start(snapshot=take).text()

    assert len(taken) == 1


def source_is_asked(source: Source) -> bool:
    deadline = time.monotonic() + 5
    while not source.calls and time.monotonic() < deadline:
        time.sleep(0.005)
    return bool(source.calls)


def test_twenty_scrapes_at_once_are_one_query(start: Start, source: Source) -> None:
    served = start()
    source.gate.clear()
    with ThreadPoolExecutor(20) as pool:
        scrapes = [pool.submit(served.ask, "/metrics") for _ in range(20)]
        assert source_is_asked(source)
        source.gate.set()

    assert [scrape.result().status for scrape in scrapes] == [200] * 20
    assert source.calls == 1


def test_gzip_is_answered_to_those_who_take_it(start: Start) -> None:
    response = start().ask("/metrics", **{"Accept-Encoding": "gzip"})

    assert response.getheader("Content-Encoding") == "gzip"
    body = response.text.encode("latin-1")  # type: ignore[attr-defined]
    assert b"# HELP partisan_workers " in gzip.decompress(body)


@pytest.mark.parametrize("target", ["/nothing", "//", "/metrics/", "/..", "/%6Detrics", "*", "x", "/live/x"])
def test_any_other_path_is_not_found(start: Start, target: str) -> None:
    assert start().ask(target).status == 404


def test_a_target_that_is_no_url_is_a_bad_request(start: Start) -> None:
    served = start()
    with socket.create_connection((served.host, served.port)) as client:
        client.sendall(b"GET http://[ HTTP/1.1\r\n\r\n")

        assert client.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_whole_url_is_taken_as_a_proxy_sends_it(start: Start) -> None:
    served = start()

    assert served.ask("http://example.test/live").status == 200
    assert served.ask("http://example.test").status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("target", ["/metrics", "/live", "/ready", "/"])
def test_other_methods_are_not_allowed(start: Start, method: str, target: str) -> None:
    response = start().ask(target, method)

    assert response.status == 405
    assert response.getheader("Allow") == "GET, HEAD"


@pytest.mark.parametrize("target", ["/metrics", "/live", "/ready", "/"])
def test_head_is_answered_everywhere(start: Start, target: str) -> None:
    served = start()
    response = served.ask(target, "HEAD")

    assert response.status == 200
    assert int(response.getheader("Content-Length") or 0) > 0


def test_the_first_page_links_to_the_others(start: Start) -> None:
    page = start().text("/")

    assert all(f'href="{target}"' in page for target in ("/metrics", "/live", "/ready"))


def test_a_stalled_loop_is_not_live(start: Start, state: SimpleNamespace) -> None:
    served = start()
    before = served.ask("/live").status
    state.last_loop_at = time.time() - 40

    assert before == 200
    assert served.ask("/live").status == 503


def test_an_unready_manager_says_which_part_is_not(start: Start, state: SimpleNamespace) -> None:
    served = start()
    before = served.ask("/ready").status
    state.draining = True
    after = served.ask("/ready")

    assert before == 200
    assert after.status == 503
    assert after.text == "the manager drains\n"  # type: ignore[attr-defined]


def test_scrapes_go_on_while_the_manager_drains(
    start: Start, state: SimpleNamespace, run: events.Run
) -> None:
    served = start()
    state.draining = True
    send(served, completed(run, 0.2))

    assert served.value("partisan_manager_draining", queue=QUEUE) == 1
    assert served.value("partisan_tasks_completed_total", **MAIL) == 1


def test_a_token_is_demanded_for_metrics_and_not_for_probes(start: Start, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" secret\n")
    served = start(token_file=tmp_path / "token")
    without = served.ask("/metrics")
    wrong = served.ask("/metrics", Authorization="Bearer wrong")
    right = served.ask("/metrics", Authorization="Bearer secret")

    assert (without.status, wrong.status, right.status) == (401, 401, 200)
    assert (without.getheader("WWW-Authenticate") or "").startswith("Bearer")
    assert served.ask("/live").status == 200


def test_over_tls_it_says_https_and_answers(start: Start, certificates: Certificates) -> None:
    certfile, keyfile = certificates.server
    served = start(certfile=certfile, keyfile=keyfile)
    trusting = ssl.create_default_context(cafile=str(certificates.ca))
    connection = http.client.HTTPSConnection("127.0.0.1", served.port, context=trusting, timeout=10)
    connection.request("GET", "/metrics")
    response = connection.getresponse()

    assert served.address == f"https://127.0.0.1:{served.port}"
    assert b"partisan_db_up" in response.read()
    connection.close()


def test_it_serves_on_ipv6(start: Start) -> None:
    served = start(host="::1")

    assert served.address == f"http://[::1]:{served.port}"
    assert served.ask("/live").status == 200


def test_garbage_on_the_port_hurts_nobody(start: Start) -> None:
    served = start()
    for sent in (b"\x00" * 100, b"GET " + b"/" * 100_000, b"\x16\x03\x01", b"GET /metrics HTTP/1.1\r\n", b""):
        with socket.create_connection((served.host, served.port)) as client:
            client.sendall(sent)

    assert served.value("partisan_telemetry_errors_total", signal="metrics") == 0


def test_a_taken_port_is_told_and_raised_before_anything_starts(start: Start, told: list[Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"Cannot serve metrics on port {port} .*--metrics-port"):
            start(port=port)

    assert [type(event) for event in told] == [events.MetricsServerFailed]
    assert told[0].error.type == f"{CannotServe.__module__}.CannotServe"


def test_an_unusable_certificate_or_token_is_told_and_raised(
    start: Start, told: list[Any], tmp_path: Path
) -> None:
    with pytest.raises(CannotServe, match="TLS files"):
        start(certfile=tmp_path / "none.pem")
    with pytest.raises(CannotServe, match="token file"):
        start(token_file=tmp_path / "none")

    assert len(told) == 2


def test_after_stop_the_port_is_free_and_nobody_listens(start: Start) -> None:
    served = start()
    served.exporter.stop()
    served.exporter.stop()

    socket.create_server(("127.0.0.1", served.port)).close()
    assert bus.subscribers() == ()


def test_no_counter_goes_down_when_workers_come_and_go(
    start: Start, state: SimpleNamespace, run: events.Run
) -> None:
    served = start()
    last: dict[Any, float] = {}
    for generation in range(1, 20):
        state.workers = (events.WorkerSeen(0, generation, 0, "idle", None, 0.0, 1.0 / generation),)
        send(served, completed(run, 0.2))
        seen = {key: value for key, value in served.samples().items() if key[0].endswith("_total")}
        assert all(seen[key] >= value for key, value in last.items())
        last = seen

    busy = last["partisan_worker_busy_seconds_total", frozenset({("queue", QUEUE), ("worker", "0")})]
    assert busy == pytest.approx(sum(1.0 / generation for generation in range(1, 20)))


def test_the_scrape_of_a_part_s_bug_is_told_on_standard_error_once(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        raise RuntimeError("a bug")
    except RuntimeError:
        exporting._swallow()
        exporting._swallow()

    assert capsys.readouterr().err.count("RuntimeError: a bug") == 1


def send(served: Served, *told: Any) -> None:
    """Have a worker of its own count events and send them up."""
    worker = Recorder(QUEUE)
    for event in told:
        worker.handle(event)
    bus.absorb(0, [("metrics", worker.take())])
