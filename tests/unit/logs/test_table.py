"""The table of events matches the contract, the event classes, and ECS."""

import logging
from collections import Counter
from typing import Any, get_args

import pytest

from django_partisan.logs import LOG_EVENTS
from django_partisan.logs.fields import COMMON
from django_partisan.logs.log_event import LogEvent
from django_partisan.telemetry.events import Event, managers, queues, runs, tasks, telemetry, workers
from django_partisan.telemetry.events.values import ErrorInfo
from tests.support.ecs import ECS
from tests.unit.logs import samples

T = {
    "partisan.queue.name": "keyword",
    "partisan.task.id": "keyword",
    "partisan.processor": "keyword",
    "partisan.task.priority": "long",
    "partisan.task.attempt": "long",
    "partisan.task.retries": "long",
    "partisan.task.postpones": "long",
}
R = {
    **T,
    "partisan.worker.slot": "long",
    "partisan.worker.generation": "long",
    "partisan.task.wait_ns": "long",
    "partisan.task.enqueued_trace_id": "keyword",
    "partisan.task.arguments": "keyword",
}
ENQUEUED = {"partisan.task.enqueued_trace_id": "keyword"}
ERROR = {"error.type": "keyword", "error.message": "text", "error.stack_trace": "wildcard"}
QUEUE = {"partisan.queue.name": "keyword"}
REASON = {"event.reason": "keyword"}
CANCEL = {
    **QUEUE,
    "partisan.cancel.comment": "keyword",
    "partisan.processor": "keyword",
    "partisan.cancel.count": "long",
    "partisan.cancel.task_ids": "keyword",
}
HELD = {**QUEUE, **REASON, "partisan.processor": "keyword", "partisan.hold.count": "long"}
SCHEDULE = {"partisan.schedule.name": "keyword"}
OF_A_TASK = {**SCHEDULE, "partisan.processor": "keyword"}
SCHEDULED_FOR = {"partisan.task.scheduled_for": "date"}
NEXT_TICK = {"partisan.schedule.next_at": "date"}
DURATION = {"event.duration": "long"}
ENDED = {**DURATION, "event.outcome": "keyword"}
DELAY = {"partisan.task.delay_ns": "long"}
WORKER = {
    **QUEUE,
    "partisan.worker.slot": "long",
    "partisan.worker.generation": "long",
    "partisan.worker.pid": "long",
}

CONTRACT: dict[str, tuple[str, str, dict[str, str]]] = {
    "task.enqueued": (
        "debug or info",
        "app, worker",
        {
            **T,
            "partisan.task.due_at": "date",
            "partisan.task.scheduled": "boolean",
            "partisan.task.arguments": "keyword",
        },
    ),
    "task.deduplicated": ("debug or info", "app, worker", T),
    "task.bulk_enqueued": (
        "info",
        "app, worker",
        {
            **QUEUE,
            "partisan.processor": "keyword",
            "partisan.enqueue.count": "long",
            "partisan.enqueue.deduplicated": "long",
        },
    ),
    "task.enqueue_failed": (
        "error",
        "app, worker",
        {
            **{name: kind for name, kind in T.items() if name != "partisan.task.id"},
            **ERROR,
            "event.outcome": "keyword",
        },
    ),
    "task.claimed": (
        "debug",
        "manager",
        {**QUEUE, **DURATION, "partisan.claim.count": "long", "partisan.claim.task_ids": "keyword"},
    ),
    "task.started": ("debug", "worker", R),
    "task.completed": ("info", "worker", {**R, **ENDED}),
    "task.postponed": ("info", "worker", {**R, **ENDED, **DELAY, **REASON}),
    "task.retried": (
        "warning",
        "worker, manager",
        {**R, **ENDED, **DELAY, **ERROR, "partisan.task.retries_left": "long"},
    ),
    "task.failed": ("error", "worker, manager", {**R, **ENDED, **ERROR, **REASON}),
    "task.interrupted": (
        "info or warning",
        "manager",
        {
            **T,
            **ENQUEUED,
            **WORKER,
            **REASON,
            "event.duration": "long",
            "partisan.interrupt.comment": "keyword",
        },
    ),
    "worker.killed": ("warning", "manager", {**T, **ENQUEUED, **WORKER, **REASON, "event.duration": "long"}),
    "task.settle_failed": ("error", "manager", {**QUEUE, **ERROR, "partisan.settle.count": "long"}),
    "task.claim_lost": ("warning", "manager", {**T, **ENQUEUED}),
    "task.rescued": (
        "warning",
        "manager",
        {**T, **ENQUEUED, **REASON, "event.outcome": "keyword", "partisan.manager.previous": "keyword"},
    ),
    "task.requeued": (
        "info",
        "app, worker",
        {**QUEUE, "partisan.processor": "keyword", "partisan.requeue.count": "long"},
    ),
    "task.changed": (
        "info",
        "app, worker",
        {
            **QUEUE,
            "partisan.processor": "keyword",
            "partisan.change.count": "long",
            "partisan.change.kind": "keyword",
        },
    ),
    "task.cancelled": ("info", "worker, manager", {**R, **ENDED, **REASON}),
    "task.bulk_cancelled": ("info", "app, worker, manager", CANCEL),
    "task.cancel_requested": ("info", "app, worker", CANCEL),
    "task.expired": ("info", "manager", {**T, **ENQUEUED}),
    "task.released": ("info", "manager", {**QUEUE, **REASON, "partisan.release.count": "long"}),
    "task.held": ("warning", "manager", HELD),
    "task.resumed": ("info", "manager", HELD),
    "task.pruned": (
        "debug or info",
        "manager",
        {**QUEUE, **DURATION, "partisan.prune.finished": "long", "partisan.prune.failed": "long"},
    ),
    "task.prune_failed": ("warning", "manager", {**QUEUE, **ERROR}),
    "task.transaction_left_open": (
        "warning",
        "worker",
        {**R, "partisan.database.alias": "keyword", "partisan.thread.name": "keyword"},
    ),
    "task.written_outside_atomic": ("warning", "worker", {**R, "partisan.thread.name": "keyword"}),
    "manager.lease_lost": (
        "error",
        "manager",
        {**QUEUE, "partisan.manager.heartbeat_age_ns": "long", "partisan.manager.held": "long"},
    ),
    "claim.failed": ("error", "manager", {**QUEUE, **ERROR}),
    "database.restored": ("info", "manager", {**QUEUE, **DURATION, "partisan.database.failures": "long"}),
    "queue.paused": (
        "warning",
        "manager",
        {
            **QUEUE,
            "partisan.pause.until": "date",
            "partisan.pause.by": "keyword",
            "partisan.pause.comment": "text",
        },
    ),
    "queue.resumed": ("info", "manager", {**QUEUE, **DURATION}),
    "schedule.ticked": (
        "info",
        "manager, app, worker",
        {
            **OF_A_TASK,
            **QUEUE,
            **SCHEDULED_FOR,
            "partisan.task.id": "keyword",
            "partisan.schedule.outcome": "keyword",
            "partisan.schedule.lateness_ns": "long",
        },
    ),
    "schedule.skipped": (
        "info",
        "manager",
        {**OF_A_TASK, **QUEUE, **SCHEDULED_FOR, "partisan.task.id": "keyword"},
    ),
    "schedule.missed": (
        "warning",
        "manager",
        {**OF_A_TASK, **SCHEDULED_FOR, "partisan.schedule.missed": "long"},
    ),
    "schedule.failed": ("error", "manager", {**OF_A_TASK, **SCHEDULED_FOR, **ERROR}),
    "schedules.operation_failed": (
        "error",
        "manager",
        {**QUEUE, **SCHEDULE, **ERROR, "partisan.schedule.operation": "keyword"},
    ),
    "schedule.changed": (
        "info",
        "manager, app, worker",
        {
            **OF_A_TASK,
            **NEXT_TICK,
            "partisan.schedule.origin": "keyword",
            "partisan.schedule.change": "keyword",
        },
    ),
    "schedule.paused": ("info", "app, worker", {**SCHEDULE, "partisan.pause.comment": "text"}),
    "schedule.resumed": ("info", "app, worker", {**SCHEDULE, **NEXT_TICK}),
    "worker.started": ("info", "manager", WORKER),
    "worker.start_failed": ("error", "manager", {**QUEUE, **ERROR, "partisan.worker.slot": "long"}),
    "worker.ready": ("info", "manager", WORKER),
    "worker.exited": (
        "info or error",
        "manager",
        {
            **WORKER,
            **REASON,
            "process.exit_code": "long",
            "partisan.worker.signal": "keyword",
            "partisan.task.id": "keyword",
            "partisan.processor": "keyword",
            **ENQUEUED,
            "partisan.worker.peak_resident_bytes": "long",
        },
    ),
    "worker.telemetry_flush_timeout": ("warning", "worker", {**QUEUE, **DURATION}),
    "worker.exit_timeout": ("warning", "worker", {**QUEUE, **DURATION}),
    "manager.started": (
        "info",
        "manager",
        {
            **QUEUE,
            "partisan.manager.workers": "long",
            "partisan.manager.version": "keyword",
            "partisan.manager.metrics_address": "keyword",
        },
    ),
    "manager.draining": (
        "info",
        "manager",
        {**QUEUE, "partisan.manager.signal": "keyword", "partisan.manager.in_progress": "long"},
    ),
    "manager.stopped": (
        "info",
        "manager",
        {
            **QUEUE,
            **DURATION,
            "partisan.manager.released": "long",
            "partisan.manager.unfinished_ids": "keyword",
        },
    ),
    "manager.processors_ignored": ("warning", "manager", QUEUE),
    "manager.code_replaced": (
        "error",
        "manager",
        {
            **QUEUE,
            "partisan.worker.version": "keyword",
            "partisan.worker.protocol": "long",
            "partisan.manager.version": "keyword",
            "partisan.manager.protocol": "long",
        },
    ),
    "thread.stack": ("warning", "manager, worker", {"partisan.thread.name": "keyword"}),
    "metrics.server_failed": ("error", "manager", {**QUEUE, **ERROR}),
    "metrics.port_taken": (
        "warning",
        "manager",
        {**QUEUE, "partisan.metrics.port": "long", "partisan.metrics.holder": "keyword"},
    ),
    "metrics.served": ("info", "manager", {**QUEUE, "partisan.manager.metrics_address": "keyword"}),
    "metrics.db_scrape_failed": ("warning", "manager", {**QUEUE, **ERROR}),
    "telemetry.dropped": ("warning", "manager", {**QUEUE, **REASON, "partisan.telemetry.count": "long"}),
}

NOT_LOGGED = {
    runs.RunsCompleted: "each of its runs is logged as TaskCompleted",
    queues.OutcomesSettled: "the spans and metrics of settling; a line each would be noise",
    queues.SettleErrored: "counted; logged once, as SettleFailed",
    queues.ClaimErrored: "counted; logged once, as ClaimFailed",
    queues.TasksPruned: "counted; logged once in a pass, as PrunePassEnded",
    queues.PollFoundNothing: "counted; an empty poll is not logged",
    workers.WorkerStopping: "a Django signal; the worker's exit is logged",
    telemetry.PipeBroken: "counted and logged as TelemetryDropped; the worker's exit is logged",
    telemetry.MetricsUnknown: "counted and logged as TelemetryDropped",
    runs.MetricRecorded: "a metric of the user's own",
}
ALL_FIELDS = [*COMMON, *(field for log_event in LOG_EVENTS.values() for field in log_event.fields)]


def message_of(event: Any) -> str:
    log_event = LOG_EVENTS[type(event)]
    return log_event.message % log_event.line(event)[0]


def fields_of(event: Any) -> dict[str, Any]:
    return LOG_EVENTS[type(event)].line(event)[1]


def test_the_table_is_the_contract():
    table = {
        one.action: (_levels(one), ", ".join(one.by), {field.name: field.type for field in one.fields})
        for one in LOG_EVENTS.values()
    }

    assert table == CONTRACT


def test_no_event_names_a_field_twice():
    for log_event in LOG_EVENTS.values():
        assert max(Counter(field.name for field in log_event.fields).values()) == 1, log_event.action


def test_every_event_is_logged_or_left_out_for_a_reason():
    assert set(get_args(Event)) == LOG_EVENTS.keys() | NOT_LOGGED.keys()
    assert not LOG_EVENTS.keys() & NOT_LOGGED.keys()


def test_there_is_a_sample_of_every_event():
    assert {type(event) for event in samples.FULL} == LOG_EVENTS.keys()


def test_one_field_has_one_type_everywhere():
    types: dict[str, set[str]] = {}
    for field in ALL_FIELDS:
        types.setdefault(field.name, set()).add(field.type)

    assert {name: found for name, found in types.items() if len(found) > 1} == {}


def test_no_field_is_both_a_value_and_a_parent():
    names = {field.name for field in ALL_FIELDS}
    parents = {name.rpartition(".")[0] for name in names}

    assert not names & parents


def test_a_field_is_of_ecs_or_under_our_own_name():
    for field in ALL_FIELDS:
        assert field.name in ECS or field.name.startswith("partisan."), field.name


def test_a_field_of_ecs_has_the_type_of_ecs():
    for field in ALL_FIELDS:
        if field.name in ECS:
            assert field.type == ECS[field.name].replace("match_only_text", "text"), field.name


@pytest.mark.parametrize(
    ("reason", "level"),
    [
        ("recycled", logging.INFO),
        ("stopped", logging.INFO),
        ("error", logging.ERROR),
        ("signal", logging.ERROR),
    ],
)
def test_only_an_unexpected_exit_of_a_worker_is_an_error(reason, level):
    exited = workers.WorkerExited("default", 0, 0, 1, 0, None, reason, None, None)

    assert LOG_EVENTS[workers.WorkerExited].level_of(exited) == level


def test_a_wait_is_never_below_zero():
    run = samples.RUN._replace(wait_seconds=-3.0)

    assert fields_of(runs.TaskStarted(run))["partisan.task.wait_ns"] == 0


def test_context_without_a_trace_names_none():
    run = samples.RUN._replace(headers={"ctx.request_id": "r1"})

    assert "partisan.task.enqueued_trace_id" not in fields_of(runs.TaskStarted(run))


CARRIER = samples.TASK._replace(headers={"traceparent": samples.TRACEPARENT, "ctx.request_id": "r1"})


@pytest.mark.parametrize(
    "event",
    [
        runs.TaskFailed(CARRIER, None, "worker_lost", samples.ERROR),
        tasks.TaskRescued(CARRIER, "worker_lost", None),
        tasks.TaskClaimLost(CARRIER),
        workers.WorkerExited("default", 3, 4, 4711, -9, "SIGKILL", "signal", CARRIER, None),
    ],
    ids=lambda event: type(event).__name__,
)
def test_a_managers_line_about_one_task_names_the_trace_and_the_context_of_its_enqueuing(event):
    found = fields_of(event)

    assert found["partisan.task.enqueued_trace_id"] == samples.TRACE_ID
    assert found["labels.request_id"] == "r1"


@pytest.mark.parametrize(
    ("reason", "lost", "outcome"),
    [
        ("worker_lost", samples.LOST, "failure"),
        ("manager_lost", samples.LOST, "failure"),
        ("manager_lost", None, None),
        ("stopped", samples.LOST, None),
    ],
)
def test_a_rescue_is_the_failure_of_a_run_that_was_lost(reason, lost, outcome):
    found = fields_of(tasks.TaskRescued(samples.TASK, reason, None, lost))

    assert found.get("event.outcome") == outcome


def test_at_most_100_tasks_are_named():
    many = tuple(range(500))

    claimed = fields_of(queues.TasksClaimed("default", 500, many, 0.1, ()))
    stopped = fields_of(managers.ManagerStopped("default", 1.0, 0, many))

    assert len(claimed["partisan.claim.task_ids"]) == 100
    assert len(stopped["partisan.manager.unfinished_ids"]) == 100


def test_an_errors_message_is_cut_to_1_kib():
    error = samples.ERROR._replace(message="ü" * 2000)

    message = fields_of(queues.ClaimFailed("default", error))["error.message"]

    assert len(message.encode()) <= 1024
    assert message.endswith("…")


@pytest.mark.parametrize(
    ("error", "quoted"),
    [
        (samples.ERROR._replace(message="first line\n" + "x" * 5000), "Refused: first line…"),
        (samples.ERROR._replace(message="x" * 201), f"Refused: {'x' * 200}…"),
        (ErrorInfo("TimeoutError", "", ""), "TimeoutError"),
    ],
)
def test_a_message_quotes_only_the_class_and_the_beginning_of_an_error(error, quoted):
    message = message_of(queues.ClaimFailed("default", error))

    assert message == f"Could not claim tasks; trying again: {quoted}"


@pytest.mark.parametrize(("number", "told"), [(1, "1 span"), (8, "8 spans")])
def test_a_message_counts_in_the_singular_and_the_plural(number, told):
    message = message_of(telemetry.TelemetryDropped("default", "span_queue_full", number))

    assert message == f"Dropped {told}: queue full"


def test_spans_that_a_worker_took_along_are_named_as_spans():
    message = message_of(telemetry.TelemetryDropped("default", "worker_lost", 3))

    assert message == "Dropped 3 spans: worker lost"


def _levels(log_event: LogEvent) -> str:
    levels = sorted({log_event.lowest_level(), log_event.level})
    return " or ".join(logging.getLevelName(level).lower() for level in levels)
