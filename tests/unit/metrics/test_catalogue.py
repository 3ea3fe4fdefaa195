"""The metrics catalogue against the observability contract, row by row."""

import re

import pytest
from django.test import override_settings

from django_partisan.metrics import catalogue
from django_partisan.metrics.deltas import fold
from django_partisan.metrics.metric import COUNTER, GAUGE, HISTOGRAM, INFO, OTHER, Key, Metric, clean

# Name, type, labels, sources: users' dashboards and alerts rely on them.
CONTRACT = """
partisan_tasks_enqueued_total counter queue,processor,scheduled W,app
partisan_tasks_deduplicated_total counter queue,processor W,app
partisan_tasks_claimed_total counter queue M
partisan_tasks_started_total counter queue,processor W
partisan_tasks_completed_total counter queue,processor W
partisan_tasks_postponed_total counter queue,processor W
partisan_tasks_retried_total counter queue,processor W
partisan_tasks_failed_total counter queue,processor,reason W,M
partisan_runs_interrupted_total counter queue,reason M
partisan_task_errors_total counter queue,processor,error_type,outcome W,M
partisan_tasks_enqueue_failed_total counter queue,processor W,app
partisan_tasks_rescued_total counter queue,reason M
partisan_tasks_released_total counter queue,reason M
partisan_tasks_requeued_total counter queue,processor W,app
partisan_tasks_changed_total counter queue,change W,app
partisan_tasks_cancelled_total counter queue,processor W,M,app
partisan_tasks_expired_total counter queue,processor M
partisan_tasks_held_total counter queue,reason M
partisan_tasks_pruned_total counter queue,status M
partisan_tasks_claim_lost_total counter queue M
partisan_task_duration_seconds histogram queue,processor,outcome W
partisan_task_queue_wait_seconds histogram queue,processor W
partisan_task_attempts histogram queue W
partisan_tasks_in_progress gauge queue,processor M
partisan_oldest_run_age_seconds gauge queue,processor M
partisan_run_limit_seconds gauge queue,processor M
partisan_last_task_finished_timestamp_seconds gauge queue M
partisan_buffer_tasks gauge queue M
partisan_buffer_limit gauge queue M
partisan_workers gauge queue,state M
partisan_workers_configured gauge queue M
partisan_worker_exits_total counter queue,reason M
partisan_worker_crashes_total counter queue,processor M
partisan_max_crashes gauge queue M
partisan_worker_cpu_seconds_total counter queue,worker M
partisan_worker_resident_memory_bytes gauge queue,worker M
partisan_worker_peak_resident_memory_bytes gauge queue,worker M
partisan_memory_limit_bytes gauge queue M
partisan_memory_used_bytes gauge queue M
partisan_claims_total counter queue M
partisan_claims_empty_total counter queue M
partisan_claim_errors_total counter queue M
partisan_claim_duration_seconds histogram queue M
partisan_settle_duration_seconds histogram queue M
partisan_settle_batch_tasks histogram queue M
partisan_settle_errors_total counter queue M
partisan_unsettled_tasks gauge queue M
partisan_manager_lease_lost_total counter queue M
partisan_worker_busy_seconds_total counter queue,worker M
partisan_manager_last_loop_timestamp_seconds gauge queue M
partisan_manager_last_claim_timestamp_seconds gauge queue M
partisan_manager_draining gauge queue M
partisan_queue_paused gauge queue M
partisan_queue_paused_seconds gauge queue M
partisan_queue_max_wait_seconds gauge queue M
partisan_build_info info version,django,python,postgresql M
partisan_queue_tasks gauge queue,state D
partisan_queue_held_tasks gauge queue,processor,reason D
partisan_queue_oldest_due_age_seconds gauge queue D
partisan_oldest_due_task_age_seconds gauge queue,processor D
partisan_unserved_due_tasks gauge queue D
partisan_managers_alive gauge queue D
partisan_schedule_ticks_total counter schedule,outcome D
partisan_schedule_next_tick_timestamp_seconds gauge schedule D
partisan_schedule_last_tick_timestamp_seconds gauge schedule D
partisan_schedule_last_completed_timestamp_seconds gauge schedule D
partisan_schedule_lateness_seconds gauge schedule D
partisan_schedule_open_seconds gauge schedule D
partisan_schedule_last_failed gauge schedule D
partisan_task_table_inserts_total counter - D
partisan_task_table_live_rows gauge - D
partisan_task_table_dead_rows gauge - D
partisan_task_table_bytes gauge - D
partisan_last_prune_timestamp_seconds gauge - D
partisan_oldest_transaction_age_seconds gauge - D
partisan_db_up gauge queue D
partisan_db_writable gauge queue D
partisan_db_schedules_readable gauge queue D
partisan_db_scrape_duration_seconds gauge queue D
partisan_db_data_age_seconds gauge queue D
partisan_db_clock_skew_seconds gauge queue D
partisan_telemetry_messages_total counter queue M
partisan_telemetry_dropped_total counter queue,reason M
partisan_telemetry_label_overflow_total counter label W,M
partisan_telemetry_errors_total counter signal W,M
"""


def test_the_catalogue_has_the_rows_of_the_contract_in_its_order() -> None:
    rows = [
        f"{name} {metric.kind} {','.join(metric.labels) or '-'} {','.join(metric.sources)}"
        for name, metric in catalogue.METRICS.items()
    ]

    assert rows == CONTRACT.split("\n")[1:-1]


@pytest.mark.parametrize("metric", catalogue.METRICS.values(), ids=catalogue.METRICS)
def test_a_metric_says_what_it_is_and_what_for(metric: Metric) -> None:
    assert metric.question.endswith("?")
    assert metric.help.endswith(".")
    assert (metric.kind == COUNTER) == metric.name.endswith("_total")
    assert (metric.kind == INFO) == metric.name.endswith("_info")
    assert (metric.kind == HISTOGRAM) == bool(metric.buckets)
    assert metric.kind in (COUNTER, GAUGE, HISTOGRAM, INFO)
    assert re.fullmatch(r"partisan(_[a-z]+)+", metric.name)


def test_the_buckets_are_those_of_the_contract() -> None:
    duration = "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 30 60 300 900 3600"
    wait = "0.01 0.05 0.1 0.25 0.5 1 2.5 5 10 30 60 300 900 3600 21600"

    assert catalogue.bounds(catalogue.TASK_DURATION) == tuple(map(float, duration.split()))
    assert catalogue.bounds(catalogue.TASK_QUEUE_WAIT) == tuple(map(float, wait.split()))
    assert catalogue.bounds(catalogue.TASK_ATTEMPTS) == (1, 2, 3, 5, 10, 20)
    assert catalogue.bounds(catalogue.CLAIM_DURATION)[0] == 0.0005
    assert catalogue.bounds(catalogue.CLAIM_DURATION)[-1] == 10
    batches = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
    assert catalogue.bounds(catalogue.SETTLE_BATCH) == batches


@override_settings(PARTISAN_OBSERVABILITY={"DURATION_BUCKETS": [1, 2], "WAIT_BUCKETS": [3]})
def test_the_settings_replace_the_buckets_of_durations_and_waits() -> None:
    assert catalogue.bounds(catalogue.TASK_DURATION) == (1, 2)
    assert catalogue.bounds(catalogue.TASK_QUEUE_WAIT) == (3,)


def test_every_counted_series_of_known_labels_exists_from_the_start() -> None:
    initial = [key for metric in catalogue.METRICS.values() for key in metric.initial_series("q", ["A", "B"])]

    by_slot = {"partisan_worker_cpu_seconds_total", "partisan_worker_busy_seconds_total"}
    unforeseeable = {"partisan_task_errors_total"}
    counted = {
        name
        for name, metric in catalogue.METRICS.items()
        if metric.kind in (COUNTER, HISTOGRAM) and metric.sources != ("D",)
    }
    assert {name for name, _ in initial} == counted - by_slot - unforeseeable
    assert len(set(initial)) == len(initial)
    assert ("partisan_tasks_failed_total", ("q", "A", "worker_lost")) in initial
    assert ("partisan_task_duration_seconds", ("q", "B", "retried")) in initial
    assert ("partisan_worker_exits_total", ("q", "signal")) in initial


def test_folding_replaces_the_open_labels_only_and_names_what_it_changed() -> None:
    counters: dict[Key, float] = {}

    folded = fold(catalogue.TASK_ERRORS, ("q", OTHER, "ValueError", "failed"), counters)

    assert folded == ("q", OTHER, OTHER, "failed")
    assert counters == {(catalogue.LABEL_OVERFLOW.name, ("error_type",)): 1}


def test_a_label_value_is_made_fit_to_be_written() -> None:
    assert clean("\ud800" + "x" * 300) == "?" + "x" * 199
