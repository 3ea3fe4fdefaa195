"""Debian's Prometheus scrapes a real manager, and stores what the catalogue says."""

import shutil
import time
import urllib.request
from collections.abc import Iterator

import pytest

from django_partisan.metrics import catalogue
from django_partisan.metrics.metric import COUNTER, INFO
from tests.real_parts.live_stack import Stack, live_stack
from tests.real_parts.servers import HOST, wait_for

PROGRAMS = ("prometheus", "prometheus-alertmanager")
pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, PROGRAMS)),
    reason="Prometheus is not installed; on Debian: apt-get install prometheus prometheus-alertmanager",
)
TASKS = 30


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose manager ran some tasks, and was scraped afterwards."""
    with live_stack(tmp_path_factory.mktemp("scraped")) as stack:
        manager = stack.start_manager("default")
        stack.enqueue("ResizeImage", TASKS)
        wait_for(
            "all runs in Prometheus", lambda: value(stack, "sum(partisan_tasks_completed_total)") == TASKS
        )
        assert manager.process.poll() is None
        yield stack


def value(stack: Stack, expression: str) -> float | None:
    """Return the value of an expression that has one."""
    found = stack.prometheus.query(expression)
    return float(found[0]["value"][1]) if found else None


def test_the_target_is_up_and_every_sample_is_taken(scraped: Stack):
    assert value(scraped, "up") == 1
    assert value(scraped, "scrape_samples_scraped") == value(scraped, "scrape_samples_post_metric_relabeling")
    assert (value(scraped, "scrape_samples_scraped") or 0) > 300
    assert (value(scraped, "scrape_duration_seconds") or 9) < 1


def test_metadata_is_that_of_the_catalogue(scraped: Stack):
    known = scraped.prometheus.metadata()

    for metric in catalogue.METRICS.values():
        suffix = {COUNTER: "_total", INFO: "_info"}.get(metric.kind, "")
        [entry] = known[metric.name.removesuffix(suffix)]
        assert (entry["type"], entry["help"]) == (metric.kind, metric.help)


def test_figures_are_those_of_the_endpoint(scraped: Stack):
    of = 'partisan_tasks_started_total{queue="default",processor="ResizeImage"}'

    assert value(scraped, of) == TASKS
    assert value(scraped, "sum(partisan_task_duration_seconds_count)") == TASKS
    assert value(scraped, "sum(partisan_task_queue_wait_seconds_bucket{le='+Inf'})") == TASKS
    assert value(scraped, 'partisan_tasks_failed_total{processor="ResizeImage",reason="error"}') == 0
    assert value(scraped, "partisan_db_up") == 1


def test_exemplars_name_traces_that_were_exported(scraped: Stack):
    now = time.time()
    stored = wait_for(
        "exemplars",
        lambda: scraped.prometheus.exemplars("partisan_task_duration_seconds_bucket", now - 300, now + 60),
    )
    named = {exemplar["labels"]["trace_id"] for series in stored for exemplar in series["exemplars"]}
    runs = scraped.sink.wait_for(TASKS, "process")

    assert named
    assert named <= {run.trace_id for run in runs}


def test_plain_text_is_served_to_who_asks_for_nothing_else(scraped: Stack):
    [target] = scraped.prometheus.query("up")
    instance = target["metric"]["instance"]
    with urllib.request.urlopen(f"http://{instance}/metrics", timeout=10) as response:
        content_type = response.headers["Content-Type"]

    assert instance.startswith(HOST)
    assert content_type.startswith("text/plain")
