"""The exporter of a real manager with real workers: its figures add up, whatever happens to the workers."""

import signal
import socket
import time
import urllib.error
import urllib.request

from django.db.models import Count
from prometheus_client.parser import text_string_to_metric_families

from django_partisan.models import Task
from django_partisan.processor import bulk_delay
from tests.app import partisan_tasks as processors

from .managing import Bench, ManagerProcess
from .observability.scraping import wait_for_scrape

Series = tuple[str, frozenset[tuple[str, str]]]
WAYS = ("complete", "postpone", "retry", "exhaust", "fail")
OPTIONS = ("--metrics-port", "0")
FREQUENT = {"PARTISAN_OBSERVABILITY": {"METRICS_DB_MIN_INTERVAL": 0}}


class Scraper:
    """A scraper that remembers every counter and fails when one goes down."""

    def __init__(self, manager: ManagerProcess) -> None:
        [started] = manager.wait_for("manager.started")
        self.address = started["partisan.manager.metrics_address"]
        self.scrapes = 0
        self._last: dict[Series, float] = {}

    def scrape(self) -> "Scraper":
        """Scrape once; fail if a counter is lower than before, or missing."""
        with urllib.request.urlopen(f"{self.address}/metrics", timeout=10) as response:
            families = list(text_string_to_metric_families(response.read().decode()))
        counted = (family for family in families if family.type in ("counter", "histogram"))
        seen = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }
        names = {sample.name for family in counted for sample in family.samples}
        for key, value in self._last.items():
            if key[0] in names and not key[0].startswith(("process_", "python_")):
                assert seen[key] >= value, key
        self._last = seen
        self.scrapes += 1
        return self

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's series that match these labels, at the last scrape."""
        wanted = labels.items()
        return sum(
            value
            for (found, has), value in self._last.items()
            if found == f"partisan_{name}" and wanted <= has
        )

    def workers_of(self, name: str) -> set[str]:
        """Return the slots for which a metric has series, at the last scrape."""
        return {dict(has)["worker"] for found, has in self._last if found == f"partisan_{name}"}

    def status(self, path: str) -> int:
        """Return the HTTP status of another page."""
        try:
            with urllib.request.urlopen(self.address + path, timeout=10) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code

    def assert_ledger(self, processor: str) -> None:
        """Check that every run that started has an outcome."""
        labels = {"queue": "default", "processor": processor}
        failed = self.total("tasks_failed_total", **labels)
        aside = sum(
            self.total("tasks_failed_total", reason=reason, **labels)
            for reason in ("worker_lost", "unregistered")
        )
        ended = sum(
            self.total(f"tasks_{how}_total", **labels) for how in ("completed", "postponed", "retried")
        )
        started = self.total("tasks_started_total", **labels)
        assert started == ended + failed - aside
        assert self.total("task_duration_seconds_count", **labels) == started
        assert self.total("task_queue_wait_seconds_count", **labels) == started


def enqueue_mixed(count: int) -> None:
    bulk_delay([processors.Mixed(WAYS[number % len(WAYS)], number) for number in range(count)])


def all_done() -> bool:
    return not Task.objects.exclude(status__in=["finished", "error"]).exists()


def rows() -> dict[str, int]:
    return dict(Task.objects.values_list("status").annotate(Count("id")))


def test_scraped_figures_are_those_of_the_runs_and_of_the_table(bench: Bench):
    manager = bench.ready(*OPTIONS, settings=FREQUENT)
    scraper = Scraper(manager).scrape()
    enqueue_mixed(200)
    wait_for_scrape(lambda: scraper.scrape().scrapes and all_done(), what="every task is done")
    wait_for_scrape(
        lambda: scraper.scrape().total("tasks_completed_total") == 120,
        what="the last message",
    )
    begun = len(bench.journal("begun"))

    assert rows() == {"finished": 120, "error": 80}
    assert scraper.total("tasks_started_total", processor="Mixed") == begun
    assert scraper.total("tasks_postponed_total") == 40
    assert scraper.total("tasks_retried_total") == 40 + 80
    assert scraper.total("tasks_failed_total", reason="error") == 40
    assert scraper.total("tasks_failed_total", reason="retries_exhausted") == 40
    assert scraper.total("task_errors_total", error_type="TimeoutError", outcome="retried") == 120
    assert scraper.total("task_attempts_count") == 200
    assert scraper.total("queue_tasks", state="error") == 80
    assert scraper.total("tasks_claimed_total") >= 200
    assert scraper.total("db_up") == 1
    scraper.assert_ledger("Mixed")


def test_gauges_show_what_runs_and_who_works(bench: Bench):
    manager = bench.ready(*OPTIONS)
    scraper = Scraper(manager)
    processors.Wait("gate").delay()
    bench.wait_for("begun")
    scraper.scrape()

    assert scraper.total("tasks_in_progress", processor="Wait") == 1
    assert scraper.total("oldest_run_age_seconds", processor="Wait") > 0
    assert scraper.total("workers", state="busy") == 1
    assert scraper.total("workers", state="idle") == 1
    assert scraper.total("workers_configured") == 2
    assert scraper.total("worker_resident_memory_bytes") > 1_000_000
    assert scraper.workers_of("worker_cpu_seconds_total") == {"0", "1"}
    assert scraper.total("worker_busy_seconds_total") > 0
    assert abs(scraper.total("manager_last_loop_timestamp_seconds") - time.time()) < 5
    assert (scraper.status("/live"), scraper.status("/ready")) == (200, 200)
    bench.open("gate")


def test_the_trace_of_a_run_is_the_exemplar_of_its_duration(bench: Bench):
    manager = bench.ready(*OPTIONS, variables={"OTEL_TRACES_EXPORTER": "console"})
    scraper = Scraper(manager)
    processors.Pass().delay()
    wait_for_scrape(
        lambda: scraper.scrape().total("tasks_completed_total") == 1,
        what="it is counted",
    )
    [completed] = manager.wait_for("task.completed")
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    with urllib.request.urlopen(
        urllib.request.Request(scraper.address + "/metrics", headers=accept)
    ) as response:
        lines = [line for line in response.read().decode().splitlines() if " # {" in line]

    names = {line.partition("_bucket")[0] for line in lines}
    assert names == {"partisan_task_duration_seconds", "partisan_task_queue_wait_seconds"}
    assert all(f'trace_id="{completed["trace.id"]}"' in line for line in lines)


def test_a_worker_that_is_recycled_after_every_task_loses_no_count(bench: Bench):
    manager = bench.ready(*OPTIONS, TASKS_PER_WORKER_INSTANCE=1)
    scraper = Scraper(manager).scrape()
    bulk_delay([processors.Pass(number) for number in range(10)])
    wait_for_scrape(
        lambda: scraper.scrape().total("tasks_completed_total") == 10,
        what="ten are counted",
    )
    wait_for_scrape(
        lambda: scraper.scrape().total("worker_exits_total", reason="recycled") == 10,
        what="exits",
    )

    assert scraper.total("tasks_started_total") == 10
    assert scraper.status("/ready") == 200
    scraper.assert_ledger("Pass")


def test_a_scrape_is_answered_until_the_last_outcome_is_settled(bench: Bench):
    manager = bench.ready(*OPTIONS)
    scraper = Scraper(manager)
    processors.Wait("gate").delay()
    bench.wait_for("begun")
    manager.send(signal.SIGTERM)
    manager.wait_for("manager.draining")
    wait_for_scrape(lambda: scraper.scrape().total("manager_draining") == 1, what="it drains")
    ready = scraper.status("/ready")
    bench.open("gate")

    assert ready == 503
    assert scraper.total("tasks_in_progress", processor="Wait") == 1
    assert manager.ended() == 0
    assert Task.objects.get().status == "finished"


def test_a_taken_port_ends_the_manager_before_it_claims(bench: Bench):
    task = processors.Pass().delay()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        manager = bench.start("--metrics-port", str(port))
        code = manager.ended()

    assert code == 1
    [line] = manager.err().splitlines()
    assert f"port {port}" in line
    assert manager.logged("metrics.server_failed")
    assert not manager.logged("task.claimed")
    task.refresh_from_db()
    assert task.status == "new"


def test_a_manager_serves_tasks_while_another_holds_its_port_and_metrics_when_it_has_gone(bench: Bench):
    first = bench.ready(*OPTIONS, WORKERS_COUNT=1)
    port = Scraper(first).address.rpartition(":")[2]

    second = bench.ready("--metrics-port", port, WORKERS_COUNT=1)
    [taken] = second.wait_for("metrics.port_taken")
    first.stop()
    processors.Pass().delay()
    bench.wait_for("begun")
    [served] = second.wait_for("metrics.served")

    assert (taken["partisan.metrics.port"], taken["partisan.metrics.holder"]) == (int(port), "default")
    [started] = second.logged("manager.started")
    assert "partisan.manager.metrics_address" not in started
    with urllib.request.urlopen(
        f"{served['partisan.manager.metrics_address']}/metrics", timeout=10
    ) as answer:
        assert 'partisan_tasks_started_total{processor="Pass",queue="default"} 1.0' in answer.read().decode()
    assert second.stop() == 0


def test_a_manager_that_does_not_require_its_port_goes_on_without(bench: Bench):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        optional = {"PARTISAN_OBSERVABILITY": {"METRICS_REQUIRED": False}}
        manager = bench.ready("--metrics-port", str(taken.getsockname()[1]), settings=optional)
        processors.Pass().delay()
        bench.wait_for("begun")

    assert manager.logged("metrics.server_failed")
    assert manager.stop() == 0
