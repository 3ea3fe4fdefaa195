"""Every query of every panel and rule gets an answer from a real Prometheus that scrapes real managers."""

import re
import time
from collections.abc import Iterator
from functools import partial

import pytest

from django_partisan.metrics.catalogue import METRICS
from tests.real_parts.live_stack import QUEUES_UNDER_LOAD, Stack
from tests.support.waiting import wait_until
from tests.unit.grafana import files

SECONDS = 60
FILLED_IN = {
    "$__rate_interval": "8s",
    "$__range": f"{SECONDS}s",
    '"$job"': '".+"',
    '"$instance"': '".+"',
    '"$queue"': '".+"',
    '"$processor"': '".+"',
}
# On a healthy system these queries are valid but may return nothing.
MAY_BE_EMPTY = re.compile(r"^(alert |.*: annotation (Workers|Deploys|Queues paused))")
# Warnings that are as serious for a single queue as the alerts that page.
STANDING_STILL = (
    "PartisanQueueNotDraining",
    "PartisanManagerStalled",
    "PartisanNoLiveWorkers",
    "PartisanSettleErrors",
)

EXPRESSIONS = [(place, expression) for place, expression in files.expressions()]


@pytest.fixture(scope="module")
def loaded(stack: Stack) -> Iterator[Stack]:
    """Managers that have worked under a shop's load until every kind of outcome was scraped."""
    managers = [stack.start_manager(queue, workers) for queue, workers in QUEUES_UNDER_LOAD.items()]
    stack.start_load()
    signs = (
        'sum(partisan_task_duration_seconds_count{outcome="retried"}) > 3',
        'sum(partisan_task_duration_seconds_count{outcome="postponed"}) > 3',
        "sum(partisan_tasks_enqueued_total) > 20",
        "sum(partisan_tasks_deduplicated_total) > 0",
        "sum(partisan_task_errors_total) > 3",
        "sum(partisan_task_attempts_count) > 100",
        "job_queue_processor:partisan_tasks_failed:ratio_rate15m",
        "partisan_schedule_last_completed_timestamp_seconds",  # once a minute
        'partisan_queue_held_tasks{reason="unregistered"}',
        'partisan_queue_paused{queue="idle"} == 1',
    )
    for sign in signs:
        wait_until(partial(stack.prometheus.query, sign), 90, sign, every=0.5)
    yield stack
    for manager in managers:
        manager.stop()
        stack.prometheus.forget(manager.port)


def _filled_in(expression: str) -> str:
    for name, value in FILLED_IN.items():
        expression = expression.replace(name, value)
    return expression


@pytest.mark.parametrize("place", [place for place, _ in EXPRESSIONS])
def test_a_query_has_an_answer_with_numbers(loaded: Stack, place: str) -> None:
    expression = _filled_in(dict(EXPRESSIONS)[place])
    assert "$" not in expression

    found = wait_until(lambda: _numbers(loaded, expression) or MAY_BE_EMPTY.match(place), 15, place, every=1)
    assert found


def test_no_query_of_a_panel_answers_nan_also_where_nothing_runs(loaded: Stack) -> None:
    panels = [(place, expr) for place, expr in EXPRESSIONS if "rule " not in place and "alert " not in place]
    now = time.time()

    holes = [
        place
        for place, expression in panels
        for series in loaded.prometheus.query_range(_filled_in(expression), now - 15, now, 1)
        if any(value == "NaN" for _, value in series["values"])
    ]
    assert holes == []


def _numbers(stack: Stack, expression: str) -> list[str]:
    now = time.time()
    series = stack.prometheus.query_range(expression, now - 15, now, 1)
    return [value for one in series for _, value in one["values"] if value != "NaN"]


def test_every_sample_is_taken_within_a_second(loaded: Stack) -> None:
    taken = loaded.prometheus.query("scrape_samples_scraped > 100 == scrape_samples_post_metric_relabeling")

    assert len(taken) >= len(QUEUES_UNDER_LOAD)
    assert loaded.prometheus.query("scrape_duration_seconds >= 1") == []


def test_every_exported_family_is_in_the_catalogue_by_kind_and_help_and_no_other(loaded: Stack) -> None:
    known = loaded.prometheus.metadata()
    exported = {
        re.sub(r"_total$", "", name): {(entry["type"], entry["help"]) for entry in entries}
        for name, entries in known.items()
        if "partisan_" in name
    }

    assert exported == {metric.family: {(metric.kind, metric.help)} for metric in METRICS.values()}


def test_labels_of_a_scrape_are_those_of_the_catalogue(loaded: Stack) -> None:
    wrong = {}
    for name, metric in METRICS.items():
        suffix = "_count" if metric.kind == "histogram" else ""
        for series in loaded.prometheus.query(name + suffix):
            if set(series["metric"]) - {"__name__", "job", "instance"} != set(metric.labels):
                wrong[name] = series["metric"]

    assert wrong == {}


def test_runs_leave_exemplars_that_are_trace_ids_of_real_spans(loaded: Stack) -> None:
    now = time.time()
    found = loaded.prometheus.exemplars("partisan_task_duration_seconds_bucket", now - SECONDS, now)
    seen = {exemplar["labels"]["trace_id"] for series in found for exemplar in series["exemplars"]}
    assert seen

    assert wait_until(lambda: seen & _traces(loaded), 20, "a span of an exemplar's trace")


def test_no_alert_that_pages_or_means_that_a_queue_stands_still_fires_on_a_healthy_system(
    loaded: Stack,
) -> None:
    # Alerts about queues of other tests fire rightly for a while. Some alerts have no queue label.
    ours = "|".join(["", *QUEUES_UNDER_LOAD])
    firing = f'ALERTS{{alertstate="firing",queue=~"{ours}"'
    standing_still = "|".join(STANDING_STILL)

    paging = loaded.prometheus.query(f'{firing},severity="critical"}}')
    others = loaded.prometheus.query(f'{firing},alertname=~"{standing_still}"}}')

    assert (paging, others) == ([], [])
    assert set(STANDING_STILL) <= {rule["alert"] for rule in files.rules("alerts")}


def _traces(stack: Stack) -> set[str]:
    return {span.trace_id for span in stack.sink.spans}
