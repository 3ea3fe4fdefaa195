"""A complete exporter over real sockets, with a stand-in for the database."""

import gzip
import http.client
import math
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from django.test import override_settings
from prometheus_client import PlatformCollector
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from django_partisan import registry
from django_partisan.config import observability
from django_partisan.metrics.access import CannotServe
from django_partisan.metrics.catalogue import METRICS
from django_partisan.metrics.exporter import SCRAPES_AT_ONCE, Exporter
from django_partisan.metrics.recorder import Recorder
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.queues import TasksReleased
from django_partisan.telemetry.events.runs import MetricRecorded, TaskFailed, TaskRetried
from django_partisan.telemetry.events.snapshot import QueueLimits, Snapshot
from django_partisan.telemetry.events.telemetry import MetricsServerFailed, MetricsUnknown
from django_partisan.telemetry.events.workers import WorkerExited, WorkerReady
from tests.support.events import RecordedEvents
from tests.support.queue_statistics import STATISTICS, FakeQuery
from tests.support.waiting import wait_until

from .certificates import Certificates
from .conftest import ERROR, QUEUE, RUN, TASK, completed, processor, seen, snapshot

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
ROOT = Path(__file__).parents[3]
MAIL = {"queue": QUEUE, "processor": "Mail"}

Start = Callable[..., "Served"]


class Answer:
    """A response, read completely."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()
        self.text = self.body.decode("latin-1")


class Served:
    """A running exporter, and a client for it."""

    def __init__(self, exporter: Exporter) -> None:
        self.exporter = exporter
        self.address = exporter.start() or ""
        self.port = int(self.address.rpartition(":")[2])

    def ask(self, target: str, method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, target, headers=headers)
        answer = Answer(connection.getresponse())
        connection.close()
        return answer

    def text(self, target: str = "/metrics", **headers: str) -> str:
        answer = self.ask(target, **headers)
        assert answer.status == 200
        return answer.text

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in parse_text(self.text())
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        return self.samples()[name, frozenset(labels.items())]

    def by_label(self, name: str) -> dict[tuple[str, ...], float]:
        """Return a metric's values by the values of its labels, without the queue."""
        return {
            tuple(value for label, value in sorted(labels) if label != "queue"): value
            for (found, labels), value in self.samples().items()
            if found == name
        }


@pytest.fixture
def query() -> FakeQuery:
    return FakeQuery()


@pytest.fixture
def start(state: SimpleNamespace, query: FakeQuery) -> Iterator[Start]:
    running = []
    state.last_loop_at = time.time()

    def start(port: int = 0, **options: Any) -> Served:
        options.setdefault("snapshot", lambda: snapshot(state))
        exporter = Exporter(QUEUE, host="127.0.0.1", port=port, query=query, **options)
        running.append(exporter)
        return Served(exporter)

    yield start
    query.gate.set()
    for exporter in running:
        exporter.stop()


def send(*emitted: Any) -> None:
    """Count events in a worker, and report them."""
    worker = Recorder(QUEUE)
    for event in emitted:
        worker.handle(event)
    bus.absorb(0, [("metrics", worker.take()), ("traces", 1)])


def broken() -> Any:
    raise RuntimeError("a bug")


def test_every_family_is_in_every_scrape_by_help_and_type(start: Start, query: FakeQuery) -> None:
    query.error = OSError("gone")

    lines = start(snapshot=broken).text().splitlines()

    for metric in METRICS.values():
        kind = "gauge" if metric.kind == "info" else metric.kind
        assert f"# HELP {metric.name} {metric.help}" in lines
        assert f"# TYPE {metric.name} {kind}" in lines


def test_a_scrape_is_valid_openmetrics_with_the_labels_of_the_catalogue(
    start: Start, state: SimpleNamespace
) -> None:
    state.workers = (seen(0, "busy", pid=os.getpid(), task=TASK),)
    state.limits = QueueLimits(60.0, 3, 30.0, 10.0)
    served = start()
    send(TaskFailed(RUN, 0.1, "error", ERROR))

    text = served.text(**OPENMETRICS)

    families = {family.name: family for family in parse_openmetrics(text)}
    for metric in METRICS.values():
        labels = {frozenset(sample.labels.keys() - {"le"}) for sample in families[metric.family].samples}
        assert labels == {frozenset(metric.labels)}, metric.name
    assert "_created" not in text
    assert text.count("# EOF\n") == 1


def created(served: Served) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the times of ``_created`` series, by family and label values."""
    return {
        family.name: {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for sample in family.samples
            if sample.name == f"{family.name}_created"
        }
        for family in parse_openmetrics(served.text(**OPENMETRICS))
    }


def test_series_say_when_they_began_if_asked(start: Start, state: SimpleNamespace, settings) -> None:
    settings.PARTISAN_OBSERVABILITY = {"METRICS_CREATED": True}
    state.workers = (seen(0, "busy", pid=os.getpid(), task=TASK),)
    before = time.time()
    served = start()
    started = time.time()
    send(TaskFailed(RUN, 0.1, "error", ERROR))

    found = created(served)

    for metric in METRICS.values():
        if metric.kind in ("counter", "histogram") and "D" not in metric.sources:
            assert found[metric.family], metric.name
        else:
            assert not found[metric.family], metric.name
    assert before <= found["partisan_tasks_failed"]["Mail", QUEUE, "error"] <= started
    assert before <= found["partisan_worker_busy_seconds"][QUEUE, "0"] <= started
    [began] = found["partisan_task_errors"].values()
    assert started <= began <= time.time()


@pytest.mark.parametrize("headers", [{}, OPENMETRICS])
def test_exemplars_are_in_openmetrics_only(start: Start, headers: dict[str, str]) -> None:
    served = start()
    exemplar = ("0" * 31 + "1", "0" * 15 + "2", 0.2, 1_000.0)
    key = ("partisan_task_queue_wait_seconds", (QUEUE, "Mail"))
    bus.absorb(0, [("metrics", ({}, {key: [{3: 1}, 0.2, exemplar]}))])

    labels = f'span_id="{exemplar[1]}",trace_id="{exemplar[0]}"'
    expected = f'le="0.25",processor="Mail",queue="default"}} 1.0 # {{{labels}}} 0.2 1000.0'
    assert (expected in served.text(**headers)) is bool(headers)


def test_what_workers_and_the_manager_count_is_exported(start: Start) -> None:
    served = start()
    send(completed(0.2), completed(0.3))
    send(completed(0.5))
    bus.emit(TasksReleased, QUEUE, 3, "stopped")

    assert served.value("partisan_tasks_completed_total", **MAIL) == 3
    assert served.value("partisan_tasks_started_total", **MAIL) == 3
    assert served.value("partisan_task_duration_seconds_sum", **MAIL, outcome="completed") == 1.0
    assert served.value("partisan_task_duration_seconds_bucket", **MAIL, outcome="completed", le="0.25") == 1
    assert served.value("partisan_tasks_failed_total", **MAIL, reason="timeout") == 0
    assert served.value("partisan_tasks_released_total", queue=QUEUE, reason="stopped") == 3
    assert served.value("partisan_telemetry_messages_total", queue=QUEUE) == 2


def test_only_processors_of_the_queue_have_series_before_their_first_run(start: Start) -> None:
    scrape = start().text()

    assert 'processor="Report"' in scrape
    assert 'processor="Elsewhere"' not in scrape


def test_series_of_failures_exist_before_the_first_and_histograms_of_other_outcomes_do_not(
    start: Start,
) -> None:
    served = start()
    before = served.samples()
    send(TaskRetried(RUN, 0.1, 1.0, 2, ERROR))

    durations = {
        (labels["processor"], labels["outcome"])
        for name, pairs in before
        if name == "partisan_task_duration_seconds_count"
        for labels in [dict(pairs)]
    }
    assert durations == {("Mail", "completed"), ("Report", "completed")}
    failed = (
        "partisan_tasks_failed_total",
        frozenset({"queue": QUEUE, "processor": "Mail", "reason": "error"}.items()),
    )
    unregistered = {"queue": QUEUE, "processor": "_other", "reason": "unregistered"}
    assert before[failed] == 0
    assert before["partisan_tasks_failed_total", frozenset(unregistered.items())] == 0
    assert served.value("partisan_task_duration_seconds_count", **MAIL, outcome="retried") == 1


@pytest.mark.parametrize("file", ["grafana/prometheus/scrape.yaml", "deploy/compose/prometheus.yml"])
def test_samples_are_as_documented_and_the_shipped_limit_holds_for_500_processors(
    start: Start, file: str
) -> None:
    bare = len(start().samples())
    registry.register(processor("Bill"))
    registry.register(processor("Order"))
    served = start()
    of_each = (len(served.samples()) - bare) // 2
    send(TaskRetried(RUN, 0.1, 1.0, 2, ERROR))
    of_an_outcome = sum(name.startswith("partisan_task_duration") for name, _ in served.samples()) // 5

    page = (ROOT / "docs" / "observability.md").read_text()
    assert f"adds {of_each} samples" in page
    assert f"{of_an_outcome} more for each" in page
    limit = yaml.safe_load((ROOT / file).read_text())["scrape_configs"][0]["sample_limit"]
    error_types = 2 * observability.value("METRICS_MAX_ERROR_TYPES")
    assert 500 * (of_each + 4 * of_an_outcome + error_types) + bare < limit


def test_custom_metrics_are_exported(start: Start) -> None:
    served = start()
    before = served.text()

    send(MetricRecorded(QUEUE, "Mail", "partisan_user_mails_total", ("welcome",), 2))

    assert "# HELP partisan_user_mails_total Mails sent." in before
    assert 'partisan_user_size_bytes_bucket{le="10.0",processor="Mail",queue="default"} 0.0' in before
    assert served.value("partisan_user_mails_total", **MAIL, kind="welcome") == 2


def test_a_thousand_labels_of_a_custom_metric_are_limited(start: Start) -> None:
    with override_settings(PARTISAN_OBSERVABILITY={"METRICS_MAX_SERIES": 50}):
        served = start()
    for number in range(1_000):
        send(MetricRecorded(QUEUE, "Mail", "partisan_user_mails_total", (f"k{number}",), 1))

    series = [key for key in served.samples() if key[0] == "partisan_user_mails_total"]
    assert len(series) == 51
    assert served.value("partisan_user_mails_total", **MAIL, kind="_other") == 950
    assert served.value("partisan_telemetry_label_overflow_total", label="kind") == 950


def test_a_metric_that_the_manager_does_not_know_is_counted_and_emitted(
    start: Start, recorded: RecordedEvents
) -> None:
    served = start()

    bus.absorb(0, [("metrics", ({("partisan_newer_total", (QUEUE,)): 3}, {}))])

    dropped = {"queue": QUEUE, "reason": "unknown_metric"}
    assert served.value("partisan_telemetry_dropped_total", **dropped) == 1
    assert recorded.of(MetricsUnknown) == [MetricsUnknown(QUEUE, 1)]


def test_name_filters_the_families(start: Start) -> None:
    text = start().text("/metrics?name[]=partisan_tasks_claimed_total&name[]=process_cpu_seconds_total")

    assert {line for line in text.splitlines() if line.startswith("# TYPE")} == {
        "# TYPE partisan_tasks_claimed_total counter",
        "# TYPE process_cpu_seconds_total counter",
    }


def test_gauges_are_those_of_the_snapshot(start: Start, state: SimpleNamespace) -> None:
    state.workers = (
        seen(0, "busy", task=TASK, run_age_seconds=2.0, busy_seconds=7.0),
        seen(1, "busy", task=TASK, run_age_seconds=5.0),
        seen(2, "busy", task=TASK._replace(processor="Unknown"), run_age_seconds=1.0),
        seen(3),
    )
    served = start()

    for name, value in {
        "buffer_tasks": 3,
        "buffer_limit": 10,
        "unsettled_tasks": 4,
        "workers_configured": 2,
        "manager_draining": 0,
        "manager_last_loop_timestamp_seconds": state.last_loop_at,
        "manager_last_claim_timestamp_seconds": 900,
        "last_task_finished_timestamp_seconds": 800,
    }.items():
        assert served.by_label(f"partisan_{name}") == {(): value}
    assert served.by_label("partisan_tasks_in_progress") == {("Mail",): 2, ("Report",): 0, ("_other",): 1}
    assert served.by_label("partisan_oldest_run_age_seconds") == {
        ("Mail",): 5.0,
        ("Report",): 0.0,
        ("_other",): 1.0,
    }
    assert served.by_label("partisan_workers") == {("starting",): 0, ("idle",): 1, ("busy",): 3}
    assert served.value("partisan_worker_busy_seconds_total", queue=QUEUE, worker="0") == 7.0


def test_limits_are_those_of_the_settings_and_of_the_processors(start: Start, state: SimpleNamespace) -> None:
    state.limits = QueueLimits(60.0, 3, None, 10.0)
    registry.register(processor("Slow", TIMEOUT_SECONDS=120))
    registry.register(processor("Endless", TIMEOUT_SECONDS=math.inf))
    served = start()

    assert served.value("partisan_queue_max_wait_seconds", queue=QUEUE) == 60
    assert served.value("partisan_max_crashes", queue=QUEUE) == 3
    assert served.by_label("partisan_run_limit_seconds") == {("Slow",): 130}

    state.limits = QueueLimits(None, 3, 30.0, 10.0)

    assert served.by_label("partisan_queue_max_wait_seconds") == {}
    assert served.by_label("partisan_run_limit_seconds") == {("Slow",): 130, ("Mail",): 40, ("Report",): 40}


def test_memory_of_the_host_is_exported(start: Start) -> None:
    served = start()

    limit, used = (served.value(f"partisan_memory_{what}_bytes", queue=QUEUE) for what in ("limit", "used"))
    assert limit > used > 2**20


def test_a_moment_that_has_not_come_has_no_series(start: Start, state: SimpleNamespace) -> None:
    state.last_claim_at = state.last_finished_at = None
    served = start()

    assert served.by_label("partisan_manager_last_claim_timestamp_seconds") == {}
    assert served.by_label("partisan_last_task_finished_timestamp_seconds") == {}


def test_no_counter_goes_down_when_workers_come_and_go(start: Start, state: SimpleNamespace) -> None:
    served = start()
    last: dict[Any, float] = {}
    # One retires while its successor starts; a worker's second figure is lower than its first.
    lives = [{1: 5.0}, {1: 4.0}, {1: 6.0, 2: 1.0}, {2: 2.0}, {}, {3: 0.5}]
    totals = []

    for workers in lives:
        state.workers = tuple(
            seen(0, generation=generation, busy_seconds=busy) for generation, busy in workers.items()
        )
        send(completed(0.2))
        found = {key: value for key, value in served.samples().items() if key[0].endswith("_total")}
        assert all(found[key] >= value for key, value in last.items())
        last = found
        totals.append(
            last["partisan_worker_busy_seconds_total", frozenset({("queue", QUEUE), ("worker", "0")})]
        )

    assert totals == [5.0, 5.0, 7.0, 8.0, 8.0, 8.5]


def test_a_dead_worker_keeps_its_processor_time_and_has_no_memory(
    start: Start, state: SimpleNamespace
) -> None:
    served = start()
    with subprocess.Popen(["sleep", "60"]) as child:
        state.workers = (seen(0, pid=child.pid), seen(1, pid=os.getpid()))
        alive = served.by_label("partisan_worker_resident_memory_bytes")
        child.kill()

    assert alive.keys() == {("0",), ("1",)}
    assert alive[("1",)] > 1_000_000
    assert served.by_label("partisan_worker_resident_memory_bytes").keys() == {("1",)}
    assert served.by_label("partisan_worker_cpu_seconds_total").keys() == {("0",), ("1",)}
    assert served.value("partisan_worker_cpu_seconds_total", queue=QUEUE, worker="1") > 0


def test_the_peak_of_a_slot_is_the_highest_of_its_workers_also_of_those_that_have_exited(
    start: Start, state: SimpleNamespace
) -> None:
    served = start()
    state.workers = (seen(0, pid=os.getpid()), seen(1, pid=os.getpid()))
    bus.emit(WorkerExited, QUEUE, 0, 1, 9, 0, None, "recycled", None, 2**50)
    bus.emit(WorkerExited, QUEUE, 1, 1, 9, 0, None, "recycled", None, 1)
    bus.emit(WorkerExited, QUEUE, 2, 1, 9, -9, "SIGKILL", "signal", None, None)
    first = served.by_label("partisan_worker_peak_resident_memory_bytes")

    state.workers = ()
    then = served.by_label("partisan_worker_peak_resident_memory_bytes")

    assert first.keys() == then.keys() == {("0",), ("1",)}
    assert first[("0",)] == 2**50
    assert 1_000_000 < first[("1",)] <= then[("1",)] < 2**50


@pytest.mark.parametrize(
    ("wrong", "missing"),
    [
        ({"buffered": "no number"}, "partisan_buffer_tasks"),
        ({"workers": (seen(0, "busy", task=TASK, run_age_seconds="x"),)}, "partisan_oldest_run_age_seconds"),
        ({"workers": (seen(0, busy_seconds="x"),)}, "partisan_worker_busy_seconds_total"),
        ({"workers": (seen(0, pid="x\0"),)}, "partisan_worker_resident_memory_bytes"),
    ],
)
def test_a_bug_in_one_part_costs_that_part_alone(
    start: Start, state: SimpleNamespace, wrong: dict[str, Any], missing: str
) -> None:
    vars(state).update(wrong)

    scrape = start().text()

    assert f"# TYPE {missing} " in scrape
    assert f"\n{missing}{{" not in scrape
    assert 'partisan_db_up{queue="default"} 1.0' in scrape
    assert 'partisan_tasks_claimed_total{queue="default"} 0.0' in scrape
    assert 'partisan_telemetry_errors_total{signal="metrics"} 1.0' in scrape


def test_a_bug_in_another_collector_costs_its_families_alone_and_is_printed_once(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served = start()
    monkeypatch.setattr(PlatformCollector, "collect", lambda self: broken())

    scrape = served.text()

    assert "python_info" not in scrape
    for name in ("process_resident_memory_bytes", "python_gc_collections_total"):
        assert f"# HELP {name} " in scrape
    assert served.value("partisan_telemetry_errors_total", signal="metrics") >= 1
    assert capsys.readouterr().err.count("RuntimeError: a bug") == 1


def test_the_database_s_statistics_are_exported_once_each(start: Start) -> None:
    served = start()

    assert served.value("partisan_db_up", queue=QUEUE) == 1
    assert served.by_label("partisan_queue_tasks") == {
        ("due",): 1,
        ("scheduled",): 2,
        ("in_process",): 3,
        ("error",): 4,
    }
    assert served.value("partisan_queue_oldest_due_age_seconds", queue=QUEUE) == 5
    assert served.value("partisan_task_table_bytes") == 10
    assert served.value("partisan_db_clock_skew_seconds", queue=QUEUE) == 0.5
    assert 0 <= served.value("partisan_db_data_age_seconds", queue=QUEUE) < 5
    assert 'postgresql="16.1"' in served.text()


def test_a_database_that_is_down_leaves_the_rest(start: Start, query: FakeQuery) -> None:
    query.error = OSError("gone")
    served = start()

    assert served.value("partisan_db_up", queue=QUEUE) == 0
    assert served.value("partisan_workers", queue=QUEUE, state="idle") == 2
    assert served.by_label("partisan_queue_tasks") == {}


def test_the_version_of_the_server_stays_known_while_the_database_is_down(
    start: Start, query: FakeQuery
) -> None:
    with override_settings(PARTISAN_OBSERVABILITY={"METRICS_DB_MIN_INTERVAL": 0, "METRICS_DB_MAX_AGE": 0}):
        served = start()
    before = served.by_label("partisan_build_info")

    query.error = OSError("gone")

    assert served.by_label("partisan_queue_tasks") == {}
    assert served.by_label("partisan_build_info") == before
    assert [STATISTICS.server_version in labels for labels in before] == [True]


def test_a_database_that_hangs_holds_scrapes_for_its_timeout_only(start: Start, query: FakeQuery) -> None:
    query.gate.clear()
    with override_settings(PARTISAN_OBSERVABILITY={"METRICS_DB_TIMEOUT": 0.5}):
        served = start()
    began = time.monotonic()

    with ThreadPoolExecutor(10) as pool:
        values = [pool.submit(served.value, "partisan_db_up", queue=QUEUE) for _ in range(10)]

    assert [value.result() for value in values] == [0] * 10
    assert time.monotonic() - began < 3


def waiting_scrapes(function: str = "_metrics") -> int:
    """Return how many scrapes wait inside a function: for the query, or for a scrape that waits for it."""
    stacks = [
        [caller.f_code.co_name for caller, _ in traceback.walk_stack(frame)]
        for frame in sys._current_frames().values()
    ]
    return sum(names[0] == "wait" and {"_metrics", function} <= set(names) for names in stacks)


@pytest.mark.parametrize("interval", [0, 5])
def test_twenty_scrapes_at_once_are_one_query_and_hold_no_probe(
    start: Start, query: FakeQuery, interval: float
) -> None:
    query.gate.clear()
    observability = {"METRICS_DB_TIMEOUT": 60, "METRICS_DB_MIN_INTERVAL": interval}
    with override_settings(PARTISAN_OBSERVABILITY=observability):
        served = start()

    with ThreadPoolExecutor(20) as pool:
        scrapes = [pool.submit(served.ask, "/metrics") for _ in range(20)]
        wait_until(lambda: waiting_scrapes() == 20)
        built_at_once = waiting_scrapes("collect")
        live = served.ask("/live").status
        waiting = [not scrape.done() for scrape in scrapes]
        query.gate.set()

    assert live == 200
    assert all(waiting)
    assert built_at_once == SCRAPES_AT_ONCE, "the others take no CPU time from the manager's loop"
    assert [scrape.result().status for scrape in scrapes] == [200] * 20
    assert query.calls == 1


def test_a_scrape_takes_one_snapshot(start: Start, state: SimpleNamespace) -> None:
    taken = []

    def take() -> Snapshot:
        taken.append(1)
        return snapshot(state)

    start(snapshot=take).text()

    assert len(taken) == 1


@pytest.mark.parametrize("encoding", ["gzip", "br, gzip;q=0.5", "GZIP"])
def test_gzip_is_used_where_it_is_accepted(start: Start, encoding: str) -> None:
    answer = start().ask("/metrics", **{"Accept-Encoding": encoding})

    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"
    assert b"# HELP partisan_workers " in gzip.decompress(answer.body)


def test_the_text_of_prometheus_is_the_default(start: Start) -> None:
    answer = start().ask("/metrics")

    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "Content-Encoding" not in answer.headers


def offers(*versions: str, media: str = "application/openmetrics-text") -> str:
    """Return the Accept header of a client that prefers these versions of OpenMetrics, in order."""
    ranges = [
        f"{media};version={version};escaping=allow-utf-8;q=0.{9 - n}" for n, version in enumerate(versions)
    ]
    return ",".join([*ranges, "text/plain;version=0.0.4;q=0.2", "*/*;q=0.1"])


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (offers("2.0.0", "1.0.0"), "application/openmetrics-text; version=1.0.0"),
        (offers("2.0.0", "1.0.0", "0.0.1"), "application/openmetrics-text; version=1.0.0"),
        (offers("2.0.0"), "text/plain; version=0.0.4"),
        (offers("1.7.0"), "text/plain; version=0.0.4"),
        (offers("x.y", "1.0.0"), "application/openmetrics-text; version=1.0.0"),
        (offers("0.0.1"), "text/plain; version=0.0.4"),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0"),
        (offers("2.0.0", media="text/plain"), "text/plain; version=0.0.4"),
        (offers("1.0.0", media="text/plain"), "text/plain; version="),  # earlier libraries: 0.0.4
        ("*/*", "text/plain; version=0.0.4"),
    ],
)
def test_an_answer_names_the_version_in_which_it_is_written(start: Start, accept: str, expected: str) -> None:
    answer = start().ask("/metrics", Accept=accept)

    assert answer.headers["Content-Type"].startswith(expected)
    assert answer.text.endswith("# EOF\n") == expected.startswith("application/openmetrics-text")


def test_a_version_that_is_no_number_is_answered_and_is_no_error(start: Start) -> None:
    served = start()

    text = served.text(Accept="application/openmetrics-text; version=x.y")

    assert 'partisan_telemetry_errors_total{signal="metrics"} 0.0' in text
    assert served.value("partisan_telemetry_errors_total", signal="metrics") == 0


@pytest.mark.parametrize("target", ["/nothing", "/metrics/", "/..", "/%6Detrics", "*", "x", "/live/x"])
def test_any_other_path_is_not_found(start: Start, target: str) -> None:
    assert start().ask(target).status == 404


def test_a_whole_url_is_taken_as_a_proxy_sends_it(start: Start) -> None:
    served = start()

    assert served.ask("http://example.test/live").status == 200
    assert served.ask("http://example.test").status == 200
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        client.sendall(b"GET http://[ HTTP/1.1\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("target", ["/metrics", "/live", "/ready", "/"])
def test_other_methods_are_not_allowed(start: Start, method: str, target: str) -> None:
    answer = start().ask(target, method)

    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("target", ["/metrics", "/live", "/ready", "/"])
def test_head_is_answered_everywhere(start: Start, target: str) -> None:
    answer = start().ask(target, "HEAD")

    assert answer.status == 200
    assert int(answer.headers["Content-Length"]) > 0


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
    state.database_reachable, state.draining = False, True
    state.workers = (seen(0), seen(1, "starting"))

    after = served.ask("/ready")

    assert before == 200
    assert after.status == 503
    assert after.text.splitlines() == [
        "the database is not reachable",
        "the manager is draining",
        "1 of 2 workers are not ready",
    ]


def test_a_manager_stays_ready_while_a_ready_worker_is_replaced(start: Start, state: SimpleNamespace) -> None:
    state.workers = (seen(0), seen(1, "starting"))
    served = start()

    before = served.ask("/ready").status
    bus.emit(WorkerReady, QUEUE, 1, 1, 42, ())

    assert (before, served.ask("/ready").status) == (503, 200)


def test_scrapes_go_on_while_the_manager_drains(start: Start, state: SimpleNamespace) -> None:
    served = start()
    state.draining = True
    send(completed(0.2))

    assert served.value("partisan_manager_draining", queue=QUEUE) == 1
    assert served.value("partisan_tasks_completed_total", **MAIL) == 1


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("  secret\n")
    return path


def statuses(served: Served, *authorizations: str) -> list[int]:
    return [served.ask("/metrics", Authorization=one).status for one in authorizations]


def test_a_token_is_demanded_for_metrics_and_not_for_probes(start: Start, token_file: Path) -> None:
    served = start(token_file=token_file)
    without = served.ask("/metrics")

    assert without.status == 401
    assert without.headers["WWW-Authenticate"].startswith("Bearer")
    assert statuses(served, "Bearer secret", "bearer  secret ", "BEARER secret") == [200] * 3
    wrong = ("", "secret", "Bearer", "Basic secret", "Bearer secrets", "Bearer \xff")
    assert statuses(served, *wrong) == [401] * len(wrong)
    assert served.ask("/live").status == 200


def test_a_replaced_token_counts_at_once_and_without_its_file_nobody_is_allowed(
    start: Start, token_file: Path
) -> None:
    served = start(token_file=token_file)

    token_file.write_text("new")
    assert statuses(served, "Bearer new", "Bearer secret") == [200, 401]
    token_file.write_text(" \n")
    assert statuses(served, "Bearer new", "Bearer ") == [401, 401]
    token_file.unlink()
    assert statuses(served, "Bearer new", "Bearer ") == [401, 401]


def test_over_tls_it_says_https_and_answers(start: Start, certificates: Certificates) -> None:
    certfile, keyfile = certificates.server
    served = start(certfile=certfile, keyfile=keyfile)
    context = ssl.create_default_context(cafile=str(certificates.ca))
    connection = http.client.HTTPSConnection("127.0.0.1", served.port, context=context, timeout=10)
    connection.request("GET", "/metrics")

    assert served.address == f"https://127.0.0.1:{served.port}"
    assert b"partisan_db_up" in connection.getresponse().read()
    connection.close()


def test_what_cannot_be_served_is_emitted_and_raised_before_anything_starts(
    start: Start, recorded: RecordedEvents, tmp_path: Path
) -> None:
    (tmp_path / "empty").write_text("\n")

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"Cannot serve metrics on port {port} of .*--metrics-port"):
            start(port=port)
    with pytest.raises(CannotServe, match="TLS files"):
        start(certfile=tmp_path / "none.pem")
    with pytest.raises(CannotServe, match=r"token file .* cannot be read"):
        start(token_file=tmp_path / "none")
    with pytest.raises(CannotServe, match=r"empty' is empty"):
        start(token_file=tmp_path / "empty")

    assert {type(event) for event in recorded.events} == {MetricsServerFailed}
    assert len(recorded.events) == 4
    assert {event.error.stack_trace for event in recorded.of(MetricsServerFailed)} == {""}
    assert recorded.events[0].error.type == f"{CannotServe.__module__}.PortInUse"  # type: ignore[union-attr]
    assert bus.subscribers() == (recorded,)


def test_after_stop_the_port_is_free_and_nothing_is_subscribed(start: Start) -> None:
    served = start()

    served.exporter.stop()
    served.exporter.stop()

    socket.create_server(("127.0.0.1", served.port)).close()
    assert bus.subscribers() == ()
    assert not any(thread.name == "partisan-figures" for thread in threading.enumerate())
